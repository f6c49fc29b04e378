//! What staging measures of itself: how long a sync takes, and that its threads are alive.
//!
//! Owns: the instruments and how long a step may take. Does not own: judging or showing them (`status`).

use std::time::Duration;

use crate::measure::{Heartbeat, Histogram};

/// A disk has no time limit of its own. One that has not written a group of requests, or a segment of 16 MiB, after this hangs.
pub const DISK_STEP_MAX: Duration = Duration::from_secs(120);

/// See the module.
#[derive(Debug)]
pub struct StageMeasures {
    /// Of the log, before requests are answered.
    pub syncs: Histogram,
    pub writer: Heartbeat,
    pub compaction: Heartbeat,
}

impl Default for StageMeasures {
    fn default() -> Self {
        Self {
            syncs: Histogram::of_steps(),
            writer: Heartbeat::new("staging-writer", DISK_STEP_MAX),
            compaction: Heartbeat::new("compaction", DISK_STEP_MAX),
        }
    }
}
