//! What planning must know of a table: its place among the others, and what each phase does to its rows.
//!
//! Owns: deriving it from the keys, triggers and references of a catalog. Does not own: the phases (`plan`). Pure.

use std::ops::Index;

use ebb_sdk::{Action, Catalog, ColumnIndex, ForeignKey, Table, TableIndex, UniqueKey};

#[cfg(doc)]
use super::plan::Phase;

/// What planning must know of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablePlan {
    /// Its place among upserts: behind all tables that it refers to.
    pub rank: usize,
    /// Columns that [`Phase::NullKeys`] sets to NULL.
    pub null_keys: Vec<ColumnIndex>,
    /// It refers to itself, perhaps by way of others.
    pub is_in_cycle: bool,
    /// Columns that [`Phase::InsertWithNullRefs`] writes as NULL.
    pub null_refs: Vec<ColumnIndex>,
    /// It has a unique key that cannot become NULL, or a rule of which that is not known.
    pub is_rigid: bool,
    /// It has such a key, and deleting a row does nothing but delete it.
    pub replaces: bool,
    /// Triggers of users may change anything when one of its rows is written or deleted.
    pub triggers: bool,
    /// Rows of other tables are changed or deleted when one of its rows is deleted.
    pub cascades_on_delete: bool,
    /// Rows of other tables are changed when one of its rows is.
    pub cascades_on_write: bool,
}

/// The plan of every table of a catalog, by its position there. A run ends when its catalog changes, so that they are
/// computed once.
#[derive(Clone, Debug)]
pub struct TablePlans(pub(super) Vec<TablePlan>);

impl TablePlans {
    pub fn of(catalog: &Catalog) -> Self {
        let mut plans: Vec<_> = (0..catalog.tables.len()).map(|at| out_of_order(catalog, at)).collect();
        let cycles = cycles(catalog);
        let order = cycles.iter().flat_map(|cycle| in_cycle(catalog, cycle));
        for (rank, table) in order.enumerate() {
            plans[table].rank = rank;
        }
        for cycle in &cycles {
            for &at in cycle {
                let table = &catalog.tables[at];
                let refers = || table.foreign_keys.iter().filter(|key| cycle.contains(&key.references.place()));
                plans[at].is_in_cycle = refers().next().is_some();
                plans[at].null_refs = distinct(refers().flat_map(|key| free(table, &key.columns)));
            }
        }
        Self(plans)
    }
}

impl Index<TableIndex> for TablePlans {
    type Output = TablePlan;

    fn index(&self, table: TableIndex) -> &TablePlan {
        &self.0[table.place()]
    }
}

/// The plan of one table, but for its place among the others.
fn out_of_order(catalog: &Catalog, at: usize) -> TablePlan {
    let table = &catalog.tables[at];
    let referring = || {
        let keys = catalog.tables.iter().flat_map(|other| &other.foreign_keys);
        keys.filter(move |key| key.references.place() == at)
    };
    let is_referenced = |column: &ColumnIndex| referring().any(|key| key.references_columns.contains(column));
    // NULL in one column is enough where NULLs are distinct, and none is where they are not.
    let of_unique = table.unique_keys.iter().filter(|key| !key.nulls_equal);
    let of_unique = of_unique.filter_map(|key| free(table, &key.columns).find(|column| !is_referenced(column)));
    let of_foreign = table.foreign_keys.iter().flat_map(|key| free(table, &key.columns));
    let of_foreign = of_foreign.filter(|column| !is_referenced(column));
    let null_keys = distinct(of_unique.chain(of_foreign));
    let is_rigid = |key: &UniqueKey| key.nulls_equal || !key.columns.iter().any(|column| null_keys.contains(column));
    let is_rigid = table.has_other_unique_rules || table.unique_keys.iter().any(is_rigid);
    let is_key = |key: &ForeignKey| key.references_columns.iter().all(|column| table.primary_key.contains(column));
    TablePlan {
        is_rigid,
        replaces: is_rigid && referring().all(|key| key.on_delete == Action::NoAction),
        triggers: !table.triggers.is_empty(),
        cascades_on_delete: referring().any(|key| key.on_delete.acts()),
        cascades_on_write: referring().any(|key| key.on_update.acts() && !is_key(key)),
        null_keys,
        ..TablePlan::default()
    }
}

