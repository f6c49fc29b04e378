//! A state that lasts, such as a database that is down: it is said again while it lasts.
//!
//! Owns: when it is to be said. Does not own: the words, and that its end is said, too.

use std::time::{Duration, Instant};

/// Between two lines about one state.
const INTERVAL: Duration = Duration::from_secs(30);

/// One state, from its beginning.
#[derive(Debug)]
pub struct Lasting {
    since: Instant,
    told: Option<Instant>,
}

impl Lasting {
    pub fn begun() -> Self {
        Self::since(Instant::now())
    }

    pub fn since(since: Instant) -> Self {
        Self { since, told: None }
    }

    pub fn lasted(&self) -> Duration {
        self.since.elapsed()
    }

    /// How long it has lasted, when that is to be said: the first time, and every 30 s.
    pub fn due(&mut self) -> Option<Duration> {
        self.due_at(Instant::now())
    }

    pub fn was_told(&self) -> bool {
        self.told.is_some()
    }

    fn due_at(&mut self, now: Instant) -> Option<Duration> {
        if self.told.is_some_and(|told| now.duration_since(told) < INTERVAL) {
            return None;
        }
        self.told = Some(now);
        Some(now.duration_since(self.since))
    }
}

/// ` for 12 s`, and nothing for a state that has only begun.
pub fn for_so_long(lasted: Duration) -> String {
    match lasted.as_secs() {
        0 => String::new(),
        seconds => format!(" for {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_said_at_first_and_every_half_minute() {
        let start = Instant::now();
        let mut state = Lasting::since(start);
        let due: Vec<u64> = (0..100)
            .filter_map(|second| state.due_at(start + Duration::from_secs(second)))
            .map(|at| at.as_secs())
            .collect();
        assert_eq!(due, [0, 30, 60, 90]);
        assert_eq!(
            (for_so_long(Duration::from_millis(900)), for_so_long(Duration::from_secs(31))),
            (String::new(), " for 31 s".into())
        );
    }
}
