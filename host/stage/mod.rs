//! Between receiving and applying: rows and resolved timestamps on the local disk.
//!
//! Owns: durability, and the proof of it: only this module makes a [`Staged`], and only a [`Staged`] can be answered
//! with 200. Does not own: what a body or a window is. One folder serves one feed and one process.
//!
//! A row goes into the log of the newest segment (`log`) and into memory (`memtable`); a full segment is sorted to disk
//! (`sorted_run`) when it has to wait long for the target, and reduced to fingerprints (`fingerprints`) once it is applied, which give way
//! where rows need the room (`room`).

mod append;
mod compaction;
pub mod disk;
mod fingerprints;
mod late;
mod log;
mod memtable;
mod metadata;
pub mod place;
mod present;
mod record;
mod recover;
mod room;
mod scan;
mod sealed;
mod segments;
mod sorted_run;
mod space;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ebb_sdk::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};

pub use append::NotWritten;
pub use late::Late;
pub use metadata::MetadataFile;
pub use record::{Change, Entry, RowBatch};
pub use room::Usage;
pub use scan::{Bounds, Scan};
pub use segments::new_number;
pub use space::Forecast;
pub(crate) use store::lock;
pub use store::{StagingLimits, Store};

use crate::error::{Error, Result};
use space::Space;
pub use writer::Sender;
use writer::{Reports, Request, Write};

/// How often applied segments are looked for when nothing else happens.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(1);

/// Proof that what a request brought is on disk. Only the writer makes one, and only `receive` takes one: a 200
/// cannot be sent for bytes that could still be lost.
#[derive(Clone, Debug)]
#[must_use]
pub struct Staged {
    _made_here: (),
}

/// The staging folder of one feed. Clones share it.
#[derive(Clone)]
pub struct Stage {
    store: Arc<Store>,
    requests: mpsc::Sender<Request>,
    resolved: watch::Receiver<Timestamp>,
    failed: watch::Receiver<Option<Error>>,
    ending: watch::Sender<Option<Error>>,
    space: Arc<Space>,
}

impl Stage {
    /// Opens or creates `folder` and locks it for this process.
    pub fn open(folder: &Path, limits: StagingLimits) -> Result<Self> {
        let disk = disk::Folder::open(folder)?;
        Ok(Self::start(Store::open(Arc::new(disk), limits)?))
    }

    /// Starts the threads that write and compact.
    fn start(store: Store) -> Self {
        let store = Arc::new(store);
        let space = Arc::<Space>::default();
        let (requests, incoming) = mpsc::channel(writer::QUEUE_REQUESTS_MAX);
        let (resolved_sender, resolved) = watch::channel(store.resolved());
        let (failed_sender, failed) = watch::channel(None);
        let (compaction, woken) = sync_channel(1);
        let reports =
            Reports { resolved: resolved_sender, failed: failed_sender.clone(), compaction, space: Arc::clone(&space) };
        let (writer_store, ending) = (Arc::clone(&store), failed_sender.clone());
        thread::spawn(move || writer::run(&writer_store, incoming, &reports));
        let (compaction_store, compaction_space) = (Arc::clone(&store), Arc::clone(&space));
        thread::spawn(move || compact(&compaction_store, &woken, &compaction_space, &failed_sender));
        Self { store, requests, resolved, failed, ending, space }
    }

    /// What the threads work on.
    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// See [`Store::id`].
    pub fn id(&self) -> &str {
        self.store.id()
    }

    /// See [`Store::mark_established`].
    pub fn mark_established(&self) -> Result<()> {
        self.store.mark_established()
    }

    /// See [`Store::begin`].
    pub fn begin(&self, at: Timestamp) -> Result<()> {
        self.store.begin(at)
    }

    /// Whether no changefeed has ever been established on this folder.
    pub fn is_fresh(&self) -> bool {
        self.store.is_fresh()
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

    /// The resolved timestamp, as it moves.
    pub fn resolved(&self) -> watch::Receiver<Timestamp> {
        self.resolved.clone()
    }

    /// Ends the run: what comes next cannot be taken, and may not be passed over.
    pub fn fail(&self, error: Error) {
        self.ending.send_if_modified(|failed| {
            let is_first = failed.is_none();
            if is_first {
                *failed = Some(error);
            }
            is_first
        });
    }

    /// Set once, when the disk has failed or the changefeed has broken its promise; the process must end.
    pub fn failed(&self) -> watch::Receiver<Option<Error>> {
        self.failed.clone()
    }

    /// Numbers for the names of tables, the same at every start. They begin at 1.
    pub fn register_tables(&self, names: &[String]) -> Result<Vec<u32>> {
        self.store.register_tables(names)
    }

    /// What an earlier run has left.
    pub fn load<T: DeserializeOwned>(&self, file: MetadataFile) -> Result<Option<T>> {
        self.store.load(file)
    }

    pub fn save<T: Serialize + ?Sized>(&self, file: MetadataFile, value: &T) -> Result<()> {
        self.store.save(file, value)
    }

    /// Everything up to `applied` is in the target: it need not be kept.
    pub fn release(&self, applied: Timestamp) {
        self.store.release(applied);
    }

    /// The newest timestamp of which rows have been dropped. Below it the folder is incomplete.
    pub fn released(&self) -> Timestamp {
        self.store.released()
    }

    /// How full it is.
    pub fn forecast(&self) -> Forecast {
        self.space.forecast()
    }

    async fn send(&self, content: Write, sender: Sender, lease: Box<dyn Send>) -> Result<Staged> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::new("staging has ended");
        self.requests.send(Request { content, sender, reply, _lease: lease }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Where the folder of a staging schema stands.
pub fn folder(dir: &Path, schema: &str) -> PathBuf {
    // A schema may be qualified, `defaultdb._replicator`; a slash would leave the folder.
    dir.join(schema.replace(std::path::MAIN_SEPARATOR, "_"))
}

/// Sorts, drops and measures until the store is closed. Apart from the writer, which must not wait for it.
fn compact(store: &Store, woken: &Receiver<()>, space: &Space, failed: &watch::Sender<Option<Error>>) {
    loop {
        space.sample(Instant::now(), store.usage());
        // Also while nothing arrives, so that a folder that is gone does not wait for a request to be noticed.
        if let Err(error) = store.compact().map_err(|error| store.cause(error)).and_then(|()| store.check()) {
            failed.send_replace(Some(error));
            return;
        }
        if let Err(RecvTimeoutError::Disconnected) = woken.recv_timeout(COMPACTION_INTERVAL) {
            return;
        }
    }
}

const DAMAGED_HINT: &str = "the disk or its file system has altered data: move the staging folder aside, to a sound disk, and \
                            start again with the same command: the changefeed is then created anew at the target's progress (under ebb start \
                            create it anew yourself, WITH cursor = that progress)";

fn damaged(file: &str, how: &str) -> Error {
    Error::new(format!("the file {file} of the staging folder is damaged: {how}; nothing of it was applied"))
        .hint(DAMAGED_HINT)
}

fn unreadable(error: &io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::InvalidData => DAMAGED_HINT,
        io::ErrorKind::NotFound => present::GONE_HINT,
        _ => "see that its disk is sound and has space; then start again: nothing acknowledged was lost",
    };
    Error::new(format!("the staging folder cannot be read or written: {error}")).hint(hint)
}
