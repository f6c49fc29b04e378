//! Rows at or below a timestamp that was resolved or applied: a repeat is skipped, any other row is a broken promise.
//!
//! Owns: telling the two apart, and the words for the second. Does not own: how long rows are remembered (`compaction`,
//! `room`). A row that is not remembered any more is never taken for a repeat.

use std::fmt;
use std::io;

use ebb_sdk::{SHOWN_CHARS_MAX, Timestamp, shortened};

use super::fingerprints;
use super::record::{key_text, table_of, timestamp_of};
use super::segments::{Segment, SegmentContent};
use super::sorted_run::SortedRunCursor;
use super::store::{StagingLimits, Store};
use crate::code;
use crate::error::Error;

/// A segment changes its form twice in its life, and is forgotten once.
const LOOKS_MAX: u32 = 10;

/// A row that came after its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    pub table: String,
    /// The JSON text of the primary key, or its beginning.
    pub key: String,
    pub at: Timestamp,
    /// What had been promised to be complete.
    pub floor: Timestamp,
    /// Fingerprints of rows up to here are not kept any more.
    pub forgotten: Timestamp,
    pub limits: StagingLimits,
}

impl Store {
    /// Whether a row of this record key came before. Rows of the newest segments are looked for first.
    pub(super) fn is_repeat(&self, key: &[u8]) -> io::Result<bool> {
        let mut attempts = 0;
        loop {
            match self.look_up(key) {
                // A segment took another form between the look at the list and the look into its file.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < LOOKS_MAX => attempts += 1,
                found => return found,
            }
        }
    }

    fn look_up(&self, key: &[u8]) -> io::Result<bool> {
        let timestamp = timestamp_of(key).unwrap_or(Timestamp::ZERO);
        let segments = self.segments();
        let mut around =
            segments.iter().rev().filter(|segment| segment.span().is_some_and(|span| span.contains(timestamp)));
        around.try_fold(false, |found, segment| Ok(found || self.holds(segment, key)?))
    }

    pub(super) fn late(&self, key: &[u8], value: &[u8], floor: Timestamp) -> Late {
        let state = self.state.lock();
        Late {
            table: readable(state.table_name(table_of(key))),
            key: shortened(key_text(key, value).unwrap_or_default(), SHOWN_CHARS_MAX),
            at: timestamp_of(key).unwrap_or(Timestamp::ZERO),
            floor,
            forgotten: state.forgotten,
            limits: self.limits,
        }
    }

    fn holds(&self, segment: &Segment, key: &[u8]) -> io::Result<bool> {
        let disk = self.disk.as_ref();
        match &segment.content {
            SegmentContent::Memory { rows } => Ok(rows.contains(key)),
            SegmentContent::Fingerprints => fingerprints::contains(disk, &segment.file(), key),
            SegmentContent::SortedRun => {
                let found = SortedRunCursor::seek(disk, &segment.file(), key)?.next(disk)?;
                Ok(found.is_some_and(|(found, _)| *found == *key))
            }
        }
    }
}

/// Tables are registered as JSON of their namespace and name.
pub(super) fn readable(registered: &str) -> String {
    let parsed = serde_json::from_str::<(Vec<String>, String)>(registered);
    parsed.map_or(registered.to_owned(), |(namespace, name)| match namespace.last() {
        Some(schema) => format!("{schema}.{name}"),
        None => name,
    })
}

/// Without the key: CockroachDB keeps what it is answered.
impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, at, floor, forgotten, .. } = self;
        match at <= forgotten {
            true => write!(
                f,
                "a row of {table} came with timestamp {at}, which is so old that it cannot be told whether \
                 it was applied: rows up to {forgotten} are not remembered any more"
            ),
            false => write!(
                f,
                "a row of {table} with timestamp {at} came for the first time after the changefeed had \
                 promised that every row up to {floor} had come"
            ),
        }
    }
}

impl From<Late> for Error {
    fn from(late: Late) -> Self {
        const AGAIN: &str = "move the staging folder aside and start again with the same command: the changefeed is then \
                             created anew at the target's progress (under ebb start create it anew yourself, WITH cursor = that \
                             progress)";
        let (code, hint) = match late.at <= late.forgotten {
            true => (
                code::staging::REPEAT_FORGOTTEN,
                format!(
                    "compare this row on both sides, raise --retireOffset (now {:?}) above the age of the changefeed's \
                 checkpoint, and --staging-max-bytes (now {}) where rows had to be forgotten to make room; then {AGAIN}",
                    late.limits.remember,
                    late.limits.shown_bytes_max()
                ),
            ),
            false => (
                code::staging::LATE_ROW,
                format!(
                    "see whether two changefeeds send to this receiver (SHOW CHANGEFEED JOBS): give each its own; if the table \
                 was added with ALTER CHANGEFEED … ADD … WITH initial_scan, its old rows come after their time: load it \
                 into the target yourself, and add it without; else it is CockroachDB advisory A-104309: upgrade, compare \
                 this row on both sides, and {AGAIN}"
                ),
            ),
        };
        let error = Self::new(code, format!("{late}; it was neither acknowledged nor applied")).hint(hint);
        error.field("table", late.table).field("key", late.key).field("timestamp", late.at.to_string())
    }
}
