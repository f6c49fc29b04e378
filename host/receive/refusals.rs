//! Which refusals are worth a line of the log: a client that is refused may come again for ever, with another text each time.
//!
//! Owns: how many lines each kind of client may cause, and the count of those left out. Does not own: the text, and the
//! counters (`status`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same refusal is logged once in so much time: a changefeed repeats itself for ever.
const INTERVAL: Duration = Duration::from_secs(10);
/// Different refusals of one kind in that time. Unauthenticated clients choose their texts, the changefeed does not.
const UNAUTHENTICATED_MAX: usize = 10;
const AUTHENTICATED_MAX: usize = 100;

/// What a client that was refused had shown. No kind takes the lines of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It got no further than TLS.
    NoHandshake,
    /// It has not shown that it may write.
    Unauthenticated,
    Authenticated,
}

#[derive(Debug, Default)]
pub(super) struct Refusals([Mutex<Heard>; 3]);

#[derive(Debug, Default)]
struct Heard {
    lines: HashMap<String, Instant>,
    left_out: u64,
}

impl Refusals {
    /// `None` where a refusal is not to be logged; else what its line ends with.
    pub(super) fn news(&self, peer: Peer, what: &str) -> Option<String> {
        self.news_at(peer, what, Instant::now())
    }

    fn news_at(&self, peer: Peer, what: &str, now: Instant) -> Option<String> {
        let lines_max = if peer == Peer::Authenticated { AUTHENTICATED_MAX } else { UNAUTHENTICATED_MAX };
        let mut heard = self.0[peer as usize].lock().unwrap_or_else(PoisonError::into_inner);
        heard.lines.retain(|_, at| now.duration_since(*at) < INTERVAL);
        if heard.lines.contains_key(what) || heard.lines.len() >= lines_max {
            heard.left_out += 1;
            return None;
        }
        heard.lines.insert(what.to_owned(), now);
        Some(match std::mem::take(&mut heard.left_out) {
            0 => String::new(),
            count => format!(" ({count} more since the last such line)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unauthenticated_clients_do_not_silence_authenticated_ones() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let logged = |peer, at: Instant| {
            (0..105).filter(|number| refusals.news_at(peer, &format!("text {number}"), at).is_some()).count()
        };
        assert_eq!(logged(Peer::NoHandshake, start), UNAUTHENTICATED_MAX);
        assert_eq!(logged(Peer::Unauthenticated, start), UNAUTHENTICATED_MAX);
        assert_eq!(refusals.news_at(Peer::Authenticated, "text 1", start), Some(String::new()));
        assert_eq!(refusals.news_at(Peer::Authenticated, "text 1", start), None);
        let later = start + INTERVAL;
        assert_eq!(
            refusals.news_at(Peer::Authenticated, "text 1", later).as_deref(),
            Some(" (1 more since the last such line)")
        );
        assert_eq!(
            refusals.news_at(Peer::NoHandshake, "x", later).as_deref(),
            Some(" (95 more since the last such line)")
        );
        assert_eq!(refusals.news_at(Peer::NoHandshake, "y", later), Some(String::new()));
    }
}
