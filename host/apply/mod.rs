//! The applier: one plain thread that owns the target session and moves the target from one source state to the next.
//!
//! Owns: the loop over windows, and what is tried when one is refused. Does not own: cutting windows (`order`), reading
//! ahead (`reader`), writing one (`transaction`), connecting anew (`reconnect`).
//!
//! Invariant: `applied` equals the progress row of the target, and moves only after the target has confirmed it.

mod encode;
mod ladder;
mod plan;
mod reader;
mod reconnect;
mod retry;
pub(crate) mod row;
mod same_tables;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use ebb_sdk::{Advance, Catalog, ErrorKind, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config;
use crate::error::{Error, Result};
use crate::order::{Content, Cutter, Limits, Window, last_versions};
use crate::receive::Tables;
use crate::stage::{Change, Entry, Store};
use crate::status::Status;
use crate::tables::KeyWatch;
use crate::target::{Holder, Taken, Target};
use encode::Block;
use ladder::{Ladder, Next, Touched};
use plan::{Facts, Plan};
use reader::{Prepared, Reader};
use reconnect::Outcome;
use retry::Backoff;
use transaction::{Failure, Writer};

/// Everything the thread works with.
pub struct Applier {
    pub target: Target,
    pub settings: config::Apply,
    pub case_sensitive: bool,
    pub holder: Holder,
    pub catalog: Arc<Catalog>,
    pub tables: Arc<Tables>,
    pub keys: Arc<KeyWatch>,
    pub store: Arc<Store>,
    /// How far staging is complete.
    pub resolved: watch::Receiver<Timestamp>,
    pub status: Arc<Status>,
    /// Turns true when the process is asked to end.
    pub stop: watch::Receiver<bool>,
    pub runtime: Handle,
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

/// Source transactions that are written as one, and how.
struct Part {
    window: Window,
    touched: Touched,
    plan: Plan,
    /// With which the first plan was refused.
    first_refusal: Option<ebb_sdk::Error>,
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
        let _alive = self.holder.keep(&self.target, taken.progress.epoch);
        self.store.release(taken.progress.applied);
        self.status.applied(taken.progress.applied, 0, 0);
        self.warn_of_second_effects();
        let windows = self.reader(&taken).spawn(self.resolved.clone());
        // A catalog that has changed ends the run, so its plan holds for all of it.
        let facts = plan::facts(&self.catalog);
        // The reader ends, and with it the channel, once a stop is asked for.
        while let Ok(prepared) = windows.recv() {
            if *self.stop.borrow() || !self.apply(&mut taken, &facts, prepared?)? {
                break;
            }
        }
        taken.session.close();
        match *self.stop.borrow() {
            true => Ok(()),
            false => Err(Error::new("the thread that reads ahead has ended by itself")
                .hint("start again: nothing acknowledged was lost; report this with the lines above")),
        }
    }

    /// Applies what is staged up to a time, in the caller's thread and without reading ahead: every step of it can be
    /// repeated exactly.
    pub fn apply_up_to(&mut self, taken: &mut Taken, to: Timestamp) -> Result<()> {
        self.store.release(taken.progress.applied);
        let facts = plan::facts(&self.catalog);
        let mut outcome = Ok(true);
        self.reader(taken).read(to, |prepared| {
            outcome = self.apply(taken, &facts, prepared);
            matches!(outcome, Ok(true))
        })?;
        outcome.map(drop)
    }

    fn warn_of_second_effects(&self) {
        let facts = plan::facts(&self.catalog);
        let acting = self.ladder(&facts).acting(self.tables.list().iter().map(|table| table.position));
        if !acting.is_empty() {
            tracing::warn!(
                hint =
                    self.catalog.suspend_hint.as_deref().unwrap_or("drop the triggers, or start with --triggers fire"),
                "triggers or cascades of the target act on what the source sends by itself, on {}: this session cannot \
                 suspend them",
                acting.join(", ")
            );
        }
    }

