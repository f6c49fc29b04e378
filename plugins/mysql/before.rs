//! The values that rows had in columns that others refer to, before they were changed or deleted while checks are suspended.
//!
//! Owns: which columns are asked for, and remembering what they held. Only rows that refer to one of these values can have
//! lost what they referred to; rows that never had it are none of this transaction's doing. Does not own: asking (`effect`),
//! the verification (`verify`).

use std::collections::{BTreeMap, BTreeSet};

use ebb_sdk::{Block, Operation};
use mysql_async::Value;

use crate::values::Conversion;
use crate::{Session, quoted};

/// What to ask before rows of a table are written.
#[derive(Debug)]
pub(crate) struct Question {
    /// Position in the session's references.
    pub(crate) reference: usize,
    /// Without its condition.
    pub(crate) select: String,
}

/// By the position of the reference.
#[derive(Debug, Default)]
pub(crate) struct Before {
    values: BTreeMap<usize, Vec<Vec<Value>>>,
}

impl Before {
    pub(crate) fn forget(&mut self) {
        self.values.clear();
    }

    /// Nothing refers to a row by NULL.
    pub(crate) fn add(&mut self, reference: usize, found: Vec<Vec<Value>>) {
        let found = found.into_iter().filter(|values| !values.contains(&Value::NULL));
        self.values.entry(reference).or_default().extend(found);
    }

    pub(crate) fn take(&mut self, reference: usize) -> Vec<Vec<Value>> {
        self.values.remove(&reference).unwrap_or_default()
    }
}

/// One for each reference that loses its row by this block, or could. A key stays as it is unless its row is deleted.
pub(crate) fn questions(session: &Session, block: &Block<'_>) -> Vec<Question> {
    let (table, database) = (block.table(), &session.server.database);
    if session.enforces {
        return Vec::new();
    }
    let key: BTreeSet<_> = table.primary_key.iter().map(|&at| table.columns[at].name.as_str()).collect();
    let deletes = matches!(block.operation(), Operation::Delete | Operation::Replace);
    let references = session.tables.references.iter().enumerate();
    references
        .filter(|(_, reference)| reference.parent == table.name && reference.parent_database == *database)
        .filter(|(_, reference)| deletes || !reference.referenced.iter().all(|column| key.contains(column.as_str())))
        .map(|(at, reference)| {
            let columns: Vec<_> = reference
                .referenced
                .iter()
                .map(|name| as_parameter(name, conversion(session, &table.name, name)))
                .collect();
            let select = format!("SELECT {} FROM {}", columns.join(", "), quoted(&table.name));
            Question { reference: at, select }
        })
        .collect()
}

/// The conversion of a column.
pub(crate) fn conversion<'a>(session: &'a Session, table: &str, column: &str) -> Option<&'a Conversion> {
    let details = session.tables.details.get(table)?;
    details.columns.iter().find(|found| found.column == column).map(|found| &found.conversion)
}

/// As a value that a parameter can be: bits come as bytes, and go as a number.
fn as_parameter(column: &str, conversion: Option<&Conversion>) -> String {
    match conversion {
        Some(Conversion::Bit { .. }) => format!("{} + 0", quoted(column)),
        _ => quoted(column),
    }
}
