//! Rows of many segments as one sequence in commit order.
//!
//! Owns: the merge. Does not own: where segments come from (`segments`). A segment is opened only when the merge reaches
//! its first row, so that reading the start of a long backlog touches few files.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use ebb_sdk::Timestamp;
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::memtable::Memtable;
use super::record::{Entry, timestamp_bytes};
use super::segments::{Segment, SegmentContent};
use super::sorted_run::SortedRunCursor;
use super::table_id::TableId;
use super::unreadable;
use crate::error::Result;

/// Which rows of a table count: those behind `after`, up to `up_to`. Others are as good as not staged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Bounds {
    pub after: Timestamp,
    pub up_to: Option<Timestamp>,
    /// The start of the feed that has taken the table in.
    #[serde(default)]
    pub epoch: i64,
}

impl Bounds {
    fn holds(&self, at: Timestamp) -> bool {
        at > self.after && self.up_to.is_none_or(|up_to| at <= up_to)
    }
}

/// Of the tables that have such, by number.
pub(super) type Bounded = BTreeMap<TableId, Bounds>;

/// Entries in commit order. After an error it ends.
pub struct Scan {
    disk: Arc<dyn Disk>,
    /// The first key that is not wanted any more.
    below: Bytes,
    sources: Vec<Source>,
    /// The smallest key of every source that has one, or a lower bound for a source that is still closed.
    heads: BinaryHeap<Reverse<Head>>,
    last: Bytes,
    bounded: Arc<Bounded>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    key: Bytes,
    source: usize,
    /// `None` for a source that is still closed.
    value: Option<Bytes>,
}

enum Source {
    Closed { segment: Segment, from: Bytes },
    Memory { rows: Arc<Memtable>, chunk: std::vec::IntoIter<(Bytes, Bytes)>, next: Option<Bytes> },
    Run(SortedRunCursor),
}

impl Scan {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        segments: &[Segment],
        (from, below): (&[u8], &[u8]),
        bounded: Arc<Bounded>,
    ) -> Self {
        let from = Bytes::copy_from_slice(from);
        let mut scan = Self {
            disk,
            below: Bytes::copy_from_slice(below),
            sources: Vec::new(),
            heads: BinaryHeap::new(),
            last: Bytes::new(),
            bounded,
        };
        for segment in segments {
            let Some(span) = segment.span() else { continue };
            let oldest = Bytes::copy_from_slice(&timestamp_bytes(span.oldest));
            let start = oldest.max(from.clone());
            if start >= scan.below
                || timestamp_bytes(span.newest).as_slice() < &from[..timestamp_bytes(span.newest).len()]
            {
                continue;
            }
            let source = scan.sources.len();
            scan.sources.push(Source::Closed { segment: segment.clone(), from: from.clone() });
            scan.heads.push(Reverse(Head { key: start, source, value: None }));
        }
        scan
    }

    fn step(&mut self) -> Result<Option<Entry>> {
        while let Some(Reverse(head)) = self.heads.pop() {
            self.advance(head.source).map_err(|error| unreadable(&error))?;
            let Some(value) = head.value else { continue };
            // A row that came again stands in two segments: one of the two is enough.
            if head.key != self.last {
                self.last = head.key.clone();
                let entry = Entry::decode(head.key, value)?;
                if self.bounded.get(&entry.table).is_none_or(|bounds| bounds.holds(entry.timestamp)) {
                    return Ok(Some(entry));
                }
            }
        }
        Ok(None)
    }

    /// Puts the next row of a source among the heads, if it has one that is wanted.
    fn advance(&mut self, source: usize) -> io::Result<()> {
        if let Source::Closed { segment, from } = &self.sources[source] {
            let opened = match &segment.content {
                SegmentContent::Memory { rows, .. } => {
                    Source::Memory { rows: Arc::clone(rows), chunk: Vec::new().into_iter(), next: Some(from.clone()) }
                }
                SegmentContent::SortedRun => {
                    Source::Run(SortedRunCursor::seek(self.disk.as_ref(), &segment.file(), from)?)
                }
                SegmentContent::Fingerprints => return Ok(()),
            };
            self.sources[source] = opened;
        }
        let next = match &mut self.sources[source] {
            Source::Memory { rows, chunk, next } => next_in_memory(rows, chunk, next, &self.below),
            Source::Run(cursor) => cursor.next(self.disk.as_ref())?,
            Source::Closed { .. } => None,
        };
        if let Some((key, value)) = next.filter(|(key, _)| *key < self.below) {
            self.heads.push(Reverse(Head { key, source, value: Some(value) }));
        }
        Ok(())
    }
}

/// `next` is the key to go on from: included at the start, left out once a chunk has ended with it.
fn next_in_memory(
    rows: &Memtable,
    chunk: &mut std::vec::IntoIter<(Bytes, Bytes)>,
    next: &mut Option<Bytes>,
    below: &[u8],
) -> Option<(Bytes, Bytes)> {
    if let Some(row) = chunk.next() {
        return Some(row);
    }
    let from = next.take()?;
    let (read, is_last) = rows.chunk(Bound::Included(&from), below);
    if !is_last && let Some((last, _)) = read.last() {
        // The smallest key behind the last one.
        let mut following = last.to_vec();
        following.push(0);
        *next = Some(following.into());
    }
    *chunk = read.into_iter();
    chunk.next()
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        let step = self.step();
        if step.is_err() {
            self.heads.clear();
        }
        step.transpose()
    }
}
