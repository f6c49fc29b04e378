//! Which refusals are worth a line of the log: a client that is refused may come again for ever, with another text each time.
//!
//! Owns: how many lines each kind of client may cause, and the count of those left out. Does not own: why something is
//! refused, and the counters (`status`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ebb_sdk::{SHOWN_CHARS_MAX, shortened};
use parking_lot::Mutex;

use super::Refusal;
use super::handshake::Fault;

/// The same refusal is logged once in so much time: a changefeed repeats itself for ever.
const INTERVAL: Duration = Duration::from_secs(10);
/// Different refusals of one kind in that time. Unauthenticated clients choose their texts, the changefeed does not.
const UNAUTHENTICATED_MAX: usize = 10;
const AUTHENTICATED_MAX: usize = 100;

/// What a client that was refused had shown. No kind takes the lines of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// It got no further than TLS.
    NoHandshake,
    /// It has not shown that it may write.
    Unauthenticated,
    Authenticated,
}

/// What was logged lately, of each kind of client.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    no_handshake: Mutex<Logged>,
    unauthenticated: Mutex<Logged>,
    authenticated: Mutex<Logged>,
}

#[derive(Debug, Default)]
struct Logged {
    lines: HashMap<String, Instant>,
    left_out: u64,
}

impl Refusals {
    /// By its kind: dates and ports make another text of each attempt.
    pub(super) fn handshake(&self, client: IpAddr, fault: &Fault) {
        if let Some(more) = self.news(Peer::NoHandshake, fault.code.text()) {
            let what = &fault.what;
            let (error_code, hint) = (fault.code.text(), fault.hint);
            tracing::warn!(error_code, hint, "a TLS handshake failed: {client}: {what}{more}");
        }
    }

    pub(super) fn request(&self, peer: Peer, refusal: &Refusal, path: &str) {
        let Refusal { code, status, cause, key } = refusal;
        let key = key.as_deref();
        if let Some(more) = self.news(peer, &format!("{cause} {}", key.unwrap_or_default())) {
            let (error_code, path) = (code.text(), shortened(path, SHOWN_CHARS_MAX));
            let status = u64::from(status.as_u16());
            tracing::warn!(error_code, status, path, key, "a request was refused: {cause}{more}");
        }
    }

    /// `None` where a refusal is not to be logged; else what its line ends with.
    fn news(&self, peer: Peer, what: &str) -> Option<String> {
        self.news_at(peer, what, Instant::now())
    }

    fn of(&self, peer: Peer) -> &Mutex<Logged> {
        match peer {
            Peer::NoHandshake => &self.no_handshake,
            Peer::Unauthenticated => &self.unauthenticated,
            Peer::Authenticated => &self.authenticated,
        }
    }

    fn news_at(&self, peer: Peer, what: &str, now: Instant) -> Option<String> {
        let lines_max = if peer == Peer::Authenticated { AUTHENTICATED_MAX } else { UNAUTHENTICATED_MAX };
        let mut logged = self.of(peer).lock();
        logged.lines.retain(|_, at| now.duration_since(*at) < INTERVAL);
        if logged.lines.contains_key(what) || logged.lines.len() >= lines_max {
            logged.left_out += 1;
            return None;
        }
        logged.lines.insert(what.to_owned(), now);
        Some(match std::mem::take(&mut logged.left_out) {
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
