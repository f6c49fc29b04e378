//! Staging without threads: each write and each compaction is a call of its own, so that a simulation can repeat them exactly.
//!
//! Owns: these calls, in the place of an inbox. Does not own: what they do (`append`, `compaction`).

use std::sync::Arc;

use ebb_sdk::Timestamp;
use tokio::sync::watch;

use super::append::NotWritten;
use super::backlog::Backlog;
use super::disk::Disk;
use super::record::RowBatch;
use super::run_state::RunState;
use super::store::{StagingLimits, Store};
use crate::error::Result;
use crate::history::History;

/// See the module.
pub struct Steps {
    store: Arc<Store>,
    resolved: watch::Sender<Timestamp>,
}

impl Steps {
    /// Opens what is on a disk, or makes it new on an empty one.
    pub fn open(disk: Arc<dyn Disk>, limits: StagingLimits) -> Result<(Self, Backlog, RunState)> {
        let store = Arc::new(Store::open(disk, limits)?);
        let (sender, resolved) = watch::channel(store.resolved());
        let backlog = Backlog::new(Arc::clone(&store), resolved, Arc::default());
        let run_state = RunState::new(Arc::clone(&store), History::default());
        Ok((Self { store, resolved: sender }, backlog, run_state))
    }

    /// Makes rows and a resolved timestamp durable, all of them or none.
    pub fn write(&self, batches: &[&RowBatch], resolved: Option<Timestamp>) -> Result<(), NotWritten> {
        self.store.write(batches, resolved)?;
        self.resolved.send_replace(self.store.resolved());
        Ok(())
    }

    /// Sorts and drops whatever there is to sort and to drop.
    pub fn compact(&self) -> Result<()> {
        self.store.compact()
    }
}
