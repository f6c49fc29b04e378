//! In which order the tables of one transaction are written, so that foreign keys hold at every statement.
//!
//! Owns: the order. Does not own: what happens when no order satisfies them; the transaction tries another and then
//! stops. Pure.

use ebb_sdk::{Catalog, Operation};

/// Which operations come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Rows appear before others refer to them, and vanish after nothing refers to them any more.
    UpsertsFirst,
    /// A unique value that a deleted row held is free for another row.
    DeletesFirst,
}

impl Order {
    /// The order to try after this one has met a constraint.
    pub fn other(self) -> Option<Self> {
        match self {
            Self::UpsertsFirst => Some(Self::DeletesFirst),
            Self::DeletesFirst => None,
        }
    }

    pub fn operations(self) -> [Operation; 2] {
        match self {
            Self::UpsertsFirst => [Operation::Upsert, Operation::Delete],
            Self::DeletesFirst => [Operation::Delete, Operation::Upsert],
        }
    }
}

/// For every table of the catalog its place among upserts: a table stands behind all that it refers to. Tables of one
/// cycle stand together, behind what the cycle refers to, in catalog order among themselves.
pub fn ranks(catalog: &Catalog) -> Vec<usize> {
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
    let mut ranks = vec![0; count];
    for (rank, table) in search.cycles.into_iter().flatten().enumerate() {
        ranks[table] = rank;
    }
    ranks
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
            let parent = key.references as usize;
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
    use ebb_sdk::{ForeignKey, Table};

    /// Tables are numbered in the order given; each lists the tables that it refers to.
    fn check(references: &[&[u32]], expected: &[usize]) {
        let table = |parents: &&[u32]| Table {
            foreign_keys: parents
                .iter()
                .map(|&references| ForeignKey { references, ..ForeignKey::default() })
                .collect(),
            ..Table::default()
        };
        let catalog = Catalog { tables: references.iter().map(table).collect(), ..Catalog::default() };
        assert_eq!(ranks(&catalog), expected, "{references:?}");
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
}
