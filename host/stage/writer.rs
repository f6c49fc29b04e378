//! Group commit: one thread takes what all requests bring, writes it as one batch, and makes it durable with one fsync.
//!
//! Owns: the only writes to the store, and the only place that makes a [`Staged`]. Does not own: what a request is.
//! An error of the disk is final: nothing is acknowledged after it, and the process ends.

use std::sync::Arc;
use std::time::Duration;

use ebb_sdk::Timestamp;
use fjall::PersistMode;
use tokio::sync::{mpsc, oneshot, watch};

use super::record::{RowBatch, timestamp_bytes, timestamp_of};
use super::{RELEASED, RESOLVED, Staged, Store, unreadable};
use crate::error::{Error, Result};

/// Requests that wait for the next batch.
pub(super) const QUEUE_REQUESTS_MAX: usize = 1024;
/// A batch is written once it holds so many bytes, even when more requests wait.
const BATCH_BYTES_MAX: usize = 32 << 20;
/// How often applied rows are looked for when nothing arrives.
const RELEASE_INTERVAL: Duration = Duration::from_secs(1);

/// What one request brings.
pub(super) enum Content {
    Rows(RowBatch),
    Resolved(Timestamp),
}

pub(super) struct Request {
    pub(super) content: Content,
    pub(super) reply: oneshot::Sender<Result<Staged>>,
}

/// Runs until every sender is gone, or the disk fails.
pub(super) fn run(
    store: &Store,
    mut requests: mpsc::Receiver<Request>,
    applied: &watch::Receiver<Timestamp>,
    resolved: &watch::Sender<Timestamp>,
    failed: &watch::Sender<Option<Error>>,
) {
    while let Some(first) = requests.blocking_recv() {
        let group = collect(first, &mut requests);
        let outcome = write(store, &group, *applied.borrow(), resolved);
        if let Err(error) = &outcome {
            failed.send_replace(Some(error.clone()));
        }
        for request in group {
            let reply = outcome.clone().map(|()| Staged { _made_here: () });
            // A client that has gone away does not want its answer.
            let _ = request.reply.send(reply);
        }
        if outcome.is_err() {
            return;
        }
    }
}

/// Drops what was applied, until the store is closed. Apart from the writer, since dropping files may take its time.
pub(super) fn release(store: &Arc<Store>, applied: &watch::Receiver<Timestamp>, failed: &watch::Sender<Option<Error>>) {
    let store = Arc::downgrade(store);
    while !failed.is_closed() {
        std::thread::sleep(RELEASE_INTERVAL);
        let Some(store) = store.upgrade() else { return };
        if let Err(error) = release_once(&store, *applied.borrow()) {
            failed.send_replace(Some(error));
            return;
        }
    }
}

fn collect(first: Request, requests: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let size = |request: &Request| match &request.content {
        Content::Rows(rows) => rows.bytes(),
        Content::Resolved(_) => 0,
    };
    let mut bytes = size(&first);
    let mut group = vec![first];
    while bytes < BATCH_BYTES_MAX {
        let Ok(request) = requests.try_recv() else { break };
        bytes += size(&request);
        group.push(request);
    }
    group
}

fn write(store: &Store, group: &[Request], applied: Timestamp, resolved: &watch::Sender<Timestamp>) -> Result<()> {
    let mut batch = store.database.batch().durability(Some(PersistMode::SyncData));
    let mut latest = *resolved.borrow();
    let (bytes, newest) = extent(group);
    let rows_keyspace = store.segments.active(bytes, newest)?;
    for request in group {
        match &request.content {
            Content::Rows(rows) => {
                for (key, value) in rows.records() {
                    // At or below the applied timestamp: a repeat of what the target already has.
                    if timestamp_of(key).is_some_and(|timestamp| timestamp > applied) {
                        batch.insert(&rows_keyspace, key, value);
                    }
                }
            }
            // It may repeat and go back after a restart of the feed; what was promised stays true.
            Content::Resolved(timestamp) => latest = latest.max(*timestamp),
        }
    }
    if latest > *resolved.borrow() {
        batch.insert(&store.notes, RESOLVED, timestamp_bytes(latest));
    }
    batch.commit().map_err(unreadable)?;
    resolved.send_if_modified(|value| std::mem::replace(value, latest) != latest);
    Ok(())
}

/// Bytes and newest timestamp of a group's rows.
fn extent(group: &[Request]) -> (u64, Timestamp) {
    let mut extent = (0, Timestamp::ZERO);
    for request in group {
        if let Content::Rows(rows) = &request.content {
            extent.0 += rows.bytes() as u64;
            let newest = rows.records().filter_map(|(key, _)| timestamp_of(key)).max();
            extent.1 = extent.1.max(newest.unwrap_or_default());
        }
    }
    extent
}

fn release_once(store: &Store, applied: Timestamp) -> Result<()> {
    let Some(newest) = store.segments.releasable(applied) else { return Ok(()) };
    // Written first: a store that has dropped rows must know it, even after a crash right here.
    let mut batch = store.database.batch().durability(Some(PersistMode::SyncData));
    batch.insert(&store.notes, RELEASED, timestamp_bytes(newest));
    batch.commit().map_err(unreadable)?;
    store.segments.release(applied)
}
