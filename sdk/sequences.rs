//! Advancing what numbers the rows of a target, before an application writes to it again.
//!
//! Owns: the shapes of the question and the answer. Does not own: finding the sequences of a table (the plugin).

use serde::{Deserialize, Serialize};

use crate::Unlooked;

/// The answer to [`Session::advance_sequences`](crate::Session::advance_sequences). An empty one says that nothing was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SequenceMoves {
    /// Those that stood behind.
    pub moves: Vec<SequenceMove>,
    /// What a person has to look at, each with the reason and the SQL to look.
    pub unlooked: Vec<Unlooked>,
    /// How many were compared with their columns.
    pub looked: u64,
    /// What needs no move, as a sentence without a full stop: `AUTO_INCREMENT moves by itself`.
    pub by_itself: Option<String>,
}

/// A sequence that stood behind the values of its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SequenceMove {
    /// As the target calls it.
    pub sequence: String,
    /// The table and column that take their values from it; the first one where there are several.
    pub column: String,
    /// The value that it gave next.
    pub from: String,
    /// The value that it gives next, or would give, after the move.
    pub to: String,
    /// Why it was not moved; it needs a person. `None` where it was, or would be.
    pub refused: Option<String>,
    /// What a person may run instead.
    pub fix: Option<String>,
}
