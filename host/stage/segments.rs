//! What staging consists of: segments, each in one of three forms, and the file that lists them.
//!
//! ```text
//! NNNNNNNNNN.log   rows as they came; they stand in memory too
//! NNNNNNNNNN.run   the same rows, sorted
//! NNNNNNNNNN.seen  fingerprints of rows that are applied
//! state            JSON: which segment stands in which form. What it does not list does not count
//! catalog, keys, … JSON: see `metadata`
//! ```
//!
//! Owns: the list, and replacing it in one step. Does not own: when a segment changes its form (`compaction`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use ebb_sdk::Timestamp;
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::memtable::{Memtable, Span};
use super::sealed::{seal, unseal};
use super::table_id::TableId;
use crate::code;
use crate::error::{Error, Result};

/// The version of the folder's format; a newer one is refused, and an older one from here on becomes it. Version 3 has bounds
/// of tables and starts that count once they are established, which an earlier ebb would pass over.
const FORMAT: u32 = 3;
const FORMAT_OLDEST: u32 = 2;
pub(super) const STATE: &str = "state";
/// Added to the name of a file that is about to take another's place.
const NEW: &str = ".new";

/// Some staged rows.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) content: SegmentContent,
    /// Of a segment in a file; that of one in memory still grows.
    pub(super) meta: SegmentMeta,
}

#[derive(Clone)]
pub(super) enum SegmentContent {
    /// In a log too.
    Memory {
        rows: Arc<Memtable>,
    },
    SortedRun,
    Fingerprints,
}

impl Segment {
    pub(super) fn file(&self) -> String {
        file_name(self.number, self.meta.form)
    }

    /// `None` for one without rows.
    pub(super) fn span(&self) -> Option<Span> {
        match &self.content {
            SegmentContent::Memory { rows } => rows.span(),
            SegmentContent::SortedRun | SegmentContent::Fingerprints => {
                Some(Span { oldest: self.meta.oldest, newest: self.meta.newest })
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    Log,
    #[serde(rename = "run")]
    SortedRun,
    #[serde(rename = "seen")]
    Fingerprints,
}

/// What the state file says of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentMeta {
    pub(super) form: Form,
    pub(super) oldest: Timestamp,
    pub(super) newest: Timestamp,
    pub(super) bytes: u64,
    /// Of a log that takes no more rows: how many frames it must have.
    pub(super) frames: Option<u64>,
}

impl SegmentMeta {
    pub(super) fn new_log() -> Self {
        Self { form: Form::Log, oldest: Timestamp::ZERO, newest: Timestamp::ZERO, bytes: 0, frames: None }
    }
}

/// Everything that must outlive the process beside the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    format: u32,
    /// Which folder this is, among all of the same name: a random number.
    pub(super) id: i64,
    /// Whether a changefeed was established that delivers here. Before, the folder holds nothing that it must hold.
    #[serde(rename = "is_settled")]
    pub(super) is_established: bool,
    /// As it stood when the last log was begun; the log may know a later one.
    pub(super) resolved: Timestamp,
    /// The newest timestamp of which rows have been dropped.
    pub(super) released: Timestamp,
    /// The newest timestamp of which not even fingerprints are kept.
    pub(super) forgotten: Timestamp,
    /// Numbers of the tables, by name.
    pub(super) tables: BTreeMap<String, TableId>,
    pub(super) segments: BTreeMap<u64, SegmentMeta>,
    /// The identity of the log that takes rows: in a folder whose files were put back from a backup it is another.
    #[serde(default)]
    pub(super) log: String,
    /// It was another when the folder was opened, and no changefeed has been established since.
    #[serde(default)]
    pub(super) is_put_back: bool,
}

/// A random number, never negative.
pub fn new_number() -> i64 {
    let bytes = ring::rand::generate::<[u8; 8]>(&ring::rand::SystemRandom::new()).map(ring::rand::Random::expose);
    // Without random numbers there would be no TLS either.
    i64::from_be_bytes(bytes.expect("the system has random numbers")) & i64::MAX
}

/// The one number that a file of any version has.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            format: FORMAT,
            id: new_number(),
            is_established: false,
            resolved: Timestamp::ZERO,
            released: Timestamp::ZERO,
            forgotten: Timestamp::ZERO,
            tables: BTreeMap::new(),
            segments: BTreeMap::new(),
            log: String::new(),
            is_put_back: false,
        }
    }

    /// What was saved last; `None` in a new folder.
    pub(super) fn load(disk: &dyn Disk) -> Result<Option<Self>> {
        let names = disk.names().map_err(|error| super::unreadable(&error))?;
        if !names.iter().any(|name| name == STATE) {
            // A first start that was cut off leaves a log without rows and a state that was not renamed.
            let first_log = file_name(1, Form::Log);
            return match names.iter().find(|name| !name.ends_with(NEW) && **name != first_log) {
                None => Ok(None),
                Some(other) => Err(Error::new(code::staging::STATE_MISSING, format!("the staging folder holds {other}, and no file \"{STATE}\""))
                    .hint(
                        "if it is not a staging folder of ebb, choose another --stagingSchema or --staging-dir; if its state was \
                         removed, put it back, or move the folder aside and start again with the same command: what the \
                         target lacks is then sent once more from the target's progress on",
                    )),
            };
        }
        let text = read(disk, STATE).map_err(|error| super::unreadable(&error))?;
        parse(&text).map(Some)
    }

    /// Replaces the file in one step.
    pub(super) fn save(&self, disk: &dyn Disk) -> Result<(), NotSaved> {
        let json = serde_json::to_string(self).map_err(|error| NotSaved::Before(io::Error::other(error)))?;
        replace(disk, STATE, seal(&json).as_bytes())
    }

    /// Removes files that are not listed: what a crash left of a step that was not completed.
    pub(super) fn remove_leftovers(&self, disk: &dyn Disk) -> io::Result<()> {
        for name in disk.names()? {
            let is_listed = self.segments.iter().any(|(&number, meta)| file_name(number, meta.form) == name);
            let is_other =
                name == STATE || !(name.ends_with(".log") || name.ends_with(".run") || name.ends_with(".seen"));
            if !is_listed && !is_other {
                disk.remove(&name)?;
            }
        }
        Ok(())
    }

    pub(super) fn table_name(&self, number: TableId) -> &str {
        self.tables.iter().find(|(_, known)| **known == number).map_or("an unknown table", |(name, _)| name)
    }
}