/// Columns that can be NULL for a while.
fn free<'a>(table: &'a Table, columns: &'a [ColumnIndex]) -> impl Iterator<Item = ColumnIndex> + 'a {
    columns.iter().copied().filter(|&at| {
        let column = &table.columns[at];
        column.nullable && !column.resists_null && !column.generated && !table.primary_key.contains(&at)
    })
}

fn distinct(columns: impl Iterator<Item = ColumnIndex>) -> Vec<ColumnIndex> {
    let mut columns: Vec<ColumnIndex> = columns.collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// The tables of a cycle, as if every reference that can be NULL for a while were.
fn in_cycle(catalog: &Catalog, cycle: &[usize]) -> Vec<usize> {
    if cycle.len() == 1 {
        return cycle.to_vec();
    }
    let mut rigid = catalog.clone();
    for (at, table) in rigid.tables.iter_mut().enumerate() {
        let shape = &catalog.tables[at];
        let is_member = cycle.contains(&at);
        table.foreign_keys.retain(|key| is_member && free(shape, &key.columns).next().is_none());
    }
    cycles(&rigid).into_iter().flatten().filter(|table| cycle.contains(table)).collect()
}

/// Tables in groups: each group stands behind what it refers to. A group of several is a cycle, in catalog order.
fn cycles(catalog: &Catalog) -> Vec<Vec<usize>> {
    let count = catalog.tables.len();
    let mut search = Search {
        catalog,
        found: vec![None; count],
        low: vec![0; count],
        stack: Vec::new(),
        cycles: Vec::new(),
        next: 0,
    };
    for table in 0..count {
        if search.found[table].is_none() {
            search.visit(table);
        }
    }
    search.cycles
}

/// Tarjan's search for strongly connected components; it yields a component after all that it refers to, which is the
/// order wanted (<https://en.wikipedia.org/wiki/Tarjan%27s_strongly_connected_components_algorithm>).
struct Search<'a> {
    catalog: &'a Catalog,
    /// When a table was found, `None` before; `usize::MAX` once its component is complete.
    found: Vec<Option<usize>>,
    /// The earliest table that can be reached.
    low: Vec<usize>,
    stack: Vec<usize>,
    cycles: Vec<Vec<usize>>,
    next: usize,
}

