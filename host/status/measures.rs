//! What a run measures of its own steps beside staging: times, lags, and signs of life.
//!
//! Owns: the instruments of receiving and applying. Does not own: those of staging (`stage/measures`), what they show.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ebb_sdk::Timestamp;
use parking_lot::Mutex;

use super::standing::Standing;
use crate::measure::{Distribution, Heartbeat, Histogram, Pulse};
use crate::stage::{DISK_STEP_MAX, StageMeasures};

/// The receiver looks around every second; one that has not for so long is not scheduled any more.
const INTAKE_STEP_MAX: Duration = Duration::from_secs(30);
/// A call of the plugin is a handful of statements, each of which the plugin ends after `--applyTimeout` and 10 s.
const STATEMENTS_OF_A_CALL: u32 = 10;
const ANSWER_GRACE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Measures {
    /// From the head of an accepted request to its answer.
    pub requests: Histogram,
    /// From BEGIN to the confirmed COMMIT of a target transaction.
    pub applies: Histogram,
    stage_lag: Histogram,
    apply_lag: Histogram,
    source_lag: Histogram,
    standing: Mutex<Standing>,
    pub intake: Heartbeat,
    pub reader: Heartbeat,
    pub applier: Heartbeat,
}

/// All distributions at one moment.
#[derive(Clone, Debug)]
pub struct Distributions {
    pub requests: Distribution,
    pub syncs: Distribution,
    pub applies: Distribution,
    /// From the commit at the source until a row is durable: of the oldest row of each request.
    pub stage_lag: Distribution,
    /// From the commit at the source until the target has it: of the oldest source transaction of each target transaction.
    pub apply_lag: Distribution,
    /// Age of each resolved timestamp as it arrives.
    pub source_lag: Distribution,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            requests: Histogram::of_steps(),
            applies: Histogram::of_steps(),
            stage_lag: Histogram::of_lags(),
            apply_lag: Histogram::of_lags(),
            source_lag: Histogram::of_lags(),
            standing: Mutex::default(),
            intake: Heartbeat::new("intake", INTAKE_STEP_MAX),
            reader: Heartbeat::new("reader", DISK_STEP_MAX),
            applier: Heartbeat::new("applier", apply_step_max(Duration::ZERO)),
        }
    }
}

impl Measures {
    /// A row of this time is durable.
    pub fn staged(&self, timestamp: Timestamp) {
        self.stage_lag.observe(age(timestamp));
        self.standing.lock().staged(timestamp, Instant::now());
    }

    /// The target has a change of this time.
    pub fn applied(&self, timestamp: Timestamp) {
        self.apply_lag.observe(age(timestamp));
    }

    /// A resolved timestamp is durable.
    pub fn resolved(&self, timestamp: Timestamp) {
        self.source_lag.observe(age(timestamp));
        self.standing.lock().resolved(timestamp, Instant::now());
    }

    /// For how long this resolved timestamp has stood although rows come.
    pub(super) fn stands(&self, resolved: Timestamp) -> Duration {
        self.standing.lock().lasted(resolved)
    }

    /// How long the target's plugin may take for a statement: `--applyTimeout`.
    pub fn limit_apply(&self, apply_timeout: Duration) {
        self.applier.set_limit(apply_step_max(apply_timeout));
    }

    pub(super) fn distributions(&self, staging: &StageMeasures) -> Distributions {
        Distributions {
            requests: self.requests.distribution(),
            syncs: staging.syncs.distribution(),
            applies: self.applies.distribution(),
            stage_lag: self.stage_lag.distribution(),
            apply_lag: self.apply_lag.distribution(),
            source_lag: self.source_lag.distribution(),
        }
    }

    /// In the order of the life of a change.
    pub(super) fn threads(&self, staging: &StageMeasures) -> Vec<Pulse> {
        let threads = [&self.intake, &staging.writer, &staging.compaction, &self.reader, &self.applier];
        threads.into_iter().map(Heartbeat::pulse).collect()
    }
}

fn apply_step_max(apply_timeout: Duration) -> Duration {
    apply_timeout.saturating_add(ANSWER_GRACE).saturating_mul(STATEMENTS_OF_A_CALL)
}

/// By this machine's clock, for display only. A clock that is behind the source's makes it zero.
fn age(timestamp: Timestamp) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_nanos(u64::try_from(timestamp.wall).unwrap_or_default()))
}
