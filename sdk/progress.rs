//! How far the target has come, and who may move it.
//!
//! The progress row lives in the target and moves in the same transaction as the data, so that a replay is
//! recognised; its epoch is the fence between two writers of one feed.

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Timestamp};

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

/// One step of the progress row, to be committed together with the rows that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advance {
    pub feed: String,
    /// The writer's own epoch. The step must fail when the row holds another.
    pub epoch: i64,
    /// Where the row must stand now. The step must fail when it stands elsewhere.
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Advance {
    /// The error of a step that failed because the row is not where it was left; `found` is the row as it is now.
    pub fn fenced(&self, found: Option<Progress>) -> Error {
        let found = match found {
            Some(row) if row.epoch != self.epoch => {
                return Error::new(ErrorKind::Broken, format!("another ebb has taken over feed {}", self.feed))
                    .hint("one process applies a feed; end one of the two");
            }
            Some(row) => format!("stands at {}", row.applied),
            None => "is gone".into(),
        };
        let message = format!("the progress row of {} {found}, and was left at {}", self.feed, self.from);
        Error::new(ErrorKind::Broken, message).hint("it was changed by hand, or the target was restored from a backup")
    }
}
