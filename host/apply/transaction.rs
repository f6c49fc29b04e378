//! One window, one target transaction: every row of it and the progress row, or nothing.
//!
//! Owns: the sequence begin, blocks in planned order, commit. Does not own: retries (`mod`), the order (`plan`).

use ebb_sdk::{Advance, Catalog, Operation};

use super::encode::{Block, Encoder};
use super::plan::Order;
use crate::error::Error;
use crate::order::{Content, Limits, Window};
use crate::plugin::Session;
use crate::receive::Tables;
use crate::stage::Store;

/// What a transaction is made from.
pub(super) struct Writer<'a> {
    pub(super) catalog: &'a Catalog,
    /// Of the catalog's tables, as `plan::ranks` gives them.
    pub(super) ranks: &'a [usize],
    pub(super) tables: &'a Tables,
    pub(super) store: &'a Store,
    pub(super) limits: Limits,
    pub(super) case_sensitive: bool,
}

/// Either the target failed, and its kind says what to do, or what was to be written is at fault, which is final.
pub(super) enum Failure {
    Target(ebb_sdk::Error),
    Final(Error),
}

impl From<ebb_sdk::Error> for Failure {
    fn from(error: ebb_sdk::Error) -> Self {
        Self::Target(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl Writer<'_> {
    /// Writes the window and moves the progress row with it. On a failure nothing of it is in the target, unless the
    /// failure was the commit's.
    pub(super) fn write(
        &self,
        session: &mut Session,
        window: &Window,
        order: Order,
        advance: &Advance,
    ) -> Result<(), Failure> {
        session.begin()?;
        match &window.content {
            Content::Whole(rows) => {
                let mut encoder = self.encoder();
                for row in rows {
                    encoder.push(row)?;
                }
                let mut blocks = encoder.take();
                self.sort(&mut blocks, order);
                blocks.iter().try_for_each(|block| write_block(session, block))?;
            }
            Content::Streamed => {
                for operation in order.operations() {
                    self.stream(session, window, operation)?;
                }
            }
        }
        session.commit(advance)?;
        Ok(())
    }

    /// Writes a window that was encoded ahead, upserts first.
    pub(super) fn write_blocks(
        &self,
        session: &mut Session,
        blocks: &mut [Block],
        advance: &Advance,
    ) -> Result<(), Failure> {
        session.begin()?;
        self.sort(blocks, Order::UpsertsFirst);
        blocks.iter().try_for_each(|block| write_block(session, block))?;
        Ok(session.commit(advance)?)
    }

    /// Reads one large source transaction table by table and writes it in blocks, so that it is never held whole.
    fn stream(&self, session: &mut Session, window: &Window, operation: Operation) -> Result<(), Failure> {
        let mut encoder = self.encoder();
        for number in self.numbers_in_order(operation) {
            let mut rows = 0;
            for entry in self.store.scan_table(window.to, number) {
                let entry = entry?;
                let is_upsert = matches!(entry.change(), crate::stage::Change::Upsert(_));
                if is_upsert != (operation == Operation::Upsert) {
                    continue;
                }
                encoder.push(&entry)?;
                rows += 1;
                if rows >= self.limits.rows_max || encoder.bytes() >= self.limits.bytes_max {
                    encoder.take().iter().try_for_each(|block| write_block(session, block))?;
                    rows = 0;
                }
            }
            encoder.take().iter().try_for_each(|block| write_block(session, block))?;
        }
        Ok(())
    }

    fn encoder(&self) -> Encoder<'_> {
        Encoder::new(self.catalog, self.tables, self.case_sensitive)
    }

    /// Table numbers of staging: parents first for upserts, children first for deletes.
    fn numbers_in_order(&self, operation: Operation) -> Vec<u32> {
        let mut tables: Vec<_> = self.tables.list().iter().collect();
        tables.sort_by_key(|table| self.ranks[table.position as usize]);
        if operation == Operation::Delete {
            tables.reverse();
        }
        tables.into_iter().map(|table| table.number).collect()
    }

    fn sort(&self, blocks: &mut [Block], order: Order) {
        let [first, _] = order.operations();
        blocks.sort_by_key(|block| {
            let rank = self.ranks[block.table as usize];
            let rank = if block.operation == Operation::Delete { self.ranks.len() - rank } else { rank };
            (block.operation != first, rank)
        });
    }
}

fn write_block(session: &mut Session, block: &Block) -> Result<(), Failure> {
    Ok(session.write(block.table, block.operation, &block.columns, &block.rows)?)
}
