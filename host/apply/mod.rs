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
use crate::stage::Store;
use crate::status::Status;
use crate::target::Target;
use encode::Block;
use plan::Order;
use reader::{Prepared, Reader};
use reconnect::Outcome;
use retry::Backoff;
use transaction::{Failure, Writer};

/// Everything the thread works with.
pub struct Applier {
    pub target: Target,
    pub settings: config::Apply,
    pub case_sensitive: bool,
    pub feed: String,
    pub catalog: Arc<Catalog>,
    pub tables: Arc<Tables>,
    pub store: Arc<Store>,
    /// How far staging is complete.
    pub resolved: watch::Receiver<Timestamp>,
    pub status: Arc<Status>,
    /// Turns true when the process is asked to end.
    pub stop: watch::Receiver<bool>,
    pub runtime: Handle,
}

/// A target that was taken over, and where it stands: moved only once the target has confirmed it.
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
        let taken = taken.map_or_else(|| self.take_over(), |taken| Ok(Some(taken)))?;
        let Some(mut taken) = taken else { return Ok(()) };
        self.store.release(taken.progress.applied);
        self.status.applied(taken.progress.applied, 0, 0);
        let windows = self.reader(&taken).spawn(self.resolved.clone(), self.runtime.clone());
        // A catalog that has changed ends the run, so its plan holds for all of it.
        let ranks = plan::ranks(&self.catalog);
        // The reader ends, and with it the channel, once a stop is asked for.
        while let Ok(prepared) = windows.recv() {
            if *self.stop.borrow() || !self.apply(&mut taken, &ranks, prepared?)? {
                break;
            }
        }
        taken.session.close();
        Ok(())
    }

    /// Applies what is staged up to a time, in the caller's thread and without reading ahead: every step of it can be
    /// repeated exactly.
    pub fn apply_up_to(&mut self, taken: &mut Taken, to: Timestamp) -> Result<()> {
        self.store.release(taken.progress.applied);
        let ranks = plan::ranks(&self.catalog);
        let mut outcome = Ok(true);
        self.reader(taken).read(to, |prepared| {
            outcome = self.apply(taken, &ranks, prepared);
            matches!(outcome, Ok(true))
        })?;
        outcome.map(drop)
    }

    fn reader(&self, taken: &Taken) -> Reader {
        Reader {
            catalog: Arc::clone(&self.catalog),
            tables: Arc::clone(&self.tables),
            case_sensitive: self.case_sensitive,
            store: Arc::clone(&self.store),
            limits: self.limits(),
            position: taken.progress.applied,
            stop: self.stop.clone(),
        }
    }

    /// Sleeps, but not through a stop.
    fn pause(&mut self, delay: Duration) -> Pause {
        if delay.is_zero() {
            return if *self.stop.borrow() { Pause::Stop } else { Pause::Work };
        }
        let stop = &mut self.stop;
        match self.runtime.block_on(async { timeout(delay, stop.wait_for(|&stop| stop)).await.is_ok() }) {
            true => Pause::Stop,
            false => Pause::Work,
        }
    }

    fn limits(&self) -> Limits {
        Limits { rows_max: self.settings.transaction_rows_max, bytes_max: self.settings.transaction_bytes_max }
    }

    /// Applies one window, trying again as long as trying again can help. False when asked to stop meanwhile.
    fn apply(&mut self, taken: &mut Taken, ranks: &[usize], prepared: Prepared) -> Result<bool> {
        let Prepared { from, to, transactions, rows, blocks } = prepared;
        let step = Step { from, to };
        let is_applied = match blocks {
            Some(blocks) => self.apply_blocks(taken, ranks, step, blocks)?,
            None => self.apply_step(taken, ranks, step)?,
        };
        if is_applied {
            taken.progress.applied = to;
            self.store.release(to);
            self.status.applied(to, transactions as u64, rows as u64);
            tracing::debug!(%to, transactions, rows, "applied");
        }
        Ok(is_applied)
    }

    /// The common way: what was encoded ahead, parents first.
    fn apply_blocks(&mut self, taken: &mut Taken, ranks: &[usize], step: Step, mut blocks: Vec<Block>) -> Result<bool> {
        let mut backoff = self.backoff();
        let advance = self.advance(taken, step);
        loop {
            let failure = match self.writer(ranks).write_blocks(&mut taken.session, &mut blocks, &advance) {
                Ok(()) => return Ok(true),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Target(failure)) => failure,
            };
            match failure.kind {
                ErrorKind::Retry => match self.reconnect(taken, &failure, &mut backoff, step)? {
                    Outcome::Committed => return Ok(true),
                    Outcome::NotCommitted => {}
                    Outcome::Stopped => return Ok(false),
                },
                ErrorKind::Refused if failure.constraint.is_some() => {
                    taken.session.rollback().map_err(Error::from)?;
                    drop(blocks);
                    return self.apply_step(taken, ranks, step);
                }
                _ => return Err(failure.into()),
            }
        }
    }

    /// Applies a span from staging, in whatever order and parts the target takes it. False when asked to stop meanwhile.
    fn apply_step(&mut self, taken: &mut Taken, ranks: &[usize], step: Step) -> Result<bool> {
        let mut backoff = self.backoff();
        let mut order = Order::UpsertsFirst;
        let mut window = self.window(step, self.limits())?;
        loop {
            let part = Step { from: window.from, to: window.to };
            let advance = self.advance(taken, part);
            let failure = match self.writer(ranks).write(&mut taken.session, &window, order, &advance) {
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
                (ErrorKind::Retry, _) => match self.reconnect(taken, &failure, &mut backoff, part)? {
                    Outcome::Committed if window.to == step.to => return Ok(true),
                    Outcome::Committed => {
                        window = self.window(Step { from: window.to, to: step.to }, Limits::ONE_TRANSACTION)?;
                    }
                    Outcome::NotCommitted => {}
                    Outcome::Stopped => return Ok(false),
                },
                (ErrorKind::Refused, Some(other)) => {
                    taken.session.rollback().map_err(Error::from)?;
                    order = other;
                }
                // Source transactions merged into one window may meet a constraint that none of them meets by itself.
                (ErrorKind::Refused, None) if failure.constraint.is_some() && window.transactions > 1 => {
                    taken.session.rollback().map_err(Error::from)?;
                    order = Order::UpsertsFirst;
                    window = self.window(part, Limits::ONE_TRANSACTION)?;
                }
                _ => return Err(failure.into()),
            }
        }
    }

    /// The first window of a span; the whole span when the limits are those that it was cut with.
    fn window(&self, step: Step, limits: Limits) -> Result<Window> {
        let mut cutter = Cutter::new(self.store.scan(step.from, step.to), step.from, step.to);
        let window = cutter.next(limits)?;
        window.ok_or_else(|| Error::new(format!("nothing lies between {} and {}", step.from, step.to)))
    }

    fn writer<'a>(&'a self, ranks: &'a [usize]) -> Writer<'a> {
        Writer {
            catalog: &self.catalog,
            ranks,
            tables: &self.tables,
            store: &self.store,
            limits: self.limits(),
            case_sensitive: self.case_sensitive,
        }
    }

    fn advance(&self, taken: &Taken, step: Step) -> Advance {
        Advance { feed: self.feed.clone(), epoch: taken.progress.epoch, from: step.from, to: step.to }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(self.settings.retry_delay_min, self.settings.retry_delay_max)
    }
}
