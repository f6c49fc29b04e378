//! A target that takes no rows for a while, in the log: at once, again every 30 s, and when it is over.
//!
//! Owns: when a line is due, and its words. Does not own: what is tried again (`reconnect`).

use std::time::{Duration, Instant};

use ebb_sdk::{Timestamp, Topic};
use parking_lot::Mutex;

use crate::code;
use crate::stage::Forecast;

/// Between two lines about one outage.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// See the module. It outlives the batch that met it, which may go on in smaller ones.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Option<Current>>);

#[derive(Clone, Copy, Debug)]
struct Current {
    since: Instant,
    logged: Instant,
    attempts: u32,
}

impl Outage {
    /// Another attempt has failed; the next one comes after a delay.
    pub(super) fn failed(&self, failure: &ebb_sdk::Error, delay: Duration, staging: Forecast) {
        let Some(current) = self.attempt(Instant::now()) else { return };
        let seconds = current.since.elapsed().as_secs();
        let lasts = if seconds == 0 { String::new() } else { format!(" for {seconds} s") };
        let why = match failure.topic {
            Topic::ReadOnly => format!("it is read-only ({failure})"),
            _ => failure.to_string(),
        };
        tracing::warn!(
            error_code = code::topics::of(failure).text(),
            hint = failure.hint,
            attempt = current.attempts,
            staged_bytes = staging.usage.row_bytes,
            "cannot write to the target{lasts} (attempt {}, next in {:.1} s): {why}. Receiving goes on; {:.1} MB are staged",
            current.attempts,
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
        self.0.lock().take().map(|current| current.since.elapsed().as_secs())
    }

    /// What there is to log now, if it is time.
    fn attempt(&self, now: Instant) -> Option<Current> {
        let mut current = self.0.lock();
        let is_new = current.is_none();
        let known = current.get_or_insert(Current { since: now, logged: now, attempts: 0 });
        known.attempts = known.attempts.saturating_add(1);
        let is_due = is_new || now.duration_since(known.logged) >= LOG_INTERVAL;
        if is_due {
            known.logged = now;
        }
        is_due.then_some(*known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_logged_at_once_and_every_30_seconds() {
        let (outage, start) = (Outage::default(), Instant::now());
        let logged = |seconds| outage.attempt(start + Duration::from_secs(seconds)).map(|current| current.attempts);
        assert_eq!([0, 1, 29, 30, 31, 59, 60].map(logged), [Some(1), None, None, Some(4), None, None, Some(7)]);
        assert!(outage.end().is_some() && outage.end().is_none());
        assert_eq!(logged(61), Some(1));
    }
}
