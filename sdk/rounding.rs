//! Counts of values that lost digits where they may.
//!
//! Owns: keeping the counts of the open transaction apart from those that were committed. Does not own: which values lose
//! digits, and finding out (the plugin's).

use std::collections::BTreeMap;

use crate::{Rounded, Table};

/// By table and column.
type Counts = BTreeMap<(String, String), u64>;

/// What a session needs to answer [`Session::rounded`](crate::Session::rounded): only values of committed transactions
/// count, and each of them once.
///
/// ```
/// use ebb_sdk::{Rounding, Table};
/// let table = Table { namespace: vec!["public".into()], name: "orders".into(), ..Table::default() };
/// let mut rounding = Rounding::default();
/// rounding.add(&table, "price", 2);
/// rounding.forget(); // rolled back
/// rounding.add(&table, "price", 1);
/// rounding.commit();
/// assert_eq!(rounding.take()[0].values, 1);
/// ```
#[derive(Debug, Default)]
pub struct Rounding {
    open: Counts,
    committed: Counts,
}

impl Rounding {
    /// A transaction begins, or has ended without effect.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    /// The open transaction has written this many values with fewer digits than they had.
    pub fn add(&mut self, table: &Table, column: &str, values: u64) {
        if values > 0 {
            *self.open.entry((table.to_string(), column.to_owned())).or_default() += values;
        }
    }

    /// The open transaction was committed.
    pub fn commit(&mut self) {
        for (column, values) in std::mem::take(&mut self.open) {
            *self.committed.entry(column).or_default() += values;
        }
    }

    /// What was committed since the last call.
    pub fn take(&mut self) -> Vec<Rounded> {
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
        rounding.commit();
        rounding.add(&table, "a", 4);
        rounding.commit();
        assert_eq!(rounding.take(), [Rounded { table: "d.t".into(), column: "a".into(), values: 5 }]);
        assert_eq!(rounding.take(), []);
    }
}
