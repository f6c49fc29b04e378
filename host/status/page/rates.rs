//! How fast rows of each table are applied.
//!
//! Owns: what the counts of tables were in the last ten seconds. Does not own: the counts (`snapshot`).

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use serde_json::Value;

use super::facts::counted;
use crate::status::{Snapshot, json};

/// Over how many looks, one a second.
const LOOKS: usize = 11;

/// See the module.
#[derive(Default)]
pub(in crate::status) struct TableRates(VecDeque<(SystemTime, HashMap<String, u64>)>);

impl TableRates {
    pub(in crate::status) fn add(&mut self, snapshot: &Snapshot) {
        self.look(snapshot.at, &json::without_values(snapshot)["tables"]);
    }

    fn look(&mut self, at: SystemTime, tables: &Value) {
        let counts = tables.as_array().into_iter().flatten();
        let counts = counts.filter_map(|table| Some((table["table"].as_str()?.to_owned(), counted(table))));
        if self.0.len() == LOOKS {
            self.0.pop_front();
        }
        self.0.push_back((at, counts.collect()));
    }

    /// Rows per second of a table that has this count now; `None` while that cannot be told.
    pub(super) fn of(&self, table: &str, count: u64, now: SystemTime) -> Option<f64> {
        let (at, counts) = self.0.front()?;
        let seconds = now.duration_since(*at).ok()?.as_secs_f64();
        let before = counts.get(table).copied().unwrap_or(0);
        (seconds >= 1.0).then(|| count.saturating_sub(before) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let mut rates = TableRates::default();
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        assert_eq!(rates.of("t", 5, at(0)), None);
        for second in 0..60 {
            let tables = json!([{ "table": "t", "applied_upserts": second * 20, "applied_deletes": second }]);
            rates.look(at(second), &tables);
        }
        assert_eq!(rates.of("t", 59 * 21, at(59)), Some(21.0));
        assert_eq!(rates.of("new", 50, at(59)), Some(5.0));
        assert_eq!(rates.0.len(), LOOKS);
    }
}
