//! Proof of what the target holds: staging drops rows for nothing less.
//!
//! Owns: the two ways to one: a commit that the target has confirmed ([`super::Session::commit`]), and the progress row that it
//! has shown. Does not own: what is dropped (`stage`).

use ebb_sdk::{Progress, Timestamp};

/// The target has said that everything up to a timestamp is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Applied {
    up_to: Timestamp,
}

impl Applied {
    /// To be made by the session alone, once a commit is confirmed.
    pub(super) fn committed(up_to: Timestamp) -> Self {
        Self { up_to }
    }

    /// `progress` is the row as the target has shown it; a target without one holds nothing.
    pub fn shown(progress: Option<Progress>) -> Self {
        Self { up_to: progress.map_or(Timestamp::ZERO, |progress| progress.applied) }
    }

    pub fn up_to(self) -> Timestamp {
        self.up_to
    }
}
