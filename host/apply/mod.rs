//! The applier: one plain thread that owns the target session and moves the target from one source state to the next.
//!
//! Owns: the loop over windows, retries, the meaning of an unknown outcome. Does not own: cutting windows (`order`),
//! writing one (`transaction`).
//!
//! Invariant: `applied` equals the progress row of the target, and moves only after the target has confirmed it.

mod encode;
mod plan;
mod retry;
mod transaction;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ebb_sdk::{Advance, Catalog, ConnectOptions, ErrorKind, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config;
use crate::error::{Error, Result};
use crate::order::{self, Content, Limits, Window};
use crate::plugin::{Plugin, Session};
use crate::receive::Tables;
use crate::stage::Stage;
use crate::status::Status;
use plan::Order;
use retry::Backoff;
use transaction::{Failure, Writer};

/// While nothing changes, the progress row moves no more often than this.
const IDLE_ADVANCE_INTERVAL: Duration = Duration::from_secs(1);

/// Proof that the target has committed everything up to a time, and how much that was.
struct Applied {
    to: Timestamp,
    transactions: usize,
    /// Not counted for a transaction that was streamed.
    rows: usize,
}

impl Applied {
    fn new(window: &Window) -> Self {
        let rows = match &window.content {
            Content::Whole(rows) => rows.len(),
            Content::Streamed => 0,
        };
        Self { to: window.to, transactions: window.transactions, rows }
    }
}

/// Everything the thread works with.
pub struct Applier {
    pub plugin: Arc<Plugin>,
    pub connect: ConnectOptions,
    pub settings: config::Apply,
    pub case_sensitive: bool,
    pub feed: String,
    /// The writer's epoch, as taken over at start.
    pub epoch: i64,
    pub applied: Timestamp,
    pub catalog: Catalog,
    pub tables: Tables,
    pub stage: Stage,
    pub status: Arc<Status>,
    /// Turns true when the process is asked to end.
    pub stop: watch::Receiver<bool>,
    pub runtime: Handle,
}

/// Why the loop came back without an error.
enum Pause {
    Work,
    Stop,
}

impl Applier {
    /// Applies windows until it is asked to stop; the transaction in hand is finished first.
    ///
    /// # Errors
    /// When the target refuses a row, another process has taken over, or a promise was broken. Retries do not end.
    pub fn run(mut self, mut session: Session) -> Result<()> {
        // A catalog that has changed ends the run, so its plan holds for all of it.
        let ranks = plan::ranks(&self.catalog);
        let mut resolved = self.stage.resolved();
        let mut last_advance = Instant::now();
        self.stage.release(self.applied);
        loop {
            if matches!(self.wait(&mut resolved), Pause::Stop) {
                session.close();
                return Ok(());
            }
            let window = self.cut(*resolved.borrow(), self.limits())?;
            if window.transactions == 0 && last_advance.elapsed() < IDLE_ADVANCE_INTERVAL {
                self.pause(IDLE_ADVANCE_INTERVAL - last_advance.elapsed());
                continue;
            }
            match self.apply(&mut session, &ranks, &window)? {
                Some(applied) => self.advance(&applied),
                None => {
                    session.close();
                    return Ok(());
                }
            }
            last_advance = Instant::now();
        }
    }