impl Search<'_> {
    fn visit(&mut self, table: usize) {
        let order = self.next;
        self.next += 1;
        self.found[table] = Some(order);
        self.low[table] = order;
        let depth = self.stack.len();
        self.stack.push(table);
        for key in &self.catalog.tables[table].foreign_keys {
            let parent = key.references.place();
            match self.found.get(parent) {
                None => {}
                Some(None) => {
                    self.visit(parent);
                    self.low[table] = self.low[table].min(self.low[parent]);
                }
                Some(Some(found)) => self.low[table] = self.low[table].min(*found),
            }
        }
        if self.low[table] == order {
            let mut cycle = self.stack.split_off(depth);
            cycle.sort_unstable();
            cycle.iter().for_each(|&member| {
                self.found[member] = Some(usize::MAX);
                self.low[member] = usize::MAX;
            });
            self.cycles.push(cycle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebb_sdk::Column;

    /// Tables are numbered in the order given; each lists the tables that it refers to.
    fn check(references: &[&[u32]], expected: &[usize]) {
        let key = |&parent: &u32| ForeignKey { references: TableIndex(parent), ..ForeignKey::default() };
        let table = |parents: &&[u32]| Table { foreign_keys: parents.iter().map(key).collect(), ..Table::default() };
        let catalog = Catalog { tables: references.iter().map(table).collect(), ..Catalog::default() };
        let ranks: Vec<_> = TablePlans::of(&catalog).0.into_iter().map(|plan| plan.rank).collect();
        assert_eq!(ranks, expected, "{references:?}");
    }

    #[test]
    fn parents_stand_before_children() {
        check(&[], &[]);
        check(&[&[1], &[]], &[1, 0]);
        check(&[&[1], &[2], &[]], &[2, 1, 0]);
        // A diamond with a shortcut: d refers to b and c, c to b and a, b to a.
        check(&[&[1, 2], &[2, 3], &[3], &[]], &[3, 2, 1, 0]);
        check(&[&[0], &[0]], &[0, 1]);
    }

    #[test]
    fn cycles_are_broken_behind_what_they_need() {
        check(&[&[1], &[0]], &[0, 1]);
        // 0 hangs on the cycle of 1 and 2, which needs 3.
        check(&[&[1], &[2], &[1, 3], &[]], &[3, 1, 2, 0]);
        // The cycle of 0 and 1 refers to that of 2 and 3.
        check(&[&[1, 2], &[0], &[3], &[2]], &[2, 3, 0, 1]);
    }

    fn column(name: &str, nullable: bool) -> Column {
        Column { name: name.into(), nullable, ..Column::default() }
    }

    fn columns(places: &[u32]) -> Vec<ColumnIndex> {
        places.iter().copied().map(ColumnIndex).collect()
    }

    fn unique(column: u32) -> UniqueKey {
        UniqueKey { columns: columns(&[column]), nulls_equal: false }
    }

    fn refers(column: u32, parent: u32, on_delete: Action) -> ForeignKey {
        ForeignKey {
            columns: columns(&[column]),
            references: TableIndex(parent),
            references_columns: columns(&[0]),
            on_delete,
            ..ForeignKey::default()
        }
    }

    #[test]
    fn what_can_be_null_is_given_up_and_what_refers_in_a_circle_is_null_at_first() {
        let people = Table {
            columns: vec![column("id", false), column("seat", true), column("mail", false), column("boss", true)],
            primary_key: columns(&[0]),
            unique_keys: vec![unique(1)],
            foreign_keys: vec![refers(3, 0, Action::NoAction)],
            ..Table::default()
        };
        let rigid = Table { unique_keys: vec![unique(1), unique(2)], ..people.clone() };
        let of = |table: &Table| {
            let catalog = Catalog { tables: vec![table.clone()], ..Catalog::default() };
            TablePlans::of(&catalog)[TableIndex(0)].clone()
        };
        let flexible = of(&people);
        assert_eq!((flexible.null_keys, flexible.null_refs), (columns(&[1, 3]), columns(&[3])));
        assert!(!flexible.replaces && of(&rigid).replaces);
        let mut checked = people.clone();
        checked.columns[1].resists_null = true;
        assert_eq!((of(&checked).null_keys, of(&checked).replaces), (columns(&[3]), true));
        assert!(of(&Table { has_other_unique_rules: true, ..people }).is_rigid);
    }

    #[test]
    fn a_cycle_is_opened_where_it_can_be() {
        let team = Table {
            columns: vec![column("id", false), column("lead", true)],
            foreign_keys: vec![refers(1, 0, Action::NoAction)],
            ..Table::default()
        };
        let person = Table {
            columns: vec![column("id", false), column("team", false)],
            foreign_keys: vec![refers(1, 1, Action::NoAction)],
            ..Table::default()
        };
        let plans = TablePlans::of(&Catalog { tables: vec![person, team], ..Catalog::default() });
        let (person, team) = (&plans[TableIndex(0)], &plans[TableIndex(1)]);
        assert_eq!((person.rank, team.rank), (1, 0));
        assert_eq!((&person.null_refs, &team.null_refs), (&columns(&[]), &columns(&[1])));
    }

    #[test]
    fn a_table_whose_deletions_act_is_not_replaced() {
        let parent = Table {
            columns: vec![column("id", false), column("name", false)],
            primary_key: columns(&[0]),
            unique_keys: vec![unique(1)],
            ..Table::default()
        };
        for (action, replaces, acts) in [
            (Action::NoAction, true, false),
            (Action::Restrict, false, false),
            (Action::Cascade, false, true),
            (Action::SetNull, false, true),
        ] {
            let child = Table {
                columns: vec![column("id", false), column("parent", false)],
                foreign_keys: vec![refers(1, 0, action)],
                ..Table::default()
            };
            let plans = TablePlans::of(&Catalog { tables: vec![parent.clone(), child], ..Catalog::default() });
            let plan = &plans[TableIndex(0)];
            assert_eq!((plan.replaces, plan.cascades_on_delete), (replaces, acts), "{action:?}");
        }
    }
}
