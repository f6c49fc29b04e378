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
/// Room that is there for so long is no gap between two requests that have none.
const ROOM_LASTS: Duration = Duration::from_secs(5);
/// So much room in bytes, and twice as much as there was, is taken for enough.
const ROOM_MIN: u64 = 1 << 20;
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
    /// Requests are held, or were until a moment ago.
    full: Option<Lasting>,
    /// Rows get in again, since then.
    room_since: Option<Instant>,
    /// When a request was last held for want of room, and how much room there was then.
    held: Option<(Instant, u64)>,
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
        inner.note_room(now, &usage);
        inner.say_room(now);
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
        if inner.full.is_some() {
            inner.room_since.get_or_insert_with(Instant::now);
        }
    }

    /// Whether a request is held now.
    pub(super) fn holds(&self) -> bool {
        self.inner.lock().held.is_some_and(|(at, _)| at.elapsed() < ROOM_LASTS)
    }

    /// `has_complete`: the target can be given rows, which then make room.
    pub(super) fn is_full(&self, why: &str, has_complete: bool) {
        let mut inner = self.inner.lock();
        inner.forecast.is_full = true;
        inner.forecast.hours_left = Some(0.0);
        inner.room_since = None;
        inner.held = Some((Instant::now(), inner.forecast.usage.room_bytes));
        let row_bytes = inner.forecast.usage.row_bytes;
        if let Some(lasted) = inner.full.get_or_insert_with(Lasting::begun).due() {
            let hint = match has_complete {
                true => {
                    "see why the target does not take rows, free space on the disk of staging, or raise --staging-max-bytes"
                }
                false => {
                    "raise --staging-max-bytes or free space on the disk of staging, and start again: what is staged can only \
                     be applied once the rest of its transactions has come"
                }
            };
            tracing::warn!(
                error_code = code::staging::FULL.text(),
                hint,
                row_bytes,
                "staging is full{} ({why}): ebb holds requests, which CockroachDB repeats until there is room; no row is lost. \
                 {:.1} MB are staged",
                for_so_long(lasted),
                row_bytes as f64 / 1e6
            );
        }
    }
}

impl Inner {
    /// There may be room, and nobody who wants it: whoever asks for it only once there is would wait for ever.
    fn note_room(&mut self, now: Instant, &Usage { room_bytes, row_bytes, .. }: &Usage) {
        let is_over = self.held.is_some_and(|(at, room_then)| {
            // A large request in a small staging may have been held with more than half of the room left.
            let has_room = row_bytes < ROOM_MIN || room_bytes > room_then.saturating_mul(2) + ROOM_MIN;
            now.saturating_duration_since(at) >= ROOM_LASTS && has_room
        });
        if self.forecast.is_full && is_over {
            self.forecast.is_full = false;
            self.room_since.get_or_insert(now);
        }
    }

    fn say_room(&mut self, now: Instant) {
        let Some(since) = self.room_since.filter(|since| now.saturating_duration_since(*since) >= ROOM_LASTS) else {
            return;
        };
        self.room_since = None;
        if let Some(full) = self.full.take() {
            let seconds = full.lasted().saturating_sub(since.elapsed()).as_secs();
            tracing::info!("staging has room again after {seconds} s: requests are answered");
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
        sample(0, 2_000_000, 0);
        assert_eq!(space.forecast().hours_left, None);
        sample(10, 2_000_010, 0);
        assert_eq!(space.forecast().hours_left, Some(2.0));
        // What is remembered grows, and gives way.
        sample(20, 1_999_900, 5000);
        assert_eq!(space.forecast().hours_left, None);
        space.is_full("no room", true);
        sample(30, 1_999_950, 5000);
        assert!(space.forecast().is_full && space.forecast().hours_left == Some(0.0));
        space.has_room();
        assert!(!space.forecast().is_full);
    }

    #[test]
    fn room_between_two_requests_is_not_the_end() {
        let space = Space::default();
        let is_said_to_be_full = || space.inner.lock().full.is_some();
        space.is_full("no room", true);
        space.has_room();
        space.sample(Instant::now(), Usage::default());
        assert!(is_said_to_be_full());
        space.is_full("no room", true);
        let full = Usage { row_bytes: 2 * ROOM_MIN, ..Usage::default() };
        space.sample(Instant::now() + 2 * ROOM_LASTS, full);
        assert!(is_said_to_be_full());
        space.has_room();
        space.sample(Instant::now() + 2 * ROOM_LASTS, Usage::default());
        assert!(!is_said_to_be_full());
    }

    #[test]
    fn room_is_noticed_also_while_nobody_asks_for_it() {
        let space = Space::default();
        let later = |times| Instant::now() + times * ROOM_LASTS;
        space.is_full("no room", true);
        assert!(space.holds());
        space.sample(later(1), Usage { room_bytes: 1000, row_bytes: 2 * ROOM_MIN, ..Usage::default() });
        assert!(space.forecast().is_full);
        let has_room = Usage { room_bytes: 2 * ROOM_MIN, row_bytes: 2 * ROOM_MIN, ..Usage::default() };
        space.sample(later(2), has_room);
        assert!(!space.forecast().is_full);
        space.sample(later(4), has_room);
        assert!(space.inner.lock().full.is_none());
    }

    #[test]
    fn an_empty_staging_is_not_full_however_large_a_request_was() {
        let space = Space::default();
        let usage = Usage { room_bytes: 7 * ROOM_MIN, ..Usage::default() };
        space.sample(Instant::now(), usage);
        space.is_full("no room", true);
        space.sample(Instant::now() + ROOM_LASTS, usage);
        assert!(!space.forecast().is_full);
    }
}
