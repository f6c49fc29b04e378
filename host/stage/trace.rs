//! What a staging folder knows of one row, also while another process writes to it.
//!
//! Owns: finding every version of a key. Does not own: reading without the lock (`read_only`), what the
//! target has of it, and how it is shown (`commands/trace`). Nothing is written. Values of rows are not returned.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ebb_sdk::Timestamp;

use super::fingerprints;
use super::late::readable;
use super::log::{self, Tail, Unreadable};
use super::read_only::ReadOnly;
use super::record::{Change, Entry, RowBatch, TIMESTAMP_BYTES};
use super::segments::{Form, State, file_name};
use super::sorted_run::SortedRunCursor;
use super::{TableId, damaged, unreadable};
use crate::code;
use crate::error::{Error, Result, listed};

/// A segment takes another form while it is looked at.
const LOOKS_MAX: u32 = 10;
/// The newest of one row.
const VERSIONS_MAX: usize = 1000;

/// How one version of a row stands in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Upsert,
    Delete,
    /// It was applied, and only that it came is remembered.
    Remembered,
}

/// All that is known of one row.
#[derive(Debug)]
pub struct Trace {
    /// As the target calls it.
    pub table: String,
    /// By the time of its source transaction; the newest 1,000.
    pub versions: BTreeMap<Timestamp, Version>,
    /// Every row up to here has come.
    pub resolved: Timestamp,
    /// Rows up to here were dropped, since they are applied.
    pub released: Timestamp,
    /// Rows up to here are not even remembered.
    pub forgotten: Timestamp,
}

/// Looks for a row by its table, with or without schema, and the canonical text of its key.
///
/// # Errors
/// When there is no folder, or no such table in it, or a file of it is damaged.
pub fn trace(folder: &Path, table: &str, key: &str) -> Result<Trace> {
    let disk = ReadOnly(folder.to_owned());
    let mut attempts = 0;
    loop {
        match look(&disk, table, key) {
            Ok(trace) => return Ok(trace),
            Err(Failure::Moved) if attempts < LOOKS_MAX => attempts += 1,
            Err(Failure::Moved) => {
                let error = io::Error::new(io::ErrorKind::NotFound, "its files change faster than they can be read");
                return Err(unreadable(&error));
            }
            Err(Failure::Final(error)) => return Err(error),
        }
    }
}

/// Why a look has failed.
enum Failure {
    /// A file that the list names is gone: the list is another by now.
    Moved,
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Moved } else { Self::Final(unreadable(&error)) }
    }
}

fn look(disk: &ReadOnly, table: &str, key: &str) -> Result<Trace, Failure> {
    let state = State::load(disk)?.ok_or_else(|| no_folder(&disk.0))?;
    let (table, number) = table_named(&state.tables, table)?;
    let mut row = RowBatch::default();
    row.push(Timestamp::ZERO, number, key, Change::Delete(None));
    let record_key = row.records().next().map(|(key, _)| key[TIMESTAMP_BYTES..].to_vec()).unwrap_or_default();
    let mut trace = Trace {
        table,
        versions: BTreeMap::new(),
        resolved: state.resolved,
        released: state.released,
        forgotten: state.forgotten,
    };
    for (&segment, meta) in &state.segments {
        let name = file_name(segment, meta.form);
        match meta.form {
            Form::Log => {
                let replayed = log::replay(disk, &name, segment, Tail::MayBeTorn).map_err(|error| match error {
                    Unreadable::Io(error) => Failure::from(error),
                    Unreadable::Damaged { offset } => {
                        Failure::Final(damaged(&name, &format!("its checksum does not fit at byte {offset}")))
                    }
                })?;
                trace.resolved = trace.resolved.max(replayed.resolved);
                for (found, value) in replayed.records {
                    trace.take(&record_key, &found, || Entry::decode(found.clone(), value))?;
                }
            }
            Form::SortedRun => {
                let mut rows = SortedRunCursor::seek(disk, &name, &[])?;
                while let Some((found, value)) = rows.next(disk)? {
                    trace.take(&record_key, &found, || Entry::decode(found.clone(), value))?;
                }
            }
            Form::Fingerprints => {
                for at in fingerprints::times(disk, &name, &record_key)? {
                    trace.versions.entry(at).or_insert(Version::Remembered);
                }
            }
        }
        while trace.versions.len() > VERSIONS_MAX {
            trace.versions.pop_first();
        }
    }
    Ok(trace)
}

impl Trace {
    fn take(&mut self, wanted: &[u8], found: &[u8], entry: impl FnOnce() -> Result<Entry>) -> Result<()> {
        if found.get(TIMESTAMP_BYTES..) == Some(wanted) {
            let entry = entry()?;
            let version = if entry.is_delete() { Version::Delete } else { Version::Upsert };
            self.versions.insert(entry.timestamp, version);
        }
        Ok(())
    }
}

fn table_named(tables: &BTreeMap<String, TableId>, wanted: &str) -> Result<(String, TableId)> {
    let all = tables.iter().map(|(name, number)| (readable(name), *number));
    let all: Vec<(String, TableId)> = all.collect();
    let is_it = |name: &str| name == wanted || name.rsplit_once('.').is_some_and(|(_, table)| table == wanted);
    let found: Vec<_> = all.iter().filter(|(name, _)| is_it(name)).collect();
    match found[..] {
        [found] => Ok(found.clone()),
        _ => {
            let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
            let what = if found.is_empty() { "no table" } else { "several tables" };
            let hint = match names.is_empty() {
                true => "nothing is staged yet: ask again once rows have come".to_owned(),
                false => format!("give schema and table, one of: {}", listed(&names)),
            };
            Err(Error::new(code::staging::NO_TABLE, format!("the staging folder has {what} called {wanted}"))
                .hint(hint))
        }
    }
}

pub fn no_folder(folder: &Path) -> Error {
    Error::new(code::staging::NOTHING_STAGED, format!("there is no staging folder {}", folder.display()))
        .hint("give --stagingSchema of the run, and --staging-dir if it was given to the run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_meant_by_its_name_or_the_hint_says_which_there_are() {
        let hint = |names: &[&str], wanted| {
            let tables = names.iter().map(|name| ((*name).to_owned(), TableId(1))).collect();
            table_named(&tables, wanted).map(|(name, _)| name).map_err(|error| error.hint.unwrap())
        };
        let (one, other) = (r#"[["d","public"],"t"]"#, r#"[["d","s"],"t"]"#);
        assert_eq!(hint(&[one], "t"), Ok("public.t".into()));
        assert_eq!(hint(&[one, other], "s.t"), Ok("s.t".into()));
        assert_eq!(hint(&[one, other], "t"), Err("give schema and table, one of: public.t, s.t".into()));
        assert_eq!(hint(&[], "t"), Err("nothing is staged yet: ask again once rows have come".into()));
    }
}
