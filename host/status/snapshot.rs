//! Everything that a run knows about itself at one moment.
//!
//! Owns: the facts, and what follows from them alone. Does not own: how they are shown (`prometheus`, `json`, `pages`). Whatever
//! shows or judges a run takes one of these and nothing else, so that all of them agree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ebb_sdk::Timestamp;

use super::Waiting;
use super::measures::Distributions;
use super::table_counts::TableCounts;
use super::verification::{Proof, Verification};
use crate::code::Code;
use crate::history::Entry;
use crate::logged::Logged;
use crate::measure::Pulse;
use crate::stage::Forecast;

/// In the order of the life of a change: received, staged, applied.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was taken, by the clock of this machine.
    pub at: SystemTime,
    /// The staging schema.
    pub feed: String,
    /// How clients show that they may write.
    pub authentication: Vec<&'static str>,
    /// Since the run began.
    pub running_for: Duration,
    /// Since a request was accepted; `None` before the first.
    pub arrived_ago: Option<Duration>,
    /// The changefeed's job on CockroachDB, where ebb created it.
    pub job: Option<i64>,
    pub changefeed: ChangefeedState,
    /// Rows made durable, repeats included.
    pub rows_received: u64,
    /// Requests not answered with 200, by status code.
    pub requests_refused: BTreeMap<u16, u64>,
    pub handshakes_failed: u64,
    /// The latest resolved timestamp; zero before there is one.
    pub resolved: Timestamp,
    /// For how long it has not moved although later rows come.
    pub resolved_stands: Duration,
    pub staging: Forecast,
    /// The target equals the source at this time. `None` before it is known where the target stands.
    pub applied: Option<Timestamp>,
    pub rows_applied: u64,
    pub transactions_applied: u64,
    /// Rows applied per second, over the last seconds.
    pub rate: f64,
    /// Seconds until the target has caught up, at the pace of the last minute; `None` where it does not.
    pub caught_up_in: Option<f64>,
    /// For how long the target has taken no rows, and why.
    pub target_down: Option<(Duration, Code)>,
    /// Attempts that had to be repeated.
    pub retries: u64,
    /// Values that lost digits, by table and column.
    pub values_rounded: BTreeMap<(String, String), u64>,
    /// The row that applying waits for.
    pub waiting: Option<Waiting>,
    /// How old what the changefeed has not delivered may become before it fails.
    pub protected_for: Option<Duration>,
    /// When the sequences of the target were advanced last.
    pub sequences_advanced: Option<SystemTime>,
    /// The last comparison of both sides.
    pub verification: Option<Verification>,
    /// The last events, the newest last.
    pub history: Vec<Arc<Entry>>,
    pub build: Build,
    /// By name.
    pub tables: Vec<TableCounts>,
    /// Failures to write that name no table.
    pub other_failures: u64,
    pub distributions: Distributions,
    /// In the order of the life of a change.
    pub threads: Vec<Pulse>,
    /// When certificates end, by what they are for.
    pub certificates: Vec<(&'static str, SystemTime)>,
    /// Errors and warnings of the log.
    pub logged: Logged,
}

/// What this program was built from.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    pub version: &'static str,
    pub commit: &'static str,
    /// Of plugins.
    pub abi: u32,
}

impl Build {
    pub(super) const THIS: Self = Self {
        version: env!("CARGO_PKG_VERSION"),
        commit: match option_env!("EBB_COMMIT") {
            Some(commit) => commit,
            None => "unknown",
        },
        abi: ebb_sdk::abi::ABI_VERSION,
    };
}

/// How far the protected history may be behind what was delivered: it is moved every ten minutes, and not for less.
const PROTECTION_LAG: Duration = Duration::from_secs(20 * 60);

/// What is known of the changefeed's job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangefeedState {
    /// ebb did not create it, or has not looked yet.
    #[default]
    NotLooked,
    Runs,
    Paused,
    /// Its attempts fail, and nothing arrives.
    Fails,
    /// CockroachDB does not answer.
    Unseen,
}

impl ChangefeedState {
    pub const ALL: [Self; 5] = [Self::NotLooked, Self::Runs, Self::Paused, Self::Fails, Self::Unseen];

    /// Stable: dashboards rely on it.
    pub fn id(self) -> &'static str {
        match self {
            Self::NotLooked => "not-looked",
            Self::Runs => "runs",
            Self::Paused => "paused",
            Self::Fails => "fails",
            Self::Unseen => "unseen",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::NotLooked => "not looked at",
            Self::Runs => "runs",
            Self::Paused => "paused",
            Self::Fails => "does not get through",
            Self::Unseen => "not seen: CockroachDB does not answer",
        }
    }
}

impl Snapshot {
    /// The target's sequences are beyond every key: no row was applied since they were advanced.
    pub fn sequences_are_ready(&self) -> bool {
        let is_before =
            |at: SystemTime| self.tables.iter().all(|table| table.last_change.is_none_or(|last| last <= at));
        self.sequences_advanced.is_some_and(is_before)
    }

    /// What the last comparison of both sides says.
    pub fn proof(&self) -> Proof {
        let proof = self.verification.as_ref().map_or(Proof::None, |found| found.proof(self.at));
        match proof {
            // The target was restored to a time before it.
            Proof::UpTo(at) if self.applied.is_none_or(|applied| applied < at) => Proof::Old,
            proof => proof,
        }
    }

    /// For how long nothing has arrived.
    pub fn silent_for(&self) -> Duration {
        self.arrived_ago.unwrap_or(self.running_for)
    }

    /// Age of the applied timestamp in seconds. Here and in `measures` the local clock meets the source's: for display only.
    pub fn lag(&self) -> Option<f64> {
        let now = self.at.duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
        // Where this clock is behind the source's, what has arrived tells more.
        let now = now.max(seconds(self.resolved));
        self.applied.map(|applied| (now - seconds(applied)).max(0.0))
    }

    /// Until when ebb may stay down: the changefeed fails once the history that it protects is too old. `None` where that is not
    /// known, or there is no limit.
    pub fn may_stay_down_until(&self) -> Option<SystemTime> {
        let limit = self.protected_for.filter(|_| self.resolved > Timestamp::ZERO)?.checked_sub(PROTECTION_LAG)?;
        let resolved = Duration::from_nanos(self.resolved.wall.max(0).cast_unsigned());
        UNIX_EPOCH.checked_add(resolved)?.checked_add(limit)
    }

    /// What should not stay as it is.
    pub fn warnings(&self) -> Vec<&'static str> {
        let is_open = self.authentication.is_empty();
        is_open.then_some("authentication disabled, any caller may write to the target database").into_iter().collect()
    }
}

pub(super) fn seconds(timestamp: Timestamp) -> f64 {
    timestamp.wall as f64 / 1e9
}
