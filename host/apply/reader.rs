//! Reads ahead: while one window is being committed, the next is read from staging, ordered and encoded.
//!
//! Owns: the thread that does so, and how far it may be ahead: one window. Does not own: cutting (`order`), encoding
//! (`encode`), writing (`transaction`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use ebb_sdk::{Catalog, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::encode::{Block, Encoder};
use super::pace::Pace;
use super::unwritable::Unwritable;
use crate::error::Result;
use crate::order::{Cutter, Interval, Window, WindowLimits, WindowRows, last_versions};
use crate::stage::{Backlog, Entry, Scan, TableId};
use crate::status::Status;
use crate::tables::{KeyWatch, Rows, Tables};
use crate::threads;

/// While nothing changes, the progress row moves no more often than this.
const IDLE_ADVANCE_INTERVAL: Duration = Duration::from_secs(1);

/// A window, ready to be written.
pub(super) struct PreparedWindow {
    pub(super) interval: Interval,
    /// Source transactions.
    pub(super) transactions: usize,
    /// The time of the first of them.
    pub(super) oldest: Option<Timestamp>,
    /// `None` for one source transaction that is too large for memory, and for rows that cannot be encoded: whoever applies
    /// them finds out which.
    pub(super) blocks: Option<Vec<Block>>,
}

/// What it reads from and where it stands.
pub(super) struct Reader {
    pub(super) catalog: Arc<Catalog>,
    pub(super) tables: Arc<Tables>,
    pub(super) keys: Arc<KeyWatch>,
    pub(super) runtime: Handle,
    pub(super) case_sensitive: bool,
    pub(super) backlog: Backlog,
    pub(super) limits: WindowLimits,
    pub(super) pace: Arc<Pace>,
    pub(super) position: Timestamp,
    pub(super) status: Arc<Status>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Reader {
    /// Windows from the position on, each handed over when the one before has been taken. The sequence ends when a stop is
    /// asked for, and after an error.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn spawn(self, resolved: watch::Receiver<Timestamp>) -> Result<Receiver<Result<PreparedWindow>>> {
        // Without room between the two: one window is being written and one waits here.
        let (sender, windows) = sync_channel(0);
        let end = sender.clone();
        let status = Arc::clone(&self.status);
        let on_end = move |outcome: Result<()>| {
            // Another reader may follow; that none does is the applier's to notice.
            status.measures.reader.rest();
            if let Err(error) = outcome {
                // Nobody takes it once the applier has ended for another reason.
                let _ = end.send(Err(error));
            }
        };
        threads::spawn("reader", on_end, move || self.run(resolved, &sender))?;
        Ok(windows)
    }

    /// Reads every window up to `to`, until one is not wanted.
    pub(super) fn read(mut self, to: Timestamp, mut take: impl FnMut(PreparedWindow) -> bool) -> Result<()> {
        let (catalog, tables) = (Arc::clone(&self.catalog), Arc::clone(&self.tables));
        let mut encoder = Encoder::new(&catalog, &tables, self.case_sensitive);
        self.windows(to, Idle::IsDue, &mut encoder, &mut take).map(drop)
    }

    fn run(
        mut self,
        mut resolved: watch::Receiver<Timestamp>,
        windows: &SyncSender<Result<PreparedWindow>>,
    ) -> Result<()> {
        let runtime = self.runtime.clone();
        let (catalog, tables) = (Arc::clone(&self.catalog), Arc::clone(&self.tables));
        let mut encoder = Encoder::new(&catalog, &tables, self.case_sensitive);
        let mut last_sent = Instant::now();
        while let Some(to) = self.wait(&mut resolved, &runtime) {
            let idle = if last_sent.elapsed() >= IDLE_ADVANCE_INTERVAL { Idle::IsDue } else { Idle::IsEarly };
            let stop = self.stop.clone();
            let status = Arc::clone(&self.status);
            let mut send = |prepared| {
                status.measures.reader.rest();
                let is_wanted = !*stop.borrow() && windows.send(Ok(prepared)).is_ok();
                status.measures.reader.beat();
                is_wanted
            };
            match self.windows(to, idle, &mut encoder, &mut send)? {
                Read::Some => last_sent = Instant::now(),
                Read::Nothing => {
                    self.pause(&mut resolved, &runtime, IDLE_ADVANCE_INTERVAL.saturating_sub(last_sent.elapsed()));
                }
                Read::Unwanted => return Ok(()),
            }
        }
        Ok(())
    }

