//! Where the run stood in the last hour, for the charts of the page.
//!
//! Owns: the samples, one every five seconds and 720 at most, and their extremes in words. Does not own: the pace
//! (`trend`), and taking them (`daemon/progress`).

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Snapshot;

const INTERVAL: Duration = Duration::from_secs(5);
const KEPT: usize = 720;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Hour {
    samples: VecDeque<Sample>,
    /// How many there have been.
    taken: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: SystemTime,
    /// Seconds; `None` while it is not known where the target stands.
    lag: Option<f64>,
    rows_per_second: f64,
    staged_bytes: u64,
}

/// The least and the most of what is drawn, and when that was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extremes {
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) most_at: SystemTime,
}

impl Extremes {
    /// Of both.
    pub(super) fn with(self, other: &Self) -> Self {
        let of_most = if other.most > self.most { *other } else { self };
        Self { least: self.least.min(other.least), ..of_most }
    }
}

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    Lag,
    Rate,
    Staged,
}

impl Hour {
    /// Keeps it where the last one is old enough. A clock that was set back counts as time that has passed.
    pub(super) fn add(&mut self, snapshot: &Snapshot) {
        let is_due = |last: &Sample| snapshot.at.duration_since(last.at).map_or(true, |passed| passed >= INTERVAL);
        if !self.samples.back().is_none_or(is_due) {
            return;
        }
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.taken += 1;
        self.samples.push_back(Sample {
            at: snapshot.at,
            lag: snapshot.lag(),
            rows_per_second: snapshot.rate,
            staged_bytes: snapshot.staging.usage.row_bytes,
        });
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// `None` without a sample.
    pub(super) fn extremes(&self, series: Series) -> Option<Extremes> {
        let of = |sample: &Sample| match series {
            Series::Lag => sample.lag,
            Series::Rate => Some(sample.rows_per_second),
            Series::Staged => Some(sample.staged_bytes as f64),
        };
        let known = || self.samples.iter().filter_map(|sample| Some((sample.at, of(sample)?)));
        let (most_at, most) = known().max_by(|(_, one), (_, other)| one.total_cmp(other))?;
        let least = known().map(|(_, value)| value).fold(f64::INFINITY, f64::min);
        Some(Extremes { least, most, most_at })
    }

    /// `/_/trend`: one list for each of what is drawn, the oldest first.
    pub(super) fn json(&self) -> Value {
        let samples = || self.samples.iter();
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        let unix = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        json!({
            "interval_seconds": INTERVAL.as_secs(),
            "samples_max": KEPT,
            "unix_seconds": samples().map(|sample| unix(sample.at)).collect::<Vec<_>>(),
            "lag_seconds": samples().map(|sample| sample.lag.map(rounded)).collect::<Vec<_>>(),
            "rows_per_second": samples().map(|sample| rounded(sample.rows_per_second)).collect::<Vec<_>>(),
            "staged_bytes": samples().map(|sample| sample.staged_bytes).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use ebb_sdk::Timestamp;

    use super::*;
    use crate::stage::Forecast;
    use crate::status::Status;

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut hour = Hour::default();
        assert_eq!((hour.extremes(Series::Lag), hour.extremes(Series::Rate)), (None, None));
        let at = |second: u64| UNIX_EPOCH + Duration::from_secs(10_000 + second);
        for second in 0..4000 {
            let snapshot = Status::default().snapshot("s", Timestamp::ZERO, Forecast::default());
            // Behind by one second at first, and one more every second, but not known in the first minute.
            let applied = (second > 60).then_some(Timestamp { wall: 9_999_000_000_000, logical: 0 });
            hour.add(&Snapshot { at: at(second), applied, rate: second as f64, ..snapshot });
        }
        let json = hour.json();
        let list = |name: &str| json[name].as_array().unwrap().clone();
        for name in ["unix_seconds", "lag_seconds", "rows_per_second", "staged_bytes"] {
            assert_eq!(list(name).len(), KEPT, "{name}");
        }
        assert_eq!((hour.taken(), list("unix_seconds")[0].as_u64()), (800, Some(10_400)));
        let lag = hour.extremes(Series::Lag).unwrap();
        assert_eq!((lag.least, lag.most, lag.most_at), (401.0, 3996.0, at(3995)));
        assert_eq!(hour.extremes(Series::Rate).unwrap().least, 400.0);
    }
}
