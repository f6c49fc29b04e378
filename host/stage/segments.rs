//! Staged rows on disk: a few keyspaces of the store, filled one after the other and dropped whole, so that releasing
//! applied rows costs no write per row.
//!
//! Owns: which segment takes rows, which may go, and reading all of them as one in commit order.
//! Does not own: durability (`writer`), the form of a record (`record`).

use std::ops::Range;
use std::sync::{Arc, RwLock};

use ebb_sdk::Timestamp;
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, UserKey, UserValue};

use super::record::{Entry, scan_key, timestamp_of};
use super::unreadable;
use crate::error::Result;

/// A segment takes no more rows once it holds so many bytes.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one segment that are kept in memory before they are sorted to disk.
const MEMTABLE_BYTES_MAX: u64 = 16 << 20;
const PREFIX: &str = "rows-";

/// Every segment, oldest first; the last one takes new rows.
pub(super) struct Segments {
    database: Database,
    list: RwLock<Arc<Vec<Segment>>>,
}

#[derive(Clone)]
struct Segment {
    number: u64,
    rows: Keyspace,
    newest: Timestamp,
    bytes: u64,
}

impl Segments {
    pub(super) fn open(database: &Database) -> Result<Self> {
        let names = database.list_keyspace_names();
        let numbers = names.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok());
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        let list: Result<Vec<_>> = numbers.into_iter().map(|number| open_segment(database, number)).collect();
        Ok(Self { database: database.clone(), list: RwLock::new(Arc::new(list?)) })
    }

    /// The keyspace that takes `bytes` of rows up to `newest`; a new segment when the last one is full.
    pub(super) fn active(&self, bytes: u64, newest: Timestamp) -> Result<Keyspace> {
        let mut list = self.snapshot().as_ref().clone();
        if list.last().is_none_or(|segment| segment.bytes > SEGMENT_BYTES_MAX) {
            let number = list.last().map_or(1, |segment| segment.number + 1);
            list.push(open_segment(&self.database, number)?);
        }
        let segment = list.last_mut().expect("one was added when there was none");
        segment.bytes += bytes;
        segment.newest = segment.newest.max(newest);
        let rows = segment.rows.clone();
        self.replace(list);
        Ok(rows)
    }

    /// The newest timestamp of the full segments that hold nothing above `applied`, if there are any.
    pub(super) fn releasable(&self, applied: Timestamp) -> Option<Timestamp> {
        let list = self.snapshot();
        let (_, full) = list.split_last()?;
        full.iter().map(|segment| segment.newest).filter(|&newest| newest <= applied).max()
    }

    /// Drops the full segments that hold nothing above `applied`.
    pub(super) fn release(&self, applied: Timestamp) -> Result<()> {
        let list = self.snapshot();
        let Some((active, full)) = list.split_last() else { return Ok(()) };
        let (gone, mut kept): (Vec<_>, Vec<_>) = full.iter().cloned().partition(|segment| segment.newest <= applied);
        kept.push(active.clone());
        self.replace(kept);
        for segment in gone {
            self.database.delete_keyspace(segment.rows).map_err(unreadable)?;
        }
        Ok(())
    }

    /// Rows above `after` up to `to`, in commit order.
    pub(super) fn scan(&self, after: Timestamp, to: Timestamp) -> Scan {
        self.merge(scan_key(next(after), 0)..scan_key(next(to), 0))
    }

    /// Rows of one timestamp and table.
    pub(super) fn scan_table(&self, at: Timestamp, table: u32) -> Scan {
        // Table numbers start at 1 and are given one by one, so the next one never overflows.
        self.merge(scan_key(at, table)..scan_key(at, table + 1))
    }

    fn merge(&self, range: Range<[u8; 16]>) -> Scan {
        let records = |segment: &Segment| Cursor { records: segment.rows.range(range.clone()), head: None };
        Scan { cursors: self.snapshot().iter().map(records).collect(), started: false }
    }

    fn snapshot(&self) -> Arc<Vec<Segment>> {
        Arc::clone(&self.list.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn replace(&self, list: Vec<Segment>) {
        *self.list.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(list);
    }
}

fn open_segment(database: &Database, number: u64) -> Result<Segment> {
    let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX);
    let rows = database.keyspace(&format!("{PREFIX}{number:010}"), options).map_err(unreadable)?;
    let newest = match rows.last_key_value() {
        Some(last) => timestamp_of(&last.key().map_err(unreadable)?).unwrap_or(Timestamp::ZERO),
        None => Timestamp::ZERO,
    };
    let bytes = rows.disk_space();
    Ok(Segment { number, rows, newest, bytes })
}

/// The next timestamp; no commit lies between.
fn next(timestamp: Timestamp) -> Timestamp {
    match timestamp.logical.checked_add(1) {
        Some(logical) => Timestamp { logical, ..timestamp },
        None => Timestamp { wall: timestamp.wall + 1, logical: 0 },
    }
}

/// Entries of all segments in key order. There are few segments, so the smallest is found by looking at each.
/// After an error it ends.
pub struct Scan {
    cursors: Vec<Cursor>,
    started: bool,
}

struct Cursor {
    records: fjall::Iter,
    head: Option<(UserKey, UserValue)>,
}

impl Cursor {
    fn advance(&mut self) -> Result<()> {
        self.head = self.records.next().map(Guard::into_inner).transpose().map_err(unreadable)?;
        Ok(())
    }
}

impl Scan {
    fn step(&mut self) -> Result<Option<Entry>> {
        if !self.started {
            self.started = true;
            self.cursors.iter_mut().try_for_each(Cursor::advance)?;
        }
        let heads = self.cursors.iter().filter_map(|cursor| cursor.head.as_ref());
        let Some((key, value)) = heads.min_by(|(a, _), (b, _)| a.cmp(b)).cloned() else { return Ok(None) };
        // A row may have been staged again after its segment was full: one of the two is enough.
        for cursor in &mut self.cursors {
            if cursor.head.as_ref().is_some_and(|(head, _)| *head == key) {
                cursor.advance()?;
            }
        }
        Entry::decode(key, value).map(Some)
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        let step = self.step();
        if step.is_err() {
            self.cursors.clear();
        }
        step.transpose()
    }
}
