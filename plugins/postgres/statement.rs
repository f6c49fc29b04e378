//! The texts of the statements that write rows. They depend on table, columns and operation, not on the number of rows.
//!
//! Owns: SQL. Does not own: parameters (`write`). Pure.

use ebb_sdk::{Column, Identity, Operation, Table};

use crate::column::{ColumnType, Equality};
use crate::quoted;

/// One column of a statement and how its values are written.
#[derive(Clone, Debug)]
pub(crate) struct TargetColumn {
    pub(crate) column: Column,
    pub(crate) column_type: ColumnType,
    pub(crate) is_key: bool,
    /// Digits of its values may be lost.
    pub(crate) may_round: bool,
}

/// The statement that applies `operation` to rows of these columns, each column an array of text.
pub(crate) fn text(table: &Table, operation: Operation, targets: &[TargetColumn]) -> String {
    match operation {
        Operation::Upsert => upsert(table, targets),
        Operation::Delete => delete(table, targets),
        Operation::Update => update(table, targets),
        Operation::Replace => replace(table, targets),
        // One question per constraint; see `verify`.
        Operation::Verify => String::new(),
    }
}

/// The statement that converts and assigns values of one column and of no other, to see whether it takes them.
pub(crate) fn trial(table: &Table, operation: Operation, target: &TargetColumn) -> String {
    match operation {
        Operation::Upsert | Operation::Replace => insert(table, std::slice::from_ref(target)),
        Operation::Delete | Operation::Update | Operation::Verify => {
            format!("SELECT {} FROM {}", values(std::slice::from_ref(target)), rows(1))
        }
    }
}

/// Whether each row of a block must be written for the statement to have done its work.
pub(crate) fn writes_every_row(table: &Table, operation: Operation, targets: &[TargetColumn]) -> bool {
    match operation {
        Operation::Upsert => !assigned(table, targets).is_empty(),
        Operation::Replace => true,
        Operation::Delete | Operation::Update | Operation::Verify => false,
    }
}

/// Columns that PostgreSQL numbers, and never lets an UPDATE change.
pub(crate) fn fixed<'a>(table: &'a Table, targets: &'a [TargetColumn]) -> impl Iterator<Item = &'a str> {
    let columns = targets.iter().map(|target| &target.column);
    let fixed = columns.filter(|column| column.identity == Identity::Always && !is_key(table, column));
    fixed.map(|column| column.name.as_str())
}

fn upsert(table: &Table, targets: &[TargetColumn]) -> String {
    let key: Vec<_> = table.primary_key.iter().map(|&at| quoted(&table.columns[at].name)).collect();
    let assigned: Vec<_> = assigned(table, targets).iter().map(|name| format!("{name} = EXCLUDED.{name}")).collect();
    let unchanged =
        fixed(table, targets).map(quoted).map(|name| format!("t.{name} OPERATOR(pg_catalog.=) EXCLUDED.{name}"));
    let is_exact = folded(table, targets).map(|target| {
        let name = quoted(&target.column.name);
        exactly(&format!("t.{name}"), &format!("EXCLUDED.{name}"))
    });
    let unchanged: Vec<_> = unchanged.chain(is_exact).collect();
    let action = match (assigned.as_slice(), unchanged.as_slice()) {
        ([], _) => "NOTHING".into(),
        (_, []) => format!("UPDATE SET {}", assigned.join(", ")),
        _ => format!("UPDATE SET {} WHERE {}", assigned.join(", "), unchanged.join(" AND ")),
    };
    format!("{} ON CONFLICT ({}) DO {action}", insert(table, targets), key.join(", "))
}

fn insert(table: &Table, targets: &[TargetColumn]) -> String {
    let names: Vec<_> = targets.iter().map(|target| quoted(&target.column.name)).collect();
    let numbered = targets.iter().any(|target| target.column.identity == Identity::Always);
    format!(
        "INSERT INTO {} AS t ({}) {}SELECT {} FROM {}",
        qualified(table),
        names.join(", "),
        if numbered { "OVERRIDING SYSTEM VALUE " } else { "" },
        values(targets),
        rows(targets.len()),
    )
}

