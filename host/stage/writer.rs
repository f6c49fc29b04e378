//! Group commit: one thread takes what all requests bring, and makes it durable with one write and one sync.
//!
//! Owns: the only place that can make a [`Staged`], and holding requests while there is no room. Does not own: what is
//! written (`store`). An error of the disk is final: nothing is acknowledged after it, and the process ends.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use ebb_sdk::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::NotWritten;
use super::failure::Failure;
use super::record::RowBatch;
use super::space::Space;
use super::store::Store;
use crate::code;
use crate::error::{Error, Result};

/// Requests that wait for the next group.
pub(super) const QUEUE_REQUESTS_MAX: usize = 256;
/// A group is written once it holds so many bytes, even when more requests wait.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// How long to wait before room is looked for again.
const ROOM_INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait for full segments to be sorted to disk.
const BEHIND_INTERVAL: Duration = Duration::from_millis(2);

/// Proof that what a request brought is on disk. Only the writer makes one, and a delivery is answered with 200 only for
/// one: never for bytes that could still be lost.
#[derive(Debug)]
#[must_use]
pub struct Staged {
    _made_here: (),
}

/// What one request brings.
pub(super) enum Write {
    Rows(RowBatch),
    Resolved(Timestamp),
}

/// Who has sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Somebody who may write to every table, as the run's changefeed may: what it sends too late ends the run.
    OfRun,
    /// Somebody who may write to some tables only: what comes too late from there is refused, and others do not suffer for it.
    OfPart,
}

pub(super) struct Request {
    pub(super) write: Write,
    pub(super) sender: Sender,
    pub(super) reply: oneshot::Sender<Result<Staged>>,
    /// What the request holds of the memory for bodies. It is given back once the rows are written or given up.
    pub(super) _lease: Box<dyn Send>,
}

/// Where the writer tells others how it goes.
pub(super) struct Reports {
    pub(super) resolved: watch::Sender<Timestamp>,
    pub(super) failure: Failure,
    /// Wakes the thread that sorts and drops segments.
    pub(super) compaction: SyncSender<()>,
    pub(super) space: Arc<Space>,
}

/// Runs until every inbox is gone.
///
/// # Errors
/// When the disk fails, or something else has ended the run.
pub(super) fn run(store: &Store, mut requests: mpsc::Receiver<Request>, reports: &Reports) -> Result<()> {
    let heartbeat = &store.measures.writer;
    let _alive = heartbeat.begin();
    loop {
        heartbeat.rest();
        let Some(first) = requests.blocking_recv() else { return Ok(()) };
        heartbeat.beat();
        let mut group = collect(first, &mut requests, store.room_bytes());
        // What another thread has noticed holds for this one too: nothing is acknowledged after it.
        let outcome = write(store, &mut group, reports).and_then(|()| reports.failure.check());
        match &outcome {
            Ok(()) => drop(
                reports
                    .resolved
                    .send_if_modified(|known| std::mem::replace(known, store.resolved()) != store.resolved()),
            ),
            // Before anybody is answered, so that nobody takes it for the fault of a request.
            Err(error) => reports.failure.set(error.clone()),
        }
        for request in group {
            let reply = outcome.clone().map(|()| Staged { _made_here: () });
            // A client that has gone away does not want its answer.
            let _ = request.reply.send(reply);
        }
        outcome?;
    }
}

/// Where room is short the group is small, so that what fits is not held up by what does not.
fn collect(first: Request, requests: &mut mpsc::Receiver<Request>, room_bytes: u64) -> Vec<Request> {
    let size = |request: &Request| match &request.write {
        Write::Rows(rows) => rows.bytes(),
        Write::Resolved(_) => 0,
    };
    let mut bytes = size(&first);
    let mut group = vec![first];
    let bytes_max = GROUP_BYTES_MAX.min(usize::try_from(room_bytes / 4).unwrap_or(usize::MAX));
    while bytes < bytes_max {
        let Ok(request) = requests.try_recv() else { break };
        bytes += size(&request);
        group.push(request);
    }
    group
}

/// Writes a group, however long it takes to have room for it. Requests that were given up meanwhile leave the group.
fn write(store: &Store, group: &mut Vec<Request>, reports: &Reports) -> Result<()> {
    loop {
        store.measures.writer.beat();
        // Nobody makes room after it.
        reports.failure.check()?;
        let batches: Vec<_> = group.iter().filter_map(Request::rows).collect();
        let resolved = group.iter().filter_map(Request::resolved).max();
        match store.write(&batches, resolved) {
            Ok(()) => {
                // A resolved timestamp, or a group that its clients have given up, gets in where rows do not.
                if !batches.is_empty() {
                    reports.space.has_room();
                }
                return Ok(());
            }
            Err(NotWritten::Behind) => {
                let _ = reports.compaction.try_send(());
                thread::sleep(BEHIND_INTERVAL);
            }
            Err(NotWritten::Full(why)) => {
                reports.space.is_full(&why, store.resolved() > store.applied());
                let _ = reports.compaction.try_send(());
                thread::sleep(ROOM_INTERVAL);
                group.retain(|request| !request.reply.is_closed());
            }
            Err(NotWritten::Late(late)) => match group.iter().position(|request| request.sender == Sender::OfPart) {
                Some(at) => write_alone(store, group.remove(at), reports)?,
                None => return Err((*late).into()),
            },
            Err(NotWritten::Failed(error)) => return Err(error),
        }
    }
}

/// Writes the request of somebody who may not end the run, and answers it. Where there is no room now it is given up.
fn write_alone(store: &Store, request: Request, reports: &Reports) -> Result<()> {
    let batches: Vec<_> = request.rows().into_iter().collect();
    let written = match store.write(&batches, request.resolved()) {
        Ok(()) => reports.failure.check(),
        Err(NotWritten::Late(late)) => {
            let _ = request.reply.send(Err((*late).into()));
            return Ok(());
        }
        Err(NotWritten::Full(_) | NotWritten::Behind) => {
            let _ = request
                .reply
                .send(Err(Error::new(code::staging::FULL, "staging has no room for it now; send it again")));
            return Ok(());
        }
        Err(NotWritten::Failed(error)) => Err(error),
    };
    let _ = request.reply.send(written.clone().map(|()| Staged { _made_here: () }));
    written
}

impl Request {
    fn rows(&self) -> Option<&RowBatch> {
        match &self.write {
            Write::Rows(rows) => Some(rows),
            Write::Resolved(_) => None,
        }
    }

    fn resolved(&self) -> Option<Timestamp> {
        match self.write {
            Write::Resolved(timestamp) => Some(timestamp),
            Write::Rows(_) => None,
        }
    }
}
