//! What a run leaves in the staging folder for the next one, beside rows.
//!
//! Owns: the names of these files. Does not own: what they say.

use super::disk::Disk;
use super::segments::{read, replace};
use super::{damaged, unreadable};
use crate::error::Result;

/// One text, replaced whole.
#[derive(Clone, Copy, Debug)]
pub enum Note {
    /// The target's catalog, for a start while the target is down.
    Catalog,
    /// What the changefeed was created with.
    Changefeed,
    /// Which tables of the source rows have come from.
    Origins,
    /// The primary keys of the source's tables, over time.
    Keys,
    /// Triggers of the target that were dropped.
    Triggers,
}

impl Note {
    fn file(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Changefeed => "changefeed",
            Self::Origins => "origins",
            Self::Keys => "keys",
            Self::Triggers => "triggers",
        }
    }
}

/// The text that was saved last.
pub(super) fn load(disk: &dyn Disk, note: Note) -> Result<Option<String>> {
    let file = note.file();
    let names = disk.names().map_err(|error| unreadable(&error))?;
    if !names.iter().any(|name| name == file) {
        return Ok(None);
    }
    let bytes = read(disk, file).map_err(|error| unreadable(&error))?;
    String::from_utf8(bytes).map(Some).map_err(|_| damaged(file, "it is not text"))
}

pub(super) fn save(disk: &dyn Disk, note: Note, text: &str) -> Result<()> {
    replace(disk, note.file(), text.as_bytes()).map_err(|error| unreadable(&error.into()))
}
