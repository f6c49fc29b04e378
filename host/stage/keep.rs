//! What becomes of segments that take no more rows: applied ones are reduced to fingerprints and at last forgotten, others
//! are sorted to disk when memory is short.
//!
//! Owns: these steps, each of which may be cut off by a crash at any line: a new file is durable before the state lists
//! it, and the old one is removed after. Does not own: when it is called.

use std::io;
use std::time::Duration;

use ebb_sdk::Timestamp;

use super::recover::write_run;
use super::run::RunCursor;
use super::seen::SeenWriter;
use super::segments::{Content, Form, Listed, NotSaved, Segment, file_name};
use super::store::{Store, is_full, lock};
use super::unreadable;
use crate::error::Result;

/// Full segments that stay in memory: most are applied before they would have to be sorted to disk.
const IN_MEMORY_MAX: usize = 1;

/// What a segment becomes.
#[derive(Clone, Copy)]
enum Step {
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
    pub fn maintain(&self) -> Result<()> {
        let segments = self.segments();
        let Some((_, full)) = segments.split_last() else { return Ok(()) };
        let applied = self.applied();
        let in_memory = full.iter().filter(|segment| matches!(segment.content, Content::Memory { .. })).count();
        let mut to_sort = in_memory.saturating_sub(IN_MEMORY_MAX);
        for segment in full {
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
    fn take_on_a_full_disk(&self, segment: &Segment, step: Step, error: io::Error) -> io::Result<()> {
        match step {
            Step::Become(Form::Seen) if is_full(&error) => match self.forget(self.segment_bytes_max())? {
                true => self.take(segment, step),
                false => self.take(segment, Step::Drop),
            },
            _ => Err(error),
        }
    }

    fn step(&self, segment: &Segment, applied: Timestamp, to_sort: &mut usize) -> Step {
        let Some(span) = segment.span() else { return Step::Drop };
        match &segment.content {
            Content::Seen if span.newest < before(applied, self.limits.remember) => Step::Drop,
            Content::Seen => Step::Stay,
            _ if span.newest <= applied => Step::Become(Form::Seen),
            Content::Memory { .. } if *to_sort > 0 => {
                *to_sort -= 1;
                Step::Become(Form::Run)
            }
            Content::Memory { .. } | Content::Run => Step::Stay,
        }
    }

    fn take(&self, segment: &Segment, step: Step) -> io::Result<()> {
        let bytes = match step {
            Step::Stay => return Ok(()),
            Step::Drop => 0,
            Step::Become(form) => match self.write_as(segment, form) {
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
                if let Step::Become(form) = step
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
        if let (Form::Run, Content::Memory { rows }) = (form, &segment.content) {
            return write_run(disk, segment.number, rows);
        }
        let mut seen = SeenWriter::default();
        match &segment.content {
            Content::Memory { rows } => rows.for_each(|key, _| {
                seen.push(key);
                io::Result::Ok(())
            })?,
            _ => {
                let mut rows = RunCursor::seek(disk, &segment.file(), &[])?;
                while let Some((key, _)) = rows.next(disk)? {
                    seen.push(&key);
                }
            }
        }
        let bytes = seen.write(disk, &file_name(segment.number, Form::Seen))?;
        disk.sync_names()?;
        Ok(bytes)
    }

    fn save_step(&self, segment: &Segment, step: &Step, bytes: u64) -> io::Result<Listing> {
        let mut state = lock(&self.state);
        let mut changed = state.clone();
        // Written with the same state that drops the rows: a store that has dropped rows must know it.
        let newest = segment.span().map_or(Timestamp::ZERO, |span| span.newest);
        let listed = match step {
            Step::Become(form) => {
                let oldest = segment.span().map_or(Timestamp::ZERO, |span| span.oldest);
                Some(Listed { form: *form, oldest, newest, bytes, frames: None })
            }
            Step::Drop | Step::Stay => None,
        };
        match listed {
            Some(listed) => {
                changed.segments.insert(segment.number, listed);
                if listed.form == Form::Seen {
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
        self.publish(|list| match (listed, list.iter().position(|other| other.number == segment.number)) {
            (Some(listed), Some(at)) => {
                let content = if listed.form == Form::Run { Content::Run } else { Content::Seen };
                list[at] = Segment { number: segment.number, content, listed };
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
