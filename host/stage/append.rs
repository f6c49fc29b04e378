//! Writing a group of requests into the log: the step that makes rows durable.
//!
//! Owns: what is written, what is left out as a repeat, and that nothing counts as written in a folder that is not the one
//! that was opened. Does not own: grouping and answering (`writer`), what the log looks like (`log`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ebb_sdk::Timestamp;

use super::late::Late;
use super::log::FrameBuilder;
use super::memtable::Memtable;
use super::record::{RowBatch, timestamp_of};
use super::segments::{Form, NotSaved, Segment, SegmentContent, SegmentMeta, file_name};
use super::store::{Log, Store, Watermarks, is_full, new_log};
use super::unreadable;
use crate::error::Error;

/// Segments that are full and still in memory; at this number the writer waits.
const FULL_SEGMENTS_MAX: usize = 3;
/// Memory for a row beside its bytes.
const ROW_OVERHEAD_BYTES: u64 = 200;

/// Why rows were not written.
#[derive(Debug)]
pub enum NotWritten {
    /// There is no room now.
    Full(String),
    /// Full segments wait to be sorted to disk: call `compact`.
    Behind,
    /// A row came that the changefeed had promised would not come.
    Late(Box<Late>),
    /// The disk has failed, or the folder is gone. Nothing may be acknowledged any more.
    Failed(Error),
}

impl Store {
    /// Makes rows and a resolved timestamp durable, all of them or none. Repeats are left out; a resolved timestamp does
    /// not go back.
    pub(super) fn write(&self, batches: &[&RowBatch], resolved: Option<Timestamp>) -> Result<(), NotWritten> {
        self.write_frame(batches, resolved).map_err(|why| match why {
            NotWritten::Failed(error) => NotWritten::Failed(self.cause(error)),
            other => other,
        })?;
        // A file can be written and synced long after its name is gone. Repeats are answered for too, so they ask as well.
        self.check().map_err(NotWritten::Failed)
    }

    fn write_frame(&self, batches: &[&RowBatch], resolved: Option<Timestamp>) -> Result<(), NotWritten> {
        let mut log = self.log.lock();
        if log.memory_bytes >= self.segment_bytes_max() {
            self.begin_log(&mut log)?;
        }
        let Watermarks { resolved: floor, applied } = *self.watermarks.lock();
        let mut frame = FrameBuilder::new(batches.iter().map(|rows| FrameBuilder::bytes_of(rows)).sum());
        for (key, value) in batches.iter().flat_map(|rows| rows.records()) {
            let timestamp = timestamp_of(key).unwrap_or(Timestamp::ZERO);
            if timestamp > floor {
                // The target may have been brought further by another folder, whose place this one has taken.
                if timestamp > applied {
                    frame.push(key, value);
                }
            } else if !self.is_repeat(key).map_err(|error| NotWritten::Failed(unreadable(&error)))? {
                return Err(NotWritten::Late(Box::new(self.late(key, value, floor))));
            }
        }
        let resolved = resolved.filter(|&resolved| resolved > floor);
        if frame.is_empty() && resolved.is_none() {
            return Ok(());
        }
        self.append(&mut log, frame, resolved.unwrap_or(Timestamp::ZERO))?;
        if let Some(resolved) = resolved {
            self.watermarks.lock().resolved = resolved;
        }
        Ok(())
    }

    fn append(&self, log: &mut Log, frame: FrameBuilder, resolved: Timestamp) -> Result<(), NotWritten> {
        // Without its resolved timestamp nothing of what takes the room could be applied, and make some.
        let room = if frame.is_empty() { self.free_bytes() } else { self.room_bytes() };
        let frame = frame.finish(log.number, log.frames, resolved);
        let bytes = frame.bytes.len() as u64;
        if bytes > room {
            // Where the log itself is what takes the room, and is applied, it need not be full to go.
            if log.rows.span().is_some_and(|span| span.newest <= self.applied()) {
                self.begin_log(log)?;
            }
            return Err(NotWritten::Full(format!("{bytes} bytes are to be staged, and there is room for {room}")));
        }
        self.give_way(bytes).map_err(not_begun)?;
        while let Err(error) = log.file.append(&frame.bytes) {
            // What was written of it must not stand before the next frame.
            let undone = log.file.truncate(log.bytes);
            if !is_full(&error) || undone.is_err() {
                return Err(NotWritten::Failed(unreadable(&error)));
            }
            // Others may fill the disk faster than it says.
            if !self.forget(bytes).map_err(not_begun)? {
                return Err(NotWritten::Full(error.to_string()));
            }
        }
        // Whether anything is on the disk after a failed sync cannot be found out: there is no second try.
        let begun = Instant::now();
        log.file.sync().map_err(|error| NotWritten::Failed(unreadable(&error)))?;
        self.measures.syncs.observe(begun.elapsed());
        log.frames += 1;
        log.bytes += bytes;
        let mut rows = 0;
        log.rows.insert(frame.records().inspect(|_| rows += 1));
        log.memory_bytes += bytes + rows * ROW_OVERHEAD_BYTES;
        self.log_bytes.store(log.bytes, Ordering::Relaxed);
        Ok(())
    }

    fn begin_log(&self, log: &mut Log) -> Result<(), NotWritten> {
        let full = |segment: &&Segment| matches!(segment.content, SegmentContent::Memory { .. });
        if self.segments().iter().filter(full).count() > FULL_SEGMENTS_MAX {
            return Err(NotWritten::Behind);
        }
        let number = log.number + 1;
        let file = new_log(self.disk.as_ref(), number).map_err(not_begun)?;
        let meta = SegmentMeta { bytes: log.bytes, frames: Some(log.frames), ..SegmentMeta::new_log() };
        let mut state = self.state.lock();
        let mut changed = state.clone();
        changed.resolved = self.watermarks.lock().resolved;
        changed.log = self.disk.identity(&file_name(number, Form::Log));
        changed.segments.insert(log.number, meta);
        changed.segments.insert(number, SegmentMeta::new_log());
        changed.save(self.disk.as_ref()).map_err(NotSaved::lasting).map_err(not_begun)?;
        *state = changed;
        let rows: Arc<Memtable> = Arc::default();
        self.log_bytes.store(0, Ordering::Relaxed);
        self.publish(|list| {
            if let Some(full) = list.last_mut() {
                full.meta = meta;
            }
            let content = SegmentContent::Memory { rows: Arc::clone(&rows) };
            list.push(Segment { number, content, meta: SegmentMeta::new_log() });
        });
        *log = Log { number, file, rows, frames: 0, bytes: 0, memory_bytes: 0 };
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn not_begun(error: io::Error) -> NotWritten {
    match is_full(&error) {
        true => NotWritten::Full(error.to_string()),
        false => NotWritten::Failed(unreadable(&error)),
    }
}
