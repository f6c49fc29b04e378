//! A staged row, read: its columns, in agreement with the key that it came with.
//!
//! Owns: the one way from staging to columns; what alters rows before they are written belongs behind it. Does not own: the words
//! of a refusal (`apply/unwritable`, `order`), which column of the target one is (`apply/encode`). Pure.

use serde_json::value::RawValue;

use crate::columns::{Columns, Flawed, columns};
use crate::stage::{Change, Entry};
use crate::tables::{SourceKey, Unreadable, parts_of};

/// See the module.
#[derive(Debug)]
pub enum StagedRow<'e> {
    Whole(Columns<'e>),
    /// The values of the source's key, and what the row was before, where the feed tells.
    Deleted {
        key: Vec<&'e RawValue>,
        before: Columns<'e>,
    },
}

/// Why a staged row cannot be read.
#[derive(Debug)]
pub enum Unread {
    Flawed(Flawed),
    Key(Unreadable),
}

impl<'e> StagedRow<'e> {
    /// `key` is that of the row's table.
    ///
    /// # Errors
    /// When it is not made of columns, or they say something else than its key.
    pub fn read(entry: &'e Entry, key: &SourceKey) -> Result<Self, Unread> {
        let columns = columns_of(entry).map_err(Unread::Flawed)?;
        let parts = parts_of(entry.key());
        if entry.is_delete() {
            key.check_values(entry.timestamp, &parts).map_err(Unread::Key)?;
            Ok(Self::Deleted { key: parts, before: columns })
        } else {
            key.check_row(entry.timestamp, &parts, &columns).map_err(Unread::Key)?;
            Ok(Self::Whole(columns))
        }
    }
}

/// The columns that a row came with, without a look at its key; none of a deleted one where the feed does not tell what it was.
pub fn columns_of(entry: &Entry) -> Result<Columns<'_>, Flawed> {
    let json = match entry.change() {
        Change::Upsert(json) => Some(json),
        Change::Delete(before) => before,
    };
    json.map_or_else(|| Ok(Columns::default()), columns)
}