/// Columns of the key whose values may be another row's and yet equal.
pub(crate) fn folded<'a>(table: &'a Table, targets: &'a [TargetColumn]) -> impl Iterator<Item = &'a TargetColumn> {
    targets.iter().filter(|target| is_key(table, &target.column) && target.column_type.equality == Equality::Folded)
}

/// Between the parts of a text.
pub(crate) const JOINED: &str = " OPERATOR(pg_catalog.||) ', ' OPERATOR(pg_catalog.||) ";

/// Whether two values are written with the same letters.
pub(crate) fn exactly(a: &str, b: &str) -> String {
    let text = "::pg_catalog.text COLLATE \"C\"";
    format!("{a}{text} OPERATOR(pg_catalog.=) {b}{text}")
}

/// What an existing row of the same key gets. A key column is assigned only where equal values may look different, since
/// that takes a stronger lock on the row, or where an UPDATE is wanted and there is nothing else to assign.
fn assigned(table: &Table, targets: &[TargetColumn]) -> Vec<String> {
    let is_key = |target: &&TargetColumn| is_key(table, &target.column);
    let changes = |target: &&TargetColumn| match is_key(target) {
        true => target.column_type.equality == Equality::Number,
        false => target.column.identity != Identity::Always,
    };
    let names = |chosen: &dyn Fn(&&TargetColumn) -> bool| -> Vec<String> {
        targets.iter().filter(|target| chosen(target)).map(|target| quoted(&target.column.name)).collect()
    };
    let is_conditional = fixed(table, targets).next().is_some() || folded(table, targets).next().is_some();
    match names(&changes) {
        none if none.is_empty() && is_conditional => names(&is_key),
        some => some,
    }
}

fn delete(table: &Table, targets: &[TargetColumn]) -> String {
    format!("DELETE FROM {} AS t USING {} WHERE {}", qualified(table), rows(targets.len()), same_row(table, targets))
}

fn update(table: &Table, targets: &[TargetColumn]) -> String {
    let others = targets.iter().enumerate().filter(|(_, target)| !is_key(table, &target.column));
    let assignment = |(at, target): (usize, &TargetColumn)| {
        format!("{} = {}", quoted(&target.column.name), target.column_type.given(at))
    };
    format!(
        "UPDATE {} AS t SET {} FROM {} WHERE {}",
        qualified(table),
        others.map(assignment).collect::<Vec<_>>().join(", "),
        rows(targets.len()),
        same_row(table, targets)
    )
}

/// The count makes sure that every row is gone before the first one comes.
fn replace(table: &Table, targets: &[TargetColumn]) -> String {
    let is_given = |column: &Column| targets.iter().any(|target| target.column.name == column.name);
    let kept: Vec<_> = table.columns.iter().filter(|column| !column.generated && !is_given(column)).collect();
    if !kept.is_empty() {
        return replace_keeping(table, targets, &kept);
    }
    format!(
        "WITH gone AS (DELETE FROM {} AS t USING {} WHERE {} RETURNING 1) \
         {} WHERE {ALL_GONE}",
        qualified(table),
        rows(targets.len()),
        same_row(table, targets),
        insert(table, targets)
    )
}

const ALL_GONE: &str = "(SELECT pg_catalog.count(*) FROM gone) OPERATOR(pg_catalog.>=) 0";

