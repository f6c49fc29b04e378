//! How many rows of each table a target transaction has written and deleted.
//!
//! Owns: counting them per block or per pass, never per row. Does not own: what becomes of the counts (`status`).
//!
//! A plan may write a row in several phases; it counts once, as in the phase that has most rows of its table.

use std::collections::BTreeMap;

use ebb_sdk::{Operation, TableIndex};

use super::encode::Block;
use super::plan::Phase;

/// By table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RowCounts(BTreeMap<TableIndex, Rows>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Rows {
    upserts: u64,
    deletes: u64,
}

impl RowCounts {
    /// Of blocks that are written once.
    pub(super) fn of(blocks: &[Block]) -> Self {
        let mut counts = Self::default();
        for block in blocks {
            let rows = counts.0.entry(block.table).or_default();
            match block.operation {
                Operation::Delete => rows.deletes += block.rows.len() as u64,
                _ => rows.upserts += block.rows.len() as u64,
            }
        }
        counts
    }

    /// A phase has written so many rows of a table.
    pub(super) fn written(&mut self, table: TableIndex, phase: Phase, count: u64) {
        if count == 0 {
            return;
        }
        let rows = self.0.entry(table).or_default();
        match phase {
            Phase::Delete => rows.deletes = rows.deletes.max(count),
            Phase::Upsert | Phase::InsertWithNullRefs | Phase::FillRefs | Phase::Reinsert => {
                rows.upserts = rows.upserts.max(count);
            }
            // What vanishes in between is there again, and what is only looked at stays.
            Phase::DeleteForReinsert | Phase::NullKeys | Phase::Verify => {}
        }
    }

    /// Table, upserts, deletes.
    pub(super) fn tables(&self) -> impl Iterator<Item = (TableIndex, u64, u64)> {
        self.0.iter().map(|(&table, rows)| (table, rows.upserts, rows.deletes))
    }

    pub(super) fn rows(&self) -> u64 {
        self.0.values().map(|rows| rows.upserts + rows.deletes).sum()
    }
}

#[cfg(test)]
mod tests {
    use ebb_sdk::{RowBuffer, Value};

    use super::*;

    fn block(table: u32, operation: Operation, count: usize) -> Block {
        let mut rows = RowBuffer::new(1);
        (0..count).for_each(|_| rows.push(Value::Null));
        Block { table: TableIndex(table), operation, columns: Vec::new(), rows }
    }

    #[test]
    fn every_row_counts_once_whatever_the_plan() {
        let blocks = [
            block(1, Operation::Upsert, 2),
            block(1, Operation::Upsert, 3),
            block(0, Operation::Delete, 4),
            block(1, Operation::Delete, 1),
        ];
        let expected = [(TableIndex(0), 0, 4), (TableIndex(1), 5, 1)];
        let counts = RowCounts::of(&blocks);
        assert_eq!((counts.tables().collect::<Vec<_>>(), counts.rows()), (expected.to_vec(), 10));
        let mut of_phases = RowCounts::default();
        for (table, phase, count) in [
            (0, Phase::NullKeys, 9),
            (1, Phase::InsertWithNullRefs, 5),
            (1, Phase::FillRefs, 4),
            (1, Phase::Delete, 1),
            (0, Phase::Delete, 4),
            (1, Phase::DeleteForReinsert, 7),
            (2, Phase::Upsert, 0),
            (1, Phase::Verify, 9),
        ] {
            of_phases.written(TableIndex(table), phase, count);
        }
        assert_eq!(of_phases, counts);
    }
}
