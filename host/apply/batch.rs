//! Source transactions that are written as one target transaction.
//!
//! Owns: how much of an interval one takes, the tables that it affects, and how it is written at first. Does not own: what
//! comes after a failure (`attempt`).

use ebb_sdk::Timestamp;

use super::Applier;
use super::counts::RowCounts;
use super::encode::Block;
use super::escalation::AffectedTables;
use super::plan::{Phase, Plan};
use super::reader::PreparedWindow;
use super::refusals::Refusals;
use crate::code;
use crate::error::{Error, Result};
use crate::order::{Cutter, Interval, Window, WindowLimits, WindowRows, last_versions};
use crate::stage::{Change, Entry};

/// See the module.
pub(super) struct Batch {
    pub(super) interval: Interval,
    /// How many source transactions it holds.
    pub(super) transactions: usize,
    /// The time of the first of them; `None` where none has rows.
    pub(super) oldest: Option<Timestamp>,
    pub(super) content: Content,
    /// What the last attempt has written.
    pub(super) counts: RowCounts,
    pub(super) affected: AffectedTables,
    pub(super) plan: Plan,
    /// With which its plans were refused, from the first on.
    pub(super) refusals: Refusals,
    /// Where its plan was when it was written last; `None` before the first phase, and for rows that were encoded ahead.
    pub(super) phase: Option<Phase>,
    /// It is not to be tried in smaller batches.
    pub(super) is_whole: bool,
}

/// In which form a batch has its rows.
pub(super) enum Content {
    /// Encoded ahead: written parents first, and in no other way.
    Encoded(Vec<Block>),
    /// As they are in staging: any plan can write them.
    Staged(Window),
}

impl Batch {
    /// How many rows are in memory; a transaction that is too large for it counts none.
    pub(super) fn rows(&self) -> usize {
        match &self.content {
            Content::Encoded(blocks) => blocks.iter().map(|block| block.rows.len()).sum(),
            Content::Staged(Window { rows: WindowRows::InMemory(rows), .. }) => rows.len(),
            Content::Staged(Window { rows: WindowRows::Streamed, .. }) => 0,
        }
    }

    pub(super) fn is_encoded(&self) -> bool {
        matches!(self.content, Content::Encoded(_))
    }

    /// How many source transactions may be separated to find the one at fault.
    pub(super) fn separable(&self) -> usize {
        if self.is_whole { 1 } else { self.transactions }
    }
}

impl Applier {
    /// What was encoded ahead, if it was and may be written parents first.
    pub(super) fn encoded(&self, prepared: PreparedWindow) -> Option<Batch> {
        let PreparedWindow { interval, transactions, oldest, blocks } = prepared;
        let blocks = blocks?;
        let affected = AffectedTables::by(&blocks);
        let plan = self.escalation().first(&affected);
        let counts = RowCounts::of(&blocks);
        let content = Content::Encoded(blocks);
        let batch = Batch {
            interval,
            transactions,
            oldest,
            content,
            counts,
            affected,
            plan,
            refusals: Refusals::default(),
            phase: None,
            is_whole: false,
        };
        (plan == Plan::UPSERTS_FIRST).then_some(batch)
    }

    /// The first batch of an interval, within the limits. The caller has made sure of the keys.
    pub(super) fn staged(&self, interval: Interval, limits: WindowLimits) -> Result<Batch> {
        let Interval { from, to } = interval;
        let window = Cutter::new(self.backlog.scan(from, to), from, to).next(limits)?;
        let mut window = window
            .ok_or_else(|| Error::new(code::defect::BROKEN_PROMISE, format!("nothing lies between {from} and {to}")))?;
        let oldest = window.oldest();
        if let WindowRows::InMemory(rows) = window.rows {
            window.rows = WindowRows::InMemory(last_versions(rows, &self.tables)?);
        }
        let affected = match &window.rows {
            WindowRows::Streamed => AffectedTables::all(self.tables.list().iter().map(|table| table.position)),
            WindowRows::InMemory(rows) => self.affected(rows),
        };
        Ok(Batch {
            interval: window.interval(),
            transactions: window.transactions,
            oldest,
            plan: self.escalation().first(&affected),
            content: Content::Staged(window),
            counts: RowCounts::default(),
            affected,
            refusals: Refusals::default(),
            phase: None,
            is_whole: false,
        })
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
}
