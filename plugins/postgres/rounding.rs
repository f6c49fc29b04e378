//! How many values lost digits where they may.
//!
//! Owns: the counts of the open transaction and of those that were committed. Does not own: which values do (`values`).

use std::collections::BTreeMap;

use ebb_sdk::{Block, Rounded};

use crate::statement::Target;

/// Table and column.
type Place = (String, String);

#[derive(Debug, Default)]
pub(crate) struct Rounding {
    open: BTreeMap<Place, u64>,
    committed: BTreeMap<Place, u64>,
}

impl Rounding {
    /// Counts what a block has lost, by column.
    pub(crate) fn add(&mut self, block: &Block<'_>, targets: &[Target], rounded: &[u64]) {
        for (target, values) in targets.iter().zip(rounded).filter(|(_, values)| **values > 0) {
            *self.open.entry((block.table().to_string(), target.column.name.clone())).or_default() += values;
        }
    }

    /// The open transaction came to nothing.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
    }

    /// The open transaction was committed.
    pub(crate) fn keep(&mut self) {
        for (place, values) in std::mem::take(&mut self.open) {
            *self.committed.entry(place).or_default() += values;
        }
    }

    /// What was committed since the last call.
    pub(crate) fn take(&mut self) -> Vec<Rounded> {
        let committed = std::mem::take(&mut self.committed).into_iter();
        committed.map(|((table, column), values)| Rounded { table, column, values }).collect()
    }
}
