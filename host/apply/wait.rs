//! A row that the target does not take: applying waits in front of it, and goes on once the row has another version, or the
//! target takes it.
//!
//! Owns: when it is tried again, and over how many later source transactions. Does not own: what a batch is
//! (`batch`) and how it is written (`attempt`); receiving, which goes on meanwhile.
//!
//! A corrected version comes in a later source transaction. A window that ends behind it has the bad one no more, since of
//! every row only the last version is written, and equals the source at its end like any other.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use ebb_sdk::{ErrorKind, TableIndex, Timestamp};
use tokio::time::timeout;

use super::attempt::{ApplyError, BatchOutcome};
use super::batch::Batch;
use super::refused_row::RefusedRow;
use super::{Applier, Pause};
use crate::code;
use crate::config::Triggers;
use crate::error::Result;
use crate::lasting::Lasting;
use crate::order::{Interval, WindowLimits};
use crate::stage::Entry;
use crate::status::Waiting;
use crate::tables::{Rows, Table};
use crate::target::Lease;

/// Between two tries; doubled each time.
const DELAY_MIN: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(30);

/// So many tries are made before one that takes all rows with it, whatever they are of: some minutes.
const ANYTHING_EVERY: u32 = 8;

/// What was tried together with the row in front.
#[derive(Default)]
struct LastTry {
    up_to: Timestamp,
    /// Of the rows that were refused then; `None` where one did not say.
    tables: BTreeSet<Option<String>>,
    /// A trigger had a part in it, which may look at any table.
    is_any: bool,
}

impl LastTry {
    fn note(&mut self, refused: &RefusedRow) {
        self.tables.extend(refused.tables.iter().cloned());
        self.is_any |= refused.depends_on_any;
    }
}

/// What came of another try of the row.
enum RetryOutcome {
    /// The target has it.
    Taken,
    Stopped,
    TargetDown,
    Refused(RefusedRow),
}

/// Why a rest is over.
enum Rest {
    Over,
    /// Somebody asks for another try.
    Asked,
    Stop,
}

impl Applier {
    /// Waits until the row in front is taken. False when asked to stop meanwhile.
    ///
    /// # Errors
    /// What is not about the row: another process has taken over, a table has changed, a promise was broken.
    pub(super) fn wait_out(&mut self, lease: &mut Lease, mut refused: RefusedRow) -> Result<bool> {
        let since = SystemTime::now();
        let at = self.first_transaction(lease.progress().applied)?;
        let (mut tries, mut state) = (0, Lasting::begun());
        let (mut last, mut is_down) = (LastTry::default(), false);
        self.hangups.mark_unchanged();
        loop {
            let delay = DELAY_MIN.saturating_mul(1 << tries.min(10)).min(DELAY_MAX);
            self.status.waiting(Some(Waiting {
                since,
                at,
                error: refused.error.clone(),
                tries,
                next_try: SystemTime::now() + delay,
            }));
            if state.due().is_some() {
                self.report(&refused, at, lease.progress().applied, tries);
            }
            let outcome = match self.rest(delay) {
                Rest::Stop => RetryOutcome::Stopped,
                rested => match self.reopen(lease)? {
                    true => {
                        // A CHECK may call a function that reads any table.
                        let is_asked = matches!(rested, Rest::Asked) || tries % ANYTHING_EVERY == ANYTHING_EVERY - 1;
                        self.try_again(lease, &mut last, is_asked)?
                    }
                    false => RetryOutcome::TargetDown,
                },
            };
            tries += 1;
            match outcome {
                RetryOutcome::Taken | RetryOutcome::Stopped => {
                    self.status.waiting(None);
                    return Ok(matches!(outcome, RetryOutcome::Taken));
                }
                RetryOutcome::TargetDown if !is_down => {
                    self.status.target_fails(code::target::UNREACHABLE);
                    tracing::warn!(
                        error_code = code::target::UNREACHABLE.text(),
                        "the target is down, or too slow, while a row is waited for: it is tried again"
                    );
                    is_down = true;
                }
                RetryOutcome::TargetDown => {}
                RetryOutcome::Refused(again) => {
                    self.status.target_answers();
                    (refused, is_down) = (again, false);
                }
            }
        }
    }

