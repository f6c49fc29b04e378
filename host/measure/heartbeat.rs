//! When a thread was last heard of: one that works and has said nothing for longer than any of its steps may take is stuck.
//!
//! Owns: the judgement. Does not own: how long a step may take (whoever does the work), and what follows (`status`).
//!
//! Time in which the whole process was not scheduled does not count (`awake`). A thread that waits for work, or until a delay is over, rests: however long that takes, it is alive.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::awake;

/// See the module. Touched by one thread, read by others.
#[derive(Debug)]
pub struct Heartbeat {
    name: &'static str,
    begun: Instant,
    /// What was lost until then.
    lost: Duration,
    /// Milliseconds since `begun`, plus [`FIRST_BEAT`]; or one of the two below.
    last: AtomicU64,
    /// Milliseconds that a step may take.
    limit: AtomicU64,
}

const RESTS: u64 = 0;
const ENDED: u64 = 1;
const FIRST_BEAT: u64 = 2;

/// What is known of a thread at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    pub name: &'static str,
    pub state: ThreadState,
    /// Since it was last heard of; zero while it rests.
    pub quiet: Duration,
    /// How long it may be quiet.
    pub limit: Duration,
}

/// Whether a thread is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadState {
    /// It waits for work, or has not begun.
    Rests,
    Works,
    /// It is in one step for longer than any may take.
    Stuck,
    /// It has ended, although the run has not.
    Ended,
}

impl ThreadState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Rests => "rests",
            Self::Works => "works",
            Self::Stuck => "stuck",
            Self::Ended => "ended",
        }
    }
}

/// While it lives the thread does; dropped also by a panic.
#[must_use]
pub struct Alive<'h>(&'h Heartbeat);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.last.store(ENDED, Ordering::Relaxed);
    }
}

impl Heartbeat {
    /// Of a thread that has not begun. `limit`: how long one of its steps may take.
    pub fn new(name: &'static str, limit: Duration) -> Self {
        let limit = AtomicU64::new(millis(limit));
        let begun = Instant::now();
        Self { name, begun, lost: awake::lost(begun), last: AtomicU64::new(RESTS), limit }
    }

    /// Where the limit depends on settings.
    pub fn set_limit(&self, limit: Duration) {
        self.limit.store(millis(limit), Ordering::Relaxed);
    }

    /// The thread begins now, and ends when what is returned is dropped.
    pub fn begin(&self) -> Alive<'_> {
        self.beat();
        Alive(self)
    }

    /// A step begins.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    /// It waits, for as long as it takes; its next beat ends the wait.
    pub fn rest(&self) {
        self.last.store(RESTS, Ordering::Relaxed);
    }

    pub fn pulse(&self) -> Pulse {
        self.pulse_at(Instant::now())
    }

    fn beat_at(&self, now: Instant) {
        self.last.store(FIRST_BEAT + millis(self.awake(now)), Ordering::Relaxed);
    }

    /// How long the process was scheduled since this was made.
    fn awake(&self, now: Instant) -> Duration {
        let lost = awake::lost(now).saturating_sub(self.lost);
        now.saturating_duration_since(self.begun).saturating_sub(lost)
    }

    fn pulse_at(&self, now: Instant) -> Pulse {
        let limit = Duration::from_millis(self.limit.load(Ordering::Relaxed));
        let (state, quiet) = match self.last.load(Ordering::Relaxed) {
            RESTS => (ThreadState::Rests, Duration::ZERO),
            ENDED => (ThreadState::Ended, Duration::ZERO),
            last => {
                let quiet = self.awake(now).saturating_sub(Duration::from_millis(last - FIRST_BEAT));
                (if quiet > limit { ThreadState::Stuck } else { ThreadState::Works }, quiet)
            }
        };
        Pulse { name: self.name, state, quiet, limit }
    }
}

impl Pulse {
    /// What is wrong with the thread, if anything is.
    pub fn fault(&self) -> Option<String> {
        let name = self.name;
        match self.state {
            ThreadState::Rests | ThreadState::Works => None,
            ThreadState::Ended => Some(format!("{name} has ended")),
            ThreadState::Stuck => {
                let (quiet, limit) = (self.quiet.as_secs(), self.limit.as_secs());
                Some(format!(
                    "{name} is stuck: not heard of for {quiet} s, and no step of it may take more than {limit} s"
                ))
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn who_is_quiet_at_work_for_too_long_is_stuck() {
        let heartbeat = Heartbeat::new("applier", LIMIT);
        let start = heartbeat.begun;
        let state = |seconds| heartbeat.pulse_at(start + Duration::from_secs(seconds)).state;
        assert_eq!(state(1_000_000), ThreadState::Rests, "it has not begun");
        heartbeat.beat_at(start + Duration::from_secs(100));
        assert_eq!([state(100), state(160), state(161)], [ThreadState::Works, ThreadState::Works, ThreadState::Stuck]);
        let fault = heartbeat.pulse_at(start + Duration::from_secs(200)).fault().expect("a fault");
        assert_eq!(fault, "applier is stuck: not heard of for 100 s, and no step of it may take more than 60 s");
        // Heard of again.
        heartbeat.beat_at(start + Duration::from_secs(300));
        assert_eq!(state(301), ThreadState::Works);
        heartbeat.set_limit(Duration::from_secs(600));
        assert_eq!(state(900), ThreadState::Works);
    }

    #[test]
    fn who_waits_is_alive_however_long() {
        let heartbeat = Heartbeat::new("reader", LIMIT);
        heartbeat.beat();
        heartbeat.rest();
        let later = heartbeat.pulse_at(heartbeat.begun + Duration::from_secs(1_000_000));
        assert_eq!((later.state, later.fault()), (ThreadState::Rests, None));
    }

    #[test]
    fn whose_thread_has_ended_is_dead_also_after_a_panic() {
        let heartbeat = Heartbeat::new("applier", LIMIT);
        {
            let _alive = heartbeat.begin();
            assert_eq!(heartbeat.pulse().state, ThreadState::Works);
        }
        assert_eq!(heartbeat.pulse().fault().as_deref(), Some("applier has ended"));
        let again = std::sync::Arc::new(Heartbeat::new("applier", LIMIT));
        let thread = std::sync::Arc::clone(&again);
        let ended = std::thread::spawn(move || {
            let _alive = thread.begin();
            panic!("on purpose");
        });
        assert!(ended.join().is_err());
        assert_eq!(again.pulse().state, ThreadState::Ended);
    }
}
