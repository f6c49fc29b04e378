//! The texts of the statements that write rows. They depend on table, columns, operation and number of rows.
//!
//! Owns: SQL. Does not own: parameters (`write`). Pure.

use ebb_sdk::{Column, Table};

use crate::describe::ColumnType;
use crate::quoted;

/// One column of a statement and how its values are written.
#[derive(Clone, Debug)]
pub(crate) struct TargetColumn {
    pub(crate) column: Column,
    pub(crate) column_type: ColumnType,
    pub(crate) is_key: bool,
    /// Digits that the column has no room for may be lost.
    pub(crate) may_round: bool,
}

/// `ON DUPLICATE KEY` fires on any unique key. Where another row may be met than the one that is meant, the first
/// assignment divides by whether it is that one.
pub(crate) fn upsert(table: &Table, targets: &[TargetColumn], rows: usize, guards: bool) -> String {
    let is_guarded = guards || targets.iter().any(|target| target.is_key && target.column_type.is_folded());
    let mut assigned: Vec<_> = targets.iter().filter(|target| !target.is_key).map(name).collect();
    let is_key_only = assigned.is_empty();
    if is_key_only {
        // Something must be assigned, and a row that consists of its key has nothing else.
        assigned.extend(targets.iter().filter(|target| target.is_key).map(name).take(1));
    }
    let assignment = |(at, name): (usize, &String)| {
        let value = if is_key_only { name.clone() } else { format!("VALUES({name})") };
        match at == 0 && is_guarded {
            true => format!("{name} = IF(1 / ({}), {value}, NULL)", is_same_row(targets)),
            false => format!("{name} = {value}"),
        }
    };
    let assignments: Vec<_> = assigned.iter().enumerate().map(assignment).collect();
    format!("{} ON DUPLICATE KEY UPDATE {}", insert(table, targets, rows), assignments.join(", "))
}

/// Whether a character set has every letter of a text, which is given twice.
pub(crate) fn has_letters(charset: &str) -> String {
    format!("SELECT CAST(CONVERT(CONVERT(? USING {charset}) USING utf8mb4) AS BINARY) = CAST(? AS BINARY)")
}

pub(crate) fn insert(table: &Table, targets: &[TargetColumn], rows: usize) -> String {
    let names: Vec<_> = targets.iter().map(name).collect();
    let row: Vec<_> = targets.iter().map(|target| target.column_type.conversion.placeholder()).collect();
    let row = format!("({})", row.join(","));
    format!("INSERT INTO {} ({}) VALUES {}", quoted(&table.name), names.join(", "), vec![row.as_str(); rows].join(","))
}

/// How many rows of these keys there are. The key is compared as the column stores it, which is another way than that
/// of [`same_keys`] for letters and days; both take the same parameters.
pub(crate) fn count(table: &Table, key: &[TargetColumn], rows: usize) -> String {
    let stored = |target: &TargetColumn, text: String| match &target.column_type.charset {
        Some(_) => format!("CAST({text} AS BINARY)"),
        None => text,
    };
    let given = |target: &TargetColumn| match &target.column_type.charset {
        Some(charset) => format!("CAST(CONVERT(? USING {charset}) AS BINARY)"),
        None => target.column_type.conversion.comparable_as_stored(),
    };
    let loosely = in_list(
        &key.iter().map(name).collect::<Vec<_>>(),
        &key.iter().map(|target| target.column_type.conversion.comparable_as_stored()).collect::<Vec<_>>(),
        rows,
    );
    let is_same = match is_folded(key) {
        false => loosely,
        true => {
            let columns: Vec<_> = key.iter().map(|target| stored(target, name(target))).collect();
            format!("{loosely} AND {}", in_list(&columns, &key.iter().map(given).collect::<Vec<_>>(), rows))
        }
    };
    format!("SELECT COUNT(*) FROM {} WHERE {is_same} FOR UPDATE", quoted(&table.name))
}

/// One row, whose values for `more` columns come last, as the server has given them.
pub(crate) fn insert_with(table: &Table, targets: &[TargetColumn], more: &[String]) -> String {
    let names: Vec<_> = targets.iter().map(name).chain(more.iter().map(|name| quoted(name))).collect();
    let given = targets.iter().map(|target| target.column_type.conversion.placeholder());
    let values: Vec<_> = given.chain(more.iter().map(|_| "?".to_owned())).collect();
    format!("INSERT INTO {} ({}) VALUES ({})", quoted(&table.name), names.join(", "), values.join(","))
}

