//! How many values lost digits in columns where they may.
//!
//! Owns: counting those of the open transaction apart from committed ones. Does not own: which values they are (`values`).
//! Pure.

use std::collections::BTreeMap;

use ebb_sdk::{Rounded, Table};

/// By table and column.
type Counts = BTreeMap<(String, String), u64>;

#[derive(Debug, Default)]
pub(crate) struct Rounding {
    open: Counts,
    committed: Counts,
}

impl Rounding {
    /// A transaction begins, or has ended without effect.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
    }

    pub(crate) fn add(&mut self, table: &Table, column: &str, values: u64) {
        if values > 0 {
            *self.open.entry((table.to_string(), column.to_owned())).or_default() += values;
        }
    }

    pub(crate) fn committed(&mut self) {
        for (column, values) in std::mem::take(&mut self.open) {
            *self.committed.entry(column).or_default() += values;
        }
    }

    /// What was committed since the last call.
    pub(crate) fn take(&mut self) -> Vec<Rounded> {
        let counts = std::mem::take(&mut self.committed);
        counts.into_iter().map(|((table, column), values)| Rounded { table, column, values }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_committed_counts_and_once() {
        let table = Table { namespace: vec!["d".into()], name: "t".into(), ..Table::default() };
        let mut rounding = Rounding::default();
        rounding.add(&table, "a", 2);
        rounding.forget();
        assert_eq!(rounding.take(), []);
        rounding.add(&table, "a", 1);
        rounding.add(&table, "b", 0);
        assert_eq!(rounding.take(), []);
        rounding.committed();
        rounding.add(&table, "a", 4);
        rounding.committed();
        assert_eq!(rounding.take(), [Rounded { table: "d.t".into(), column: "a".into(), values: 5 }]);
        assert_eq!(rounding.take(), []);
    }
}
