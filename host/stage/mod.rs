//! Between receiving and applying: rows and resolved timestamps on the local disk.
//!
//! Owns: durability, and the proof of it: only this module makes a [`Staged`], and only a [`Staged`] can be answered
//! with 200. Does not own: what a body or a window is. One folder serves one feed and one process.

mod record;
mod segments;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ebb_sdk::Timestamp;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tokio::sync::{mpsc, oneshot, watch};

pub use record::{Change, Entry, RowBatch};
pub use segments::Scan;

use crate::error::{Error, Result};
use record::timestamp_of;
use segments::Segments;
use writer::{Content, Request};

/// The version of the folder's format; a newer one is refused.
const FORMAT: u32 = 1;
const FORMAT_KEY: &str = "format";
const RESOLVED: &str = "resolved";
const RELEASED: &str = "released";
/// Memory for blocks read back from disk.
const CACHE_BYTES: u64 = 16 << 20;
/// Journal on disk beside the rows.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;

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
    applied: Arc<watch::Sender<Timestamp>>,
    resolved: watch::Receiver<Timestamp>,
    failed: watch::Receiver<Option<Error>>,
    fresh: bool,
}

struct Store {
    database: Database,
    segments: Segments,
    /// Names of target tables by number.
    tables: Keyspace,
    /// Format, resolved and released timestamps.
    notes: Keyspace,
}

