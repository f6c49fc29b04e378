//! After a start: logs of an earlier process become runs, so that no log is ever written to again.
//!
//! Owns: what of a log counts. Does not own: reading one (`log`).

use std::io;

use super::damaged;
use super::disk::Disk;
use super::log::{self, Tail, Unreadable};
use super::memtable::Memtable;
use super::run::RunWriter;
use super::segments::{Form, Listed, State, file_name};
use super::unreadable;
use crate::error::Result;

/// Sorts one log into a run, and says so in the state, which the caller saves.
pub(super) fn recover(disk: &dyn Disk, state: &mut State, number: u64, listed: Listed, tail: Tail) -> Result<()> {
    let name = file_name(number, Form::Log);
    let replayed = log::replay(disk, &name, number, tail).map_err(|error| match error {
        Unreadable::Io(error) => damaged(&name, &error.to_string()),
        Unreadable::Damaged { offset } => damaged(&name, &format!("its checksum does not fit at byte {offset}")),
    })?;
    if listed.frames.is_some_and(|frames| frames != replayed.frames) {
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
            let bytes = write_run(disk, number, &rows).map_err(|error| unreadable(&error))?;
            let listed = Listed { form: Form::Run, oldest: span.oldest, newest: span.newest, bytes, frames: None };
            state.segments.insert(number, listed)
        }
    };
    Ok(())
}

/// Returns the bytes of the file.
pub(super) fn write_run(disk: &dyn Disk, number: u64, rows: &Memtable) -> io::Result<u64> {
    let mut run = RunWriter::create(disk, &file_name(number, Form::Run))?;
    rows.for_each(|key, value| run.push(key, value))?;
    let bytes = run.finish()?;
    disk.sync_names()?;
    Ok(bytes)
}