    /// Hands over every window up to `to`. One without rows alone only when it is due.
    fn windows(
        &mut self,
        mut to: Timestamp,
        idle: Idle,
        encoder: &mut Encoder<'_>,
        take: &mut dyn FnMut(PreparedWindow) -> bool,
    ) -> Result<Read> {
        let mut read = Read::Nothing;
        let mut cutter = self.cutter(to);
        while let Some(window) = cutter.next(WindowLimits { rows_max: self.pace.rows(), ..self.limits })? {
            if window.transactions == 0 && matches!((idle, &read), (Idle::IsEarly, Read::Nothing)) {
                break;
            }
            self.status.measures.reader.beat();
            self.position = window.to;
            if matches!(window.rows, WindowRows::Streamed) {
                cutter = self.cutter(to);
            }
            let (interval, transactions, oldest) = (window.interval(), window.transactions, window.oldest());
            let is_limited = self.keys.limit().is_some_and(|limit| limit < interval.to);
            let needed = Needed { oldest: oldest.unwrap_or(interval.to), tables: self.needs_keys(&window) };
            let mut known = if is_limited || needed.is_any() { self.know_keys(interval, &needed)? } else { Keys::Same };
            let prepared = match known {
                Keys::Same | Keys::Changed => self.prepare(window, encoder).ok(),
                Keys::Until(_) | Keys::Stopped => None,
            };
            let prepared = match prepared {
                Some(prepared) => prepared,
                None => {
                    encoder.take();
                    if matches!(known, Keys::Same | Keys::Changed) {
                        known = self.know_keys(interval, &needed)?;
                    }
                    match known {
                        Keys::Stopped => return Ok(Read::Unwanted),
                        Keys::Same => PreparedWindow { interval, transactions, oldest, blocks: None },
                        // Its rows are read once more: under the keys that they have, and up to where these tell them apart.
                        Keys::Changed | Keys::Until(_) => {
                            if let Keys::Until(limit) = known {
                                to = limit;
                            }
                            self.position = interval.from;
                            cutter = self.cutter(to);
                            continue;
                        }
                    }
                }
            };
            if !take(prepared) {
                return Ok(Read::Unwanted);
            }
            read = Read::Some;
        }
        Ok(read)
    }

    fn prepare(&self, window: Window, encoder: &mut Encoder<'_>) -> Result<PreparedWindow, Unwritable> {
        let (interval, transactions, oldest) = (window.interval(), window.transactions, window.oldest());
        let WindowRows::InMemory(rows) = window.rows else {
            return Ok(PreparedWindow { interval, transactions, oldest, blocks: None });
        };
        let rows = last_versions(rows, &self.tables)?;
        rows.iter().try_for_each(|row| encoder.push(row))?;
        Ok(PreparedWindow { interval, transactions, oldest, blocks: Some(encoder.take()) })
    }

    /// The tables of which rows need their key, where that is known. A delete is nothing but a key; a row names its columns itself,
    /// but where the target's key is only a part of the source's, whether it is unique there matters for it too.
    fn needs_keys(&self, window: &Window) -> Option<Vec<TableId>> {
        let matters =
            |row: &&Entry| row.is_delete() || self.tables.numbered(row.table).is_some_and(|table| table.key.may_meet());
        match &window.rows {
            WindowRows::Streamed => None,
            WindowRows::InMemory(rows) => {
                let tables: BTreeSet<_> = rows.iter().filter(matters).map(|row| row.table).collect();
                Some(tables.into_iter().collect())
            }
        }
    }

    fn know_keys(&self, interval: Interval, needed: &Needed) -> Result<Keys> {
        let mut stop = self.stop.clone();
        // The source has time limits of its own.
        self.status.measures.reader.rest();
        let rows = Rows { oldest: needed.oldest, to: interval.to, tables: needed.tables.as_deref() };
        let known = self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => Ok(Keys::Stopped),
                known = self.keys.know(rows) => {
                    known.map(|has_changed| if has_changed { Keys::Changed } else { Keys::Same })
                }
            }
        });
        self.status.measures.reader.beat();
        let limit = self.keys.limit().filter(|limit| interval.from < *limit && *limit < interval.to);
        known.or_else(|error| limit.map(Keys::Until).ok_or(error))
    }

    fn cutter(&self, to: Timestamp) -> Cutter<Scan> {
        Cutter::new(self.backlog.scan(self.position, to), self.position, to)
    }

    /// Waits until the resolved timestamp is ahead; `None` when a stop is asked for.
    fn wait(&mut self, resolved: &mut watch::Receiver<Timestamp>, runtime: &Handle) -> Option<Timestamp> {
        let (position, stop) = (self.position, &mut self.stop);
        self.status.measures.reader.rest();
        let moved = runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => None,
                // The sender lives as long as the staging writer, whose end is reported by itself.
                moved = resolved.wait_for(|&resolved| resolved > position) => moved.ok().map(|moved| *moved),
            }
        });
        self.status.measures.reader.beat();
        moved
    }

    /// Waits until the resolved timestamp moves again, but no longer than this.
    fn pause(&mut self, resolved: &mut watch::Receiver<Timestamp>, runtime: &Handle, longest: Duration) {
        self.status.measures.reader.rest();
        let stop = &mut self.stop;
        runtime.block_on(async {
            tokio::select! {
                _ = stop.wait_for(|&stop| stop) => {}
                _ = resolved.changed() => {}
                () = tokio::time::sleep(longest) => {}
            }
        });
    }
}

/// Whether the progress row may move although no row has changed.
#[derive(Clone, Copy)]
enum Idle {
    IsDue,
    IsEarly,
}

enum Read {
    Some,
    Nothing,
    /// Nobody takes windows any more.
    Unwanted,
}

/// Of which rows the keys must be known.
struct Needed {
    oldest: Timestamp,
    /// All of them where that is not known.
    tables: Option<Vec<TableId>>,
}

impl Needed {
    fn is_any(&self) -> bool {
        self.tables.as_ref().is_none_or(|tables| !tables.is_empty())
    }
}

/// What is known of the source's primary keys after a look at them.
enum Keys {
    Same,
    Changed,
    /// Rows can be told apart up to here, and later ones cannot.
    Until(Timestamp),
    /// A stop was asked for meanwhile.
    Stopped,
}
