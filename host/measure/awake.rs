//! Time in which this process was not scheduled: a stopped one (SIGSTOP, a frozen container), or one without a processor.
//!
//! Owns: how much of it there was. Does not own: who is judged by it (`heartbeat`).
//!
//! A thread of its own looks at the clock every half a second. Where far more time has passed between two looks, no thread of
//! the process has run, and none of them can be blamed for its silence.

use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::Result;
use crate::threads;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Up to here a look is late on a busy machine.
const GAP_MAX: Duration = Duration::from_secs(2);

static CLOCK: Mutex<Option<Clock>> = Mutex::new(None);

#[derive(Clone, Copy, Debug)]
struct Clock {
    /// The last look.
    looked: Instant,
    lost: Duration,
}

/// Looks from now on, until the process ends.
///
/// # Errors
/// When the system has no thread left.
pub fn watch() -> Result<()> {
    look(Instant::now());
    threads::spawn("watcher", drop, || -> Result<()> {
        loop {
            thread::sleep(LOOK_INTERVAL);
            look(Instant::now());
        }
    })
}

fn look(now: Instant) {
    let mut clock = CLOCK.lock();
    *clock = Some(clock.map_or(Clock { looked: now, lost: Duration::ZERO }, |clock| clock.looked_at(now)));
}

/// How much of the time until now was lost; nothing where nobody looks. It never shrinks.
pub(super) fn lost(now: Instant) -> Duration {
    CLOCK.lock().map_or(Duration::ZERO, |clock| clock.lost_at(now))
}

impl Clock {
    /// Also what the next look will find: whoever asks may be scheduled before the thread that looks.
    fn lost_at(self, now: Instant) -> Duration {
        self.lost + now.saturating_duration_since(self.looked).saturating_sub(GAP_MAX)
    }

    fn looked_at(self, now: Instant) -> Self {
        Self { looked: now, lost: self.lost_at(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_gap_between_two_looks_is_lost_time() {
        let start = Instant::now();
        let later = |millis| start + Duration::from_millis(millis);
        let mut clock = Clock { looked: start, lost: Duration::ZERO };
        for millis in [500, 1_000, 2_900, 3_400] {
            clock = clock.looked_at(later(millis));
        }
        assert_eq!(clock.lost, Duration::ZERO);
        // Stopped for 33 s; the first who asks is not the one that looks.
        assert_eq!(clock.lost_at(later(36_400)), Duration::from_secs(31));
        clock = clock.looked_at(later(36_400));
        assert_eq!(clock.lost_at(later(36_900)), Duration::from_secs(31));
        assert_eq!(clock.looked_at(later(40_400)).lost, Duration::from_secs(33));
    }
}