/// The same where the target has columns of its own: rows that were there keep them, and others get their defaults. The
/// answer has a row for each that was inserted.
fn replace_keeping(table: &Table, targets: &[TargetColumn], kept: &[&Column]) -> String {
    let names = |columns: &mut dyn Iterator<Item = &str>, alias: &str| -> String {
        columns.map(|name| format!("{alias}{}", quoted(name))).collect::<Vec<_>>().join(", ")
    };
    let key = table.primary_key.iter().map(|&at| table.columns[at].name.as_str());
    let kept_names = || kept.iter().map(|column| column.name.as_str());
    let given = names(&mut targets.iter().map(|target| target.column.name.as_str()), "");
    let is_numbered = |column: &Column| column.identity == Identity::Always;
    let overriding = |also_kept: bool| {
        let numbered = targets.iter().any(|target| is_numbered(&target.column))
            || also_kept && kept.iter().any(|column| is_numbered(column));
        if numbered { "OVERRIDING SYSTEM VALUE " } else { "" }
    };
    let is_same = joined("g", targets.iter().enumerate().filter(|(_, target)| is_key(table, &target.column)));
    format!(
        "WITH gone AS (DELETE FROM {table_name} AS t USING {rows} WHERE {same} RETURNING {returned}), \
         back AS (INSERT INTO {table_name} ({given}, {kept_given}) {all}SELECT {values}, {kept_values} FROM {rows} \
             JOIN gone AS g ON {is_same} WHERE {ALL_GONE} RETURNING 1), \
         fresh AS (INSERT INTO {table_name} ({given}) {some}SELECT {values} FROM {rows} \
             WHERE {ALL_GONE} AND NOT EXISTS (SELECT FROM gone AS g WHERE {is_same}) RETURNING 1) \
         SELECT FROM back UNION ALL SELECT FROM fresh",
        table_name = qualified(table),
        rows = rows(targets.len()),
        same = same_row(table, targets),
        returned = names(&mut key.chain(kept_names()), "t."),
        kept_given = names(&mut kept_names(), ""),
        kept_values = names(&mut kept_names(), "g."),
        all = overriding(true),
        some = overriding(false),
        values = values(targets),
    )
}

/// Joins a row `t` with the parameters `v` by the primary key.
pub(crate) fn same_row(table: &Table, targets: &[TargetColumn]) -> String {
    joined("t", targets.iter().enumerate().filter(|(_, target)| is_key(table, &target.column)))
}

/// The same where all columns of the parameters are of the key.
pub(crate) fn same_key(alias: &str, key: &[TargetColumn]) -> String {
    joined(alias, key.iter().enumerate())
}

/// The parameter is cast, not the column, so that the index of the key serves. Among the rows that the index finds, one
/// that the source tells from this one is another row.
fn joined<'a>(alias: &str, key: impl Iterator<Item = (usize, &'a TargetColumn)>) -> String {
    let same = |(at, TargetColumn { column, column_type, .. }): (usize, &TargetColumn)| {
        let (stored, given) = (format!("{alias}.{}", quoted(&column.name)), column_type.given(at));
        let equal = format!("{stored} {} {given}", column_type.equals);
        match column_type.equality {
            Equality::Folded => format!("{equal} AND {}", exactly(&stored, &given)),
            _ => equal,
        }
    };
    key.map(same).collect::<Vec<_>>().join(" AND ")
}

fn values(targets: &[TargetColumn]) -> String {
    let value = |(at, target): (usize, &TargetColumn)| target.column_type.given(at);
    targets.iter().enumerate().map(value).collect::<Vec<_>>().join(", ")
}

/// The parameters as rows `v`, with columns `c0`, `c1` and so on.
pub(crate) fn rows(columns: usize) -> String {
    let (arrays, names) = arrays(columns);
    format!("ROWS FROM ({arrays}) AS v ({names})")
}

/// The same, numbered from 1 by a column `place` at the end.
pub(crate) fn placed_rows(columns: usize) -> String {
    let (arrays, names) = arrays(columns);
    format!("ROWS FROM ({arrays}) WITH ORDINALITY AS v ({names}, place)")
}

fn arrays(columns: usize) -> (String, String) {
    let arrays: Vec<_> = (1..=columns).map(|at| format!("pg_catalog.unnest(${at}::pg_catalog.text[])")).collect();
    let names: Vec<_> = (0..columns).map(|at| format!("c{at}")).collect();
    (arrays.join(", "), names.join(", "))
}

