//! A target that takes no rows for a while, in the log: at once, again every 30 s, and when it is over.
//!
//! Owns: when a line is due, and its words. Does not own: what is tried again (`reconnect`).

use std::time::Duration;

use ebb_sdk::{Timestamp, Topic};
use parking_lot::Mutex;

use crate::code;
use crate::lasting::{Lasting, for_so_long};
use crate::stage::Forecast;

/// See the module. It outlives the batch that met it, which may go on in smaller ones.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Option<Current>>);

#[derive(Debug)]
struct Current {
    state: Lasting,
    attempts: u32,
    /// Reasons that were told: another one is told at once.
    told: Vec<Topic>,
}

impl Outage {
    /// Another attempt has failed; the next one comes after a delay.
    pub(super) fn failed(&self, failure: &ebb_sdk::Error, delay: Duration, staging: Forecast) {
        let Some((attempts, lasted)) = self.attempt(failure.topic) else { return };
        let why = match failure.topic {
            Topic::ReadOnly => format!("it is read-only ({failure})"),
            _ => failure.to_string(),
        };
        tracing::warn!(
            error_code = code::topics::of(failure).text(),
            hint = failure.hint,
            attempt = attempts,
            staged_bytes = staging.usage.row_bytes,
            "cannot write to the target{} (attempt {attempts}, next in {:.1} s): {why}. Receiving goes on; {:.1} MB are staged",
            for_so_long(lasted),
            delay.as_secs_f64(),
            staging.usage.row_bytes as f64 / 1e6
        );
    }

    /// The target has taken rows. `applied` and `resolved` tell how far it is behind.
    pub(super) fn over(&self, applied: Timestamp, resolved: Timestamp) {
        let Some(seconds) = self.end() else { return };
        let behind = resolved.wall.saturating_sub(applied.wall).max(0) / 1_000_000_000;
        tracing::info!("the target takes rows again after {seconds} s; it is {behind} s behind");
    }

    /// Forgets the outage without a word; says how many seconds it took.
    pub(super) fn end(&self) -> Option<u64> {
        self.0.lock().take().map(|current| current.state.lasted().as_secs())
    }

    /// Counts an attempt; how many there were, and how long the outage has lasted, if that is to be said.
    fn attempt(&self, topic: Topic) -> Option<(u32, Duration)> {
        let mut current = self.0.lock();
        let begun = || Current { state: Lasting::begun(), attempts: 0, told: Vec::new() };
        let current = current.get_or_insert_with(begun);
        current.attempts = current.attempts.saturating_add(1);
        let is_new = !current.told.contains(&topic);
        let due = current.state.due().or_else(|| is_new.then(|| current.state.lasted()))?;
        if is_new {
            current.told.push(topic);
        }
        Some((current.attempts, due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_counts_its_attempts_and_ends_once() {
        let outage = Outage::default();
        let attempts = |topic| outage.attempt(topic).map(|(attempts, _)| attempts);
        let (down, read_only) = (Topic::Unreachable, Topic::ReadOnly);
        // Within the half minute that is not spoken in, but for another reason.
        assert_eq!([down, down, read_only, down, read_only].map(attempts), [Some(1), None, Some(3), None, None]);
        assert!(outage.end().is_some() && outage.end().is_none());
        assert_eq!(attempts(down), Some(1));
    }
}
