//! A row that the target does not take, with what is known of which one it is.
//!
//! Owns: telling two of them apart. Does not own: finding out which row it was (the plugin, `encode`), waiting for it (`wait`).

use std::collections::BTreeSet;

use ebb_sdk::Topic;

use crate::error::Error;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct RefusedRow {
    pub error: Error,
    /// The name of its table for messages, where it is known.
    pub table: Option<String>,
    /// Its primary key for messages, where it is known.
    pub key: Option<String>,
    /// The constraint that it would violate.
    pub constraint: Option<String>,
    /// Whose rows may change what becomes of it: its own, and others that the attempt has met; `None` where one is not known.
    pub tables: BTreeSet<Option<String>>,
    /// A trigger refused it, which may look at any table.
    pub depends_on_any: bool,
}

impl From<ebb_sdk::Error> for RefusedRow {
    fn from(error: ebb_sdk::Error) -> Self {
        let (table, key, constraint) = (error.table.clone(), error.key.clone(), error.constraint.clone());
        let (tables, depends_on_any) = (BTreeSet::from([table.clone()]), error.topic == Topic::Trigger);
        Self { error: error.into(), table, key, constraint, tables, depends_on_any }
    }
}

impl RefusedRow {
    /// A row of a table, whose key nobody asked for.
    pub(super) fn of(table: &ebb_sdk::Table, error: Error) -> Self {
        let table = Some(table.to_string());
        let tables = BTreeSet::from([table.clone()]);
        Self { error, table, key: None, constraint: None, tables, depends_on_any: false }
    }

    /// Whether two refusals are about one row, as far as they say: without a key only the target's words tell.
    pub(super) fn is_same_row(&self, other: &Self) -> bool {
        let is_same = (&self.table, &self.key) == (&other.table, &other.key);
        is_same && (self.key.is_some() || self.error.message == other.error.message)
    }

    /// With `--on-row-error exit`. A corrected version helps only a run that waits for it (`wait`).
    pub(super) fn ends_the_run(self) -> Error {
        let mend = self.error.hint.clone().unwrap_or_else(|| "make room for the row on the target".to_owned());
        self.error.hint(format!(
            "{mend}, then start again; or correct the row at the source and start again without --on-row-error exit: ebb then \
             applies the new version in place of this one"
        ))
    }

    /// Both are named: the correction of this one may be staged already, and only the other be in its way.
    pub(super) fn with_behind(self, behind: &Self) -> Self {
        let mut error = self.error;
        error.message =
            format!("{}; and together with what is staged behind it: {}", error.message, behind.error.message);
        for (name, value) in
            [("behind_table", &behind.table), ("behind_key", &behind.key), ("behind_constraint", &behind.constraint)]
        {
            error.fields.extend(value.clone().map(|value| (name, value)));
        }
        Self { error, ..self }
    }
}