impl Stage {
    /// Opens or creates `folder` and locks it for this process.
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| unusable(folder, &error.to_string()))?;
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(1)
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => Error::new(format!("{} is in use by another ebb", folder.display()))
                    .hint("end the other process, or choose another --stagingSchema or --staging-dir"),
                error => unusable(folder, &error.to_string()),
            })?;
        let keyspace = |name: &str| database.keyspace(name, KeyspaceCreateOptions::default).map_err(unreadable);
        let (tables, notes) = (keyspace("tables")?, keyspace("notes")?);
        let fresh = check_format(&database, &notes, folder)?;
        let resolved = note(&notes, RESOLVED)?.unwrap_or(Timestamp::ZERO);
        let segments = Segments::open(&database)?;
        Ok(Self::start(Store { database, segments, tables, notes }, resolved, fresh))
    }

    fn start(store: Store, resolved: Timestamp, fresh: bool) -> Self {
        let store = Arc::new(store);
        let (requests, incoming) = mpsc::channel(writer::QUEUE_REQUESTS_MAX);
        let (resolved_sender, resolved) = watch::channel(resolved);
        let (applied_sender, applied) = watch::channel(Timestamp::ZERO);
        let (failed_sender, failed) = watch::channel(None);
        let (failed_sender, writer_store, writer_applied) = (Arc::new(failed_sender), store.clone(), applied.clone());
        let writer_failed = Arc::clone(&failed_sender);
        std::thread::spawn(move || {
            writer::run(&writer_store, incoming, &writer_applied, &resolved_sender, &writer_failed);
        });
        let release_store = Arc::clone(&store);
        std::thread::spawn(move || {
            let store = release_store;
            writer::release(&store, &applied, &failed_sender);
        });
        Self { store, requests, applied: Arc::new(applied_sender), resolved, failed, fresh }
    }

    /// Whether the folder was empty when it was opened.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Makes rows durable. Rows at or below the applied timestamp are repeats and are left out.
    pub async fn append(&self, rows: RowBatch) -> Result<Staged> {
        self.send(Content::Rows(rows)).await
    }

    /// Makes a resolved timestamp durable. It does not go back.
    pub async fn resolve(&self, timestamp: Timestamp) -> Result<Staged> {
        self.send(Content::Resolved(timestamp)).await
    }

    /// The resolved timestamp, as it moves.
    pub fn resolved(&self) -> watch::Receiver<Timestamp> {
        self.resolved.clone()
    }

    /// Set once, when the disk has failed; the process must end.
    pub fn failed(&self) -> watch::Receiver<Option<Error>> {
        self.failed.clone()
    }

    /// Numbers for the names of tables, the same at every start. They begin at 1.
    pub fn register_tables(&self, names: &[String]) -> Result<Vec<u32>> {
        let mut known = std::collections::HashMap::new();
        for guard in self.store.tables.iter() {
            let (number, name) = guard.into_inner().map_err(unreadable)?;
            let number = number.as_ref().try_into().map(u32::from_be_bytes).unwrap_or_default();
            known.insert(String::from_utf8_lossy(&name).into_owned(), number);
        }
        let mut batch = self.store.database.batch().durability(Some(PersistMode::SyncAll));
        let mut next = known.values().max().map_or(1, |last| last + 1);
        let mut numbers = Vec::with_capacity(names.len());
        for name in names {
            let number = *known.entry(name.clone()).or_insert_with(|| {
                batch.insert(&self.store.tables, next.to_be_bytes(), name.as_str());
                next += 1;
                next - 1
            });
            numbers.push(number);
        }
        batch.commit().map_err(unreadable)?;
        Ok(numbers)
    }

    /// Rows above `after` up to `to`, in commit order.
    pub fn scan(&self, after: Timestamp, to: Timestamp) -> Scan {
        self.store.segments.scan(after, to)
    }

    /// Rows of one source transaction in one table.
    pub fn scan_table(&self, at: Timestamp, table: u32) -> Scan {
        self.store.segments.scan_table(at, table)
    }

    /// Everything up to `applied` is in the target: it need not be kept, and repeats of it need not be staged.
    pub fn release(&self, applied: Timestamp) {
        self.applied.send_replace(applied);
    }

    /// The newest timestamp of which rows have been dropped. Below it the folder is incomplete.
    pub fn released(&self) -> Result<Timestamp> {
        Ok(note(&self.store.notes, RELEASED)?.unwrap_or(Timestamp::ZERO))
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.store.database.disk_space().unwrap_or_default()
    }

    async fn send(&self, content: Content) -> Result<Staged> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::new("staging has ended");
        self.requests.send(Request { content, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Where the folder of a staging schema stands.
pub fn folder(dir: &Path, schema: &str) -> PathBuf {
    // A schema may be qualified, `defaultdb._replicator`; a slash would leave the folder.
    dir.join(schema.replace(std::path::MAIN_SEPARATOR, "_"))
}

/// Writes the format of a new folder; refuses the folder of a later version. Returns whether it was new.
fn check_format(database: &Database, notes: &Keyspace, folder: &Path) -> Result<bool> {
    let stored = notes.get(FORMAT_KEY).map_err(unreadable)?;
    match stored.as_deref().map(TryInto::try_into) {
        None => {
            notes.insert(FORMAT_KEY, FORMAT.to_be_bytes()).map_err(unreadable)?;
            database.persist(PersistMode::SyncAll).map_err(unreadable)?;
            Ok(true)
        }
        Some(Ok(bytes)) if u32::from_be_bytes(bytes) == FORMAT => Ok(false),
        Some(other) => {
            let version = other.map_or("unknown".into(), |bytes| u32::from_be_bytes(bytes).to_string());
            Err(Error::new(format!(
                "the staging folder {} has format {version}, and this ebb knows format {FORMAT}",
                folder.display()
            ))
            .hint("start the version of ebb that wrote it, or choose another --staging-dir"))
        }
    }
}

fn note(notes: &Keyspace, name: &str) -> Result<Option<Timestamp>> {
    let bytes = notes.get(name).map_err(unreadable)?;
    Ok(bytes.and_then(|bytes| timestamp_of(&bytes)))
}

fn unusable(folder: &Path, why: &str) -> Error {
    Error::new(format!("the staging folder {} cannot be used: {why}", folder.display()))
        .hint("choose a folder on a local disk that this user may write, with --staging-dir or EBB_STAGING_DIR")
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn unreadable(error: fjall::Error) -> Error {
    Error::new(format!("the staging folder cannot be read or written: {error}"))
        .hint("see that its disk is sound and has space; then start again: nothing acknowledged was lost")
}
