//! One span of source transactions: written as it was encoded ahead, or from staging in whatever order and parts the target
//! takes it.
//!
//! Owns: what is tried when a part is refused or takes too long. Does not own: writing one (`transaction`), what comes when
//! nothing is left to try (`wait`).

use ebb_sdk::{ErrorKind, Timestamp};

use super::Applier;
use super::encode::Block;
use super::ladder::{Next, Touched};
use super::plan::{Facts, Plan};
use super::reconnect::Outcome;
use super::retry::Backoff;
use super::transaction::Failure;
use crate::error::{Error, Result};
use crate::order::{Content, Cutter, Limits, Window, last_versions};
use crate::stage::{Change, Entry};
use crate::target::Lease;

/// So many attempts in a row that were cut off or timed out count as too many rows for the target.
const SLOW_ATTEMPTS: u32 = 2;

/// A span of source transactions that is applied as one target transaction.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// Source transactions that are written as one, and how.
pub(super) struct Part {
    pub(super) window: Window,
    touched: Touched,
    plan: Plan,
    /// With which the first plan was refused.
    first_refusal: Option<ebb_sdk::Error>,
    /// It is not to be tried in smaller parts.
    is_whole: bool,
}

/// Why applying cannot go on.
pub(super) enum Halt {
    /// The target cannot take a row as it is now; another version of the row, or another target, may do.
    Row(Error),
    Final(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl From<Halt> for Error {
    fn from(halt: Halt) -> Self {
        let (Halt::Row(error) | Halt::Final(error)) = halt;
        error
    }
}

/// What became of a part.
pub(super) enum Tried {
    Committed,
    /// TypeCheck to stop meanwhile.
    Stopped,
    /// It is to be tried in smaller parts, of these limits.
    Split(Limits),
}

impl Applier {
    /// The common way: what was encoded ahead, parents first. False when asked to stop meanwhile.
    pub(super) fn apply_blocks(
        &mut self,
        lease: &mut Lease,
        facts: &[Facts],
        (step, transactions): (Step, usize),
        mut blocks: Vec<Block>,
    ) -> Result<bool, Halt> {
        if self.ladder(facts).first(&Touched::by(&blocks)) != Plan::UPSERTS_FIRST {
            drop(blocks);
            return self.apply_step(lease, facts, step);
        }
        let rows = blocks.iter().map(|block| block.rows.len()).sum();
        let mut backoff = self.backoff();
        let advance = self.advance(lease, step);
        loop {
            let failure = match self.writer(facts).write_blocks(&mut lease.session, &mut blocks, &advance) {
                Ok(()) => return self.committed(lease, step.to, transactions, rows).map(|()| true),
                Err(Failure::Row(error) | Failure::Final(error)) => return Err(error.into()),
                Err(Failure::Target(failure)) => rolled_back(lease, failure),
            };
            match failure.kind {
                _ if backoff.may_help(failure.kind) => match self.reconnect(lease, &failure, &mut backoff, step)? {
                    Outcome::Committed => return self.committed(lease, step.to, transactions, rows).map(|()| true),
                    Outcome::NotCommitted if backoff.attempts() >= SLOW_ATTEMPTS => {
                        self.slow_down(rows, &failure);
                        drop(blocks);
                        return self.apply_step(lease, facts, step);
                    }
                    Outcome::NotCommitted => {}
                    Outcome::Stopped => return Ok(false),
                },
                ErrorKind::Refused if failure.conflict || transactions > 1 => {
                    drop(blocks);
                    return self.apply_step(lease, facts, step);
                }
                ErrorKind::Refused => return Err(Halt::Row(failure.into())),
                _ => return Err(Halt::Final(failure.into())),
            }
        }
    }

    /// Applies a span from staging, in whatever order and parts the target takes it. False when asked to stop meanwhile.
    pub(super) fn apply_step(&mut self, lease: &mut Lease, facts: &[Facts], step: Step) -> Result<bool, Halt> {
        let mut limits = self.limits();
        let mut rest = step;
        while rest.from < step.to {
            let mut part = self.part(facts, rest, limits)?;
            match self.write_part(lease, facts, &mut part)? {
                Tried::Committed => {
                    rest.from = part.window.to;
                    self.committed(lease, rest.from, part.window.transactions, part.rows())?;
                }
                Tried::Stopped => return Ok(false),
                // The rest of the span goes in such parts too.
                Tried::Split(smaller) => limits = smaller,
            }
        }
        Ok(true)
    }

    /// Writes a part by one plan after the other.
    pub(super) fn write_part(&mut self, lease: &mut Lease, facts: &[Facts], part: &mut Part) -> Result<Tried, Halt> {
        let mut backoff = self.backoff();
        let bounds = Step { from: part.window.from, to: part.window.to };
        let advance = self.advance(lease, bounds);
        loop {
            let outcome = self.writer(facts).write(&mut lease.session, &part.window, part.plan, &advance);
            let failure = match outcome {
                Ok(()) => return Ok(Tried::Committed),
                Err(Failure::Final(error)) => return Err(Halt::Final(error)),
                Err(Failure::Row(error)) => match lease.session.rollback() {
                    Ok(()) => return self.split_or(part, Halt::Row(error)),
                    Err(failure) => failure,
                },
                Err(Failure::Target(failure)) => rolled_back(lease, failure),
            };
            if backoff.may_help(failure.kind) {
                match self.after_loss(lease, part, &failure, &mut backoff)? {
                    Some(tried) => return Ok(tried),
                    None => continue,
                }
            }
            if failure.kind != ErrorKind::Refused {
                return Err(Halt::Final(failure.into()));
            }
            match self.after_refusal(facts, part, failure)? {
                Some(plan) => part.plan = plan,
                None => return Ok(Tried::Split(self.limits().one_transaction())),
            }
        }
    }

    /// Connects anew; `None` when the same is to be tried again.
    fn after_loss(
        &mut self,
        lease: &mut Lease,
        part: &Part,
        failure: &ebb_sdk::Error,
        backoff: &mut Backoff,
    ) -> Result<Option<Tried>, Halt> {
        let bounds = Step { from: part.window.from, to: part.window.to };
        Ok(match self.reconnect(lease, failure, backoff, bounds)? {
            Outcome::Committed => Some(Tried::Committed),
            Outcome::Stopped => Some(Tried::Stopped),
            Outcome::NotCommitted if backoff.attempts() >= SLOW_ATTEMPTS => {
                self.slow_down(part.rows(), failure);
                (part.window.transactions > 1 || part.is_whole).then(|| Tried::Split(self.limits()))
            }
            Outcome::NotCommitted => None,
        })
    }

    /// The plan that is tried next, or `None` for smaller parts; an error when nothing is left. Of several refusals the first
    /// tells most, unless only the last names the row.
    fn after_refusal(&self, facts: &[Facts], part: &mut Part, failure: ebb_sdk::Error) -> Result<Option<Plan>, Halt> {
        if !failure.conflict && part.first_refusal.is_none() {
            return self.split_or(part, Halt::Row(failure.into())).map(|_| None);
        }
        let ladder = self.ladder(facts);
        tracing::debug!(plan = ?part.plan.phases, "planned again: {failure}");
        let first = part.first_refusal.get_or_insert_with(|| failure.clone());
        let merged = if part.is_whole { 1 } else { part.window.transactions };
        match ladder.next(part.plan, &part.touched, merged) {
            Next::Try(plan) => Ok(Some(plan)),
            Next::Split => Ok(None),
            Next::GiveUp => {
                let telling = if first.key.is_none() && failure.key.is_some() { failure } else { first.clone() };
                // Only a constraint can be helped by another order.
                let way_out = telling.conflict.then(|| ladder.way_out(telling.constraint.as_deref()));
                let hint = telling.hint.clone().into_iter().chain(way_out).collect::<Vec<_>>().join("; or ");
                let telling = if hint.is_empty() { telling } else { telling.hint(hint) };
                self.split_or(part, Halt::Row(telling.into())).map(|_| None)
            }
        }
    }

    /// Of several source transactions one is at fault: those before it can be applied.
    fn split_or(&self, part: &Part, halt: Halt) -> Result<Tried, Halt> {
        match part.window.transactions {
            _ if part.is_whole => Err(halt),
            0 | 1 => Err(halt),
            _ => Ok(Tried::Split(self.limits().one_transaction())),
        }
    }

    fn slow_down(&self, rows: usize, failure: &ebb_sdk::Error) {
        // Of a transaction that is too large for memory the rows are written in blocks of so many.
        let rows = if rows == 0 { self.pace.rows() } else { rows };
        let next = self.pace.slow_down(rows);
        let timeout_ms = self.target.connect.apply_timeout_ms;
        tracing::warn!(
            hint = format!("see what holds the target up, or raise --applyTimeout (now {timeout_ms} ms)"),
            "the target did not take {rows} rows in {SLOW_ATTEMPTS} attempts ({failure}); {next} at once are tried"
        );
    }

    /// What the target has confirmed.
    pub(super) fn committed(
        &self,
        lease: &mut Lease,
        to: Timestamp,
        transactions: usize,
        rows: usize,
    ) -> Result<(), Halt> {
        self.backlog.release(lease.committed(to));
        self.pace.keep_up();
        self.status.applied(to, transactions as u64, rows as u64);
        if !self.target.connect.allow_rounding.is_empty() {
            self.status.rounded(lease.session.rounded().map_err(Error::from)?);
        }
        tracing::debug!(%to, transactions, rows, "applied");
        Ok(())
    }

    /// The first part of a span, within the limits.
    pub(super) fn part(&self, facts: &[Facts], step: Step, limits: Limits) -> Result<Part> {
        let window = self.window(step, limits)?;
        let touched = match &window.content {
            Content::Streamed => Touched::all(self.tables.list().iter().map(|table| table.position)),
            Content::Whole(rows) => self.touched(rows),
        };
        let plan = self.ladder(facts).first(&touched);
        Ok(Part { window, touched, plan, first_refusal: None, is_whole: false })
    }

    fn touched(&self, rows: &[Entry]) -> Touched {
        let mut touched = Touched::default();
        for row in rows {
            let position = self.tables.numbered(row.table).map(|table| table.position);
            match row.change() {
                Change::Upsert(_) => touched.written.extend(position),
                Change::Delete(_) => touched.deleted.extend(position),
            }
        }
        touched
    }

    /// The first window of a span; the whole span when the limits are those that it was cut with. The caller has made sure of
    /// the keys.
    fn window(&self, step: Step, limits: Limits) -> Result<Window> {
        let mut cutter = Cutter::new(self.backlog.scan(step.from, step.to), step.from, step.to);
        let window = cutter.next(limits)?;
        let mut window =
            window.ok_or_else(|| Error::new(format!("nothing lies between {} and {}", step.from, step.to)))?;
        if let Content::Whole(rows) = window.content {
            window.content = Content::Whole(last_versions(rows, &self.tables)?);
        }
        Ok(window)
    }
}

impl Part {
    /// Only all of it will do.
    pub(super) fn keep_whole(&mut self) {
        self.is_whole = true;
    }

    /// Those in memory; a transaction that is too large for it counts none.
    pub(super) fn rows(&self) -> usize {
        match &self.window.content {
            Content::Whole(rows) => rows.len(),
            Content::Streamed => 0,
        }
    }
}

/// After a failed write the session is good for another only when it could roll back.
fn rolled_back(lease: &mut Lease, failure: ebb_sdk::Error) -> ebb_sdk::Error {
    match failure.kind {
        ErrorKind::Refused => lease.session.rollback().err().unwrap_or(failure),
        _ => failure,
    }
}
