//! Which column, constraint and row an error of the server is about: it tells them only in its words.
//!
//! Owns: reading them there, and telling a name of the database from other text. Does not own: what an error means (`error`).
//! The words quote values too, and those of a trigger are any words: only what the catalog has as a name goes into the facts
//! of an error, which are shown also where values are hidden.

use std::collections::HashSet;

use ebb_sdk::{Error, Table};
use mysql_async::{Error as Failure, ServerError};

use crate::constraints::Reference;
use crate::error::{DUPLICATE, NO_REFERENCED_ROW};

/// The names of a database, as described last.
#[derive(Debug, Default)]
pub(crate) struct Names {
    tables: HashSet<String>,
    columns: HashSet<String>,
    constraints: HashSet<String>,
}

impl Names {
    /// `constraints`: unique keys and checks.
    pub(crate) fn new(tables: &[Table], references: &[Reference], constraints: impl Iterator<Item = String>) -> Self {
        let mut names = Self { constraints: constraints.collect(), ..Self::default() };
        names.tables.extend(tables.iter().map(|table| table.name.clone()));
        names.tables.extend(references.iter().map(|reference| reference.parent.clone()));
        names.columns.extend(tables.iter().flat_map(|table| &table.columns).map(|column| column.name.clone()));
        names.constraints.extend(references.iter().map(|reference| reference.name.clone()));
        names
    }

    /// Gives an error what the server names.
    pub(crate) fn placed(&self, mut error: Error, failure: &Failure) -> Error {
        let Failure::Server(answer) = failure else { return error };
        if let Some(parent) = parent(answer).filter(|parent| self.tables.contains(*parent)) {
            error = error.hint(ebb_sdk::missing_parent(parent));
        }
        if let Some(column) = column(answer).and_then(|name| known(&self.columns, name)) {
            error = error.column(column);
        }
        if let Some(constraint) = constraint(answer).and_then(|name| known(&self.constraints, name)) {
            error = error.constraint(constraint);
        }
        error
    }
}

/// Before a name the server may put those of the database and the table: `guests.seat`, or with a quote on each side of the
/// point. A name may have points of its own.
fn known<'a>(names: &HashSet<String>, text: &'a str) -> Option<&'a str> {
    let ends = text.match_indices('.').map(|(at, _)| text[at + 1..].trim_start_matches('`'));
    std::iter::once(text).chain(ends).find(|name| names.contains(*name))
}

/// The table that lacks a row: `… FOREIGN KEY (`d`) REFERENCES `dep` (`d`) …`, with its database where that is another.
fn parent(answer: &ServerError) -> Option<&str> {
    let rest = answer.message.rsplit_once(" REFERENCES `").filter(|_| answer.code == NO_REFERENCED_ROW)?.1;
    let name = rest.split_once("` (").map(|(name, _)| name)?;
    Some(name.rsplit("`.`").next().unwrap_or(name))
}

/// Whether the words of an error say which column is meant.
fn names_column(code: u16) -> bool {
    matches!(
        code,
        1048 | 1054 | 1143 | 1264 | 1265 | 1292 | 1366 | 1406 | 1906 | 3105 | 3140..=3158 | 3643 | 4078 | 4079
    )
}

/// `Data too long for column 'note' at row 3`. A value stands before it, if at all.
fn column(answer: &ServerError) -> Option<&str> {
    let message = answer.message.as_str();
    let (start, quote) = ["olumn '", "olumn `"]
        .into_iter()
        .filter(|_| names_column(answer.code))
        .filter_map(|words| Some((message.rfind(words)? + words.len(), words.chars().last()?)))
        .max()?;
    let rest = &message[start..];
    let end = [" at row", " in ", " cannot ", "."].iter().find_map(|next| rest.rfind(&format!("{quote}{next}")));
    Some(end.map_or(rest, |end| &rest[..end]))
}

/// Whether the words of an error end with the number of the row.
fn names_row(code: u16) -> bool {
    matches!(code, 1264 | 1265 | 1292 | 1366 | 1406 | 1411 | 1416 | 3140..=3158)
}

