//! How fast rows are read, so that neither side nor replication suffers.
//!
//! Owns: waiting for `--rate` and `--max-lag`, and that a wish to end is heard. Does not own: how far replication is behind
//! (the run's status).

use std::convert::Infallible;
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
    /// When it ends by itself.
    until: Option<Instant>,
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
            until: None,
            is_held: AtomicBool::new(false),
        }
    }

    pub(super) fn until(self, until: Option<Instant>) -> Self {
        Self { until, ..self }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed) || self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Replication is too far behind, and reading waits for it.
    pub(super) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    /// At least one piece of work fits into a second.
    pub(super) fn rows_max(&self, most: usize) -> usize {
        let rate = self.rows_per_second.map_or(most, |rate| usize::try_from(rate).unwrap_or(most));
        most.min(rate).max(1)
    }

    /// Waits while replication is too far behind, until the deadline at most, and tells `show` meanwhile.
    pub(super) fn wait_for_replication<E>(
        &self,
        deadline: Option<Instant>,
        mut show: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        while !self.is_ending() && !is_late() && self.is_behind() {
            self.is_held.store(true, Ordering::Relaxed);
            show()?;
            thread::sleep(TICK);
        }
        self.is_held.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until so many rows more may be read; no longer once the end is near, and for replication until the deadline only.
    pub(super) fn wait(&self, rows: usize, deadline: Option<Instant>) {
        let Ok(()) = self.wait_for_replication(deadline, || Ok::<(), Infallible>(()));
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
        (0..4).for_each(|_| pace.wait(20, None));
        assert!(begun.elapsed() >= Duration::from_millis(60), "{:?}", begun.elapsed());
        assert_eq!((pace.rows_max(5_000), pace.rows_max(10)), (1_000, 10));
        pace.wait(1_000_000, None);
        is_ending.store(true, Ordering::Relaxed);
        pace.wait(1, None);
    }

    #[test]
    fn reading_waits_while_replication_is_behind() {
        let is_ending = AtomicBool::new(false);
        let asked = std::sync::atomic::AtomicU64::new(0);
        let lag = || Some(Duration::from_secs(if asked.fetch_add(1, Ordering::Relaxed) == 0 { 60 } else { 1 }));
        let pace = Pace::new(None, Some(Duration::from_secs(30)), &lag, &is_ending);
        pace.wait(1, None);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert!(!pace.is_held());
    }

    #[test]
    fn a_snapshot_does_not_become_old_while_reading_waits() {
        let (is_ending, lag) = (AtomicBool::new(false), || Some(Duration::from_secs(60)));
        let pace = Pace::new(None, Some(Duration::from_secs(30)), &lag, &is_ending);
        pace.wait(1, Some(Instant::now() + Duration::from_millis(50)));
        let mut shown = 0;
        let refused = pace.wait_for_replication(None, || {
            shown += 1;
            assert!(pace.is_held());
            if shown == 3 { Err(shown) } else { Ok(()) }
        });
        assert_eq!(refused, Err(3));
    }
}