/// `targets` are the columns of the key.
pub(crate) fn delete(table: &Table, targets: &[TargetColumn], rows: usize) -> String {
    format!("DELETE FROM {} WHERE {}", quoted(&table.name), same_keys("", targets, rows))
}

/// Gives the rows of these keys NULL in the other columns.
pub(crate) fn release(table: &Table, targets: &[TargetColumn], rows: usize) -> String {
    let blank: Vec<_> =
        targets.iter().filter(|target| !target.is_key).map(|target| format!("{} = NULL", name(target))).collect();
    let key: Vec<_> = targets.iter().filter(|target| target.is_key).cloned().collect();
    format!("UPDATE {} SET {} WHERE {}", quoted(&table.name), blank.join(", "), same_keys("", &key, rows))
}

/// Gives the row of this key other values; the parameters of the key come last.
pub(crate) fn update(table: &Table, targets: &[TargetColumn]) -> String {
    let changed = targets.iter().filter(|target| !target.is_key);
    let changed: Vec<_> =
        changed.map(|target| format!("{} = {}", name(target), target.column_type.conversion.placeholder())).collect();
    let key: Vec<_> = targets.iter().filter(|target| target.is_key).cloned().collect();
    format!("UPDATE {} SET {} WHERE {}", quoted(&table.name), changed.join(", "), same_keys("", &key, 1))
}

/// Rows by their keys, as many as given. Keys that the server compares loosely are compared a second time, letter by
/// letter, so that their parameters come twice: first all of the one list, then all of the other.
pub(crate) fn same_keys(alias: &str, key: &[TargetColumn], rows: usize) -> String {
    let column = |target: &TargetColumn| format!("{alias}{}", name(target));
    let loosely = in_list(
        &key.iter().map(column).collect::<Vec<_>>(),
        &key.iter().map(|target| target.column_type.conversion.comparable()).collect::<Vec<_>>(),
        rows,
    );
    if !is_folded(key) {
        return loosely;
    }
    let exact =
        |text: String, target: &TargetColumn| if target.column_type.is_folded() { exactly(&text) } else { text };
    let exactly = in_list(
        &key.iter().map(|target| exact(column(target), target)).collect::<Vec<_>>(),
        &key.iter().map(|target| exact(target.column_type.conversion.comparable(), target)).collect::<Vec<_>>(),
        rows,
    );
    format!("{loosely} AND {exactly}")
}

/// Whether [`same_keys`] takes its parameters twice.
pub(crate) fn is_folded(key: &[TargetColumn]) -> bool {
    key.iter().any(|target| target.column_type.is_folded())
}

/// `(a,b) IN ((?,?),(?,?))`, and without the inner brackets for one column.
pub(crate) fn in_list(columns: &[String], row: &[String], rows: usize) -> String {
    let (columns, row) = match columns {
        [column] => (column.clone(), row.concat()),
        _ => (format!("({})", columns.join(",")), format!("({})", row.join(","))),
    };
    format!("{columns} IN ({})", vec![row.as_str(); rows].join(","))
}

/// Rows on one side (`>` or `<`) of a key, in the order of the columns, and which of its values each parameter is. Spelled out
/// column by column, since the server finds the place of a comparison of rows only by reading everything before it.
pub(crate) fn beyond(columns: &[String], given: &[String], side: char, includes_key: bool) -> (String, Vec<usize>) {
    let last = columns.len().saturating_sub(1);
    let (mut parts, mut places) = (Vec::new(), Vec::new());
    for at in 0..columns.len() {
        let same = (0..at).map(|at| format!("{} = {}", columns[at], given[at]));
        let equal = if includes_key && at == last { "=" } else { "" };
        let part: Vec<_> = same.chain([format!("{} {side}{equal} {}", columns[at], given[at])]).collect();
        parts.push(format!("({})", part.join(" AND ")));
        places.extend(0..=at);
    }
    (format!("({})", parts.join(" OR ")), places)
}

