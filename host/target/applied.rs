//! Proof of what the target holds: staging drops rows for nothing less.
//!
//! Owns: that only this room makes one, from the progress row that the target has shown ([`super::Found`], [`super::Lease`]) or
//! from a commit that it has confirmed. Does not own: what is dropped (`stage`).

use ebb_sdk::Timestamp;

/// The target has said that everything up to a timestamp is in it.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Applied {
    up_to: Timestamp,
}

impl Applied {
    pub(super) fn confirmed(up_to: Timestamp) -> Self {
        Self { up_to }
    }

    pub fn up_to(self) -> Timestamp {
        self.up_to
    }
}
