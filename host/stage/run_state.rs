//! What staging keeps of a run beside its rows: which folder it is, whether a changefeed counts on it, the numbers of its
//! tables, what has happened, and files for the next start.
//!
//! Owns: what of it can be asked and changed. Does not own: how it is kept (`segments`, `metadata`), what the files say.

use std::sync::Arc;

use ebb_sdk::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::metadata::MetadataFile;
use super::scan::Bounds;
use super::store::Store;
use super::table_id::TableId;
use crate::error::Result;
use crate::history::History;

/// Clones share it.
#[derive(Clone)]
pub struct RunState {
    history: History,
    store: Arc<Store>,
}

impl RunState {
    pub(super) fn new(store: Arc<Store>, history: History) -> Self {
        Self { history, store }
    }

    /// What has happened to the runs of this folder.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Which folder this is: no other has the same, whatever its name.
    pub fn id(&self) -> &str {
        self.store.id()
    }

    /// Whether no changefeed has ever been established on this folder: an empty one, or one whose first start was cut off.
    pub fn is_fresh(&self) -> bool {
        self.store.is_fresh()
    }

    /// From now on a changefeed may count on what was acknowledged to be here.
    pub fn mark_established(&self) -> Result<()> {
        self.store.mark_established()
    }

    /// Rows up to here were never in this folder.
    pub fn begin(&self, at: Timestamp) -> Result<()> {
        self.store.begin(at)
    }

    /// Whether its files were put back from a backup since a changefeed was established, as far as that can be known.
    pub fn is_put_back(&self) -> bool {
        self.store.is_put_back()
    }

    /// It was made sure that nothing is missing in it.
    pub fn compared(&self) -> Result<()> {
        self.store.compared()
    }

    /// Every row up to here is staged, or was.
    pub fn resolved(&self) -> Timestamp {
        self.store.resolved()
    }

    /// The newest timestamp of which rows have been dropped. Below it the folder is incomplete.
    pub fn released(&self) -> Timestamp {
        self.store.released()
    }

    /// Whether any row is staged.
    pub fn holds_rows(&self) -> Result<bool> {
        let mut rows = self.store.rest(Timestamp::ZERO);
        rows.next().transpose().map(|first| first.is_some())
    }

    /// Numbers for the names of tables, the same at every start. They begin at 1.
    pub fn register_tables(&self, names: &[String]) -> Result<Vec<TableId>> {
        self.store.register_tables(names)
    }

    /// Of these tables only rows within the bounds are read from now on.
    pub fn limit(&self, tables: impl Iterator<Item = (TableId, Bounds)>) {
        self.store.limit(tables);
    }

    /// What an earlier run has left.
    pub fn load<T: DeserializeOwned>(&self, file: MetadataFile) -> Result<Option<T>> {
        self.store.load(file)
    }

    pub fn save<T: Serialize + ?Sized>(&self, file: MetadataFile, value: &T) -> Result<()> {
        self.store.save(file, value)
    }
}
