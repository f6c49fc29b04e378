//! One window, one target transaction: every row of it and the progress row, or nothing.
//!
//! Owns: carrying out a plan: begin, blocks in its order, commit. Does not own: retries (`mod`), choosing (`escalation`).
//!
//! A window that is too large for memory goes through the same phases, each of them a pass over staging, block by block.
//! Only a rotation of unique values over several blocks is beyond what one statement does then.

use std::collections::BTreeMap;

use ebb_sdk::{Advance, Catalog, Checks, Operation};

use super::encode::{Block, Encoder, Task};
use super::plan::{Phase, Plan, TablePlan};
use super::unwritable::{Unwritable, not_applied};
use crate::error::Error;
use crate::order::{Window, WindowLimits, WindowRows, identity};
use crate::plugin::Session;
use crate::stage::{Entry, Store};
use crate::tables::{Table, Tables};

/// Deletes that are held in memory at once, of a transaction that is not.
const DELETES_HELD_MAX: usize = 100_000;
/// How many rows are read before a look at the clock.
const ROWS_PER_LOOK: usize = 256;

/// What a transaction is made from.
pub(super) struct Writer<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) facts: &'a [TablePlan],
    pub(super) tables: &'a Tables,
    pub(super) store: &'a Store,
    pub(super) limits: WindowLimits,
    pub(super) case_sensitive: bool,
}

/// Either the target failed, and its kind says what to do, or what was to be written is at fault: a row, or more than that.
pub(super) enum WriteError {
    Target(ebb_sdk::Error),
    Row(Error),
    Final(Error),
}

