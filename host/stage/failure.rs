//! The one error that ends the run, whoever has met with it.
//!
//! Owns: that the first one counts. Does not own: what is an error.

use tokio::sync::watch;

use crate::error::{Error, Result};

/// Clones share it.
#[derive(Clone)]
pub(super) struct Failure(watch::Sender<Option<Error>>);

impl Failure {
    pub(super) fn none() -> Self {
        Self(watch::channel(None).0)
    }

    /// Later ones follow from the first, and are not told.
    pub(super) fn set(&self, error: Error) {
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(error);
            is_first
        });
    }

    /// An error once there is one.
    pub(super) fn check(&self) -> Result<()> {
        self.0.borrow().clone().map_or(Ok(()), Err)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Error>> {
        self.0.subscribe()
    }
}
