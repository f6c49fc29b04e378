//! A resolved timestamp that does not move although rows come: said once it lasts, again while it does, and its end.
//!
//! Owns: when it is said, and the words. Does not own: the measurement (`status`), the event of the history (`changes`).

use std::time::Duration;

use crate::code;
use crate::lasting::Lasting;
use crate::status::Snapshot;

/// See the module.
#[derive(Debug)]
pub(super) struct Standing {
    /// How long it may last unsaid.
    after: Duration,
    said: Option<(Lasting, Duration)>,
}

impl Standing {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, said: None }
    }

    pub(super) fn look(&mut self, now: &Snapshot) {
        let lasted = now.resolved_stands;
        if lasted < self.after || lasted.is_zero() {
            if let Some((said, before)) = self.said.take() {
                tracing::info!("the resolved timestamp moves again after {} s", (before + said.lasted()).as_secs());
            }
            return;
        }
        let (said, _) = self.said.get_or_insert_with(|| (Lasting::begun(), lasted));
        if said.due().is_some() {
            tracing::warn!(
                error_code = code::changefeed::RESOLVED_STANDS.text(),
                hint = "look for a lagging or hot range and for open transactions on CockroachDB: ebb explain EBB-C034",
                resolved = %now.resolved,
                "rows have come for {} s, but no later resolved timestamp: they stay staged until CockroachDB says that they are \
                 complete",
                lasted.as_secs()
            );
        }
    }
}
