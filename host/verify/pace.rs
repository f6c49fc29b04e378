//! How fast rows are read, so that neither side nor replication suffers.
//!
//! Owns: waiting for `--rate` and `--max-lag`, and that a wish to end is heard. Does not own: how far replication is behind
//! (the run's status).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How far the running ebb is behind; `None` where nobody knows.
pub type Lag<'a> = &'a (dyn Fn() -> Option<Duration> + Sync);

const TICK: Duration = Duration::from_millis(20);
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// Shared by everything that reads.
pub(super) struct Pace<'a> {
    rows_per_second: Option<u64>,
    lag_max: Option<Duration>,
    lag: Lag<'a>,
    /// When the next rows may be read.
    next: Mutex<Instant>,
    looked: Mutex<(Instant, Option<Duration>)>,
    is_ending: &'a AtomicBool,
    is_held: AtomicBool,
}

impl<'a> Pace<'a> {
    pub(super) fn new(
        rows_per_second: Option<u64>,
        lag_max: Option<Duration>,
        lag: Lag<'a>,
        is_ending: &'a AtomicBool,
    ) -> Self {
        let now = Instant::now();
        let looked = Mutex::new((now.checked_sub(LAG_INTERVAL).unwrap_or(now), None));
        Self {
            rows_per_second,
            lag_max,
            lag,
            next: Mutex::new(now),
            looked,
            is_ending,
            is_held: AtomicBool::new(false),
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Replication is too far behind, and reading waits for it.
    pub(super) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    /// Waits until so many rows more may be read; no longer once the end is near.
    pub(super) fn wait(&self, rows: usize) {
        while !self.is_ending() && self.is_behind() {
            self.is_held.store(true, Ordering::Relaxed);
            thread::sleep(TICK);
        }
        self.is_held.store(false, Ordering::Relaxed);
        let Some(rate) = self.rows_per_second else { return };
        let due = {
            let mut next = self.next.lock();
            let due = (*next).max(Instant::now());
            *next = due + Duration::from_secs_f64(rows as f64 / rate.max(1) as f64);
            due
        };
        while !self.is_ending() && Instant::now() < due {
            thread::sleep(TICK.min(due.saturating_duration_since(Instant::now())));
        }
    }

    fn is_behind(&self) -> bool {
        let Some(lag_max) = self.lag_max else { return false };
        let mut looked = self.looked.lock();
        if looked.0.elapsed() >= LAG_INTERVAL {
            *looked = (Instant::now(), (self.lag)());
        }
        looked.1.is_some_and(|lag| lag > lag_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_wait_for_their_turn() {
        let (is_ending, lag) = (AtomicBool::new(false), || None);
        let pace = Pace::new(Some(1_000), None, &lag, &is_ending);
        let begun = Instant::now();
        (0..4).for_each(|_| pace.wait(20));
        assert!(begun.elapsed() >= Duration::from_millis(60), "{:?}", begun.elapsed());
        pace.wait(1_000_000);
        is_ending.store(true, Ordering::Relaxed);
        pace.wait(1);
    }

    #[test]
    fn reading_waits_while_replication_is_behind() {
        let is_ending = AtomicBool::new(false);
        let asked = std::sync::atomic::AtomicU64::new(0);
        let lag = || Some(Duration::from_secs(if asked.fetch_add(1, Ordering::Relaxed) == 0 { 60 } else { 1 }));
        let pace = Pace::new(None, Some(Duration::from_secs(30)), &lag, &is_ending);
        pace.wait(1);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert!(!pace.is_held());
    }
}
