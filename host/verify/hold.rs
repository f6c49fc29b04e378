//! Keeping what CockroachDB was for as long as it is read.
//!
//! Owns: asking for it, prolonging it, letting it go, and saying how long the history lasts where it cannot be held. Does not own:
//! the statements (`source`).

use std::time::{Duration, Instant};

use ebb_sdk::Timestamp;
use tokio::runtime::Handle;

use crate::source::{self, Source};

/// Well within the hour after which a hold ends by itself.
const EXTEND_INTERVAL: Duration = Duration::from_secs(600);

/// The history from one time on, as far as it can be held.
pub(super) struct Held<'a> {
    runtime: &'a Handle,
    source: &'a Source,
    hold: Option<source::Hold>,
    extended: Instant,
    /// What is said of it.
    pub(super) words: String,
}

impl<'a> Held<'a> {
    /// Without the right, or on a release that cannot, the garbage collection window bounds the comparison.
    pub(super) fn begin(runtime: &'a Handle, source: &'a Source, at: Timestamp, feed: &str) -> Self {
        let held = runtime.block_on(source.hold(at, &format!("ebb verify of {feed}")));
        let (hold, words) = match held {
            Ok(hold) => (Some(hold), "CockroachDB held the history of what was read".to_owned()),
            Err(error) => (
                None,
                format!(
                    "CockroachDB did not hold the history, so that only gc.ttlseconds and the changefeed keep it ({})",
                    error.message
                ),
            ),
        };
        Self { runtime, source, hold, extended: Instant::now(), words }
    }

    /// To be called now and then.
    pub(super) fn extend(&mut self) {
        if let Some(hold) = self.hold.as_ref().filter(|_| self.extended.elapsed() >= EXTEND_INTERVAL) {
            self.extended = Instant::now();
            // The hold lasts for an hour, and is tried again before.
            let _ = self.runtime.block_on(self.source.extend(hold));
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            // It ends by itself an hour later.
            let _ = self.runtime.block_on(self.source.release(&hold));
        }
    }
}
