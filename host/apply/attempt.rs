//! Writing a batch until the target has it: again after a lost connection, by another plan after a refusal, in smaller batches.
//!
//! Owns: the loop around failures, and what follows which. Does not own: what a batch is (`batch`), writing one once
//! (`transaction`), connecting anew (`reconnect`), what comes when nothing is left to try (`wait`).

use std::time::Instant;

use ebb_sdk::{ErrorKind, Topic};

use super::Applier;
use super::batch::{Batch, Content};
use super::escalation::Next;
use super::plan::Plan;
use super::reader::PreparedWindow;
use super::reconnect::CommitOutcome;
use super::refused_row::RefusedRow;
use super::retry::{Alike, Backoff};
use super::transaction::WriteError;
use crate::code;
use crate::error::Error;
use crate::order::WindowLimits;
use crate::plugin::Applied;
use crate::target::Lease;

/// So many attempts in a row that were cut off or timed out count as too many rows for the target.
const SLOW_ATTEMPTS: u32 = 2;

/// Why applying cannot go on.
pub(super) enum ApplyError {
    /// The target cannot take a row as it is now; another version of the row, or another target, may do.
    Row(RefusedRow),
    Final(Error),
}

impl From<Error> for ApplyError {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl From<ApplyError> for Error {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Row(RefusedRow { error, .. }) | ApplyError::Final(error) => error,
        }
    }
}

/// What became of a batch.
pub(super) enum BatchOutcome {
    Committed(Applied),
    /// A stop was asked for meanwhile.
    Stopped,
    /// It is to be read from staging in batches of these limits.
    Split(WindowLimits),
}

/// What is to be done about a failure.
enum Remedy {
    /// Connect anew, and see whether the commit took place.
    Reconnect(ebb_sdk::Error),
    Replan(Plan),
    Split(WindowLimits),
    GiveUp(ApplyError),
}

impl Applier {
    /// Applies a window: as it was encoded ahead, or from staging in whatever order and batches the target takes it. False when
    /// asked to stop meanwhile.
    pub(super) fn apply(&mut self, lease: &mut Lease, prepared: PreparedWindow) -> Result<bool, ApplyError> {
        let mut limits = self.limits();
        let mut rest = prepared.interval;
        let mut encoded = self.encoded(prepared);
        while rest.from < rest.to {
            let mut batch = match encoded.take() {
                Some(batch) => batch,
                None => self.staged(rest, limits)?,
            };
            match self.write_batch(lease, &mut batch)? {
                BatchOutcome::Committed(applied) => {
                    rest.from = batch.interval.to;
                    self.committed(lease, &batch, applied)?;
                }
                BatchOutcome::Stopped => return Ok(false),
                // The rest of the interval goes in such batches too.
                BatchOutcome::Split(smaller) => limits = smaller,
            }
        }
        Ok(true)
    }

    /// Writes a batch until it is committed, or something else has to be done with its rows.
    pub(super) fn write_batch(&mut self, lease: &mut Lease, batch: &mut Batch) -> Result<BatchOutcome, ApplyError> {
        let mut backoff = self.backoff();
        let advance = self.advance(lease, batch.interval);
        let (mut slow, mut alike) = (0, Alike::default());
        loop {
            let (writer, session, begun) = (self.writer(), &mut lease.session, Instant::now());
            let written = match &mut batch.content {
                Content::Encoded(blocks) => writer.write_blocks(session, blocks, &advance).map_err(WriteError::Target),
                Content::Staged(window) => {
                    writer.write(session, window, batch.plan, &advance, &mut batch.phase, &mut batch.counts)
                }
            };
            let failure = match written {
                Ok(applied) => {
                    self.status.measures.applies.observe(begun.elapsed());
                    return Ok(BatchOutcome::Committed(applied));
                }
                Err(WriteError::Target(failure)) => rolled_back(lease, WriteError::Target(alike.judged(failure))),
                Err(failure) => rolled_back(lease, failure),
            };
            self.status.tables.failed(failure.table());
            let failure = match self.remedy(batch, failure, &mut backoff) {
                Remedy::Reconnect(failure) => failure,
                Remedy::Replan(plan) => {
                    batch.plan = plan;
                    continue;
                }
                Remedy::Split(limits) => return Ok(BatchOutcome::Split(limits)),
                Remedy::GiveUp(error) => {
                    self.pace.outage.end();
                    return Err(error);
                }
            };
            slow += u32::from(matches!(failure.topic, Topic::Unreachable | Topic::TooSlow | Topic::Resources));
            match self.reconnect(lease, &failure, &mut backoff, batch.interval)? {
                CommitOutcome::Committed(applied) => return Ok(BatchOutcome::Committed(applied)),
                CommitOutcome::Stopped => return Ok(BatchOutcome::Stopped),
                CommitOutcome::NotCommitted if slow >= SLOW_ATTEMPTS => {
                    self.slow_down(batch.rows(), &failure);
                    if batch.is_encoded() || batch.is_whole || batch.transactions > 1 {
                        return Ok(BatchOutcome::Split(self.limits()));
                    }
                }
                CommitOutcome::NotCommitted => {}
            }
        }
    }

