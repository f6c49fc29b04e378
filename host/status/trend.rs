//! Where the run stood in the last minute: how fast rows are applied, and when the target will have caught up.
//!
//! Owns: the samples, one a second, and what follows from them. Does not own: taking them (`daemon/progress`).

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use super::Snapshot;

/// Samples that are kept.
const KEPT: usize = 60;
/// The rate is that of the last so many.
const OF_RATE: usize = 10;
/// With less there is no pace to tell.
const OF_PACE_MIN: usize = 5;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Trend {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: SystemTime,
    rows_applied: u64,
    lag: Option<f64>,
}

impl Trend {
    pub(super) fn add(&mut self, snapshot: &Snapshot) {
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        let Snapshot { at, rows_applied, .. } = *snapshot;
        self.samples.push_back(Sample { at, rows_applied, lag: snapshot.lag() });
    }

    /// Rows per second.
    pub(super) fn rate(&self) -> f64 {
        let first = self.samples.len().saturating_sub(OF_RATE);
        let (Some(first), Some(last)) = (self.samples.get(first), self.samples.back()) else { return 0.0 };
        let rows = last.rows_applied.saturating_sub(first.rows_applied) as f64;
        match seconds_between(first, last) {
            seconds if seconds > 0.0 => rows / seconds,
            _ => 0.0,
        }
    }

    /// Seconds, where the lag has become less.
    pub(super) fn caught_up_in(&self) -> Option<f64> {
        let first = self.samples.iter().find(|sample| sample.lag.is_some())?;
        let last = self.samples.back().filter(|_| self.samples.len() >= OF_PACE_MIN)?;
        let gained = (first.lag? - last.lag?) / seconds_between(first, last);
        (gained.is_finite() && gained > 0.0).then(|| last.lag.map(|lag| lag / gained)).flatten()
    }
}

fn seconds_between(first: &Sample, last: &Sample) -> f64 {
    last.at.duration_since(first.at).unwrap_or(Duration::ZERO).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use ebb_sdk::Timestamp;

    use super::*;
    use crate::stage::Forecast;
    use crate::status::Status;

    fn trend(samples: impl Iterator<Item = (u64, u64, i64)>) -> Trend {
        let mut trend = Trend::default();
        for (second, rows_applied, applied) in samples {
            let snapshot = Status::default().snapshot("s", Timestamp::ZERO, Forecast::default());
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + second);
            let applied = Some(Timestamp { wall: applied * 1_000_000_000, logical: 0 });
            trend.add(&Snapshot { at, rows_applied, applied, ..snapshot });
        }
        trend
    }

    #[test]
    fn a_lag_that_grows_less_tells_when_it_ends() {
        // Behind by 500 s, and three seconds of the source are applied in one.
        let behind = trend((0..100).map(|second| (second, second * 20, 500 + 3 * i64::try_from(second).unwrap())));
        assert_eq!(behind.rate(), 20.0);
        let left = 500.0 - 2.0 * 99.0;
        assert_eq!(behind.caught_up_in(), Some(left / 2.0));
        let stands = trend((0..100).map(|second| (second, 0, 500)));
        assert_eq!((stands.rate(), stands.caught_up_in()), (0.0, None));
        assert_eq!(Trend::default().rate(), 0.0);
        assert_eq!(trend((0..2).map(|second| (second, 1, 700 + 9))).caught_up_in(), None);
    }
}
