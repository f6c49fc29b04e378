//! The number of a table in staging.
//!
//! Owns: the type, so that it is never taken for a position in a catalog. Does not own: which name has which (`segments`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The same at every start of a folder; they begin at 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TableId(pub u32);

impl TableId {
    /// The one behind it, as rows are sorted.
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
