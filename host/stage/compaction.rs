//! What becomes of segments that take no more rows: applied ones are reduced to fingerprints and at last forgotten, others
//! are sorted to disk when memory is short.
//!
//! Owns: these steps, each of which may be cut off by a crash at any line: a new file is durable before the state lists
//! it, and the old one is removed after. Does not own: giving way to rows (`room`).

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ebb_sdk::Timestamp;

use super::fingerprints::FingerprintWriter;
use super::recover::write_sorted_run;
use super::segments::{Form, NotSaved, Segment, SegmentContent, SegmentMeta, file_name};
use super::sorted_run::SortedRunCursor;
use super::space::Space;
use super::store::{Store, is_full};
use super::unreadable;
use crate::error::Result;

/// Full segments that stay in memory: most are applied before they would have to be sorted to disk.
const IN_MEMORY_MAX: usize = 1;
/// How often applied segments are looked for when nothing else happens.
const INTERVAL: Duration = Duration::from_secs(1);

/// Sorts, drops and measures until the writer has ended. Apart from the writer, which must not wait for it.
pub(super) fn run(store: &Store, woken: &Receiver<()>, space: &Space) -> Result<()> {
    let heartbeat = &store.measures.compaction;
    let _alive = heartbeat.begin();
    loop {
        heartbeat.beat();
        space.sample(Instant::now(), store.usage());
        // Also while nothing arrives, so that a folder that is gone does not wait for a request to be noticed.
        store.compact().map_err(|error| store.cause(error)).and_then(|()| store.check())?;
        heartbeat.rest();
        if let Err(RecvTimeoutError::Disconnected) = woken.recv_timeout(INTERVAL) {
            return Ok(());
        }
    }
}

/// What a segment becomes.
#[derive(Clone, Copy)]
enum CompactionStep {
    Stay,
    Drop,
    Become(Form),
}

/// What became of a segment's place in the list.
enum Listing {
    Changed,
    /// It was not in the list any more, and its file is somebody else's to remove.
    Gone,
}

impl Store {
    /// Does whatever there is to do now. A full disk is not an error: the step is left for later.
    pub(super) fn compact(&self) -> Result<()> {
        let segments = self.segments();
        let Some((_, full)) = segments.split_last() else { return Ok(()) };
        let applied = self.applied();
        let in_memory = full.iter().filter(|segment| matches!(segment.content, SegmentContent::Memory { .. })).count();
        let mut to_sort = in_memory.saturating_sub(IN_MEMORY_MAX);
        for segment in full {
            self.measures.compaction.beat();
            let step = self.step(segment, applied, &mut to_sort);
            match self.take(segment, step).or_else(|error| self.take_on_a_full_disk(segment, step, error)) {
                Ok(()) => {}
                Err(error) if is_full(&error) => {
                    tracing::debug!("a segment stays as it is, since the disk is full: {error}");
                    return Ok(());
                }
                Err(error) => return Err(unreadable(&error)),
            }
        }
        // Ahead of the writer, which need not wait for it then.
        match self.give_way(self.segment_bytes_max()) {
            Err(error) if !is_full(&error) => Err(unreadable(&error)),
            _ => Ok(()),
        }
    }

    /// Applied rows must not keep the room because there is none to remember them in.
    fn take_on_a_full_disk(&self, segment: &Segment, step: CompactionStep, error: io::Error) -> io::Result<()> {
        match step {
            CompactionStep::Become(Form::Fingerprints) if is_full(&error) => {
                match self.forget(self.segment_bytes_max())? {
                    true => self.take(segment, step),
                    false => self.take(segment, CompactionStep::Drop),
                }
            }
            _ => Err(error),
        }
    }

    fn step(&self, segment: &Segment, applied: Timestamp, to_sort: &mut usize) -> CompactionStep {
        let Some(span) = segment.span() else { return CompactionStep::Drop };
        match &segment.content {
            SegmentContent::Fingerprints if span.newest < before(applied, self.limits.remember) => CompactionStep::Drop,
            SegmentContent::Fingerprints => CompactionStep::Stay,
            _ if span.newest <= applied => CompactionStep::Become(Form::Fingerprints),
            SegmentContent::Memory { .. } if *to_sort > 0 => {
                *to_sort -= 1;
                CompactionStep::Become(Form::SortedRun)
            }
            SegmentContent::Memory { .. } | SegmentContent::SortedRun => CompactionStep::Stay,
        }
    }

