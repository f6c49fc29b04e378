//! Between receiving and applying: rows and resolved timestamps on the local disk.
//!
//! Owns: durability, and the proof of it: only this module makes a [`Staged`], and only a [`Staged`] can be answered
//! with 200. Does not own: what a body or a window is. One folder serves one feed and one process.
//!
//! Others have three handles of it: an [`Inbox`] to put in, a [`Backlog`] to take out, a [`RunState`] for what a run goes on
//! from. The rest of the program knows nothing of what is behind them.
//!
//! A row goes into the log of the newest segment (`log`) and into memory (`memtable`); a full segment is sorted to disk
//! (`sorted_run`) when it has to wait long for the target, and reduced to fingerprints (`fingerprints`) once it is applied,
//! which give way where rows need the room (`room`).

mod append;
mod backlog;
mod compaction;
pub mod disk;
mod failure;
#[cfg(test)]
mod faulty_disk;
mod fingerprints;
mod inbox;
mod late;
mod log;
mod measures;
mod memtable;
mod metadata;
pub mod place;
mod present;
mod read_only;
mod record;
mod recover;
mod room;
mod run_state;
mod scan;
mod sealed;
mod segments;
mod sorted_run;
mod space;
mod steps;
mod store;
mod table_id;
mod trace;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tokio::sync::{mpsc, watch};

pub use append::NotWritten;
pub use backlog::Backlog;
pub use disk::is_in_use;
pub use inbox::Inbox;
pub use late::Late;
pub use measures::{DISK_STEP_MAX, StageMeasures};
pub use metadata::{MetadataFile, PagesOfRun, pages_of};
pub use read_only::{Summary, saved, summary};
pub use record::{Change, Entry, RowBatch};
pub use room::Usage;
pub use run_state::RunState;
pub use scan::{Bounds, Scan};
pub use segments::new_number;
pub use space::Forecast;
pub use steps::Steps;
pub use store::StagingLimits;
pub use table_id::TableId;
pub use trace::{Trace, Version, no_folder, trace};
pub use writer::{Sender, Staged};

use crate::code;
use crate::error::{Error, Result};
use crate::history::History;
use crate::threads;
use failure::Failure;
use space::Space;
use store::Store;
use writer::Reports;

/// The staging folder of one feed. Clones share it.
#[derive(Clone)]
pub struct Stage {
    /// For `receive`.
    pub inbox: Inbox,
    /// For `order` and `apply`.
    pub backlog: Backlog,
    /// For whatever goes on from an earlier run.
    pub run_state: RunState,
}

impl Stage {
    /// Opens or creates `folder` and locks it for this process, as long as a part of this lives.
    pub fn open(folder: &Path, limits: StagingLimits) -> Result<Self> {
        let disk = disk::Folder::open(folder)?;
        let store = Store::open(Arc::new(disk), limits)?;
        Self::start(store, History::open(folder))
    }

    /// Starts the threads that write and compact.
    fn start(store: Store, history: History) -> Result<Self> {
        let store = Arc::new(store);
        let space = Arc::<Space>::default();
        let failure = Failure::none();
        let (requests, incoming) = mpsc::channel(writer::QUEUE_REQUESTS_MAX);
        let (resolved_sender, resolved) = watch::channel(store.resolved());
        let (compaction, woken) = sync_channel(1);
        let reports =
            Reports { resolved: resolved_sender, failure: failure.clone(), compaction, space: Arc::clone(&space) };
        // A panic opens the locks of its thread again, perhaps in the middle of a change: the process must end for it.
        let watched = || {
            let failure = failure.clone();
            move |ended: Result<()>| ended.unwrap_or_else(|error| failure.set(error))
        };
        let written = Arc::clone(&store);
        threads::spawn("staging-writer", watched(), move || writer::run(&written, incoming, &reports))?;
        let (compacted, measured) = (Arc::clone(&store), Arc::clone(&space));
        threads::spawn("compaction", watched(), move || compaction::run(&compacted, &woken, &measured))?;
        Ok(Self {
            inbox: Inbox::new(requests, failure),
            backlog: Backlog::new(Arc::clone(&store), resolved, space),
            run_state: RunState::new(store, history),
        })
    }
}

/// Where the folder of a staging schema stands.
pub fn folder(dir: &Path, schema: &str) -> PathBuf {
    // A schema may be qualified, `defaultdb._replicator`; a slash would leave the folder.
    dir.join(schema.replace(std::path::MAIN_SEPARATOR, "_"))
}

const DAMAGED_HINT: &str = "the disk or its file system has altered data: move the staging folder aside, to a sound disk, and \
                            start again with the same command: the changefeed is then created anew at the target's progress (under ebb start \
                            create it anew yourself, WITH cursor = that progress)";

fn damaged(file: &str, how: &str) -> Error {
    Error::new(
        code::staging::DAMAGED,
        format!("the file {file} of the staging folder is damaged: {how}; nothing of it was applied"),
    )
    .hint(DAMAGED_HINT)
}

fn unreadable(error: &io::Error) -> Error {
    let (code, hint) = match error.kind() {
        io::ErrorKind::InvalidData => (code::staging::DAMAGED, DAMAGED_HINT),
        io::ErrorKind::NotFound => (code::staging::FOLDER_GONE, present::GONE_HINT),
        _ => (
            code::staging::DISK_FAILED,
            "see that its disk is sound and has space; then start again: nothing acknowledged was lost",
        ),
    };
    Error::new(code, format!("the staging folder cannot be read or written: {error}")).hint(hint)
}
