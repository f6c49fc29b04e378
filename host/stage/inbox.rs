//! The way into staging: rows and resolved timestamps, answered for once they are durable.
//!
//! Owns: that whoever asks hears of it, also when the writer has ended. Does not own: writing (`writer`), which requests may
//! come (`receive`).

use ebb_sdk::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::failure::Failure;
use super::record::RowBatch;
use super::writer::{Request, Sender, Staged, Write};
use crate::code;
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
        cause.unwrap_or_else(|| Error::new(code::defect::PANIC, "staging has ended"))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;
    use crate::measure::ThreadState;
    use crate::private::tempdir;
    use crate::stage::disk::Folder;
    use crate::stage::faulty_disk::{Faults, FaultyDisk};
    use crate::stage::store::Store;
    use crate::stage::{Change, Stage, StagingLimits, TableId};

    /// The files of one kind are written and then cannot be synced.
    struct Unsyncable {
        extension: &'static str,
        sync: Sync,
    }

    type Sync = fn() -> io::Result<()>;

    impl Faults for Unsyncable {
        fn concern(&self, name: &str) -> bool {
            name.ends_with(self.extension)
        }

        fn sync(&self) -> io::Result<()> {
            (self.sync)()
        }
    }

    fn open(dir: &TempDir, extension: &'static str, sync: Sync) -> Stage {
        let folder = Arc::new(Folder::open(dir.path()).unwrap());
        let disk = FaultyDisk { folder, faults: Arc::new(Unsyncable { extension, sync }) };
        let limits = StagingLimits { segment_bytes_max: 1 << 10, ..StagingLimits::default() };
        Stage::start(Store::open(Arc::new(disk), limits).unwrap(), crate::history::History::default()).unwrap()
    }

    async fn append(inbox: &Inbox, wall: i64) -> Result<Staged> {
        let mut rows = RowBatch::default();
        rows.push(Timestamp { wall, logical: 0 }, TableId(1), &format!("[{wall}]"), Change::Upsert("{}"));
        inbox.append(rows, Sender::OfRun, Box::new(())).await
    }

    async fn failure(inbox: &Inbox) -> Error {
        let mut failed = inbox.failed();
        let failed = timeout(Duration::from_secs(60), failed.wait_for(Option::is_some)).await;
        failed.expect("the run must end").unwrap().clone().unwrap()
    }

    #[tokio::test]
    async fn nothing_is_acknowledged_once_a_sync_has_failed() {
        let dir = tempdir();
        let Stage { inbox, .. } = open(&dir, ".log", || Err(io::Error::other("input/output error")));
        let error = append(&inbox, 1).await.unwrap_err();
        assert!(error.message.contains("input/output error"), "{error}");
        assert!(append(&inbox, 2).await.is_err());
        assert_eq!(failure(&inbox).await, error);
    }

    #[tokio::test]
    async fn a_writer_that_panics_ends_the_run() {
        let dir = tempdir();
        let Stage { inbox, .. } = open(&dir, ".log", || panic!("on purpose"));
        for wall in [1, 2] {
            let error = append(&inbox, wall).await.unwrap_err();
            assert_eq!(error.message, "the thread staging-writer has panicked: on purpose");
            // Whoever is answered knows already that the run is over, and no request at fault.
            assert_eq!(*inbox.failed().borrow(), Some(error));
        }
    }

    #[tokio::test]
    async fn a_compaction_that_panics_ends_the_run() {
        let dir = tempdir();
        let Stage { inbox, .. } = open(&dir, ".run", || panic!("on purpose"));
        let mut walls = 1..100;
        let error = loop {
            let wall = walls.next().expect("segments are sorted long before");
            if let Err(error) = append(&inbox, wall).await {
                break error;
            }
        };
        assert_eq!(error.message, "the thread compaction has panicked: on purpose");
        assert_eq!(failure(&inbox).await, error);
    }

    #[tokio::test]
    async fn a_disk_that_hangs_makes_a_stuck_writer() {
        let dir = tempdir();
        let Stage { inbox, backlog, .. } = open(&dir, ".log", || {
            loop {
                std::thread::park();
            }
        });
        let measures = backlog.measures();
        measures.writer.set_limit(Duration::from_millis(50));
        let is = async |state| {
            let is_it = async {
                while measures.writer.pulse().state != state {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(60), is_it).await.expect("the state comes");
        };
        is(ThreadState::Rests).await;
        // Nobody waits for more than an attempt.
        let unanswered = timeout(Duration::from_millis(1), append(&inbox, 1)).await;
        assert!(unanswered.is_err());
        is(ThreadState::Stuck).await;
        assert!(measures.writer.pulse().fault().is_some_and(|fault| fault.starts_with("staging-writer is stuck")));
    }

    /// An orderly end is no failure.
    #[tokio::test]
    async fn threads_end_with_the_last_inbox() {
        let dir = tempdir();
        let Stage { inbox, .. } = open(&dir, "", || Ok(()));
        let mut failed = inbox.failed();
        let _: Staged = append(&inbox, 1).await.unwrap();
        drop(inbox);
        let ended = timeout(Duration::from_secs(60), failed.wait_for(Option::is_some)).await;
        assert!(ended.expect("the threads must end").is_err());
    }
}
