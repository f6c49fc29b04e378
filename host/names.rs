//! Names of tables and columns on both sides: the same to the letter, or but for their case.
//!
//! Owns: the comparison, and finding a column by it. Pure.

use ebb_sdk::{ColumnIndex, Table};

/// What a name of the source means on the target.
pub enum ColumnMatch {
    None,
    /// The position of the column.
    One(ColumnIndex),
    /// They differ in case only, and none has the name to the letter.
    Several,
}

/// A word as a shell takes it, for a command that is to be copied.
pub fn word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '-');
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

pub fn same(a: &str, b: &str, case_sensitive: bool) -> bool {
    a == b || (!case_sensitive && a.to_lowercase() == b.to_lowercase())
}

/// The column of this name to the letter, else the only one that differs in its case.
pub fn column(table: &Table, name: &str, case_sensitive: bool) -> ColumnMatch {
    if let Some(at) = table.column(name) {
        return ColumnMatch::One(at);
    }
    let mut folded =
        table.columns.iter().zip(ColumnIndex::all()).filter(|(column, _)| same(&column.name, name, case_sensitive));
    match (folded.next(), folded.next()) {
        (None, _) => ColumnMatch::None,
        (Some((_, at)), None) => ColumnMatch::One(at),
        (Some(_), Some(_)) => ColumnMatch::Several,
    }
}
