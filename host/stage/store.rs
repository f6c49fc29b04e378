//! The staging store: rows go in durably and come out in commit order. Plain calls that block; no threads of its own.
//!
//! Owns: what is true after each call, and after a crash in the middle of it. Does not own: writing rows (`append`),
//! room for them (`room`), who calls (`writer`), turning segments into other forms (`compaction`).
//!
//! Invariants: a row is answered for only after its frame is synced; rows at or below `resolved` do not change any more,
//! so that a reader may go on while rows are written. A panic under one of its locks leaves that open, and perhaps half of a
//! change behind it: whoever works on a store is watched, and the process ends then (`crate::threads`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use ebb_sdk::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::disk::{Append, Disk};
use super::log::Tail;
use super::measures::StageMeasures;
use super::memtable::Memtable;
use super::metadata::{self, MetadataFile};
use super::record::scan_key;
use super::recover::recover;
use super::scan::{Bounded, Bounds, Scan};
use super::segments::{Form, STATE, Segment, SegmentContent, SegmentMeta, State, file_name};
use super::table_id::TableId;
use super::{damaged, unreadable};
use crate::error::{Error, Result};

/// How much a store may hold, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagingLimits {
    /// `--staging-max-bytes`: at this size it takes no more rows. Fingerprints give way before.
    pub disk_bytes_max: u64,
    /// `--retireOffset`: how long applied rows are remembered, by the source's clock, as long as there is room.
    pub remember: Duration,
    /// A log that has grown to so many bytes is followed by another.
    pub segment_bytes_max: u64,
}

impl StagingLimits {
    pub const SEGMENT_BYTES_MAX: u64 = 16 << 20;

    /// For a person.
    pub(super) fn shown_bytes_max(&self) -> String {
        if self.disk_bytes_max == u64::MAX { "not set".into() } else { self.disk_bytes_max.to_string() }
    }
}

impl Default for StagingLimits {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self { disk_bytes_max: u64::MAX, remember: day, segment_bytes_max: Self::SEGMENT_BYTES_MAX }
    }
}

/// See the module.
pub(super) struct Store {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) limits: StagingLimits,
    pub(super) log: Mutex<Log>,
    /// Changed by one at a time, and only together with the file.
    pub(super) state: Mutex<State>,
    pub(super) segments: Mutex<Arc<Vec<Segment>>>,
    pub(super) watermarks: Mutex<Watermarks>,
    bounded: Mutex<Arc<Bounded>>,
    pub(super) log_bytes: AtomicU64,
    /// Whether the log has said that applied rows are forgotten before their time.
    pub(super) is_told_forgotten: AtomicBool,
    pub(super) measures: Arc<StageMeasures>,
    id: String,
}

/// The segment that takes rows.
pub(super) struct Log {
    pub(super) number: u64,
    pub(super) file: Box<dyn Append>,
    pub(super) rows: Arc<Memtable>,
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) memory_bytes: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Watermarks {
    pub(super) resolved: Timestamp,
    pub(super) applied: Timestamp,
}