/// Replaces a file in one step.
pub(super) fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), NotSaved> {
    let new = format!("{name}{NEW}");
    let write = || {
        let mut file = disk.create(&new)?;
        file.append(bytes)?;
        file.sync()
    };
    write().map_err(NotSaved::Before)?;
    disk.rename(&new, name).map_err(NotSaved::Perhaps)?;
    disk.sync_names().map_err(NotSaved::Perhaps)
}

/// Why a file was not replaced, and whether the old one certainly still counts.
#[derive(Debug)]
pub(super) enum NotSaved {
    Before(io::Error),
    Perhaps(io::Error),
}

impl NotSaved {
    /// The error for a caller that goes on with the old file while the disk is full: only where that one certainly counts
    /// may it look as if it could pass.
    pub(super) fn lasting(self) -> io::Error {
        match self {
            Self::Before(error) => error,
            Self::Perhaps(error) => io::Error::other(error),
        }
    }
}

impl From<NotSaved> for io::Error {
    fn from(error: NotSaved) -> Self {
        match error {
            NotSaved::Before(error) | NotSaved::Perhaps(error) => error,
        }
    }
}

pub(super) fn file_name(number: u64, form: Form) -> String {
    let extension = match form {
        Form::Log => "log",
        Form::SortedRun => "run",
        Form::Fingerprints => "seen",
    };
    format!("{number:010}.{extension}")
}

pub(super) fn read(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(disk.len(name)?).map_err(io::Error::other)?];
    disk.read_at(name, 0, &mut bytes)?;
    Ok(bytes)
}

fn parse(text: &[u8]) -> Result<State> {
    let damaged = || super::damaged(STATE, "it is not what a state is");
    let json = unseal(STATE, text)?;
    let versioned: Versioned = serde_json::from_str(json).map_err(|_| damaged())?;
    if !(FORMAT_OLDEST..=FORMAT).contains(&versioned.format) {
        let message = format!("the staging folder has format {}, and this ebb knows format {FORMAT}", versioned.format);
        return Err(Error::new(code::staging::OTHER_FORMAT, message)
            .hint("start the version of ebb that wrote it, or choose another --stagingSchema or --staging-dir"));
    }
    let state: State = serde_json::from_str(json).map_err(|_| damaged())?;
    // They are counted up from 1.
    let is_counted =
        !state.segments.contains_key(&u64::MAX) && state.tables.values().all(|&number| number < TableId(u32::MAX));
    if !is_counted {
        return Err(damaged());
    }
    Ok(State { format: FORMAT, ..state })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder outlives the program: what stands in the file is not renamed with the code.
    #[test]
    fn the_names_in_the_file_stay() {
        let at = |wall| Timestamp { wall, logical: 0 };
        let meta = |form| SegmentMeta { form, oldest: at(1), newest: at(2), bytes: 3, frames: None };
        let forms = [(1, Form::Fingerprints), (2, Form::SortedRun), (3, Form::Log)];
        let state = State {
            id: 7,
            is_established: true,
            tables: BTreeMap::from([("t".to_owned(), TableId(1))]),
            segments: forms.map(|(number, form)| (number, meta(form))).into(),
            ..State::new()
        };
        let json = serde_json::to_string(&state).unwrap();
        let times = |form| {
            let (oldest, newest) = (r#""oldest":{"wall":1,"logical":0}"#, r#""newest":{"wall":2,"logical":0}"#);
            format!(r#"{{"form":"{form}",{oldest},{newest},"bytes":3,"frames":null}}"#)
        };
        let zero = r#"{"wall":0,"logical":0}"#;
        let expected = format!(
            r#"{{"format":3,"id":7,"is_settled":true,"resolved":{zero},"released":{zero},"forgotten":{zero},"tables":{{"t":1}},"segments":{{"1":{},"2":{},"3":{}}},"log":"","is_put_back":false}}"#,
            times("seen"),
            times("run"),
            times("log")
        );
        assert_eq!(json, expected);
        let names = forms.map(|(number, form)| file_name(number, form));
        assert_eq!(names, ["0000000001.seen", "0000000002.run", "0000000003.log"]);
        assert_eq!(parse(seal(&json).as_bytes()).unwrap(), state);
    }

    #[test]
    fn numbers_that_nothing_can_follow_are_damage() {
        let refused = |state: &State| parse(seal(&serde_json::to_string(state).unwrap()).as_bytes()).unwrap_err();
        let mut state = State::new();
        state.tables.insert("t".into(), TableId(u32::MAX));
        assert!(refused(&state).message.contains("it is not what a state is"));
        state.tables.clear();
        state.segments.insert(u64::MAX, SegmentMeta::new_log());
        assert!(refused(&state).message.contains("it is not what a state is"));
    }
}