impl From<Unwritable> for WriteError {
    fn from(unwritable: Unwritable) -> Self {
        match unwritable {
            Unwritable::Row(error) => Self::Row(error),
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
    ) -> Result<(), WriteError> {
        session.begin(Checks::Immediate)?;
        blocks.sort_by_key(|block| {
            let rank = self.facts[block.table as usize].rank;
            let is_delete = block.operation == Operation::Delete;
            (is_delete, if is_delete { self.facts.len() - rank } else { rank })
        });
        blocks.iter().try_for_each(|block| write_block(session, block))?;
        Ok(session.commit(advance)?)
    }

    /// Writes the window and moves the progress row with it. On a failure nothing of it is in the target, unless the
    /// failure was the commit's.
    pub(super) fn write(
        &self,
        session: &mut Session,
        window: &Window,
        plan: Plan,
        advance: &Advance,
    ) -> Result<(), WriteError> {
        let rows = Rows::of(window);
        if matches!(rows, Rows::Staged(_)) {
            self.refuse_unknown(window)?;
        }
        let mut encoder = Encoder::new(self.catalog, self.tables, self.case_sensitive);
        session.begin(plan.checks)?;
        for &phase in plan.phases {
            for (number, position) in self.in_order(phase) {
                let facts = &self.facts[position as usize];
                if let Some(task) = task(phase, facts) {
                    match (&rows, self.tables.numbered(number)) {
                        (Rows::Staged(window), Some(table)) if phase.takes_deletes() && table.key.may_meet() => {
                            let there = rows.of_table(self.store, number).filter(|row| !is_deleted(row));
                            self.pass(session, &mut encoder, there, phase, task)?;
                            self.streamed_deletes(session, &mut encoder, window, table, (phase, task))?;
                        }
                        _ => self.pass(session, &mut encoder, rows.of_table(self.store, number), phase, task)?,
                    }
                }
            }
        }
        Ok(session.commit(advance)?)
    }

    /// One phase of one table, in blocks, so that a large transaction is never held whole.
    fn pass<E: std::borrow::Borrow<Entry>>(
        &self,
        session: &mut Session,
        encoder: &mut Encoder<'_>,
        rows: impl Iterator<Item = Result<E, Error>>,
        phase: Phase,
        task: Task<'_>,
    ) -> Result<(), WriteError> {
        let mut count = 0;
        for (read, entry) in rows.enumerate() {
            let entry = entry?;
            if read % ROWS_PER_LOOK == 0 {
                session.keep_alive()?;
            }
            let entry = entry.borrow();
            let is_deleted = entry.is_delete();
            let is_meant = match phase {
                Phase::Delete => is_deleted,
                // A row that would lose the columns that only the target has stays where it is.
                Phase::DeleteForReinsert => encoder.covers(entry)?,
                Phase::NullKeys | Phase::Verify => true,
                Phase::Upsert | Phase::InsertWithNullRefs | Phase::FillRefs | Phase::Reinsert => !is_deleted,
            };
            if !is_meant {
                continue;
            }
            encoder.push_as(entry, task)?;
            count += 1;
            if count >= self.limits.rows_max || encoder.bytes() >= self.limits.bytes_max {
                encoder.take().iter().try_for_each(|block| write_block(session, block))?;
                count = 0;
            }
        }
        encoder.take().iter().try_for_each(|block| write_block(session, block))
    }

    /// Rows of a table that this run does not apply must not be passed over.
    fn refuse_unknown(&self, window: &Window) -> Result<(), WriteError> {
        for number in self.store.table_numbers() {
            if self.tables.numbered(number).is_none()
                && let Some(row) = self.store.scan_table(window.to, number).next()
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
    ) -> Result<(), WriteError> {
        let all = || self.store.scan_table(window.to, table.number);
        let mut deleted = all().filter(|row| row.as_ref().map_or(true, Entry::is_delete));
        loop {
            let mut gone = BTreeMap::new();
            session.keep_alive()?;
            for row in deleted.by_ref().take(DELETES_HELD_MAX) {
                let row = row?;
                gone.insert(identity(table, &row)?.into_owned(), row);
            }
            if gone.is_empty() {
                return Ok(());
            }
            for (read, row) in all().enumerate() {
                let row = row?;
                if read % ROWS_PER_LOOK == 0 {
                    session.keep_alive()?;
                }
                if !row.is_delete() {
                    gone.remove(identity(table, &row)?.as_ref());
                }
            }
            self.pass(session, encoder, gone.into_values().map(Ok), phase, task)?;
        }
    }

    /// Numbers in staging and positions of the tables: parents first where rows appear, children first where they vanish.
    fn in_order(&self, phase: Phase) -> Vec<(u32, u32)> {
        let mut tables: Vec<_> = self.tables.list().iter().collect();
        tables.sort_by_key(|table| self.facts[table.position as usize].rank);
        if matches!(phase, Phase::Delete | Phase::DeleteForReinsert) {
            tables.reverse();
        }
        tables.into_iter().map(|table| (table.number, table.position)).collect()
    }
}

/// What a phase does to the rows of a table; `None` when it has nothing to do with it.
fn task(phase: Phase, facts: &TablePlan) -> Option<Task<'_>> {
    let whole = |operation, blank| Some(Task::Whole { operation, blank });
    let key = |operation, blank| Some(Task::Key { operation, blank });
    match phase {
        Phase::Reinsert if facts.is_rigid => whole(Operation::Replace, &[]),
        Phase::Upsert | Phase::Reinsert => whole(Operation::Upsert, &[]),
        Phase::InsertWithNullRefs if facts.is_in_cycle => whole(Operation::Upsert, &facts.null_refs),
        Phase::FillRefs if !facts.is_in_cycle => None,
        Phase::InsertWithNullRefs | Phase::FillRefs if facts.replaces => whole(Operation::Replace, &[]),
        Phase::InsertWithNullRefs | Phase::FillRefs => whole(Operation::Upsert, &[]),
        Phase::NullKeys if facts.null_keys.is_empty() => None,
        Phase::NullKeys => key(Operation::Update, &facts.null_keys),
        Phase::Delete | Phase::DeleteForReinsert => key(Operation::Delete, &[]),
        Phase::Verify => key(Operation::Verify, &[]),
    }
}

/// The rows of a window by table: in memory, or where they stand in staging.
enum Rows<'w> {
    Here(BTreeMap<u32, Vec<&'w Entry>>),
    Staged(&'w Window),
}

impl<'w> Rows<'w> {
    fn of(window: &'w Window) -> Self {
        match &window.rows {
            WindowRows::Streamed => Self::Staged(window),
            WindowRows::InMemory(rows) => {
                let mut tables: BTreeMap<u32, Vec<&Entry>> = BTreeMap::new();
                rows.iter().for_each(|row| tables.entry(row.table).or_default().push(row));
                Self::Here(tables)
            }
        }
    }

    fn of_table<'a>(&'a self, store: &Store, number: u32) -> Box<dyn Iterator<Item = Result<Held<'a>, Error>> + 'a> {
        match self {
            Self::Here(tables) => {
                let rows = tables.get(&number).map(Vec::as_slice).unwrap_or_default();
                Box::new(rows.iter().map(|row| Ok(Held::Lent(row))))
            }
            Self::Staged(window) => {
                Box::new(store.scan_table(window.to, number).map(|row| row.map(|row| Held::Read(Box::new(row)))))
            }
        }
    }
}

/// A row of a window, or one that was read for the moment.
enum Held<'a> {
    Lent(&'a Entry),
    Read(Box<Entry>),
}

impl std::borrow::Borrow<Entry> for Held<'_> {
    fn borrow(&self) -> &Entry {
        match self {
            Self::Lent(entry) => entry,
            Self::Read(entry) => entry,
        }
    }
}

fn is_deleted<E: std::borrow::Borrow<Entry>>(row: &Result<E, Error>) -> bool {
    row.as_ref().is_ok_and(|row| row.borrow().is_delete())
}

fn write_block(session: &mut Session, block: &Block) -> Result<(), WriteError> {
    Ok(session.write(block.table, block.operation, &block.columns, &block.rows)?)
}
