//! How long to wait before the same transaction is tried again.
//!
//! Owns: the back-off, and how often a failure of which nothing is known may come. Does not own: what may be tried again; the plugin's error kind says so. Pure but for the jitter.

use std::time::Duration;

use ebb_sdk::{Error, ErrorKind, Topic};

/// Doubles from the least to the longest delay; a little jitter keeps several writers from meeting again and again.
#[derive(Debug)]
pub(super) struct Backoff {
    delay_min: Duration,
    delay_max: Duration,
    attempts: u32,
    /// A target that said, after a lost connection, that its progress has moved.
    was_doubted: bool,
}

impl Backoff {
    pub(super) fn new(delay_min: Duration, delay_max: Duration) -> Self {
        Self { delay_min, delay_max, attempts: 0, was_doubted: false }
    }

    /// Whether connecting anew may help. A commit that has outlived its connection moves the progress row while the
    /// transaction is already being repeated, which then looks like another writer: the row is read once more.
    pub(super) fn may_help(&mut self, kind: ErrorKind) -> bool {
        match kind {
            ErrorKind::Retry => true,
            ErrorKind::Broken => self.attempts > 0 && !std::mem::replace(&mut self.was_doubted, true),
            ErrorKind::Refused | ErrorKind::Config => false,
        }
    }

    /// The next delay; `jitter` is any number and takes up to a quarter off.
    pub(super) fn next(&mut self, jitter: u32) -> Duration {
        let doubled = self.delay_min.saturating_mul(1 << self.attempts.min(30));
        self.attempts = self.attempts.saturating_add(1);
        let delay = doubled.min(self.delay_max);
        delay - delay.mul_f64(f64::from(jitter % 1000) / 4000.0)
    }
}

/// A failure that may pass, and of which nothing is known but its words, is the rows' fault after so many with the same words:
/// some extensions call whatever they refuse an internal error.
const ALIKE_ATTEMPTS: u32 = 5;

/// Counts failures that say the same.
#[derive(Default)]
pub(super) struct Alike {
    words: String,
    count: u32,
}

impl Alike {
    /// The failure of another attempt, as a refusal once it is no accident any more.
    pub(super) fn judged(&mut self, failure: Error) -> Error {
        if failure.kind != ErrorKind::Retry || failure.topic != Topic::Other || failure.code.is_none() {
            *self = Self::default();
            return failure;
        }
        if self.words != failure.message {
            *self = Self { words: failure.message.clone(), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        let kind = if self.count >= ALIKE_ATTEMPTS { ErrorKind::Refused } else { failure.kind };
        Error { kind, ..failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_the_same_each_time_is_no_accident() {
        let mut alike = Alike::default();
        let mut kind =
            |words: &str, topic| alike.judged(Error::new(ErrorKind::Retry, words).topic(topic).code("XX000")).kind;
        let same: Vec<_> = (0..5).map(|_| kind("parse error", Topic::Other)).collect();
        assert_eq!(same, [vec![ErrorKind::Retry; 4], vec![ErrorKind::Refused]].concat());
        assert_eq!(kind("another", Topic::Other), ErrorKind::Retry);
        // What is known to pass passes, however often it comes.
        assert!((0..9).all(|_| kind("lock timeout", Topic::TooSlow) == ErrorKind::Retry));
    }

    #[test]
    fn a_broken_promise_is_doubted_once_and_only_after_a_lost_connection() {
        let mut backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
        assert!(!backoff.may_help(ErrorKind::Broken) && backoff.may_help(ErrorKind::Retry));
        backoff.next(0);
        assert!(backoff.may_help(ErrorKind::Broken) && !backoff.may_help(ErrorKind::Broken));
        assert!(!backoff.may_help(ErrorKind::Refused) && backoff.may_help(ErrorKind::Retry));
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(25), Duration::from_secs(2));
        let delays: Vec<_> = (0..9).map(|_| backoff.next(0).as_millis()).collect();
        assert_eq!(delays, [25, 50, 100, 200, 400, 800, 1600, 2000, 2000]);
        let jittered = backoff.next(999);
        assert!(jittered > Duration::from_millis(1500) && jittered < Duration::from_secs(2));
        let mut never_overflows = Backoff::new(Duration::from_secs(1), Duration::MAX);
        assert!((0..100).all(|_| never_overflows.next(7) > Duration::ZERO));
    }
}