    /// The timestamp of the source transaction that comes next.
    fn first_transaction(&self, applied: Timestamp) -> Result<Timestamp> {
        let next = self.backlog.scan(applied, *self.resolved.borrow()).next().transpose()?;
        Ok(next.map_or(applied, |row| row.timestamp))
    }

    /// Sleeps until the delay is over, somebody asks for another try, or for a stop.
    fn rest(&mut self, delay: Duration) -> Rest {
        self.heartbeat().rest();
        let (stop, hangups) = (&mut self.stop, &mut self.hangups);
        let rest = self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => Rest::Stop,
                Ok(()) = hangups.changed() => Rest::Asked,
                _ = timeout(delay, std::future::pending::<()>()) => Rest::Over,
            }
        });
        self.heartbeat().beat();
        rest
    }

    /// A session that sees the target as it is now; false while it is down.
    fn reopen(&mut self, lease: &mut Lease) -> Result<bool> {
        lease.session.close();
        let opened = self.open().and_then(|mut session| {
            let progress = session.progress(self.holder.feed())?;
            Ok((session, progress))
        });
        match opened {
            Ok((session, progress)) => {
                self.unmoved(progress, lease.progress())?;
                lease.session = session;
                Ok(true)
            }
            Err(error) if error.kind == ErrorKind::Retry => {
                tracing::debug!("the target is down: {error}");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The first source transaction alone, then together with as many of those behind it as fit, then with fewer, as long as it
    /// is another row that is refused; but only where one of them may help. `last`: what was tried before.
    fn try_again(&mut self, lease: &mut Lease, last: &mut LastTry, is_asked: bool) -> Result<RetryOutcome> {
        let (from, resolved) = (lease.progress().applied, *self.resolved.borrow());
        // Later rows are for another start.
        let limit = self.keys.limit().filter(|limit| *limit > from);
        let interval = Interval { from, to: limit.map_or(resolved, |limit| limit.min(resolved)) };
        if matches!(self.know_keys(interval)?, Pause::Stop) {
            return Ok(RetryOutcome::Stopped);
        }
        let first = match self.attempt(lease, interval, 1)? {
            (RetryOutcome::Refused(refused), _) => refused,
            (outcome, _) => return Ok(outcome),
        };
        last.note(&first);
        if !is_asked && !self.may_help(last, interval)? {
            return Ok(RetryOutcome::Refused(first));
        }
        let mut tried = LastTry { up_to: interval.to, ..LastTry::default() };
        tried.note(&first);
        let mut behind = None;
        let (mut few, mut many, mut next) = (1, usize::MAX, usize::MAX);
        while many - few > 1 {
            match self.attempt(lease, interval, next)? {
                (RetryOutcome::Refused(_), count) if count <= few => break,
                (RetryOutcome::Refused(refused), count) if refused.is_same_row(&first) => few = count,
                (RetryOutcome::Refused(refused), count) => {
                    tried.note(&refused);
                    behind = Some(refused);
                    many = count;
                }
                (outcome, _) => return Ok(outcome),
            }
            if many == usize::MAX {
                break;
            }
            next = few.midpoint(many);
        }
        // One that was cut off is made again.
        *last = tried;
        Ok(RetryOutcome::Refused(match behind {
            Some(behind) => first.with_behind(&behind),
            None => first,
        }))
    }

    /// Whether rows came since that may take the place of a refused one, or of another that is in its way: those of its table,
    /// and of tables that it refers to. Others would be written for nothing, and taken back.
    fn may_help(&self, last: &LastTry, interval: Interval) -> Result<bool> {
        let is_refused = |table: &&ebb_sdk::Table| last.tables.contains(&Some(table.to_string()));
        let refused: Vec<_> = self.catalog.tables.iter().filter(is_refused).collect();
        let is_any = last.is_any || refused.len() < last.tables.len() || self.settings.triggers == Triggers::Fire;
        let matters = |table: &ebb_sdk::Table, position: TableIndex| {
            let refers = |refused: &&ebb_sdk::Table| refused.foreign_keys.iter().any(|key| key.references == position);
            is_refused(&table) || refused.iter().any(refers)
        };
        let is_it = |row: &Entry| {
            let position = self.tables.numbered(row.table).map(|table| table.position);
            is_any || position.is_none_or(|position| matters(&self.catalog.tables[position], position))
        };
        let first = self.first_transaction(interval.from)?;
        for row in self.backlog.scan(last.up_to.max(first), interval.to) {
            self.heartbeat().beat();
            if is_it(&row?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the first source transactions of an interval, at most so many. Also returns how many there were.
    fn attempt(
        &mut self,
        lease: &mut Lease,
        interval: Interval,
        transactions_max: usize,
    ) -> Result<(RetryOutcome, usize)> {
        // A correction may lie far behind, so that only the memory is a limit.
        let limits = WindowLimits { transactions_max, rows_max: usize::MAX, ..self.limits() };
        let mut batch = Batch { is_whole: true, ..self.staged(interval, limits)? };
        let outcome = match self.write_batch(lease, &mut batch) {
            Ok(BatchOutcome::Committed(applied)) => {
                self.committed(lease, &batch, applied)?;
                tracing::info!(to = %batch.interval.to, "the target takes the rows again");
                RetryOutcome::Taken
            }
            Ok(BatchOutcome::Stopped) => RetryOutcome::Stopped,
            Ok(BatchOutcome::Split(_)) => RetryOutcome::TargetDown,
            Err(ApplyError::Row(refused)) => RetryOutcome::Refused(refused),
            Err(ApplyError::Final(error)) => return Err(error),
        };
        Ok((outcome, batch.transactions))
    }

    fn report(&self, refused: &RefusedRow, at: Timestamp, applied: Timestamp, tries: u32) {
        let RefusedRow { error, table, key, constraint, .. } = refused;
        let fact = |name: &str| error.fact(name);
        let is_it = |route: &&Table| {
            table.as_ref().is_some_and(|name| self.catalog.tables[route.position].to_string() == *name)
        };
        let is_left = self.tables.list().iter().find(is_it).is_some_and(|table| table.is_left);
        let mend = match is_left {
            // No later version of it will come.
            true => "make room for the row on the target: its table is not replicated any more, so that nothing done at the source \
                     helps; or load the table anew, and take it in again with --new-tables"
                .to_owned(),
            false => format!(
                "{}; or correct the row at the source, or delete it there: ebb then applies the new version in place of this one, \
                 if everything that is staged up to it fits into --transaction-bytes-max (now {})",
                error.hint.as_deref().unwrap_or("make room for it on the target"),
                self.settings.transaction_bytes_max
            ),
        };
        let hint = format!(
            "{mend}. It is tried again every 30 s at most, and at once on SIGHUP. ebb ends where it sees that the table was altered: \
             start it again then. --on-row-error exit ends the run at once"
        );
        tracing::error!(
            error_code = error.code.text(),
            source_timestamp = %at,
            %applied,
            tries,
            table,
            column = fact("column"),
            key,
            constraint,
            behind_table = fact("behind_table"),
            behind_key = fact("behind_key"),
            behind_constraint = fact("behind_constraint"),
            code = fact("code"),
            hint,
            "applying waits, and receiving goes on: {error}"
        );
    }

    fn know_keys(&mut self, interval: Interval) -> Result<Pause> {
        let rows = Rows { oldest: interval.from, to: interval.to, tables: None };
        // The source has time limits of its own.
        self.heartbeat().rest();
        let (stop, keys) = (&mut self.stop, &self.keys);
        let known = self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => Ok(Pause::Stop),
                known = keys.know(rows) => known.map(|_| Pause::Work),
            }
        });
        self.heartbeat().beat();
        known
    }
}
