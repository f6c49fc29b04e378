//! What staging consists of: segments, each in one of three forms, and the file that lists them.
//!
//! ```text
//! NNNNNNNNNN.log   rows as they came; they stand in memory too
//! NNNNNNNNNN.run   the same rows, sorted
//! NNNNNNNNNN.seen  fingerprints of rows that are applied
//! state            JSON: which segment stands in which form. What it does not list does not count
//! catalog, keys, … JSON: see `notes`
//! ```
//!
//! Owns: the list, and replacing it in one step. Does not own: when a segment changes its form (`keep`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use ebb_sdk::Timestamp;
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::memtable::{Memtable, Span};
use super::sealed::{seal, unseal};
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
    pub(super) content: Content,
    /// Of a segment in a file; that of one in memory still grows.
    pub(super) listed: Listed,
}

#[derive(Clone)]
pub(super) enum Content {
    /// In a log too.
    Memory {
        rows: Arc<Memtable>,
    },
    Run,
    Seen,
}

impl Segment {
    pub(super) fn file(&self) -> String {
        file_name(self.number, self.listed.form)
    }

    /// `None` for one without rows.
    pub(super) fn span(&self) -> Option<Span> {
        match &self.content {
            Content::Memory { rows } => rows.span(),
            Content::Run | Content::Seen => Some(Span { oldest: self.listed.oldest, newest: self.listed.newest }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    Log,
    Run,
    Seen,
}

/// What the state file says of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) form: Form,
    pub(super) oldest: Timestamp,
    pub(super) newest: Timestamp,
    pub(super) bytes: u64,
    /// Of a log that takes no more rows: how many frames it must have.
    pub(super) frames: Option<u64>,
}

impl Listed {
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
    pub(super) is_settled: bool,
    /// As it stood when the last log was begun; the log may know a later one.
    pub(super) resolved: Timestamp,
    /// The newest timestamp of which rows have been dropped.
    pub(super) released: Timestamp,
    /// The newest timestamp of which not even fingerprints are kept.
    pub(super) forgotten: Timestamp,
    /// Numbers of the tables, by name.
    pub(super) tables: BTreeMap<String, u32>,
    pub(super) segments: BTreeMap<u64, Listed>,
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
            is_settled: false,
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
                Some(other) => Err(Error::new(format!("the staging folder holds {other}, and no file \"{STATE}\""))
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
            let is_listed = self.segments.iter().any(|(&number, listed)| file_name(number, listed.form) == name);
            let is_other =
                name == STATE || !(name.ends_with(".log") || name.ends_with(".run") || name.ends_with(".seen"));
            if !is_listed && !is_other {
                disk.remove(&name)?;
            }
        }
        Ok(())
    }

    pub(super) fn table_name(&self, number: u32) -> &str {
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
        Form::Run => "run",
        Form::Seen => "seen",
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
        return Err(Error::new(message)
            .hint("start the version of ebb that wrote it, or choose another --stagingSchema or --staging-dir"));
    }
    let state: State = serde_json::from_str(json).map_err(|_| damaged())?;
    Ok(State { format: FORMAT, ..state })
}