    fn take(&self, segment: &Segment, step: CompactionStep) -> io::Result<()> {
        let bytes = match step {
            CompactionStep::Stay => return Ok(()),
            CompactionStep::Drop => 0,
            CompactionStep::Become(form) => match self.write_as(segment, form) {
                Ok(bytes) => bytes,
                Err(error) => {
                    // What there is of the new file takes room away. It is not listed, so it does not count.
                    let _ = self.disk.remove(&file_name(segment.number, form));
                    return Err(error);
                }
            },
        };
        match self.save_step(segment, &step, bytes) {
            Ok(Listing::Changed) => self.disk.remove(&segment.file()),
            Ok(Listing::Gone) => Ok(()),
            Err(error) => {
                if let CompactionStep::Become(form) = step
                    && is_full(&error)
                {
                    let _ = self.disk.remove(&file_name(segment.number, form));
                }
                Err(error)
            }
        }
    }

    fn write_as(&self, segment: &Segment, form: Form) -> io::Result<u64> {
        let disk = self.disk.as_ref();
        if let (Form::SortedRun, SegmentContent::Memory { rows }) = (form, &segment.content) {
            return write_sorted_run(disk, segment.number, rows);
        }
        let mut fingerprints = FingerprintWriter::default();
        match &segment.content {
            SegmentContent::Memory { rows } => rows.for_each(|key, _| {
                fingerprints.push(key);
                io::Result::Ok(())
            })?,
            _ => {
                let mut rows = SortedRunCursor::seek(disk, &segment.file(), &[])?;
                while let Some((key, _)) = rows.next(disk)? {
                    fingerprints.push(&key);
                }
            }
        }
        let bytes = fingerprints.write(disk, &file_name(segment.number, Form::Fingerprints))?;
        disk.sync_names()?;
        Ok(bytes)
    }

    fn save_step(&self, segment: &Segment, step: &CompactionStep, bytes: u64) -> io::Result<Listing> {
        let mut state = self.state.lock();
        let mut changed = state.clone();
        // Written with the same state that drops the rows: a store that has dropped rows must know it.
        let newest = segment.span().map_or(Timestamp::ZERO, |span| span.newest);
        let meta = match step {
            CompactionStep::Become(form) => {
                let oldest = segment.span().map_or(Timestamp::ZERO, |span| span.oldest);
                Some(SegmentMeta { form: *form, oldest, newest, bytes, frames: None })
            }
            CompactionStep::Drop | CompactionStep::Stay => None,
        };
        match meta {
            Some(meta) => {
                changed.segments.insert(segment.number, meta);
                if meta.form == Form::Fingerprints {
                    changed.released = changed.released.max(newest);
                }
            }
            // It has given way to rows meanwhile.
            None if changed.segments.remove(&segment.number).is_none() => return Ok(Listing::Gone),
            None => {
                changed.released = changed.released.max(newest);
                changed.forgotten = changed.forgotten.max(newest);
            }
        }
        changed.save(self.disk.as_ref()).map_err(NotSaved::lasting)?;
        *state = changed;
        self.publish(|list| match (meta, list.iter().position(|other| other.number == segment.number)) {
            (Some(meta), Some(at)) => {
                let content =
                    if meta.form == Form::SortedRun { SegmentContent::SortedRun } else { SegmentContent::Fingerprints };
                list[at] = Segment { number: segment.number, content, meta };
            }
            (None, Some(at)) => drop(list.remove(at)),
            (_, None) => {}
        });
        Ok(Listing::Changed)
    }
}

fn before(timestamp: Timestamp, span: Duration) -> Timestamp {
    let nanos = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    Timestamp { wall: timestamp.wall.saturating_sub(nanos), logical: 0 }
}
