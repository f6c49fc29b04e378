//! How often something took how long: counts by fixed bounds.
//!
//! Owns: counting without a lock, and the bounds. Does not own: how it is shown (`status/prometheus`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Seconds that a step may take, from a sync of a fast disk to a transaction that times out.
const OF_STEPS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Seconds between the commit of a change at the source and a step of it here, from no wait to a day of outage.
const OF_LAGS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0];

/// See the module.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what lies above all of them.
    counts: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
}

/// What was counted until one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Upper bounds in seconds, each with how often it was not exceeded.
    pub up_to: Vec<(f64, u64)>,
    pub count: u64,
    pub sum_seconds: f64,
}

impl Histogram {
    pub fn of_steps() -> Self {
        Self::with(OF_STEPS)
    }

    pub fn of_lags() -> Self {
        Self::with(OF_LAGS)
    }

    fn with(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_micros: AtomicU64::new(0) }
    }

    pub fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let place = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The counts fit together, whatever is counted meanwhile: the whole is their sum.
    pub fn distribution(&self) -> Distribution {
        let mut count = 0;
        let mut sums = self.counts.iter().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let up_to = self.bounds.iter().copied().zip(&mut sums).collect();
        sums.for_each(drop);
        Distribution { up_to, count, sum_seconds: self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_counts_for_all_bounds_that_it_does_not_exceed() {
        let histogram = Histogram::of_steps();
        for millis in [1, 2, 3, 100, 61_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let Distribution { up_to, count, sum_seconds } = histogram.distribution();
        assert_eq!(up_to[..4], [(0.001, 1), (0.0025, 2), (0.005, 3), (0.01, 3)]);
        assert_eq!((up_to.last(), count, sum_seconds), (Some(&(60.0, 4)), 5, 61.106));
        assert!([OF_STEPS, OF_LAGS].iter().all(|bounds| bounds.is_sorted_by(|a, b| a < b)));
    }
}
