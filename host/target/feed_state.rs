//! What the target says of a feed before it is taken over.
//!
//! Owns: what the host keeps beside the progress. Does not own: what follows from it (`lease`).

use std::time::Duration;

use ebb_sdk::{LeaseState, Progress, Timestamp};
use serde::{Deserialize, Serialize};

use crate::plugin::{Applied, Session};

/// Schema and name of a table at the source.
pub type SourceName = (String, String);

/// What the host keeps on the target: of the last start that was established, whoever has tried since.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct LeaseNote {
    /// Up to here everything was staged.
    pub(super) staged: Timestamp,
    /// Schema and name of the tables that the changefeed sends; `None` where that is somebody else's.
    pub(super) tables: Option<Vec<(String, String)>>,
    /// The number of that start; earlier versions did not tell it from one that failed.
    #[serde(default, rename = "settled")]
    pub(super) established: Option<i64>,
}

/// What the target says of a feed before it is taken over.
#[derive(Clone, Debug, Default)]
pub struct FeedState {
    pub progress: Option<Progress>,
    pub(super) alive: Duration,
    pub(super) kept: Option<LeaseNote>,
}

impl FeedState {
    /// Asks a session.
    pub fn of(session: &mut Session, feed: &str) -> ebb_sdk::Result<Self> {
        let progress = session.progress(feed)?;
        let LeaseState { alive_ms, note } = session.lease_state(feed)?.unwrap_or_default();
        // What another version has kept is as good as nothing.
        let kept = note.and_then(|note| serde_json::from_str(&note).ok());
        Ok(Self { progress, alive: Duration::from_millis(alive_ms), kept })
    }

    pub fn applied(&self) -> Timestamp {
        self.progress.map_or(Timestamp::ZERO, |progress| progress.applied)
    }

    /// The same for staging. Nothing where the target is down or has no progress.
    pub fn confirmed(&self) -> Applied {
        Applied::shown(self.progress)
    }

    /// The tables of the last run; `None` when that is not known.
    pub fn tables(&self) -> Option<&[SourceName]> {
        self.kept.as_ref()?.tables.as_deref()
    }

    /// Whose folder the rows up to the progress were staged in.
    pub(super) fn established(&self, progress: Progress) -> i64 {
        self.kept.as_ref().and_then(|kept| kept.established).unwrap_or(progress.writer)
    }
}
