//! Primary keys page by page, and the statement that shows a person the row of one.
//!
//! Owns: the spelling of a key's texts, their order, and literals. Does not own: the snapshot in which pages are read.

use ebb_sdk::{Error, ErrorKind, Key, KeyPage, Result, Table, Value, is_number};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value as Parameter};

use crate::describe::{ColumnType, Tables};
use crate::error::translate;
use crate::statement::beyond;
use crate::values::Conversion;
use crate::{Session, answered, quoted};

/// One page. Every row but those of the page before and earlier ones is behind the last key, in the order of the key's index.
pub(crate) async fn keys(session: &mut Session, table: &Table, page: &KeyPage) -> Result<Vec<Key>> {
    let doing = format!("read the keys of {table}");
    let undescribed = || Error::new(ErrorKind::Broken, format!("cannot {doing}: it was not described"));
    let columns = key_of(&session.tables, table).ok_or_else(undescribed)?;
    let names: Vec<_> = columns.iter().map(|column| quoted(&column.column)).collect();
    let (condition, parameters) = match &page.after {
        None => (String::new(), Params::Empty),
        Some(after) => {
            let (condition, parameters) = behind(&columns, after).map_err(|why| {
                Error::new(ErrorKind::Broken, format!("cannot {doing}: the last key of the page before {why}"))
            })?;
            (format!(" WHERE {condition}"), Params::Positional(parameters))
        }
    };
    let sql = format!(
        "SELECT {0} FROM {1} FORCE INDEX (PRIMARY){condition} ORDER BY {0} LIMIT {2}",
        names.join(", "),
        quoted(&table.name),
        page.limit
    );
    let conn = &mut session.conn;
    let read = async { conn.exec::<Row, _, _>(sql, parameters).await.map_err(|failure| translate(&failure, &doing)) };
    let rows = answered(session.answer_wait, &doing, read).await?;
    let key = |row: Row| row.unwrap().iter().zip(&columns).map(|(value, column)| text(column, value)).collect();
    Ok(rows.into_iter().map(key).collect())
}

fn key_of(tables: &Tables, table: &Table) -> Option<Vec<ColumnType>> {
    let columns = &tables.details.get(&table.name)?.columns;
    table.primary_key.iter().map(|at| columns.get(at.place()).cloned()).collect()
}

/// Rows behind a key.
fn behind(columns: &[ColumnType], after: &[String]) -> Result<(String, Vec<Parameter>), String> {
    if columns.is_empty() || columns.len() != after.len() {
        return Err("has another number of columns".into());
    }
    let values: Vec<_> =
        columns.iter().zip(after).map(|(column, text)| value(column, text)).collect::<Result<_, _>>()?;
    let names: Vec<_> = columns.iter().map(|column| quoted(&column.column)).collect();
    let given: Vec<_> = columns.iter().map(|column| column.conversion.comparable()).collect();
    let (condition, places) = beyond(&names, &given, '>', false);
    Ok((condition, places.into_iter().map(|at| values[at].clone()).collect()))
}

/// As CockroachDB reads a value of the type that the column has there.
fn text(column: &ColumnType, value: &Parameter) -> String {
    let spelling = column.conversion.found(value);
    let text = String::from_utf8_lossy(&spelling);
    let short = || match text.split_once('.') {
        Some((whole, fraction)) => format!("{whole}.{fraction}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text.clone().into_owned(),
    };
    match &column.conversion {
        Conversion::Bytes { .. } => column.conversion.shown(&spelling, usize::MAX),
        Conversion::Timestamp { .. } if column.name == "timestamp" => format!("{}+00", short()),
        Conversion::Timestamp { .. } | Conversion::Time { .. } => short(),
        _ => text.into_owned(),
    }
}

/// The value of a text that [`text`] has made, as it is compared with the column.
fn value(column: &ColumnType, text: &str) -> Result<Parameter, String> {
    let conversion = &column.conversion;
    let none = || "is none of the column's type".to_owned();
    match conversion {
        // In the order of their numbers, which is that of the index.
        Conversion::Enum(members) => {
            let place = members.iter().position(|member| member == text).ok_or_else(none)?;
            Ok(Parameter::UInt(place as u64 + 1))
        }
        Conversion::Set(members) => {
            let is_in = |part: &str| members.iter().position(|member| member == part);
            let parts = text.split(',').filter(|part| !part.is_empty());
            let places: Option<Vec<_>> = parts.map(is_in).collect();
            Ok(Parameter::UInt(places.ok_or_else(none)?.into_iter().fold(0, |bits, place| bits | 1 << place)))
        }
        Conversion::Bit { .. } => u64::from_str_radix(text, 2).map(Parameter::UInt).map_err(|_| none()),
        Conversion::Bytes { .. } => conversion.parameter(Value::String(text), true).map_err(|_| none()),
        Conversion::Integer | Conversion::Float { .. } | Conversion::Double { .. } | Conversion::Year => {
            conversion.parameter(Value::Number(text), true).map_err(|_| none())
        }
        Conversion::Timestamp { .. } => Ok(text.trim_end_matches("+00").into()),
        _ => Ok(text.into()),
    }
}

/// The statement for a person.
pub(crate) fn look(tables: &Tables, table: &Table, key: &[String]) -> String {
    let Some(columns) = key_of(tables, table).filter(|columns| !columns.is_empty() && columns.len() == key.len())
    else {
        return String::new();
    };
    let same =
        |(column, text): (&ColumnType, &String)| format!("{} = {}", quoted(&column.column), literal(column, text));
    let same: Vec<_> = columns.iter().zip(key).map(same).collect();
    format!("SELECT * FROM {} WHERE {};", quoted(&table.name), same.join(" AND "))
}

/// It means the same in every mode and time zone of the person's session.
fn literal(column: &ColumnType, text: &str) -> String {
    let is_bits = |digits: usize| text.len() == digits && text.bytes().all(|digit| matches!(digit, b'0' | b'1'));
    match &column.conversion {
        // A float is compared as the double that it is.
        Conversion::Float { .. } => match text.parse::<f32>() {
            Ok(number) if number.is_finite() => format!("{:?}", f64::from(number)),
            _ => quoted_text(text),
        },
        Conversion::Integer | Conversion::Year | Conversion::Decimal { .. } | Conversion::Double { .. } => {
            if is_number(text) || matches!(text, "true" | "false") { text.to_owned() } else { quoted_text(text) }
        }
        Conversion::Bytes { .. } => {
            let digits = text.strip_prefix("\\x").map_or_else(|| text.replace('-', ""), str::to_owned);
            let is_hex = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            if is_hex { format!("x'{digits}'") } else { quoted_text(text) }
        }
        Conversion::Bit { digits } if is_bits(*digits) => format!("b'{text}'"),
        Conversion::Bit { .. } if is_number(text) || matches!(text, "true" | "false") => text.to_owned(),
        Conversion::Timestamp { .. } => {
            let moment = text.trim_end_matches("+00").trim_end_matches('Z').replacen('T', " ", 1);
            match column.name.as_str() {
                "timestamp" => format!("CONVERT_TZ({}, '+00:00', @@session.time_zone)", quoted_text(&moment)),
                _ => quoted_text(&moment),
            }
        }
        _ => quoted_text(text),
    }
}

/// A backslash means itself in some modes and not in others.
fn quoted_text(text: &str) -> String {
    match text.contains(|letter: char| letter == '\\' || letter.is_control()) {
        true => {
            let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            format!("CONVERT(x'{digits}' USING utf8mb4)")
        }
        false => format!("'{}'", text.replace('\'', "''")),
    }
}
