//! Reads ahead: while one window is being committed, the next is read from staging, ordered and encoded.
//!
//! Owns: the thread that does so, and how far it may be ahead: one window. Does not own: cutting (`order`), encoding
//! (`encode`), writing (`transaction`).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ebb_sdk::{Catalog, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::encode::{Block, Encoder};
use crate::error::Result;
use crate::order::{Content, Cutter, Limits, Window};
use crate::receive::Tables;
use crate::stage::{Scan, Stage};

/// While nothing changes, the progress row moves no more often than this.
const IDLE_ADVANCE_INTERVAL: Duration = Duration::from_secs(1);

/// A window, ready to be written.
pub(super) struct Prepared {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// Source transactions.
    pub(super) transactions: usize,
    pub(super) rows: usize,
    /// `None` for one source transaction that is too large for memory.
    pub(super) blocks: Option<Vec<Block>>,
}

/// What the thread works with.
pub(super) struct Reader {
    pub(super) catalog: Arc<Catalog>,
    pub(super) tables: Arc<Tables>,
    pub(super) case_sensitive: bool,
    pub(super) stage: Stage,
    pub(super) limits: Limits,
    pub(super) applied: Timestamp,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) runtime: Handle,
}

impl Reader {
    /// Windows from the applied timestamp on, each handed over when the one before has been taken. The sequence ends when
    /// a stop is asked for, and after an error.
    pub(super) fn spawn(self) -> Receiver<Result<Prepared>> {
        // Without room between the two: one window is being written and one waits here.
        let (sender, windows) = sync_channel(0);
        thread::spawn(move || self.run(&sender));
        windows
    }

    fn run(mut self, windows: &SyncSender<Result<Prepared>>) {
        let (catalog, tables) = (Arc::clone(&self.catalog), Arc::clone(&self.tables));
        let mut encoder = Encoder::new(&catalog, &tables, self.case_sensitive);
        let mut resolved = self.stage.resolved();
        let mut last_sent = Instant::now();
        while let Some(to) = self.wait(&mut resolved) {
            let is_due = last_sent.elapsed() >= IDLE_ADVANCE_INTERVAL;
            match self.read(to, is_due, &mut encoder, windows) {
                Ok(Sent::Some) => last_sent = Instant::now(),
                Ok(Sent::None) => self.pause(&mut resolved, IDLE_ADVANCE_INTERVAL.saturating_sub(last_sent.elapsed())),
                Ok(Sent::Unwanted) => return,
                Err(error) => {
                    // Nobody takes it once the applier has ended for another reason.
                    let _ = windows.send(Err(error));
                    return;
                }
            }
        }
    }

    /// Sends every window up to `to`. One without rows is sent only when it is due.
    fn read(
        &mut self,
        to: Timestamp,
        is_due: bool,
        encoder: &mut Encoder<'_>,
        windows: &SyncSender<Result<Prepared>>,
    ) -> Result<Sent> {
        let mut sent = Sent::None;
        let mut cutter = self.cutter(to);
        while let Some(window) = cutter.next(self.limits)? {
            if window.transactions == 0 && !is_due && matches!(sent, Sent::None) {
                break;
            }
            self.applied = window.to;
            if matches!(window.content, Content::Streamed) {
                cutter = self.cutter(to);
            }
            let prepared = prepare(window, encoder)?;
            if *self.stop.borrow() || windows.send(Ok(prepared)).is_err() {
                return Ok(Sent::Unwanted);
            }
            sent = Sent::Some;
        }
        Ok(sent)
    }

    fn cutter(&self, to: Timestamp) -> Cutter<Scan> {
        Cutter::new(self.stage.scan(self.applied, to), self.applied, to)
    }

    /// Waits until the resolved timestamp is ahead; `None` when a stop is asked for.
    fn wait(&mut self, resolved: &mut watch::Receiver<Timestamp>) -> Option<Timestamp> {
        let (applied, stop) = (self.applied, &mut self.stop);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => None,
                // The sender lives as long as the staging writer, whose end is reported by itself.
                moved = resolved.wait_for(|&resolved| resolved > applied) => moved.ok().map(|moved| *moved),
            }
        })
    }

    /// Waits until the resolved timestamp moves again, but no longer than this.
    fn pause(&mut self, resolved: &mut watch::Receiver<Timestamp>, longest: Duration) {
        let stop = &mut self.stop;
        self.runtime.block_on(async {
            tokio::select! {
                _ = stop.wait_for(|&stop| stop) => {}
                _ = resolved.changed() => {}
                () = tokio::time::sleep(longest) => {}
            }
        });
    }
}

enum Sent {
    Some,
    None,
    /// Nobody takes windows any more.
    Unwanted,
}

fn prepare(window: Window, encoder: &mut Encoder<'_>) -> Result<Prepared> {
    let Window { from, to, content, transactions } = window;
    match content {
        Content::Streamed => Ok(Prepared { from, to, transactions, rows: 0, blocks: None }),
        Content::Whole(rows) => {
            rows.iter().try_for_each(|row| encoder.push(row))?;
            Ok(Prepared { from, to, transactions, rows: rows.len(), blocks: Some(encoder.take()) })
        }
    }
}
