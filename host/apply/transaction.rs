//! One window, one target transaction: every row of it and the progress row, or nothing.
//!
//! Owns: carrying out a plan: begin, blocks in its order, commit. Does not own: retries (`attempt`), choosing (`escalation`).
//!
//! A window that is too large for memory goes through the same phases, each of them a pass over staging, block by block.
//! Only a rotation of unique values over several blocks is beyond what one statement does then.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ebb_sdk::{Advance, Catalog, Checks, Operation};

use super::counts::RowCounts;
use super::encode::{Block, Encoder, Task};
use super::plan::{Phase, Plan};
use super::refused_row::RefusedRow;
use super::table_plan::{TablePlan, TablePlans};
use super::unwritable::{Unwritable, not_applied};
use crate::error::Error;
use crate::measure::Heartbeat;
use crate::order::{Window, WindowLimits, WindowRows, identity};
use crate::plugin::{Applied, Session};
use crate::stage::{Backlog, Entry, TableId};
use crate::tables::{Table, Tables};

/// Deletes that are held in memory at once, of a transaction that is not.
const DELETES_HELD_MAX: usize = 100_000;
/// How many rows are read before a look at the clock.
const ROWS_PER_LOOK: usize = 256;

/// What a transaction is made from.
pub(super) struct Writer<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) plans: &'a TablePlans,
    pub(super) tables: &'a Tables,
    pub(super) backlog: &'a Backlog,
    pub(super) limits: WindowLimits,
    pub(super) case_sensitive: bool,
    pub(super) heartbeat: &'a Heartbeat,
}

/// Either the target failed, and its kind says what to do, or what was to be written is at fault: a row, or more than that.
pub(super) enum WriteError {
    Target(ebb_sdk::Error),
    Row(RefusedRow),
    Final(Error),
}

impl WriteError {
    /// The table that it names.
    pub(super) fn table(&self) -> Option<&str> {
        match self {
            Self::Target(error) => error.table.as_deref(),
            Self::Row(refused) => refused.table.as_deref(),
            Self::Final(error) => error.fact("table"),
        }
    }
}

impl From<Unwritable> for WriteError {
    fn from(unwritable: Unwritable) -> Self {
        match unwritable {
            Unwritable::Row(refused) => Self::Row(refused),
            Unwritable::Other(error) => Self::Final(error),
        }
    }
}

impl From<ebb_sdk::Error> for WriteError {
    fn from(error: ebb_sdk::Error) -> Self {
        Self::Target(error)
    }
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl Writer<'_> {
    /// Writes a window that was encoded ahead, by [`Plan::UPSERTS_FIRST`].
    pub(super) fn write_blocks(
        &self,
        session: &mut Session,
        blocks: &mut [Block],
        advance: &Advance,
    ) -> ebb_sdk::Result<Applied> {
        self.heartbeat.beat();
        session.begin(Checks::Immediate)?;
        blocks.sort_by_key(|block| {
            let rank = self.plans[block.table].rank;
            let is_delete = block.operation == Operation::Delete;
            (is_delete, if is_delete { usize::MAX - rank } else { rank })
        });
        blocks.iter().try_for_each(|block| self.write_block(session, block))?;
        self.heartbeat.beat();
        session.commit(advance)
    }

    /// Writes the window and moves the progress row with it. On a failure nothing of it is in the target, unless the
    /// failure was the commit's. `at` is set to the phase that has begun, and to `None` for the commit, `counts` to what was
    /// written by then.
    pub(super) fn write(
        &self,
        session: &mut Session,
        window: &Window,
        plan: Plan,
        advance: &Advance,
        at: &mut Option<Phase>,
        counts: &mut RowCounts,
    ) -> Result<Applied, WriteError> {
        let rows = Rows::of(window);
        if matches!(rows, Rows::Staged(_)) {
            self.refuse_unknown(window)?;
        }
        let mut encoder = Encoder::new(self.catalog, self.tables, self.case_sensitive);
        *counts = RowCounts::default();
        self.heartbeat.beat();
        session.begin(plan.checks)?;
        for &phase in plan.phases {
            *at = Some(phase);
            for table in self.in_order(phase) {
                let Some(task) = task(phase, &self.plans[table.position]) else { continue };
                let all = rows.of_table(self.backlog, table.number);
                let count = match &rows {
                    Rows::Staged(window) if phase.takes_deletes() && table.key.may_meet() => {
                        let there = all.filter(|row| !is_deleted(row));
                        self.pass(session, &mut encoder, there, phase, task)?
                            + self.streamed_deletes(session, &mut encoder, window, table, (phase, task))?
                    }
                    _ => self.pass(session, &mut encoder, all, phase, task)?,
                };
                counts.written(table.position, phase, count);
            }
        }
        *at = None;
        self.heartbeat.beat();
        Ok(session.commit(advance)?)
    }