impl Store {
    /// Opens a folder, or makes a new one of an empty folder.
    ///
    /// # Errors
    /// When what was acknowledged is not there or damaged.
    pub(super) fn open(disk: Arc<dyn Disk>, limits: StagingLimits) -> Result<Self> {
        let mut state = State::load(disk.as_ref())?.unwrap_or_else(State::new);
        let last = state.segments.keys().next_back().copied().unwrap_or(0);
        let log_identity = disk.identity(&file_name(last, Form::Log));
        for (&number, meta) in state.segments.clone().iter().filter(|(_, meta)| meta.form == Form::Log) {
            let tail = if number == last { Tail::MayBeTorn } else { Tail::IsWhole };
            recover(disk.as_ref(), &mut state, number, *meta, tail)?;
        }
        for (&number, meta) in &state.segments {
            let name = file_name(number, meta.form);
            match disk.len(&name) {
                Ok(len) if len == meta.bytes => {}
                Ok(_) => return Err(damaged(&name, "it is not as long as it was")),
                Err(error) => return Err(damaged(&name, &error.to_string())),
            }
        }
        // Whatever puts files back gives them another identity, even in a folder that stays.
        let is_known = !state.log.is_empty() && state.segments.contains_key(&last);
        state.is_put_back |= is_known && state.log != log_identity;
        let next = last + 1;
        let file = new_log(disk.as_ref(), next).map_err(|error| unreadable(&error))?;
        state.log = disk.identity(&file_name(next, Form::Log));
        state.segments.insert(next, SegmentMeta::new_log());
        state.save(disk.as_ref()).map_err(|error| unreadable(&error.into()))?;
        state.remove_leftovers(disk.as_ref()).map_err(|error| unreadable(&error))?;
        let log = Log { number: next, file, rows: Arc::default(), frames: 0, bytes: 0, memory_bytes: 0 };
        let segments = state.segments.iter().map(|(&number, &meta)| Segment {
            number,
            content: match meta.form {
                Form::Log => SegmentContent::Memory { rows: Arc::clone(&log.rows) },
                Form::SortedRun => SegmentContent::SortedRun,
                Form::Fingerprints => SegmentContent::Fingerprints,
            },
            meta,
        });
        let segments = Mutex::new(Arc::new(segments.collect()));
        let watermarks = Mutex::new(Watermarks { resolved: state.resolved, applied: Timestamp::ZERO });
        Ok(Self {
            disk,
            limits,
            log: Mutex::new(log),
            id: state.id.to_string(),
            state: Mutex::new(state),
            segments,
            watermarks,
            bounded: Mutex::default(),
            log_bytes: AtomicU64::new(0),
            is_told_forgotten: AtomicBool::new(false),
            measures: Arc::default(),
        })
    }

    /// Whether no changefeed has ever been established on this folder: an empty one, or one whose first start was cut off.
    pub(super) fn is_fresh(&self) -> bool {
        !self.state.lock().is_established
    }

    /// Which folder this is: no other has the same, whatever its name.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// From now on a changefeed may count on what was acknowledged to be here.
    pub(super) fn mark_established(&self) -> Result<()> {
        self.change(|state| state.is_established = true)
    }

    /// Whether the folder, and every file of it that holds rows, is still the one that this process has opened and
    /// written. Cheap enough to be asked before every answer.
    pub(super) fn check(&self) -> Result<()> {
        // Held, so that no file leaves the list meanwhile: one is removed only after.
        let segments = self.segments.lock();
        // A file of fingerprints that is gone is noticed when it is wanted.
        let holds_rows = |segment: &&Segment| !matches!(segment.content, SegmentContent::Fingerprints);
        let files = segments.iter().filter(holds_rows).map(Segment::file);
        self.disk.check(&mut std::iter::once(STATE.to_owned()).chain(files))
    }

    /// Rows up to here were never in this folder.
    pub(super) fn begin(&self, at: Timestamp) -> Result<()> {
        self.change(|state| state.released = state.released.max(at))
    }

    /// Whether its files were put back from a backup since a changefeed was established, as far as that can be known.
    pub(super) fn is_put_back(&self) -> bool {
        self.state.lock().is_put_back
    }

    /// It was made sure that nothing is missing in it.
    pub(super) fn compared(&self) -> Result<()> {
        self.change(|state| state.is_put_back = false)
    }

    /// Of these tables only rows within the bounds are read from now on.
    pub(super) fn limit(&self, tables: impl Iterator<Item = (TableId, Bounds)>) {
        let mut bounded = Bounded::clone(&self.bounded.lock());
        bounded.extend(tables);
        bounded.retain(|_, bounds| *bounds != Bounds::default());
        *self.bounded.lock() = Arc::new(bounded);
    }

    /// Why a call of the disk has failed: a folder that is gone explains any error.
    pub(super) fn cause(&self, error: Error) -> Error {
        self.check().err().unwrap_or(error)
    }

