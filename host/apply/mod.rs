//! The applier: one plain thread that owns the target session and moves the target from one source state to the next.
//!
//! Owns: the loop over windows, and what is tried when one is refused. Does not own: cutting windows (`order`), reading
//! ahead (`reader`), writing one (`transaction`), connecting anew (`reconnect`).
//!
//! Invariant: `applied` equals the progress row of the target, and moves only after the target has confirmed it.

mod encode;
mod plan;
mod reader;
mod reconnect;
mod retry;
mod transaction;

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use ebb_sdk::{Advance, Catalog, ErrorKind, Progress, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config;
use crate::error::{Error, Result};
use crate::order::{Cutter, Limits, Window};
use crate::plugin::Session;
use crate::receive::Tables;
use crate::stage::Stage;
use crate::status::Status;
use crate::target::Target;
use plan::Order;
use reader::{Prepared, Reader};
use reconnect::Outcome;
use retry::Backoff;
use transaction::{Failure, Writer};

/// Proof that the target has committed everything up to a time, and how much that was.
struct Applied {
    to: Timestamp,
    transactions: usize,
    /// Not counted for a transaction that was streamed.
    rows: usize,
}

/// Everything the thread works with.
pub struct Applier {
    pub target: Target,
    pub settings: config::Apply,
    pub case_sensitive: bool,
    pub feed: String,
    pub catalog: Arc<Catalog>,
    pub tables: Arc<Tables>,
    pub stage: Stage,
    pub status: Arc<Status>,
    /// Turns true when the process is asked to end.
    pub stop: watch::Receiver<bool>,
    pub runtime: Handle,
}

/// What the target said when it was taken over.
pub struct Taken {
    pub session: Session,
    pub progress: Progress,
}

/// Why a wait came back without an error.
enum Pause {
    Work,
    Stop,
}

/// A span of source transactions that is applied as one target transaction.
#[derive(Clone, Copy)]
struct Step {
    from: Timestamp,
    to: Timestamp,
}

impl Applier {
    /// Applies windows until it is asked to stop; the transaction in hand is finished first. Without a session the target
    /// was down at start: it is tried until it is there.
    ///
    /// # Errors
    /// When the target refuses a row, another process has taken over, or a promise was broken. Retries do not end.
    pub fn run(mut self, taken: Option<Taken>) -> Result<()> {
        let Some(Taken { mut session, progress }) = taken.map_or_else(|| self.take_over(), |taken| Ok(Some(taken)))?
        else {
            return Ok(());
        };
        // A catalog that has changed ends the run, so its plan holds for all of it.
        let ranks = plan::ranks(&self.catalog);
        self.stage.release(progress.applied);
        self.status.applied(progress.applied, 0, 0);
        let windows = self.read_ahead(progress.applied);
        // The reader ends, and with it the channel, once a stop is asked for.
        while let Ok(prepared) = windows.recv() {
            let mut prepared = prepared?;
            if *self.stop.borrow() {
                break;
            }
            match self.apply(&mut session, &ranks, progress.epoch, &mut prepared)? {
                Some(applied) => self.advance(&applied),
                None => break,
            }
        }
        session.close();
        Ok(())
    }

    fn read_ahead(&self, applied: Timestamp) -> Receiver<Result<Prepared>> {
        let reader = Reader {
            catalog: Arc::clone(&self.catalog),
            tables: Arc::clone(&self.tables),
            case_sensitive: self.case_sensitive,
            stage: self.stage.clone(),
            limits: self.limits(),
            applied,
            stop: self.stop.clone(),
            runtime: self.runtime.clone(),
        };
        reader.spawn()
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

    fn advance(&mut self, applied: &Applied) {
        self.stage.release(applied.to);
        self.status.applied(applied.to, applied.transactions as u64, applied.rows as u64);
        tracing::debug!(to = %applied.to, transactions = applied.transactions, rows = applied.rows, "applied");
    }

    /// Applies one window, trying again as long as trying again can help. `None` when asked to stop meanwhile.
    fn apply(
        &mut self,
        session: &mut Session,
        ranks: &[usize],
        epoch: i64,
        prepared: &mut Prepared,
    ) -> Result<Option<Applied>> {
        let applied = Applied { to: prepared.to, transactions: prepared.transactions, rows: prepared.rows };
        let step = Step { from: prepared.from, to: prepared.to };
        let Some(mut blocks) = prepared.blocks.take() else {
            return Ok(self.apply_step(session, ranks, epoch, step)?.then_some(applied));
        };
        let mut backoff = self.backoff();
        loop {
            let failure = match self.writer(ranks).write_blocks(session, &mut blocks, &self.to(epoch, step)) {
                Ok(()) => return Ok(Some(applied)),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Target(failure)) => failure,
            };
            match failure.kind {
                ErrorKind::Retry => match self.reconnect(session, epoch, &failure, &mut backoff, step)? {
                    Outcome::Committed => return Ok(Some(applied)),
                    Outcome::NotCommitted => {}
                    Outcome::Stopped => return Ok(None),
                },
                ErrorKind::Refused if failure.constraint.is_some() => {
                    session.rollback().map_err(Error::from)?;
                    drop(blocks);
                    return Ok(self.apply_step(session, ranks, epoch, step)?.then_some(applied));
                }
                _ => return Err(failure.into()),
            }
        }
    }

    /// Applies a span from staging, in whatever order and parts the target takes it. False when asked to stop meanwhile.
    fn apply_step(&mut self, session: &mut Session, ranks: &[usize], epoch: i64, step: Step) -> Result<bool> {
        let mut backoff = self.backoff();
        let mut order = Order::UpsertsFirst;
        let mut window = self.window(step, self.limits())?;
        loop {
            let part = Step { from: window.from, to: window.to };
            let advance = self.to(epoch, part);
            let failure = match self.writer(ranks).write(session, &window, order, &advance) {
                Ok(()) if window.to == step.to => return Ok(true),
                Ok(()) => {
                    // The rest of the span goes one source transaction at a time too.
                    order = Order::UpsertsFirst;
                    window = self.window(Step { from: window.to, to: step.to }, Limits::ONE_TRANSACTION)?;
                    continue;
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Target(failure)) => failure,
            };
            match (failure.kind, failure.constraint.is_some().then(|| order.other()).flatten()) {
                (ErrorKind::Retry, _) => match self.reconnect(session, epoch, &failure, &mut backoff, part)? {
                    Outcome::Committed if window.to == step.to => return Ok(true),
                    Outcome::Committed => {
                        window = self.window(Step { from: window.to, to: step.to }, Limits::ONE_TRANSACTION)?;
                    }
                    Outcome::NotCommitted => {}
                    Outcome::Stopped => return Ok(false),
                },
                (ErrorKind::Refused, Some(other)) => {
                    session.rollback().map_err(Error::from)?;
                    order = other;
                }
                // Source transactions merged into one window may meet a constraint that none of them meets by itself.
                (ErrorKind::Refused, None) if failure.constraint.is_some() && window.transactions > 1 => {
                    session.rollback().map_err(Error::from)?;
                    order = Order::UpsertsFirst;
                    window = self.window(part, Limits::ONE_TRANSACTION)?;
                }
                _ => return Err(failure.into()),
            }
        }
    }

    /// The first window of a span; the whole span when the limits are those that it was cut with.
    fn window(&self, step: Step, limits: Limits) -> Result<Window> {
        let mut cutter = Cutter::new(self.stage.scan(step.from, step.to), step.from, step.to);
        let window = cutter.next(limits)?;
        window.ok_or_else(|| Error::new(format!("nothing lies between {} and {}", step.from, step.to)))
    }

    fn writer<'a>(&'a self, ranks: &'a [usize]) -> Writer<'a> {
        Writer {
            catalog: &self.catalog,
            ranks,
            tables: &self.tables,
            stage: &self.stage,
            limits: self.limits(),
            case_sensitive: self.case_sensitive,
        }
    }

    fn to(&self, epoch: i64, step: Step) -> Advance {
        Advance { feed: self.feed.clone(), epoch, from: step.from, to: step.to }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(self.settings.retry_delay_min, self.settings.retry_delay_max)
    }
}
