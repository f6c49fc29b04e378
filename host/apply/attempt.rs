//! One interval of source transactions: written as it was encoded ahead, or from staging in whatever order and batches the target
//! takes it.
//!
//! Owns: what is tried when a batch is refused or takes too long. Does not own: writing one (`transaction`), what comes when
//! nothing is left to try (`wait`).

use ebb_sdk::{ErrorKind, Timestamp};

use super::Applier;
use super::encode::Block;
use super::escalation::{AffectedTables, Next};
use super::plan::{Plan, TablePlan};
use super::reconnect::CommitOutcome;
use super::retry::Backoff;
use super::transaction::WriteError;
use crate::error::{Error, Result};
use crate::order::{Cutter, Interval, Window, WindowLimits, WindowRows, last_versions};
use crate::stage::{Change, Entry};
use crate::target::Lease;

/// So many attempts in a row that were cut off or timed out count as too many rows for the target.
const SLOW_ATTEMPTS: u32 = 2;

/// Source transactions that are written as one, and how.
pub(super) struct Batch {
    pub(super) window: Window,
    affected: AffectedTables,
    plan: Plan,
    /// With which the first plan was refused.
    first_refusal: Option<ebb_sdk::Error>,
    /// It is not to be tried in smaller batches.
    is_whole: bool,
}

/// Why applying cannot go on.
pub(super) enum ApplyError {
    /// The target cannot take a row as it is now; another version of the row, or another target, may do.
    Row(Error),
    Final(Error),
}

impl From<Error> for ApplyError {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl From<ApplyError> for Error {
    fn from(error: ApplyError) -> Self {
        let (ApplyError::Row(error) | ApplyError::Final(error)) = error;
        error
    }
}

/// What became of a batch.
pub(super) enum BatchOutcome {
    Committed,
    /// A stop was asked for meanwhile.
    Stopped,
    /// It is to be tried in smaller batches, of these limits.
    Split(WindowLimits),
}

impl Applier {
    /// The common way: what was encoded ahead, parents first. False when asked to stop meanwhile.
    pub(super) fn apply_blocks(
        &mut self,
        lease: &mut Lease,
        facts: &[TablePlan],
        (interval, transactions): (Interval, usize),
        mut blocks: Vec<Block>,
    ) -> Result<bool, ApplyError> {
        if self.escalation(facts).first(&AffectedTables::by(&blocks)) != Plan::UPSERTS_FIRST {
            drop(blocks);
            return self.apply_interval(lease, facts, interval);
        }
        let rows = blocks.iter().map(|block| block.rows.len()).sum();
        let mut backoff = self.backoff();
        let advance = self.advance(lease, interval);
        loop {
            let failure = match self.writer(facts).write_blocks(&mut lease.session, &mut blocks, &advance) {
                Ok(()) => return self.committed(lease, interval.to, transactions, rows).map(|()| true),
                Err(WriteError::Row(error) | WriteError::Final(error)) => return Err(error.into()),
                Err(WriteError::Target(failure)) => rolled_back(lease, failure),
            };
            match failure.kind {
                _ if backoff.may_help(failure.kind) => match self.reconnect(lease, &failure, &mut backoff, interval)? {
                    CommitOutcome::Committed => {
                        return self.committed(lease, interval.to, transactions, rows).map(|()| true);
                    }
                    CommitOutcome::NotCommitted if backoff.attempts() >= SLOW_ATTEMPTS => {
                        self.slow_down(rows, &failure);
                        drop(blocks);
                        return self.apply_interval(lease, facts, interval);
                    }
                    CommitOutcome::NotCommitted => {}
                    CommitOutcome::Stopped => return Ok(false),
                },
                ErrorKind::Refused if failure.conflict || transactions > 1 => {
                    drop(blocks);
                    return self.apply_interval(lease, facts, interval);
                }
                ErrorKind::Refused => return Err(ApplyError::Row(failure.into())),
                _ => return Err(ApplyError::Final(failure.into())),
            }
        }
    }

    /// Applies an interval from staging, in whatever order and batches the target takes it. False when asked to stop meanwhile.
    pub(super) fn apply_interval(
        &mut self,
        lease: &mut Lease,
        facts: &[TablePlan],
        interval: Interval,
    ) -> Result<bool, ApplyError> {
        let mut limits = self.limits();
        let mut rest = interval;
        while rest.from < interval.to {
            let mut batch = self.batch(facts, rest, limits)?;
            match self.write_batch(lease, facts, &mut batch)? {
                BatchOutcome::Committed => {
                    rest.from = batch.window.to;
                    self.committed(lease, rest.from, batch.window.transactions, batch.rows())?;
                }
                BatchOutcome::Stopped => return Ok(false),
                // The rest of the interval goes in such batches too.
                BatchOutcome::Split(smaller) => limits = smaller,
            }
        }
        Ok(true)
    }

    /// Writes a batch by one plan after the other.
    pub(super) fn write_batch(
        &mut self,
        lease: &mut Lease,
        facts: &[TablePlan],
        batch: &mut Batch,
    ) -> Result<BatchOutcome, ApplyError> {
        let mut backoff = self.backoff();
        let bounds = batch.window.interval();
        let advance = self.advance(lease, bounds);
        loop {
            let outcome = self.writer(facts).write(&mut lease.session, &batch.window, batch.plan, &advance);
            let failure = match outcome {
                Ok(()) => return Ok(BatchOutcome::Committed),
                Err(WriteError::Final(error)) => return Err(ApplyError::Final(error)),
                Err(WriteError::Row(error)) => match lease.session.rollback() {
                    Ok(()) => return self.split_or(batch, ApplyError::Row(error)),
                    Err(failure) => failure,
                },
                Err(WriteError::Target(failure)) => rolled_back(lease, failure),
            };
            if backoff.may_help(failure.kind) {
                match self.after_loss(lease, batch, &failure, &mut backoff)? {
                    Some(tried) => return Ok(tried),
                    None => continue,
                }
            }
            if failure.kind != ErrorKind::Refused {
                return Err(ApplyError::Final(failure.into()));
            }
            match self.after_refusal(facts, batch, failure)? {
                Some(plan) => batch.plan = plan,
                None => return Ok(BatchOutcome::Split(self.limits().one_transaction())),
            }
        }
    }