    fn reader(&self, taken: &Taken) -> Reader {
        Reader {
            catalog: Arc::clone(&self.catalog),
            tables: Arc::clone(&self.tables),
            keys: Arc::clone(&self.keys),
            runtime: self.runtime.clone(),
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
        Limits {
            rows_max: self.settings.transaction_rows_max,
            bytes_max: self.settings.transaction_bytes_max,
            transactions_max: usize::MAX,
        }
    }

    /// Applies one window, trying again as long as trying again can help. False when asked to stop meanwhile.
    fn apply(&mut self, taken: &mut Taken, facts: &[Facts], prepared: Prepared) -> Result<bool> {
        let Prepared { from, to, transactions, rows, blocks } = prepared;
        let step = Step { from, to };
        let is_applied = match blocks {
            Some(blocks) => self.apply_blocks(taken, facts, step, blocks)?,
            None => self.apply_step(taken, facts, step)?,
        };
        if is_applied {
            taken.progress.applied = to;
            self.store.release(to);
            self.status.applied(to, transactions as u64, rows as u64);
            if !self.target.connect.allow_rounding.is_empty() {
                self.status.rounded(taken.session.rounded()?);
            }
            tracing::debug!(%to, transactions, rows, "applied");
        }
        Ok(is_applied)
    }

    /// The common way: what was encoded ahead, parents first.
    fn apply_blocks(&mut self, taken: &mut Taken, facts: &[Facts], step: Step, mut blocks: Vec<Block>) -> Result<bool> {
        if self.ladder(facts).first(&Touched::by(&blocks)) != Plan::UPSERTS_FIRST {
            drop(blocks);
            return self.apply_step(taken, facts, step);
        }
        let mut backoff = self.backoff();
        let advance = self.advance(taken, step);
        loop {
            let failure = match self.writer(facts).write_blocks(&mut taken.session, &mut blocks, &advance) {
                Ok(()) => return Ok(true),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Target(failure)) => rolled_back(taken, failure),
            };
            match failure.kind {
                _ if backoff.may_help(failure.kind) => match self.reconnect(taken, &failure, &mut backoff, step)? {
                    Outcome::Committed => return Ok(true),
                    Outcome::NotCommitted => {}
                    Outcome::Stopped => return Ok(false),
                },
                ErrorKind::Refused if failure.conflict => {
                    drop(blocks);
                    return self.apply_step(taken, facts, step);
                }
                _ => return Err(failure.into()),
            }
        }
    }

    /// Applies a span from staging, in whatever order and parts the target takes it. False when asked to stop meanwhile.
    fn apply_step(&mut self, taken: &mut Taken, facts: &[Facts], step: Step) -> Result<bool> {
        let mut part = self.part(facts, step, self.limits())?;
        let mut backoff = self.backoff();
        loop {
            let bounds = Step { from: part.window.from, to: part.window.to };
            let advance = self.advance(taken, bounds);
            let outcome = self.writer(facts).write(&mut taken.session, &part.window, part.plan, &advance);
            let is_committed = match outcome.map_err(|failure| failure.map(|failure| rolled_back(taken, failure))) {
                Ok(()) => true,
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Target(failure)) if backoff.may_help(failure.kind) => {
                    match self.reconnect(taken, &failure, &mut backoff, bounds)? {
                        Outcome::Committed => true,
                        Outcome::NotCommitted => false,
                        Outcome::Stopped => return Ok(false),
                    }
                }
                Err(Failure::Target(failure)) => {
                    match self.after_refusal(facts, &mut part, failure)? {
                        Next::Try(plan) => part.plan = plan,
                        Next::Split | Next::GiveUp => {
                            part = self.part(facts, bounds, self.limits().one_transaction())?;
                        }
                    }
                    false
                }
            };
            match is_committed {
                true if part.window.to == step.to => return Ok(true),
                // The rest of the span goes one source transaction at a time too.
                true => {
                    let rest = Step { from: part.window.to, to: step.to };
                    part = self.part(facts, rest, self.limits().one_transaction())?;
                }
                false => {}
            }
        }
    }

