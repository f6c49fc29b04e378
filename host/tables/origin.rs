//! Which table of the source the rows of a table come from, where only their topics tell.
//!
//! Owns: that it is one and the same for the whole life of a staging folder: rows of two tables would overwrite each other in
//! one. Does not own: finding the target's table (`tables`).

use std::collections::BTreeMap;

use ebb_sdk::{SHOWN_CHARS_MAX, Timestamp, shortened};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::code;
use crate::error::{Error, Result};
use crate::stage::{MetadataFile, RunState, TableId};

/// A table of the source as a topic names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Database and schema; `None` for a topic that is a name alone.
    schema: Option<String>,
    name: String,
}

impl Origin {
    pub fn bare(name: &str) -> Self {
        // A quoted topic, up to 25.3, names the same table as a bare one later on.
        let unquoted = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        Self { schema: None, name: unquoted.map_or_else(|| name.to_owned(), |name| name.replace("\"\"", "\"")) }
    }

    pub fn qualified(schema: &str, name: &str) -> Self {
        Self { schema: Some(schema.to_owned()), name: name.to_owned() }
    }

    /// Whether it may be the table of this name. A topic that was registered whole stands for its last part.
    pub fn is_of(&self, name: &str) -> bool {
        self.name.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    }

    /// What both say of one table; `None` when they are two.
    pub(crate) fn merged(&self, other: &Self) -> Option<Self> {
        let is_same = self.name == other.name && self.schema.iter().zip(&other.schema).all(|(one, other)| one == other);
        is_same.then(|| if self.schema.is_some() { self.clone() } else { other.clone() })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What has come so far, by the number of the table in staging.
pub struct Origins {
    run_state: RunState,
    /// Others may add tables to the changefeed.
    is_foreign: bool,
    known: Mutex<BTreeMap<TableId, Origin>>,
}

impl Origins {
    /// Those of the staging folder. `is_foreign`: the changefeed is not created by ebb, which then does not know what was added
    /// to it when.
    pub fn load(run_state: &RunState, is_foreign: bool) -> Result<Self> {
        let known = run_state.load(MetadataFile::Origins)?.unwrap_or_default();
        Ok(Self { run_state: run_state.clone(), is_foreign, known: Mutex::new(known) })
    }

    /// Takes rows of these origins for tables, all of them or none, durably the first time. Only for rows that are taken
    /// otherwise: what was refused must not decide which table of the source is the right one.
    ///
    /// # Errors
    /// When rows of a table have come from another table before.
    pub fn admit(&self, rows: &[(TableId, Origin)]) -> Result<()> {
        let mut known = self.known.lock();
        let Some(changed) = Self::changed(&known, rows)? else { return Ok(()) };
        self.run_state.save(MetadataFile::Origins, &changed)?;
        if self.is_foreign && self.run_state.released() > Timestamp::ZERO {
            for (_, origin) in changed.iter().filter(|(table, _)| !known.contains_key(table)) {
                tracing::info!(
                    "first rows of {origin}: if it was added to the changefeed since that was created, see that the target \
                     holds everything before them"
                );
            }
        }
        *known = changed;
        Ok(())
    }

    /// The same, and nothing is decided by it.
    pub fn check(&self, rows: &[(TableId, Origin)]) -> Result<()> {
        Self::changed(&self.known.lock(), rows).map(drop)
    }

    fn changed(
        known: &BTreeMap<TableId, Origin>,
        rows: &[(TableId, Origin)],
    ) -> Result<Option<BTreeMap<TableId, Origin>>> {
        let mut changed: Option<BTreeMap<TableId, Origin>> = None;
        for (table, origin) in rows {
            let before = changed.as_ref().unwrap_or(known).get(table);
            let merged = match before {
                Some(before) => before.merged(origin).ok_or_else(|| two_tables(before, origin))?,
                None => origin.clone(),
            };
            if before != Some(&merged) {
                changed.get_or_insert_with(|| known.clone()).insert(*table, merged);
            }
        }
        Ok(changed)
    }
}

pub(crate) fn two_tables(one: &Origin, other: &Origin) -> Error {
    let shown = |origin: &Origin| shortened(&origin.to_string(), SHOWN_CHARS_MAX);
    Error::new(
        code::table::ORIGINS,
        format!(
            "rows of two tables of the source, {} and {}, come for one table of the target",
            shown(one),
            shown(other)
        ),
    )
    .hint(
        "they would overwrite each other: leave one of them out of the changefeed, or give --sourceConn and send \
               each to a schema of its own",
    )
    .field("table", shown(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::tempdir;
    use crate::stage::Stage;

    #[test]
    fn one_table_has_one_origin() {
        let folder = tempdir();
        let stage = Stage::open(folder.path(), crate::stage::StagingLimits::default()).unwrap();
        let origins = Origins::load(&stage.run_state, true).unwrap();
        origins.admit(&[(TableId(1), Origin::bare("orders"))]).unwrap();
        origins.admit(&[(TableId(1), Origin::bare("\"orders\""))]).unwrap();
        assert!(origins.admit(&[(TableId(1), Origin::bare("Orders"))]).is_err());
        origins.admit(&[(TableId(1), Origin::qualified("shop.tenant1", "orders"))]).unwrap();
        origins.admit(&[(TableId(1), Origin::bare("orders"))]).unwrap();
        assert!(origins.admit(&[(TableId(1), Origin::qualified("shop.tenant2", "orders"))]).is_err());
        origins.admit(&[(TableId(2), Origin::qualified("shop.tenant2", "orders"))]).unwrap();
        let again = Origins::load(&stage.run_state, true).unwrap();
        let error = again.admit(&[(TableId(1), Origin::qualified("shop.tenant2", "orders"))]).unwrap_err();
        assert!(error.message.contains("shop.tenant1.orders and shop.tenant2.orders"), "{error}");
        // All of a request or nothing of it.
        again.admit(&[(TableId(3), Origin::bare("ITEMS")), (TableId(3), Origin::bare("items"))]).unwrap_err();
        again
            .admit(&[(TableId(3), Origin::bare("items")), (TableId(3), Origin::qualified("shop.tenant1", "items"))])
            .unwrap();
        again.admit(&[(TableId(3), Origin::qualified("shop.tenant2", "items"))]).unwrap_err();
    }
}