    /// One phase of one table, in blocks, so that a large transaction is never held whole. Returns how many rows it took.
    fn pass<'r>(
        &self,
        session: &mut Session,
        encoder: &mut Encoder<'_>,
        rows: impl Iterator<Item = Result<Cow<'r, Entry>, Error>>,
        phase: Phase,
        task: Task<'_>,
    ) -> Result<u64, WriteError> {
        let (mut count, mut all) = (0, 0);
        for (read, entry) in rows.enumerate() {
            let entry = entry?;
            if read % ROWS_PER_LOOK == 0 {
                self.heartbeat.beat();
                session.keep_alive()?;
            }
            let is_deleted = entry.is_delete();
            let is_meant = match phase {
                Phase::Delete => is_deleted,
                // A row that would lose the columns that only the target has stays where it is.
                Phase::DeleteForReinsert => encoder.covers(&entry)?,
                Phase::NullKeys | Phase::Verify => true,
                Phase::Upsert | Phase::InsertWithNullRefs | Phase::FillRefs | Phase::Reinsert => !is_deleted,
            };
            if !is_meant {
                continue;
            }
            encoder.push_as(&entry, task)?;
            count += 1;
            all += 1;
            if count >= self.limits.rows_max || encoder.bytes() >= self.limits.bytes_max {
                encoder.take().iter().try_for_each(|block| self.write_block(session, block))?;
                count = 0;
            }
        }
        encoder.take().iter().try_for_each(|block| self.write_block(session, block))?;
        Ok(all)
    }

    fn write_block(&self, session: &mut Session, block: &Block) -> ebb_sdk::Result<()> {
        self.heartbeat.beat();
        session.write(block.table, block.operation, &block.columns, &block.rows)
    }

    /// Rows of a table that this run does not apply must not be passed over.
    fn refuse_unknown(&self, window: &Window) -> Result<(), WriteError> {
        for number in self.backlog.table_numbers() {
            if self.tables.numbered(number).is_none()
                && let Some(row) = self.backlog.scan_table(window.to, number).next()
            {
                return Err(WriteError::Final(not_applied(&row?)));
            }
        }
        Ok(())
    }

    /// Deletes of a transaction that is not held in memory, but for rows that are there again under another key of the
    /// source: some at a time, each time with a look at all rows that are there.
    fn streamed_deletes(
        &self,
        session: &mut Session,
        encoder: &mut Encoder<'_>,
        window: &Window,
        table: &Table,
        (phase, task): (Phase, Task<'_>),
    ) -> Result<u64, WriteError> {
        let mut count = 0;
        let all = || self.backlog.scan_table(window.to, table.number);
        let mut deleted = all().filter(|row| row.as_ref().map_or(true, Entry::is_delete));
        loop {
            let mut gone = BTreeMap::new();
            self.heartbeat.beat();
            session.keep_alive()?;
            for row in deleted.by_ref().take(DELETES_HELD_MAX) {
                let row = row?;
                gone.insert(identity(table, &row)?.into_owned(), row);
            }
            if gone.is_empty() {
                return Ok(count);
            }
            for (read, row) in all().enumerate() {
                let row = row?;
                if read % ROWS_PER_LOOK == 0 {
                    self.heartbeat.beat();
                    session.keep_alive()?;
                }
                if !row.is_delete() {
                    gone.remove(identity(table, &row)?.as_ref());
                }
            }
            count += self.pass(session, encoder, gone.into_values().map(|row| Ok(Cow::Owned(row))), phase, task)?;
        }
    }

    /// Parents first where rows appear, children first where they vanish.
    fn in_order(&self, phase: Phase) -> Vec<&Table> {
        let mut tables: Vec<_> = self.tables.list().iter().collect();
        tables.sort_by_key(|table| self.plans[table.position].rank);
        if matches!(phase, Phase::Delete | Phase::DeleteForReinsert) {
            tables.reverse();
        }
        tables
    }
}

/// What a phase does to the rows of a table; `None` when it has nothing to do with it.
fn task(phase: Phase, table: &TablePlan) -> Option<Task<'_>> {
    let whole = |operation, blank| Some(Task::Whole { operation, blank });
    let key = |operation, blank| Some(Task::Key { operation, blank });
    match phase {
        Phase::Reinsert if table.is_rigid => whole(Operation::Replace, &[]),
        Phase::Upsert | Phase::Reinsert => whole(Operation::Upsert, &[]),
        Phase::InsertWithNullRefs if table.is_in_cycle => whole(Operation::Upsert, &table.null_refs),
        Phase::FillRefs if !table.is_in_cycle => None,
        Phase::InsertWithNullRefs | Phase::FillRefs if table.replaces => whole(Operation::Replace, &[]),
        Phase::InsertWithNullRefs | Phase::FillRefs => whole(Operation::Upsert, &[]),
        Phase::NullKeys if table.null_keys.is_empty() => None,
        Phase::NullKeys => key(Operation::Update, &table.null_keys),
        Phase::Delete | Phase::DeleteForReinsert => key(Operation::Delete, &[]),
        Phase::Verify => key(Operation::Verify, &[]),
    }
}

/// The rows of a window by table: in memory, or where they stand in staging.
enum Rows<'w> {
    InMemory(BTreeMap<TableId, Vec<&'w Entry>>),
    Staged(&'w Window),
}

impl<'w> Rows<'w> {
    fn of(window: &'w Window) -> Self {
        match &window.rows {
            WindowRows::Streamed => Self::Staged(window),
            WindowRows::InMemory(rows) => {
                let mut tables: BTreeMap<TableId, Vec<&Entry>> = BTreeMap::new();
                rows.iter().for_each(|row| tables.entry(row.table).or_default().push(row));
                Self::InMemory(tables)
            }
        }
    }

    fn of_table<'a>(
        &'a self,
        backlog: &Backlog,
        number: TableId,
    ) -> Box<dyn Iterator<Item = Result<Cow<'a, Entry>, Error>> + 'a> {
        match self {
            Self::InMemory(tables) => {
                let rows = tables.get(&number).map(Vec::as_slice).unwrap_or_default();
                Box::new(rows.iter().map(|&row| Ok(Cow::Borrowed(row))))
            }
            Self::Staged(window) => Box::new(backlog.scan_table(window.to, number).map(|row| row.map(Cow::Owned))),
        }
    }
}

fn is_deleted(row: &Result<Cow<'_, Entry>, Error>) -> bool {
    row.as_ref().is_ok_and(|row| row.is_delete())
}
