//! The target at one instant, read by several sessions.
//!
//! Owns: opening them so that rows and progress row are those of one instant, and the proof that they are. Does not own: what is read
//! (`work`), how a dialect does it (the plugin).

use std::time::{Duration, Instant};

use ebb_sdk::{Catalog, Join, Timestamp};

use super::failure::Failure;
use crate::code;
use crate::error::Error;
use crate::plugin::Session;
use crate::target::Target;

/// Sessions that all read one state of the target.
pub(super) struct Snapshot {
    /// The target holds what the source held at this time.
    pub(super) at: Timestamp,
    pub(super) opened: Instant,
    /// How long a commit of the running ebb may have waited.
    pub(super) frozen_for: Duration,
    pub(super) sessions: Vec<Session>,
}

impl Snapshot {
    /// # Errors
    /// Those of the target; also when its tables are not those of `catalog`.
    pub(super) fn open(target: &Target, catalog: &Catalog, feed: &str, count: usize) -> Result<Self, Failure> {
        // Nothing but the instant itself happens while writers wait.
        let connect = || target.plugin.connect(&target.connect);
        let mut control = connect()?;
        if control.progress(feed)?.is_none_or(|progress| progress.applied == Timestamp::ZERO) {
            return Err(nothing_applied(feed).into());
        }
        let mut sessions = Vec::with_capacity(count);
        for _ in 0..count {
            let mut session = connect()?;
            if session.describe()? != *catalog {
                return Err(changed().into());
            }
            sessions.push(session);
        }
        let begun = Instant::now();
        let frozen = control.freeze(feed)?;
        let join = Join { feed: feed.to_owned(), snapshot: frozen.snapshot };
        let joined: ebb_sdk::Result<Vec<_>> = sessions.iter_mut().map(|session| session.join(&join)).collect();
        let thawed = control.thaw();
        let frozen_for = begun.elapsed();
        let joined = joined?;
        thawed?;
        control.close();
        if joined.iter().any(|progress| progress.applied != frozen.progress.applied) {
            return Err(not_one_instant().into());
        }
        Ok(Self { at: frozen.progress.applied, opened: Instant::now(), frozen_for, sessions })
    }
}

fn changed() -> Error {
    Error::new(code::table::TABLES_CHANGED, "the target's tables were changed while they were compared")
        .hint("run the same command again")
}

fn not_one_instant() -> Error {
    Error::new(code::verify::NOT_ONE_INSTANT, "the sessions that read the target do not see the same progress row")
        .hint("report this with the version of the target; --parallelism 1 compares with one session")
}

/// Nobody knows which state of the source the target is to be compared with.
fn nothing_applied(feed: &str) -> Error {
    Error::new(
        code::verify::NOTHING_APPLIED,
        format!("the target has no state of the source to compare: nothing was applied for {feed}"),
    )
    .hint("start ebb fetch with the same --stagingSchema and wait until ebb status says that it has applied something")
}
