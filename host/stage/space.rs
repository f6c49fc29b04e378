//! How full the disk is, how fast that grows, and how long it will last.
//!
//! Owns: the forecast and its log lines. Does not own: holding requests while there is no room (`writer`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::room::Usage;
use crate::code;
use crate::lasting::{Lasting, for_so_long};

/// The growth is measured over so long.
const MEASURED: Duration = Duration::from_secs(60);
/// Warnings come no more often.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// With less left there is a warning.
const WARN_HOURS: f64 = 4.0;

/// See the module.
#[derive(Default)]
pub(super) struct Space {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    samples: VecDeque<(Instant, u64)>,
    forecast: Forecast,
    warned_of_growth: Option<Instant>,
    /// Requests are held.
    full: Option<Lasting>,
}

/// What is staged, and what that means.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Forecast {
    pub usage: Usage,
    /// `None` while rows do not grow: what only remembers rows gives way to them.
    pub hours_left: Option<f64>,
    /// Requests are held, since there is no room for them.
    pub is_full: bool,
}

impl Space {
    pub(super) fn forecast(&self) -> Forecast {
        self.inner.lock().forecast
    }

    /// Takes a measurement; some seconds apart.
    pub(super) fn sample(&self, now: Instant, usage: Usage) {
        let Usage { row_bytes, room_bytes, .. } = usage;
        let mut inner = self.inner.lock();
        while inner.samples.front().is_some_and(|&(at, _)| now.duration_since(at) > MEASURED) {
            inner.samples.pop_front();
        }
        inner.samples.push_back((now, row_bytes));
        let first = inner.samples.front().copied().unwrap_or((now, row_bytes));
        let hours = now.duration_since(first.0).as_secs_f64() / 3600.0;
        let grown = row_bytes.saturating_sub(first.1);
        let is_full = inner.forecast.is_full;
        let hours_left = match is_full {
            true => Some(0.0),
            false => (grown > 0 && hours > 0.0).then(|| room_bytes as f64 / (grown as f64 / hours)),
        };
        inner.forecast = Forecast { usage, hours_left, is_full };
        // A burst of a few seconds says nothing about hours.
        let is_steady = now.duration_since(first.0) >= MEASURED / 2;
        let soon = hours_left.filter(|&hours| hours < WARN_HOURS && is_steady && !is_full);
        let warned = inner.warned_of_growth;
        if let Some(hours) = soon
            && warned.is_none_or(|warned| now.duration_since(warned) >= WARN_INTERVAL)
        {
            inner.warned_of_growth = Some(now);
            tracing::warn!(
                error_code = code::staging::FULL_SOON.text(),
                row_bytes,
                room_bytes,
                "staging grows: at this rate it is full in {hours:.1} hours"
            );
        }
    }

    pub(super) fn has_room(&self) {
        let mut inner = self.inner.lock();
        inner.forecast.is_full = false;
        if let Some(full) = inner.full.take() {
            tracing::info!("staging has room again after {} s: requests are answered", full.lasted().as_secs());
        }
    }

    pub(super) fn is_full(&self, why: &str) {
        let mut inner = self.inner.lock();
        inner.forecast.is_full = true;
        inner.forecast.hours_left = Some(0.0);
        let row_bytes = inner.forecast.usage.row_bytes;
        if let Some(lasted) = inner.full.get_or_insert_with(Lasting::begun).due() {
            tracing::warn!(
                error_code = code::staging::FULL.text(),
                hint = "see why the target does not take rows, free space on the disk of staging, or raise --staging-max-bytes",
                row_bytes,
                "staging is full{} ({why}): ebb holds requests, and refuses them after --httpResponseTimeout; no row is lost. \
                 {:.1} MB are staged",
                for_so_long(lasted),
                row_bytes as f64 / 1e6
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_left_follow_from_the_growth() {
        let (space, start) = (Space::default(), Instant::now());
        let sample = |seconds, row_bytes, fingerprint_bytes| {
            let usage = Usage { row_bytes, fingerprint_bytes, room_bytes: 7200, ..Usage::default() };
            space.sample(start + Duration::from_secs(seconds), usage);
        };
        sample(0, 1000, 0);
        assert_eq!(space.forecast().hours_left, None);
        sample(10, 1010, 0);
        assert_eq!(space.forecast().hours_left, Some(2.0));
        // What is remembered grows, and gives way.
        sample(20, 900, 5000);
        assert_eq!(space.forecast().hours_left, None);
        space.is_full("no room");
        sample(30, 950, 5000);
        assert!(space.forecast().is_full && space.forecast().hours_left == Some(0.0));
        space.has_room();
        assert!(!space.forecast().is_full);
    }
}
