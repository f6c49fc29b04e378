//! The way into staging: rows and resolved timestamps, answered for once they are durable.
//!
//! Owns: that whoever asks hears of it, also when the writer has ended. Does not own: writing (`writer`), which requests may
//! come (`receive`).

use ebb_sdk::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::failure::Failure;
use super::record::RowBatch;
use super::writer::{Request, Sender, Staged, Write};
use crate::error::{Error, Result};

/// Clones lead to the same writer, which ends with the last of them.
#[derive(Clone)]
pub struct Inbox {
    requests: mpsc::Sender<Request>,
    failure: Failure,
}

impl Inbox {
    pub(super) fn new(requests: mpsc::Sender<Request>, failure: Failure) -> Self {
        Self { requests, failure }
    }

    /// Makes rows durable; repeats are left out. `lease` is dropped once the rows need no memory any more.
    ///
    /// # Errors
    /// When the run ends, or rows of [`Sender::OfPart`] came too late.
    pub async fn append(&self, rows: RowBatch, sender: Sender, lease: Box<dyn Send>) -> Result<Staged> {
        self.send(Write::Rows(rows), sender, lease).await
    }

    /// Makes a resolved timestamp durable. It does not go back.
    pub async fn resolve(&self, timestamp: Timestamp) -> Result<Staged> {
        self.send(Write::Resolved(timestamp), Sender::OfRun, Box::new(())).await
    }

    /// Ends the run: what comes next cannot be taken, and may not be passed over.
    pub fn fail(&self, error: Error) {
        self.failure.set(error);
    }

    /// Set once, when the disk has failed, a thread of staging has, or the changefeed has broken its promise; the process
    /// must end.
    pub fn failed(&self) -> watch::Receiver<Option<Error>> {
        self.failure.watch()
    }

    async fn send(&self, write: Write, sender: Sender, lease: Box<dyn Send>) -> Result<Staged> {
        let (reply, answer) = oneshot::channel();
        let request = Request { write, sender, reply, _lease: lease };
        if self.requests.send(request).await.is_err() {
            return Err(self.cause().await);
        }
        match answer.await {
            Ok(staged) => staged,
            Err(_) => Err(self.cause().await),
        }
    }

    /// Why the writer has ended. It cannot have ended without a failure while there is an inbox, but its requests are dropped
    /// a moment before its thread has told of a panic.
    async fn cause(&self) -> Error {
        let mut failed = self.failed();
        let failed = failed.wait_for(Option::is_some).await;
        let cause = failed.ok().and_then(|failed| failed.clone());
        cause.unwrap_or_else(|| Error::new("staging has ended"))
    }
}
