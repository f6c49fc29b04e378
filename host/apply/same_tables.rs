//! Whether the target's tables are still those that a run was planned with, after it was connected to anew.
//!
//! Owns: the comparison, and where each table stands now. Tables that the run does not write may come and go, unless they
//! refer to one that it does. Pure.

use ebb_sdk::{Catalog, ForeignKey, Table, TableIndex};

/// Where the tables of a run stand in the catalog as it is now, by their position in the one of the start; tables that are
/// gone and not written stand nowhere.
///
/// # Errors
/// The name of a table that has changed.
pub(super) fn positions(
    start: &Catalog,
    now: &Catalog,
    written: impl Iterator<Item = TableIndex>,
) -> Result<Vec<TableIndex>, String> {
    for position in written {
        let table = &start.tables[position];
        let is_same = find(now, table).is_some_and(|at| is_same(start, position, now, at));
        if !is_same {
            return Err(table.to_string());
        }
    }
    Ok(start.tables.iter().map(|table| find(now, table).unwrap_or(TableIndex(u32::MAX))).collect())
}

fn find(catalog: &Catalog, table: &Table) -> Option<TableIndex> {
    let mut places = catalog.tables.iter().zip(TableIndex::all());
    let is_it = |other: &Table| (&other.namespace, &other.name) == (&table.namespace, &table.name);
    places.find(|(other, _)| is_it(other)).map(|(_, at)| at)
}

fn is_same(start: &Catalog, then: TableIndex, now: &Catalog, at: TableIndex) -> bool {
    let alone = |table: &Table| Table { foreign_keys: Vec::new(), ..table.clone() };
    alone(&start.tables[then]) == alone(&now.tables[at])
        && keys_from(start, then) == keys_from(now, at)
        && keys_to(start, then) == keys_to(now, at)
}

/// A table's name and a foreign key, without a position.
type Named<'c> = (&'c [String], &'c str, ForeignKey);

fn named<'c>(table: &'c Table, key: &ForeignKey) -> Named<'c> {
    (&table.namespace, &table.name, ForeignKey { references: TableIndex(0), ..key.clone() })
}

fn keys_from(catalog: &Catalog, at: TableIndex) -> Vec<Named<'_>> {
    let keys = &catalog.tables[at].foreign_keys;
    keys.iter().map(|key| named(&catalog.tables[key.references], key)).collect()
}

fn keys_to(catalog: &Catalog, at: TableIndex) -> Vec<Named<'_>> {
    let of_table = |table| move |key: &ForeignKey| named(table, key);
    let keys = catalog
        .tables
        .iter()
        .flat_map(|table| table.foreign_keys.iter().filter(|key| key.references == at).map(of_table(table)));
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebb_sdk::{Column, ColumnIndex};

    fn table(name: &str, columns: usize, references: &[u32]) -> Table {
        let key = |&parent: &u32| ForeignKey {
            columns: vec![ColumnIndex(0)],
            references: TableIndex(parent),
            ..ForeignKey::default()
        };
        Table {
            namespace: vec!["public".into()],
            name: name.into(),
            columns: vec![Column::default(); columns],
            foreign_keys: references.iter().map(key).collect(),
            ..Table::default()
        }
    }

    fn catalog(tables: &[Table]) -> Catalog {
        Catalog { tables: tables.to_vec(), ..Catalog::default() }
    }

    #[test]
    fn what_a_run_does_not_write_may_change() {
        let start = catalog(&[table("a", 1, &[]), table("b", 2, &[0]), table("idle", 1, &[])]);
        let check = |now: &[Table], expected: Result<&[u32], &str>| {
            let found = positions(&start, &catalog(now), [0, 1].map(TableIndex).into_iter());
            let expected = expected.map(|places| places.iter().copied().map(TableIndex).collect());
            assert_eq!(found, expected.map_err(str::to_owned));
        };
        check(&start.tables, Ok(&[0, 1, 2]));
        let (a, b) = (|| table("a", 1, &[]), |parent| table("b", 2, &[parent]));
        check(&[table("new", 1, &[]), a(), b(1)], Ok(&[1, 2, u32::MAX]));
        check(&[a(), table("b", 3, &[0])], Err("public.b"));
        check(&[a(), table("b", 2, &[])], Err("public.a"));
        check(&[a()], Err("public.a"));
        check(&[a(), b(0), table("child", 1, &[1])], Err("public.b"));
    }
}
