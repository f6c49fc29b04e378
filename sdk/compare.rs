//! Comparing what a target holds with what the source holds at one time.
//!
//! Owns: the shapes of a frozen target and of the answer to a comparison. Does not own: how a dialect makes a snapshot or tells
//! two values apart (the plugin), reading the source and what becomes of a difference (the host).

use serde::{Deserialize, Serialize};

use crate::{ColumnIndex, Progress};

/// A target at one instant, to be read by several sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// What [`Session::join`](crate::Session::join) takes: the name of a snapshot, or nothing.
    pub snapshot: String,
    /// The progress row at that instant.
    pub progress: Progress,
}

/// What [`Session::join`](crate::Session::join) is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The name of the feed.
    pub feed: String,
    /// [`Frozen::snapshot`].
    pub snapshot: String,
}

/// What was found of the rows of a block. Rows that are not mentioned are there, letter by letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Rows of the block that the target does not have, counted from 0, in ascending order.
    pub missing: Vec<u32>,
    /// Rows that the target has with other values, in ascending order.
    pub different: Vec<Difference>,
}

/// A row of the block that the target has with other values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The row, counted from 0.
    pub row: u32,
    /// At least one, in the order of the block.
    pub columns: Vec<DifferentColumn>,
}

/// A value that is another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferentColumn {
    /// The column of the table.
    pub column: ColumnIndex,
    /// What the target has, as text, `None` for SQL NULL. At most [`DifferentColumn::CHARS_MAX`] characters of it.
    pub found: Option<String>,
    /// What the target would have if the row were written now, in the same spelling and length.
    pub expected: Option<String>,
}

impl DifferentColumn {
    /// Longer texts are cut.
    pub const CHARS_MAX: usize = 128;
}

/// Which rows of a table [`Session::keys`](crate::Session::keys) is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPage {
    /// Those behind this key, in the order of the target's primary key. It is the last one of the page before.
    pub after: Option<Vec<String>>,
    /// At most so many.
    pub limit: u32,
}

/// The value of a primary key, a text for each column, in the order of [`Table::primary_key`](crate::Table::primary_key).
///
/// Each text is one that CockroachDB reads as a value of the type that the column has there: integers and decimals with every
/// digit, `true` and `false`, `\x6869` for bytes, `2016-01-25`, `14:02:03.5`, `2016-01-25 14:02:03.5` and, of a column with a
/// zone, `2016-01-25 14:02:03.5+00`; everything else as it is.
pub type Key = Vec<String>;
