//! After a start: logs of an earlier process become sorted runs, so that no log is ever written to again.
//!
//! Owns: what of a log counts. Does not own: reading one (`log`).

use std::io;

use super::damaged;
use super::disk::Disk;
use super::log::{self, Tail, Unreadable};
use super::memtable::Memtable;
use super::segments::{Form, SegmentMeta, State, file_name};
use super::sorted_run::SortedRunWriter;
use super::unreadable;
use crate::error::Result;

/// Sorts one log into a sorted run, and says so in the state, which the caller saves.
pub(super) fn recover(disk: &dyn Disk, state: &mut State, number: u64, meta: SegmentMeta, tail: Tail) -> Result<()> {
    let name = file_name(number, Form::Log);
    let replayed = log::replay(disk, &name, number, tail).map_err(|error| match error {
        Unreadable::Io(error) => damaged(&name, &error.to_string()),
        Unreadable::Damaged { offset } => damaged(&name, &format!("its checksum does not fit at byte {offset}")),
    })?;
    if meta.frames.is_some_and(|frames| frames != replayed.frames) {
        return Err(damaged(&name, "frames at its end are missing"));
    }
    if replayed.torn_bytes > 0 {
        tracing::info!(
            file = name,
            bytes = replayed.torn_bytes,
            "a write that was cut off was left out; it was not acknowledged"
        );
    }
    state.resolved = state.resolved.max(replayed.resolved);
    let rows = Memtable::default();
    rows.insert(replayed.records.into_iter());
    match rows.span() {
        None => state.segments.remove(&number),
        Some(span) => {
            let bytes = write_sorted_run(disk, number, &rows).map_err(|error| unreadable(&error))?;
            let meta =
                SegmentMeta { form: Form::SortedRun, oldest: span.oldest, newest: span.newest, bytes, frames: None };
            state.segments.insert(number, meta)
        }
    };
    Ok(())
}

/// Returns the bytes of the file.
pub(super) fn write_sorted_run(disk: &dyn Disk, number: u64, rows: &Memtable) -> io::Result<u64> {
    let mut run = SortedRunWriter::create(disk, &file_name(number, Form::SortedRun))?;
    rows.for_each(|key, value| run.push(key, value))?;
    let bytes = run.finish()?;
    disk.sync_names()?;
    Ok(bytes)
}
