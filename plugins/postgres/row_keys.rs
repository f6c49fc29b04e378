//! Primary keys of a table in the order of their index, page by page, and the statement that shows one row.
//!
//! Owns: the texts of keys, the order, the page. Does not own: what becomes of a key (the host).

use ebb_sdk::{Key, KeyPage, Result, Table, Value, is_number};
use tokio_postgres::types::{ToSql, Type};

use crate::column::ColumnType;
use crate::comparison::shown;
use crate::snapshot::not_readable;
use crate::statement::{TargetColumn, qualified};
use crate::values::Conversion;
use crate::verify::key_targets;
use crate::{Session, quoted};

/// The next page. Keys behind `after` share with it all columns but the last, or all but the last two, and so on: each of these
/// is one range of the index, and the ranges in this order are the order of the index.
pub(crate) async fn page(session: &Session, table: &Table, page: &KeyPage) -> Result<Vec<Key>> {
    let key = key_targets(session, table)?;
    let doing = format!("read the primary keys of {table}");
    let mut found = Vec::new();
    let ranges: Vec<usize> = match &page.after {
        None => vec![0],
        Some(_) => (1..=key.len()).rev().collect(),
    };
    for given in ranges {
        let limit = page.limit as usize - found.len();
        if limit == 0 {
            break;
        }
        let sql = range(table, &key, given, limit);
        let after = page.after.as_deref().unwrap_or_default();
        let typed: Vec<_> = after.iter().take(given).map(|text| (text as &(dyn ToSql + Sync), Type::TEXT)).collect();
        let read = async {
            let read = session.client.query_typed(&sql, &typed).await;
            read.map_err(|failure| not_readable(session, table, &failure, &doing))
        };
        for row in session.answered(&doing, read).await? {
            let key = (0..key.len()).map(|at| row.try_get(at)).collect::<Result<Key, _>>();
            found.push(key.map_err(|failure| not_readable(session, table, &failure, &doing))?);
        }
    }
    Ok(found)
}

/// The keys that are equal to the parameters in all columns that are `given` but the last, and greater in that.
fn range(table: &Table, key: &[TargetColumn], given: usize, limit: usize) -> String {
    let condition = |(at, target): (usize, &TargetColumn)| {
        let equals = &target.column_type.equals;
        let operator = if at + 1 == given { greater(equals) } else { equals.clone() };
        format!(
            "t.{} {operator} {}",
            quoted(&target.column.name),
            target.column_type.of_text(&format!("${}::pg_catalog.text", at + 1))
        )
    };
    let conditions: Vec<_> = key.iter().take(given).enumerate().map(condition).collect();
    let filter = if given == 0 { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    let texts: Vec<_> = key.iter().map(text).collect();
    let order: Vec<_> = key.iter().map(|target| format!("t.{}", quoted(&target.column.name))).collect();
    format!(
        "SELECT {} FROM {} AS t{filter} ORDER BY {} LIMIT {limit}",
        texts.join(", "),
        qualified(table),
        order.join(", ")
    )
}

/// The operator of the same family: `OPERATOR("pg_catalog".=)` has a sister.
fn greater(equals: &str) -> String {
    equals.trim_end_matches("=)").to_owned() + ">)"
}

/// A value of a key as CockroachDB reads it, for a value in a column of the type that corresponds.
fn text(target: &TargetColumn) -> String {
    let value = format!("t.{}::{}", quoted(&target.column.name), target.column_type.cast);
    let base = &target.column_type.base;
    match (base.name.as_str(), base.is_array) {
        // Blanks at its end do not count, and no key of the source has any.
        ("bpchar", false) => format!("({value})::pg_catalog.text"),
        // With the separators of the server's locale it would be no number.
        ("money", false) => format!("({value})::pg_catalog.numeric::pg_catalog.text"),
        _ => shown(&target.column_type, &value),
    }
}

/// The statement that shows a row. A literal takes the type of the column that it is compared with.
pub(crate) fn look(session: &Session, table: &Table, key: &[String]) -> String {
    let targets = key_targets(session, table).unwrap_or_default();
    let name = |at: usize| quoted(&table.columns[table.primary_key[at].place()].name);
    let condition = |(at, text): (usize, &String)| match targets.get(at) {
        Some(target) => format!("{} {}", name(at), is_value(&target.column_type, text)),
        None => format!("{} = {}", name(at), literal(text)),
    };
    let key = key.iter().take(table.primary_key.len()).enumerate();
    let conditions: Vec<_> = key.map(condition).collect();
    format!("SELECT * FROM {} WHERE {};", qualified(table), conditions.join(" AND "))
}

/// Of a block's values only the texts are given here: the type tells what they were.
fn is_value(column_type: &ColumnType, text: &str) -> String {
    let value = match &column_type.conversion {
        Conversion::Array(_) if text.starts_with('[') => Value::Json(text),
        _ if is_number(text) => Value::Number(text),
        _ => Value::String(text),
    };
    let converted = column_type.conversion.text(value, &mut false).ok().flatten();
    let literal = literal(converted.as_deref().unwrap_or(text));
    // The server's own operator is found by everybody; that of an extension where its schema is in the path.
    let equals = if column_type.equals == "OPERATOR(\"pg_catalog\".=)" { "=" } else { &column_type.equals };
    match column_type.conversion {
        Conversion::Money { .. } if is_number(text) => format!("{equals} {literal}::numeric::money"),
        _ => format!("{equals} {literal}"),
    }
}

/// A text in quotes that means the same whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_mean_one_text() {
        for (text, expected) in [
            ("7", "'7'"),
            ("", "''"),
            ("O'Neill", "'O''Neill'"),
            (r"\x6869", r"E'\\x6869'"),
            (r"\'; DROP TABLE t; --", r"E'\\''; DROP TABLE t; --'"),
        ] {
            assert_eq!(literal(text), expected, "{text}");
        }
    }

    #[test]
    fn the_sister_of_an_operator() {
        assert_eq!(greater("OPERATOR(\"pg_catalog\".=)"), "OPERATOR(\"pg_catalog\".>)");
    }
}
