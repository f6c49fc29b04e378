//! The way out of staging: rows in commit order, for as long as the target lacks them.
//!
//! Owns: what of them may be read and dropped, and how full it is. Does not own: reading (`scan`), when they are dropped
//! (`compaction`).

use std::sync::Arc;

use ebb_sdk::Timestamp;
use tokio::sync::watch;

use super::measures::StageMeasures;
use super::scan::Scan;
use super::space::{Forecast, Space};
use super::store::Store;
use super::table_id::TableId;
use crate::plugin::Applied;

/// Clones share it.
#[derive(Clone)]
pub struct Backlog {
    store: Arc<Store>,
    resolved: watch::Receiver<Timestamp>,
    space: Arc<Space>,
}

impl Backlog {
    pub(super) fn new(store: Arc<Store>, resolved: watch::Receiver<Timestamp>, space: Arc<Space>) -> Self {
        Self { store, resolved, space }
    }

    /// Rows above `after` up to `to`, in commit order.
    pub fn scan(&self, after: Timestamp, to: Timestamp) -> Scan {
        self.store.scan(after, to)
    }

    /// All rows above `after`, in commit order.
    pub fn rest(&self, after: Timestamp) -> Scan {
        self.store.rest(after)
    }

    /// Rows of one source transaction in one table.
    pub fn scan_table(&self, at: Timestamp, table: TableId) -> Scan {
        self.store.scan_table(at, table)
    }

    /// The numbers of all tables that this folder has ever had rows of.
    pub fn table_numbers(&self) -> Vec<TableId> {
        self.store.table_numbers()
    }

    /// Every row up to here is staged, or was.
    pub fn resolved(&self) -> Timestamp {
        self.store.resolved()
    }

    /// The same, as it moves.
    pub fn watch_resolved(&self) -> watch::Receiver<Timestamp> {
        self.resolved.clone()
    }

    /// What is in the target need not be kept.
    pub fn release(&self, applied: Applied) {
        self.store.release(applied.up_to());
    }

    /// The newest timestamp of which rows have been dropped. Below it the folder is incomplete.
    pub fn released(&self) -> Timestamp {
        self.store.released()
    }

    /// Whether a request waits for room now.
    pub fn holds_requests(&self) -> bool {
        self.space.holds()
    }

    /// How its disk and threads are doing.
    pub fn measures(&self) -> Arc<StageMeasures> {
        Arc::clone(&self.store.measures)
    }

    /// How full it is.
    pub fn forecast(&self) -> Forecast {
        self.space.forecast()
    }
}