fn is_same_row(targets: &[TargetColumn]) -> String {
    let same = |target: &TargetColumn| {
        let (name, is_folded) = (name(target), target.column_type.is_folded());
        match is_folded {
            true => format!("{} = {}", exactly(&name), exactly(&format!("VALUES({name})"))),
            false => format!("{name} = VALUES({name})"),
        }
    };
    targets.iter().filter(|target| target.is_key).map(same).collect::<Vec<_>>().join(" AND ")
}

/// The letters of a text, whatever its character set and collation.
fn exactly(text: &str) -> String {
    format!("CAST(CONVERT({text} USING utf8mb4) AS BINARY)")
}

fn name(target: &TargetColumn) -> String {
    quoted(&target.column.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Conversion;

    fn target(name: &str, conversion: Conversion, is_key: bool, is_folded: bool) -> TargetColumn {
        let charset = is_folded.then(|| "utf8mb4".into());
        let column_type = ColumnType {
            column: name.into(),
            conversion,
            nullable: true,
            may_round: false,
            charset,
            collation: None,
            name: String::new(),
            is_unsigned: false,
            precision: None,
            bytes_max: None,
        };
        TargetColumn {
            column: Column { name: name.into(), ..Column::default() },
            column_type,
            is_key,
            may_round: false,
        }
    }

    #[test]
    fn sides_of_a_key() {
        let [names, given] = [["a", "b"], ["?", "CAST(?)"]].map(|texts| texts.map(String::from));
        let behind = "((a > ?) OR (a = ? AND b > CAST(?)))";
        assert_eq!(beyond(&names, &given, '>', false), (behind.into(), vec![0, 0, 1]));
        let until = "((a < ?) OR (a = ? AND b <= CAST(?)))";
        assert_eq!(beyond(&names, &given, '<', true), (until.into(), vec![0, 0, 1]));
        assert_eq!(beyond(&names[..1], &given[..1], '>', true), ("((a >= ?))".into(), vec![0]));
    }

    #[test]
    fn texts() {
        let table = Table { name: "T`".into(), ..Table::default() };
        let id = || target("id", Conversion::Integer, true, false);
        let rows = [id(), target("a", Conversion::Plain, false, true), target("b", Conversion::Plain, false, false)];
        let start = "INSERT INTO `T``` (`id`, `a`, `b`) VALUES (?,?,?),(?,?,?) ON DUPLICATE KEY UPDATE";
        assert_eq!(upsert(&table, &rows, 2, false), format!("{start} `a` = VALUES(`a`), `b` = VALUES(`b`)"));
        assert_eq!(
            upsert(&table, &rows, 2, true),
            format!("{start} `a` = IF(1 / (`id` = VALUES(`id`)), VALUES(`a`), NULL), `b` = VALUES(`b`)")
        );
        assert_eq!(
            upsert(&table, &[id()], 1, false),
            "INSERT INTO `T``` (`id`) VALUES (?) ON DUPLICATE KEY UPDATE `id` = `id`"
        );
        assert_eq!(delete(&table, &[id()], 3), "DELETE FROM `T``` WHERE `id` IN (?,?,?)");
        let decimal = target("d", Conversion::Decimal { scale: 2 }, true, false);
        assert_eq!(
            delete(&table, &[id(), decimal], 2),
            "DELETE FROM `T``` WHERE (`id`,`d`) IN ((?,CAST(? AS DECIMAL(65,2))),(?,CAST(? AS DECIMAL(65,2))))"
        );
        let letters = |text: &str| format!("CAST(CONVERT({text} USING utf8mb4) AS BINARY)");
        let named = target("k", Conversion::Plain, true, true);
        assert_eq!(
            delete(&table, std::slice::from_ref(&named), 1),
            format!("DELETE FROM `T``` WHERE `k` IN (?) AND {} IN ({})", letters("`k`"), letters("?"))
        );
        assert_eq!(
            upsert(&table, std::slice::from_ref(&named), 1, false),
            format!(
                "INSERT INTO `T``` (`k`) VALUES (?) ON DUPLICATE KEY UPDATE `k` = IF(1 / ({} = {}), `k`, NULL)",
                letters("`k`"),
                letters("VALUES(`k`)")
            )
        );
        assert_eq!(release(&table, &rows, 2), "UPDATE `T``` SET `a` = NULL, `b` = NULL WHERE `id` IN (?,?)");
        assert_eq!(update(&table, &rows), "UPDATE `T``` SET `a` = ?, `b` = ? WHERE `id` IN (?)");
    }
}