    fn remedy(&self, batch: &mut Batch, failure: WriteError, backoff: &mut Backoff) -> Remedy {
        match failure {
            WriteError::Row(refused) => self.split_or(batch, refused),
            // The source transactions before it are complete.
            WriteError::Final(_) if batch.separable() > 1 => Remedy::Split(self.limits().one_transaction()),
            WriteError::Final(error) => Remedy::GiveUp(ApplyError::Final(error)),
            WriteError::Target(failure) if backoff.may_help(failure.kind) => Remedy::Reconnect(failure),
            WriteError::Target(failure) if failure.kind == ErrorKind::Refused => self.after_refusal(batch, failure),
            WriteError::Target(failure) => Remedy::GiveUp(ApplyError::Final(failure.into())),
        }
    }

    /// A conflict may be one of the order alone, which another plan helps.
    fn after_refusal(&self, batch: &mut Batch, failure: ebb_sdk::Error) -> Remedy {
        if batch.is_encoded() && (failure.conflict || batch.transactions > 1) {
            return Remedy::Split(self.limits());
        }
        if !failure.conflict && batch.refusals.is_empty() {
            return self.split_or(batch, failure.into());
        }
        let escalation = self.escalation();
        tracing::debug!(plan = ?batch.plan.phases, "planned again: {failure}");
        batch.refusals.add(failure, batch.plan, batch.phase);
        match escalation.next(batch.plan, &batch.affected, batch.separable()) {
            Next::Try(plan) => Remedy::Replan(plan),
            Next::Split => Remedy::Split(self.limits().one_transaction()),
            Next::GiveUp => {
                let Some(telling) = batch.refusals.telling().cloned() else { return Remedy::Split(self.limits()) };
                // Only a constraint can be helped by another order.
                let way_out = telling
                    .conflict
                    .then(|| escalation.way_out(telling.table.as_deref(), telling.constraint.as_deref()));
                let hint = telling.hint.clone().into_iter().chain(way_out).collect::<Vec<_>>().join("; or ");
                let telling = if hint.is_empty() { telling } else { telling.hint(hint) };
                let tables = batch.refusals.tables();
                self.split_or(batch, RefusedRow { tables, ..telling.into() })
            }
        }
    }

    /// Of several source transactions one is at fault: those before it can be applied.
    fn split_or(&self, batch: &Batch, refused: RefusedRow) -> Remedy {
        match batch.separable() {
            0 | 1 => Remedy::GiveUp(ApplyError::Row(refused)),
            _ => Remedy::Split(self.limits().one_transaction()),
        }
    }

    fn slow_down(&self, rows: usize, failure: &ebb_sdk::Error) {
        // Of a transaction that is too large for memory the rows are written in blocks of so many.
        let rows = if rows == 0 { self.pace.rows() } else { rows };
        let next = self.pace.slow_down(rows);
        if next == rows {
            return;
        }
        let timeout_ms = self.target.connect.apply_timeout_ms;
        tracing::warn!(
            error_code = code::topics::of(failure).text(),
            hint = format!("see what holds the target up, or raise --applyTimeout (now {timeout_ms} ms)"),
            "the target did not take {rows} rows in {SLOW_ATTEMPTS} attempts ({failure}); {next} at once are tried"
        );
    }

    /// What the target has confirmed.
    pub(super) fn committed(&self, lease: &mut Lease, batch: &Batch, applied: Applied) -> Result<(), ApplyError> {
        let (to, transactions, rows) = (batch.interval.to, batch.transactions, batch.counts.rows());
        lease.committed(applied);
        self.backlog.release(applied);
        self.pace.keep_up();
        self.pace.outage.over(to, *self.resolved.borrow());
        self.status.applied(to, transactions as u64, rows);
        self.status.tables.applied(batch.counts.tables());
        if let Some(oldest) = batch.oldest {
            self.status.measures.applied(oldest);
        }
        if !self.target.connect.allow_rounding.is_empty() {
            self.status.rounded(lease.session.rounded().map_err(Error::from)?);
        }
        tracing::debug!(%to, transactions, rows, "applied");
        Ok(())
    }
}

/// After a failed write the session is good for another only when it could roll back.
fn rolled_back(lease: &mut Lease, failure: WriteError) -> WriteError {
    let can_roll_back = match &failure {
        WriteError::Row(_) | WriteError::Final(_) => true,
        WriteError::Target(error) => error.kind == ErrorKind::Refused,
    };
    let lost = can_roll_back.then(|| lease.session.rollback().err()).flatten();
    lost.map_or(failure, WriteError::Target)
}
