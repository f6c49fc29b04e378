//! Why a staged row cannot become a row of a block.
//!
//! Owns: the words, and which of them are about the row alone. Does not own: finding it out (`encode`).

use super::refused_row::RefusedRow;
use crate::code;
use crate::error::Error;
use crate::row::Unread;
use crate::stage::Entry;

/// Why a row cannot be encoded.
#[derive(Debug)]
pub(super) enum Unwritable {
    /// The target has no place for it as it is.
    Row(RefusedRow),
    Other(Error),
}

impl From<Error> for Unwritable {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Also of a table that the run refuses, which it says at start.
pub(super) fn not_applied(entry: &Entry) -> Error {
    Error::new(
        code::row::NOT_APPLIED,
        format!("staging holds a row of a table that this run does not apply, with the key {}", entry.shown_key()),
    )
    .hint(
        "start with the same --table-filter, --schema-filter and --target as the run that staged it, and see the \
               warnings of this start about tables that cannot be written to",
    )
    .field("key", entry.short_key())
}

pub(super) fn unknown_key(target: &ebb_sdk::Table, name: &str) -> Error {
    Error::new(
        code::row::KEY_UNKNOWN,
        format!("a row of {target} was deleted, and which value of its key belongs to {name} is not known"),
    )
    .hint("give --sourceConn, so that the order of the source's key can be read, or create the changefeed WITH diff")
    .field("table", target.to_string())
}

pub(super) fn unread(entry: &Entry, target: &ebb_sdk::Table, why: &Unread) -> Error {
    match why {
        Unread::Flawed(why) => Error::new(code::row::UNREADABLE, format!("a staged row of table number {} cannot be read: {why}", entry.table)),
        Unread::Key(why) => Error::new(code::row::KEY_UNKNOWN, format!(
            "a row of {target} came at {} with the key {}, {why}",
            entry.timestamp,
            entry.shown_key()
        ))
        .hint(
            "both sides must have the same primary key, which is read at every start (in ebb start: give --sourceConn); if the \
             target's was changed while older rows were staged, change it back, run ebb fetch --apply-only, then change it again",
        )
        .field("table", target.to_string())
        .field("key", entry.short_key()),
    }
}
