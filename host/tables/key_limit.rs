//! Up to which time rows can be told apart on the target, where a primary key of the source was changed so that later ones
//! cannot.
//!
//! Owns: the limit, from one start to the next, and whether this process has asked the source about it. Does not own: finding it
//! (`watch`), and the file that keeps it (`seen_keys`). Pure.

use ebb_sdk::Timestamp;
use parking_lot::Mutex;

use crate::code;
use crate::error::{Error, Result};

/// See the module.
pub(super) struct KeyLimit(Mutex<Inner>);

struct Inner {
    /// Rows up to this time can be told apart; and why later ones cannot.
    limit: Option<(Timestamp, Error)>,
    is_confirmed: bool,
}

impl KeyLimit {
    /// What an earlier start has noted. It holds until the source says otherwise.
    pub(super) fn noted(since: Option<Timestamp>) -> Self {
        let unasked = |since: Timestamp| {
            let message = format!(
                "a primary key was changed at the source at {since} so that rows could not be told apart on the target, and the \
                 source cannot be asked whether that still holds"
            );
            Error::new(code::table::KEY_AMBIGUOUS, message).hint("start again while CockroachDB can be reached")
        };
        Self(Mutex::new(Inner { limit: since.map(|since| (since, unasked(since))), is_confirmed: since.is_none() }))
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        self.0.lock().limit.as_ref().map(|(since, _)| *since)
    }

    /// Whether the source was asked, or nothing was noted.
    pub(super) fn is_confirmed(&self) -> bool {
        self.0.lock().is_confirmed
    }

    /// What the source has said.
    pub(super) fn set(&self, limit: Option<(Timestamp, Error)>) {
        *self.0.lock() = Inner { limit, is_confirmed: true };
    }

    /// # Errors
    /// Where rows up to `to` cannot be told apart.
    pub(super) fn refuse_beyond(&self, to: Timestamp) -> Result<()> {
        let inner = self.0.lock();
        inner.limit.as_ref().filter(|(since, _)| *since < to).map_or(Ok(()), |(_, why)| Err(why.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Timestamp = Timestamp { wall: 5, logical: 0 };
    const LATER: Timestamp = Timestamp { wall: 6, logical: 0 };

    #[test]
    fn a_noted_limit_holds_until_the_source_says_otherwise() {
        let limit = KeyLimit::noted(Some(SINCE));
        assert!(!limit.is_confirmed() && limit.since() == Some(SINCE));
        assert!(limit.refuse_beyond(SINCE).is_ok() && limit.refuse_beyond(LATER).is_err());
        limit.set(None);
        assert!(limit.is_confirmed() && limit.refuse_beyond(LATER).is_ok());
        assert!(KeyLimit::noted(None).is_confirmed());
    }
}
