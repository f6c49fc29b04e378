//! How far the target has come, and who may move it.
//!
//! The progress row lives in the target and moves in the same transaction as the data, so that a replay is
//! recognised; its epoch is the fence between two writers of one feed.

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Timestamp, Topic};

/// The progress row of a feed as it stands in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The target equals the source at this time. [`Timestamp::ZERO`] before the first commit.
    pub applied: Timestamp,
    /// Raised by every writer that takes over.
    pub epoch: i64,
    /// The writer that took over last, by the number that it gave.
    pub writer: i64,
}

/// A sign of life of the process that applies a feed, kept beside the progress row: another process must not take the
/// feed over while it is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRenewal {
    /// The name of the feed, which tells the rows of several apart.
    pub feed: String,
    /// The writer's own epoch. Nothing is noted when the row holds another.
    pub epoch: i64,
    /// So long, in milliseconds of the target's clock, the process counts as alive; 0 when it has ended.
    pub alive_ms: u64,
    /// What the host wants to find again at the next start, JSON text of its own. `None` leaves what is there.
    pub note: Option<String>,
}

impl LeaseRenewal {
    /// The error of a sign of life for which there was no row; `found` is the row as it is now.
    pub fn lost(&self, found: Option<Progress>) -> Error {
        match found {
            Some(_) => overtaken(&self.feed),
            None => Error::new(ErrorKind::Broken, format!("the progress row of {} is gone", self.feed))
                .topic(Topic::Moved)
                .hint(CHANGED),
        }
    }
}

/// What the target says of the last [`LeaseRenewal`] of a feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseState {
    /// How long the process still counts as alive, in milliseconds; 0 when it does not.
    pub alive_ms: u64,
    /// [`LeaseRenewal::note`] as it was given last.
    pub note: Option<String>,
}

/// One step of the progress row, to be committed together with the rows that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advance {
    /// The name of the feed.
    pub feed: String,
    /// The writer's own epoch. The step must fail when the row holds another.
    pub epoch: i64,
    /// Where the row must stand now. The step must fail when it stands elsewhere.
    pub from: Timestamp,
    /// Where the row stands once the transaction is committed.
    pub to: Timestamp,
}

impl Advance {
    /// The error of a step that failed because the row is not where it was left; `found` is the row as it is now.
    pub fn fenced(&self, found: Option<Progress>) -> Error {
        let found = match found {
            Some(row) if row.epoch != self.epoch => return overtaken(&self.feed),
            Some(row) => format!("stands at {}", row.applied),
            None => "is gone".into(),
        };
        let message = format!("the progress row of {} {found}, and was left at {}", self.feed, self.from);
        Error::new(ErrorKind::Broken, message).topic(Topic::Moved).hint(CHANGED)
    }
}

const CHANGED: &str = "it was changed by hand, or the target was restored from a backup";

/// What a process is told whose feed another one applies now.
pub fn overtaken(feed: &str) -> Error {
    Error::new(ErrorKind::Broken, format!("another ebb has taken over feed {feed}"))
        .topic(Topic::Fenced)
        .hint("one process applies a feed; end one of the two")
}