    /// Everything up to `applied` is in the target.
    pub(super) fn release(&self, applied: Timestamp) {
        let mut watermarks = self.watermarks.lock();
        watermarks.applied = watermarks.applied.max(applied);
    }

    /// Rows above `after` up to `to`, in commit order.
    pub(super) fn scan(&self, after: Timestamp, to: Timestamp) -> Scan {
        self.range(&scan_key(next(after), TableId(0)), &scan_key(next(to), TableId(0)))
    }

    /// All rows above `after`, in commit order.
    pub(super) fn rest(&self, after: Timestamp) -> Scan {
        self.scan(after, Timestamp { wall: i64::MAX, logical: 0 })
    }

    /// Rows of one source transaction in one table.
    pub(super) fn scan_table(&self, at: Timestamp, table: TableId) -> Scan {
        // Table numbers start at 1 and are given one by one, so the next one never overflows.
        self.range(&scan_key(at, table), &scan_key(at, table.next()))
    }

    pub(super) fn resolved(&self) -> Timestamp {
        self.watermarks.lock().resolved
    }

    pub(super) fn applied(&self) -> Timestamp {
        self.watermarks.lock().applied
    }

    /// The newest timestamp of which rows have been dropped. Below it the folder is incomplete.
    pub(super) fn released(&self) -> Timestamp {
        self.state.lock().released
    }

    /// Numbers for the names of tables, the same at every start. They begin at 1.
    pub(super) fn register_tables(&self, names: &[String]) -> Result<Vec<TableId>> {
        self.change(|state| {
            for name in names {
                let next = state.tables.values().max().map_or(TableId(1), |last| last.next());
                state.tables.entry(name.clone()).or_insert(next);
            }
        })?;
        let state = self.state.lock();
        Ok(names.iter().map(|name| state.tables[name]).collect())
    }

    /// The numbers of all tables that this folder has ever had rows of.
    pub(super) fn table_numbers(&self) -> Vec<TableId> {
        self.state.lock().tables.values().copied().collect()
    }

    /// Changes the state and saves it, if it is another then.
    fn change(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.state.lock();
        let mut changed = state.clone();
        change(&mut changed);
        if changed != *state {
            changed.save(self.disk.as_ref()).map_err(|error| unreadable(&error.into()))?;
            *state = changed;
        }
        Ok(())
    }

    pub(super) fn load<T: DeserializeOwned>(&self, file: MetadataFile) -> Result<Option<T>> {
        metadata::load(self.disk.as_ref(), file)
    }

    pub(super) fn save<T: Serialize + ?Sized>(&self, file: MetadataFile, value: &T) -> Result<()> {
        metadata::save(self.disk.as_ref(), file, value)
    }

    pub(super) fn segments(&self) -> Arc<Vec<Segment>> {
        Arc::clone(&self.segments.lock())
    }

    /// Makes the list of a saved state the one that counts.
    pub(super) fn publish(&self, change: impl FnOnce(&mut Vec<Segment>)) {
        let mut segments = self.segments.lock();
        let mut list = segments.as_ref().clone();
        change(&mut list);
        *segments = Arc::new(list);
    }

    fn range(&self, from: &[u8], below: &[u8]) -> Scan {
        Scan::new(Arc::clone(&self.disk), &self.segments(), (from, below), Arc::clone(&self.bounded.lock()))
    }
}

/// Whether an error of the disk may pass by itself.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(super) fn new_log(disk: &dyn Disk, number: u64) -> io::Result<Box<dyn Append>> {
    let file = disk.create(&file_name(number, Form::Log))?;
    disk.sync_names()?;
    Ok(file)
}

/// The next timestamp; no commit lies between.
fn next(timestamp: Timestamp) -> Timestamp {
    match timestamp.logical.checked_add(1) {
        Some(logical) => Timestamp { logical, ..timestamp },
        None => Timestamp { wall: timestamp.wall.saturating_add(1), logical: 0 },
    }
}