    /// Waits until there is something between the applied and the resolved timestamp.
    fn wait(&mut self, resolved: &mut watch::Receiver<Timestamp>) -> Pause {
        let (applied, stop) = (self.applied, &mut self.stop);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => Pause::Stop,
                // The sender lives as long as the staging writer, whose end is reported by itself.
                moved = resolved.wait_for(|&resolved| resolved > applied) => match moved {
                    Ok(_) => Pause::Work,
                    Err(_) => Pause::Stop,
                },
            }
        })
    }

    /// Sleeps, but not through a stop.
    fn pause(&mut self, delay: Duration) -> Pause {
        let stop = &mut self.stop;
        match self.runtime.block_on(async { timeout(delay, stop.wait_for(|&stop| stop)).await.is_ok() }) {
            true => Pause::Stop,
            false => Pause::Work,
        }
    }

    fn limits(&self) -> Limits {
        Limits { rows_max: self.settings.transaction_rows_max, bytes_max: self.settings.transaction_bytes_max }
    }

    fn cut(&self, resolved: Timestamp, limits: Limits) -> Result<Window> {
        order::cut(self.stage.scan(self.applied, resolved), self.applied, resolved, limits)
    }

    fn advance(&mut self, applied: &Applied) {
        self.applied = applied.to;
        self.stage.release(applied.to);
        self.status.applied(applied.to, applied.transactions as u64, applied.rows as u64);
        tracing::debug!(to = %applied.to, transactions = applied.transactions, rows = applied.rows, "applied");
    }

    /// Applies one window, trying again as long as trying again can help. `None` when asked to stop meanwhile.
    fn apply(&mut self, session: &mut Session, ranks: &[usize], window: &Window) -> Result<Option<Applied>> {
        let mut backoff = Backoff::new(self.settings.retry_delay_min, self.settings.retry_delay_max);
        let mut order = Order::UpsertsFirst;
        loop {
            let failure = match self.write(session, ranks, window, order) {
                Ok(()) => return Ok(Some(Applied::new(window))),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Target(failure)) => failure,
            };
            match (failure.kind, failure.constraint.is_some().then(|| order.other()).flatten()) {
                (ErrorKind::Retry, _) => {
                    if self.reconnect(session, &failure, &mut backoff, window)? {
                        return Ok(Some(Applied::new(window)));
                    }
                    if *self.stop.borrow() {
                        return Ok(None);
                    }
                }
                (ErrorKind::Refused, Some(other)) => {
                    session.rollback().map_err(Error::from)?;
                    order = other;
                }
                (ErrorKind::Refused, None) if failure.constraint.is_some() && window.transactions > 1 => {
                    session.rollback().map_err(Error::from)?;
                    return self.apply_first_alone(session, ranks, window);
                }
                _ => return Err(failure.into()),
            }
        }
    }

    /// Source transactions merged into one window may meet a constraint that none of them meets by itself. The first
    /// one is applied alone; the loop goes on behind it.
    fn apply_first_alone(
        &mut self,
        session: &mut Session,
        ranks: &[usize],
        window: &Window,
    ) -> Result<Option<Applied>> {
        let first = self.cut(window.to, Limits::ONE_TRANSACTION)?;
        self.apply(session, ranks, &first)
    }

    fn write(&self, session: &mut Session, ranks: &[usize], window: &Window, order: Order) -> Result<(), Failure> {
        let advance = Advance { feed: self.feed.clone(), epoch: self.epoch, from: window.from, to: window.to };
        let writer = Writer {
            catalog: &self.catalog,
            ranks,
            tables: &self.tables,
            stage: &self.stage,
            limits: self.limits(),
            case_sensitive: self.case_sensitive,
        };
        writer.write(session, window, order, &advance)
    }

    /// Drops the session, waits, connects anew until it succeeds or a stop is asked for, and reads the progress row.
    /// True when the window turns out to have been committed.
    fn reconnect(
        &mut self,
        session: &mut Session,
        failure: &ebb_sdk::Error,
        backoff: &mut Backoff,
        window: &Window,
    ) -> Result<bool> {
        let mut failure = failure.clone();
        session.close();
        loop {
            let delay = backoff.next(jitter());
            self.status.retried();
            tracing::warn!(
                attempt = backoff.attempts(),
                delay_ms = delay.as_millis() as u64,
                "trying again: {failure}"
            );
            if matches!(self.pause(delay), Pause::Stop) {
                return Ok(false);
            }
            match self.open() {
                Ok((opened, progress)) => {
                    *session = opened;
                    return self.settled(progress, window);
                }
                Err(error) if error.kind == ErrorKind::Retry => failure = error,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn open(&mut self) -> ebb_sdk::Result<(Session, Option<ebb_sdk::Progress>)> {
        let mut session = self.plugin.connect(&self.connect)?;
        let catalog = session.describe()?;
        // Positions of tables and columns were settled at start; a target that has changed since needs a new start.
        if catalog.tables != self.catalog.tables {
            return Err(ebb_sdk::Error::new(ErrorKind::Config, "the tables of the target have changed while ebb ran")
                .hint("start ebb again with the same command: it goes on where it stopped"));
        }
        let progress = session.progress(&self.feed)?;
        Ok((session, progress))
    }

    /// The progress row tells whether a commit of unknown outcome took place.
    fn settled(&self, progress: Option<ebb_sdk::Progress>, window: &Window) -> Result<bool> {
        let Some(progress) = progress else {
            return Err(Error::new(format!("the progress row of {} has vanished from the target", self.feed))
                .hint("somebody removed it, or the target was restored from a backup; see what the target holds"));
        };
        if progress.epoch != self.epoch {
            return Err(Error::new(format!("another ebb has taken over {}", self.feed))
                .hint("one process applies a feed; end one of the two"));
        }
        match progress.applied {
            applied if applied == window.to => Ok(true),
            applied if applied == window.from => Ok(false),
            applied => Err(Error::new(format!(
                "the target stands at {applied}, neither before ({}) nor behind ({}) the transaction in hand",
                window.from, window.to
            ))
            .hint("the target was restored or changed by hand; start ebb again, which checks what is missing")),
        }
    }
}

/// Not for secrets: only to keep two writers out of step.
fn jitter() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_micros())
}
