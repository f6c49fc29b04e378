//! For how long the resolved timestamp has not moved although rows come that are later than it.
//!
//! Owns: the measurement. Does not own: the judgement (`verdict`), and what is said of it (`daemon/standing`).
//!
//! Time in which nothing comes does not count: silence is another matter, with other causes.

use std::time::{Duration, Instant};

use ebb_sdk::Timestamp;

/// A longer gap between two rows is a silence, and what was before it does not count.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Standing {
    resolved: Timestamp,
    /// Of the rows that have come.
    newest: Timestamp,
    /// Since when rows stand behind the resolved timestamp, and when one has come last.
    rows: Option<(Instant, Instant)>,
}

impl Standing {
    /// A row of this time is durable.
    pub(super) fn staged(&mut self, timestamp: Timestamp, now: Instant) {
        self.newest = self.newest.max(timestamp);
        if timestamp > self.resolved {
            let goes_on = |&(_, last): &(Instant, Instant)| now.saturating_duration_since(last) <= SILENCE_MAX;
            self.rows = Some((self.rows.filter(goes_on).map_or(now, |(since, _)| since), now));
        }
    }

    /// A resolved timestamp is durable.
    pub(super) fn resolved(&mut self, timestamp: Timestamp, now: Instant) {
        if timestamp > self.resolved {
            self.resolved = timestamp;
            self.rows = (self.newest > timestamp).then_some((now, now));
        }
    }

    /// `resolved`: as staging has it, also from an earlier run. Before the first one an initial scan may be under way, in which
    /// there is none.
    pub(super) fn lasted(&self, resolved: Timestamp) -> Duration {
        let is_behind = resolved > Timestamp::ZERO && self.newest > resolved;
        let rows = self.rows.filter(|_| is_behind);
        rows.map_or(Duration::ZERO, |(since, last)| last.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64) -> Timestamp {
        Timestamp { wall, logical: 0 }
    }

    #[test]
    fn only_rows_that_come_behind_a_resolved_timestamp_that_stands_count() {
        let (mut standing, start) = (Standing::default(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        // The initial scan.
        standing.staged(at(5), start);
        standing.staged(at(5), later(500));
        assert_eq!(standing.lasted(Timestamp::ZERO), Duration::ZERO);
        standing.resolved(at(10), later(501));
        standing.staged(at(11), later(502));
        (506..=530).step_by(4).for_each(|seconds| standing.staged(at(20), later(seconds)));
        assert_eq!(standing.lasted(at(10)), Duration::from_secs(28));
        // Repeats, and the same timestamp again.
        standing.staged(at(9), later(560));
        standing.resolved(at(10), later(561));
        assert_eq!(standing.lasted(at(10)), Duration::from_secs(28));
        // It moves, and not past every row; then past all of them.
        standing.resolved(at(15), later(600));
        assert_eq!(standing.lasted(at(15)), Duration::ZERO);
        standing.staged(at(21), later(604));
        assert_eq!(standing.lasted(at(15)), Duration::from_secs(4));
        standing.resolved(at(30), later(605));
        assert_eq!(standing.lasted(at(30)), Duration::ZERO);
    }

    /// A changefeed that was paused, and one row more.
    #[test]
    fn a_silence_does_not_count() {
        let (mut standing, start) = (Standing::default(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        standing.resolved(at(10), start);
        standing.staged(at(11), later(1));
        standing.staged(at(12), later(3));
        assert_eq!(standing.lasted(at(10)), Duration::from_secs(2));
        standing.staged(at(13), later(17));
        assert_eq!(standing.lasted(at(10)), Duration::ZERO);
        standing.staged(at(14), later(18));
        assert_eq!(standing.lasted(at(10)), Duration::from_secs(1));
    }
}