/// Which row of a statement is meant, counted from one.
pub(crate) fn row(failure: &Failure) -> Option<usize> {
    let Failure::Server(answer) = failure else { return None };
    let number = answer.message.rsplit_once(" at row ").filter(|_| names_row(answer.code))?.1;
    number.trim_end_matches('.').parse().ok()
}

fn constraint(answer: &ServerError) -> Option<&str> {
    let message = &answer.message;
    match answer.code {
        DUPLICATE => message.rsplit_once("for key '").map(|(_, name)| name.strip_suffix('\'').unwrap_or(name)),
        1451 | NO_REFERENCED_ROW => message.split_once("CONSTRAINT `")?.1.split('`').next(),
        3819 => message.split('\'').nth(1),
        4025 => message.split('`').nth(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use ebb_sdk::Column;

    use super::*;
    use crate::error::translate;

    fn server(code: u16, message: &str) -> Failure {
        Failure::Server(ServerError { code, state: "23000".into(), message: message.into() })
    }

    fn placed(code: u16, message: &str) -> Error {
        let column = |name: &str| Column { name: name.into(), ..Column::default() };
        let columns = ["no te", "n", "a.b", "it's"].map(column).into();
        let table = Table { name: "dep".into(), columns, ..Table::default() };
        let constraints = ["seat", "PRIMARY", "c_up", "positive", "po.int"].map(String::from).into_iter();
        let names = Names::new(&[table], &[], constraints);
        let failure = server(code, message);
        names.placed(translate(&failure, ""), &failure)
    }

    #[test]
    fn messages_name_column_and_row() {
        for (code, message, expected, row_expected) in [
            (1406, "Data too long for column 'no te' at row 3", Some("no te"), Some(3)),
            (1366, "Incorrect integer value: 'x' for column `d`.`t`.`n` at row 12", Some("n"), Some(12)),
            (1366, "Incorrect integer value: 'column 'canary' for column 'n' at row 1", Some("n"), Some(1)),
            (1366, "Incorrect integer value: 'for column 'canary' at row 9", None, Some(9)),
            (
                3140,
                "Invalid JSON text: \"Invalid value.\" at position 0 in value for column 't.a.b'.",
                Some("a.b"),
                None,
            ),
            (1048, "Column 'it's' cannot be null", Some("it's"), None),
            (1062, "Duplicate entry 'my column 'n' at row 2' for key 'u'", None, None),
            (1644, "column 'n' at row 2", None, None),
        ] {
            assert_eq!(placed(code, message).column.as_deref(), expected, "{message}");
            assert_eq!(row(&server(code, message)), row_expected, "{message}");
        }
    }

    #[test]
    fn messages_name_the_constraint() {
        for (code, message, expected) in [
            (1062, "Duplicate entry '1' for key 'guests.seat'", Some("seat")),
            (1062, "Duplicate entry 'x for key y' for key 'PRIMARY'", Some("PRIMARY")),
            (1062, "Duplicate entry '1' for key 'guests.po.int'", Some("po.int")),
            (1062, "for key 'canary'", None),
            (
                1452,
                "Cannot add or update a child row: a foreign key constraint fails (`d`.`c`, CONSTRAINT `c_up` FOREIGN KEY …",
                Some("c_up"),
            ),
            (3819, "Check constraint 'positive' is violated.", Some("positive")),
            (3819, "Check constraint 'canary' is violated.", None),
            (4025, "CONSTRAINT `positive` failed for `d`.`t`", Some("positive")),
        ] {
            let error = placed(code, message);
            assert_eq!(error.constraint.as_deref(), expected, "{message}");
            assert_eq!(error.conflict, code < 2000);
        }
        let words = |parent: &str| format!("(`d`.`c`, CONSTRAINT `c_up` FOREIGN KEY (`d`) REFERENCES {parent} (`d`))");
        let hints: Vec<_> = ["`dep`", "`e`.`dep`", "`canary`"].map(|parent| placed(1452, &words(parent)).hint).into();
        let expected = Some(ebb_sdk::missing_parent("dep"));
        assert!(iter::zip(hints, [true, true, false]).all(|(hint, is_named)| (hint == expected) == is_named));
    }
}