fn is_key(table: &Table, column: &Column) -> bool {
    table.primary_key.iter().any(|&at| table.columns[at].name == column.name)
}

pub(crate) fn qualified(table: &Table) -> String {
    let schema = table.namespace.last().map(|schema| format!("{}.", quoted(schema))).unwrap_or_default();
    format!("{schema}{}", quoted(&table.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Base;
    use crate::keys::KeyForm;
    use crate::values::Conversion;
    use ebb_sdk::ColumnIndex;

    fn check(columns: &[(&str, &str, Identity)], operation: Operation, expected: &str) {
        let columns: Vec<_> = columns
            .iter()
            .map(|&(name, type_name, identity)| Column {
                name: name.into(),
                type_name: type_name.into(),
                identity,
                ..Column::default()
            })
            .collect();
        let targets = columns.iter().map(|column| TargetColumn {
            column: column.clone(),
            column_type: ColumnType {
                cast: column.type_name.clone(),
                equals: "=".into(),
                equality: if column.type_name == "numeric" { Equality::Number } else { Equality::Same },
                conversion: Conversion::Plain,
                key: KeyForm::Text,
                base: Base { name: String::new(), modifier: -1, is_array: false, kind: 'b' },
                modified: None,
            },
            is_key: column.name == "id",
            may_round: false,
        });
        let table = Table {
            namespace: vec!["db".into(), "s".into()],
            name: "T\"".into(),
            columns: columns.clone(),
            primary_key: vec![ColumnIndex(0)],
            ..Table::default()
        };
        let targets: Vec<_> = targets.take(if operation == Operation::Delete { 1 } else { usize::MAX }).collect();
        assert_eq!(text(&table, operation, &targets).replace("pg_catalog.", ""), expected);
    }

    #[test]
    fn texts() {
        use Identity::{Always, None};
        use Operation::{Delete, Upsert};
        let two = "ROWS FROM (unnest($1::text[]), unnest($2::text[])) AS v (c0, c1)";
        let start = r#"INSERT INTO "s"."T""" AS t"#;
        check(
            &[("id", "int8", None), ("a", "text", None)],
            Upsert,
            &format!(
                r#"{start} ("id", "a") SELECT v.c0::int8, v.c1::text FROM {two} ON CONFLICT ("id") DO UPDATE SET "a" = EXCLUDED."a""#
            ),
        );
        check(
            &[("id", "int8", Always)],
            Upsert,
            &format!(
                r#"{start} ("id") OVERRIDING SYSTEM VALUE SELECT v.c0::int8 FROM ROWS FROM (unnest($1::text[])) AS v (c0) ON CONFLICT ("id") DO NOTHING"#
            ),
        );
        check(
            &[("id", "int8", None), ("n", "int8", Always)],
            Upsert,
            &format!(
                r#"{start} ("id", "n") OVERRIDING SYSTEM VALUE SELECT v.c0::int8, v.c1::int8 FROM {two} ON CONFLICT ("id") DO UPDATE SET "id" = EXCLUDED."id" WHERE t."n" OPERATOR(=) EXCLUDED."n""#
            ),
        );
        check(
            &[("id", "numeric", None), ("n", "int8", Always)],
            Upsert,
            &format!(
                r#"{start} ("id", "n") OVERRIDING SYSTEM VALUE SELECT v.c0::numeric, v.c1::int8 FROM {two} ON CONFLICT ("id") DO UPDATE SET "id" = EXCLUDED."id" WHERE t."n" OPERATOR(=) EXCLUDED."n""#
            ),
        );
        check(
            &[("id", "int8", None), ("a", "text", None)],
            Delete,
            r#"DELETE FROM "s"."T""" AS t USING ROWS FROM (unnest($1::text[])) AS v (c0) WHERE t."id" = v.c0::int8"#,
        );
    }
}
