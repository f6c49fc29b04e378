//! The rows of one log, in memory and in order. Rows are added while others are read.
//!
//! Owns: the order, and the span of timestamps. Does not own: durability; a row is here only once it is on the disk.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use ebb_sdk::Timestamp;
use parking_lot::RwLock;

use super::record::timestamp_of;

/// Rows copied out at once, so that a reader never holds up the writer for long.
const CHUNK_ROWS: usize = 512;

#[derive(Default)]
pub(super) struct Memtable {
    rows: RwLock<BTreeMap<Bytes, Bytes>>,
}

/// The oldest and the newest timestamp of some rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) oldest: Timestamp,
    pub(super) newest: Timestamp,
}

impl Span {
    pub(super) fn of_keys(oldest: &[u8], newest: &[u8]) -> Self {
        let timestamp = |key| timestamp_of(key).unwrap_or(Timestamp::ZERO);
        Self { oldest: timestamp(oldest), newest: timestamp(newest) }
    }

    pub(super) fn contains(self, timestamp: Timestamp) -> bool {
        self.oldest <= timestamp && timestamp <= self.newest
    }
}

impl Memtable {
    pub(super) fn insert(&self, records: impl Iterator<Item = (Bytes, Bytes)>) {
        self.rows.write().extend(records);
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.rows.read().contains_key(key)
    }

    /// `None` while it is empty.
    pub(super) fn span(&self) -> Option<Span> {
        let rows = self.rows.read();
        let (oldest, newest) = (rows.first_key_value()?.0, rows.last_key_value()?.0);
        Some(Span::of_keys(oldest, newest))
    }

    /// The next rows from `from` on and below `below`; fewer than asked for only at the end.
    pub(super) fn chunk(&self, from: Bound<&[u8]>, below: &[u8]) -> (Vec<(Bytes, Bytes)>, bool) {
        let is_behind = match from {
            Bound::Included(from) | Bound::Excluded(from) => from >= below,
            Bound::Unbounded => false,
        };
        if is_behind {
            return (Vec::new(), true);
        }
        let rows = self.rows.read();
        let range = rows.range::<[u8], _>((from, Bound::Excluded(below)));
        let chunk: Vec<_> = range.take(CHUNK_ROWS).map(|(key, value)| (key.clone(), value.clone())).collect();
        let is_last = chunk.len() < CHUNK_ROWS;
        (chunk, is_last)
    }

    /// Every row in order. Held against writers: for a table that takes no more rows.
    pub(super) fn for_each<E>(&self, mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>) -> Result<(), E> {
        self.rows.read().iter().try_for_each(|(key, value)| visit(key, value))
    }
}