    /// What is tried next; an error when nothing is left. Of several refusals the first tells most, unless only the last
    /// names the row.
    fn after_refusal(&self, facts: &[Facts], part: &mut Part, failure: ebb_sdk::Error) -> Result<Next> {
        let is_planned_again = failure.kind == ErrorKind::Refused && (failure.conflict || part.first_refusal.is_some());
        if !is_planned_again {
            return Err(failure.into());
        }
        let ladder = self.ladder(facts);
        tracing::debug!(plan = ?part.plan.phases, "planned again: {failure}");
        let first = part.first_refusal.get_or_insert_with(|| failure.clone());
        match ladder.next(part.plan, &part.touched, part.window.transactions) {
            Next::GiveUp => {
                let telling = if first.key.is_none() && failure.key.is_some() { failure } else { first.clone() };
                let way_out = ladder.way_out(telling.constraint.as_deref());
                let hint = telling.hint.clone().map_or(way_out.clone(), |hint| format!("{hint}; or {way_out}"));
                Err(telling.hint(hint).into())
            }
            next => Ok(next),
        }
    }

    fn part(&self, facts: &[Facts], step: Step, limits: Limits) -> Result<Part> {
        let window = self.window(step, limits)?;
        let touched = match &window.content {
            Content::Streamed => Touched::all(self.tables.list().iter().map(|table| table.position)),
            Content::Whole(rows) => self.touched(rows),
        };
        let plan = self.ladder(facts).first(&touched);
        Ok(Part { window, touched, plan, first_refusal: None })
    }

    fn touched(&self, rows: &[Entry]) -> Touched {
        let mut touched = Touched::default();
        for row in rows {
            let position =
                self.tables.list().iter().find(|table| table.number == row.table).map(|table| table.position);
            match row.change() {
                Change::Upsert(_) => touched.written.extend(position),
                Change::Delete(_) => touched.deleted.extend(position),
            }
        }
        touched
    }

    fn ladder<'a>(&'a self, facts: &'a [Facts]) -> Ladder<'a> {
        Ladder { catalog: &self.catalog, facts, triggers: self.settings.triggers }
    }

    /// The first window of a span; the whole span when the limits are those that it was cut with.
    fn window(&self, step: Step, limits: Limits) -> Result<Window> {
        let mut cutter = Cutter::new(self.store.scan(step.from, step.to), step.from, step.to);
        let window = cutter.next(limits)?;
        let mut window =
            window.ok_or_else(|| Error::new(format!("nothing lies between {} and {}", step.from, step.to)))?;
        // The reader has made sure of the keys of this span.
        if let Content::Whole(rows) = window.content {
            window.content = Content::Whole(last_versions(rows, &self.tables)?);
        }
        Ok(window)
    }

    fn writer<'a>(&'a self, facts: &'a [Facts]) -> Writer<'a> {
        Writer {
            catalog: &self.catalog,
            facts,
            tables: &self.tables,
            store: &self.store,
            limits: self.limits(),
            case_sensitive: self.case_sensitive,
        }
    }

    fn advance(&self, taken: &Taken, step: Step) -> Advance {
        Advance { feed: self.holder.feed().to_owned(), epoch: taken.progress.epoch, from: step.from, to: step.to }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(self.settings.retry_delay_min, self.settings.retry_delay_max)
    }
}

/// After a failed write the session is good for another only when it could roll back.
fn rolled_back(taken: &mut Taken, failure: ebb_sdk::Error) -> ebb_sdk::Error {
    match failure.kind {
        ErrorKind::Refused => taken.session.rollback().err().unwrap_or(failure),
        _ => failure,
    }
}