    /// Connects anew; `None` when the same is to be tried again.
    fn after_loss(
        &mut self,
        lease: &mut Lease,
        batch: &Batch,
        failure: &ebb_sdk::Error,
        backoff: &mut Backoff,
    ) -> Result<Option<BatchOutcome>, ApplyError> {
        let bounds = batch.window.interval();
        Ok(match self.reconnect(lease, failure, backoff, bounds)? {
            CommitOutcome::Committed => Some(BatchOutcome::Committed),
            CommitOutcome::Stopped => Some(BatchOutcome::Stopped),
            CommitOutcome::NotCommitted if backoff.attempts() >= SLOW_ATTEMPTS => {
                self.slow_down(batch.rows(), failure);
                (batch.window.transactions > 1 || batch.is_whole).then(|| BatchOutcome::Split(self.limits()))
            }
            CommitOutcome::NotCommitted => None,
        })
    }

    /// The plan that is tried next, or `None` for smaller batches; an error when nothing is left. Of several refusals the first
    /// tells most, unless only the last names the row.
    fn after_refusal(
        &self,
        facts: &[TablePlan],
        batch: &mut Batch,
        failure: ebb_sdk::Error,
    ) -> Result<Option<Plan>, ApplyError> {
        if !failure.conflict && batch.first_refusal.is_none() {
            return self.split_or(batch, ApplyError::Row(failure.into())).map(|_| None);
        }
        let escalation = self.escalation(facts);
        tracing::debug!(plan = ?batch.plan.phases, "planned again: {failure}");
        let first = batch.first_refusal.get_or_insert_with(|| failure.clone());
        let merged = if batch.is_whole { 1 } else { batch.window.transactions };
        match escalation.next(batch.plan, &batch.affected, merged) {
            Next::Try(plan) => Ok(Some(plan)),
            Next::Split => Ok(None),
            Next::GiveUp => {
                let telling = if first.key.is_none() && failure.key.is_some() { failure } else { first.clone() };
                // Only a constraint can be helped by another order.
                let way_out = telling.conflict.then(|| escalation.way_out(telling.constraint.as_deref()));
                let hint = telling.hint.clone().into_iter().chain(way_out).collect::<Vec<_>>().join("; or ");
                let telling = if hint.is_empty() { telling } else { telling.hint(hint) };
                self.split_or(batch, ApplyError::Row(telling.into())).map(|_| None)
            }
        }
    }

    /// Of several source transactions one is at fault: those before it can be applied.
    fn split_or(&self, batch: &Batch, error: ApplyError) -> Result<BatchOutcome, ApplyError> {
        match batch.window.transactions {
            _ if batch.is_whole => Err(error),
            0 | 1 => Err(error),
            _ => Ok(BatchOutcome::Split(self.limits().one_transaction())),
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
    ) -> Result<(), ApplyError> {
        lease.progress.applied = to;
        self.store.release(to);
        self.pace.keep_up();
        self.status.applied(to, transactions as u64, rows as u64);
        if !self.target.connect.allow_rounding.is_empty() {
            self.status.rounded(lease.session.rounded().map_err(Error::from)?);
        }
        tracing::debug!(%to, transactions, rows, "applied");
        Ok(())
    }

    /// The first batch of an interval, within the limits.
    pub(super) fn batch(&self, facts: &[TablePlan], interval: Interval, limits: WindowLimits) -> Result<Batch> {
        let window = self.window(interval, limits)?;
        let affected = match &window.rows {
            WindowRows::Streamed => AffectedTables::all(self.tables.list().iter().map(|table| table.position)),
            WindowRows::InMemory(rows) => self.affected(rows),
        };
        let plan = self.escalation(facts).first(&affected);
        Ok(Batch { window, affected, plan, first_refusal: None, is_whole: false })
    }

    fn affected(&self, rows: &[Entry]) -> AffectedTables {
        let mut affected = AffectedTables::default();
        for row in rows {
            let position = self.tables.numbered(row.table).map(|table| table.position);
            match row.change() {
                Change::Upsert(_) => affected.written.extend(position),
                Change::Delete(_) => affected.deleted.extend(position),
            }
        }
        affected
    }

    /// The first window of an interval; the whole interval when the limits are those that it was cut with. The caller has made sure of
    /// the keys.
    fn window(&self, interval: Interval, limits: WindowLimits) -> Result<Window> {
        let mut cutter = Cutter::new(self.store.scan(interval.from, interval.to), interval.from, interval.to);
        let window = cutter.next(limits)?;
        let mut window =
            window.ok_or_else(|| Error::new(format!("nothing lies between {} and {}", interval.from, interval.to)))?;
        if let WindowRows::InMemory(rows) = window.rows {
            window.rows = WindowRows::InMemory(last_versions(rows, &self.tables)?);
        }
        Ok(window)
    }
}

impl Batch {
    /// Only all of it will do.
    pub(super) fn keep_whole(&mut self) {
        self.is_whole = true;
    }

    /// Those in memory; a transaction that is too large for it counts none.
    pub(super) fn rows(&self) -> usize {
        match &self.window.rows {
            WindowRows::InMemory(rows) => rows.len(),
            WindowRows::Streamed => 0,
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
