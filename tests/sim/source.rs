//! What the source did: transactions at timestamps. The truth that everything else is measured by.

use std::collections::BTreeMap;

use ebb::stage::TableId;
use ebb_sdk::Timestamp;
use fastrand::Rng;

pub(crate) const TABLES: u32 = 3;
/// The one that is left out and taken in again.
pub(crate) const LEFT: u32 = 2;
const KEYS: u32 = 8;

/// The number in staging of a table, where they begin at 1.
pub(crate) fn table_id(table: u32) -> TableId {
    TableId(table + 1)
}

/// The rows of all tables, by table and key.
pub(crate) type Rows = BTreeMap<(u32, u32), u64>;

/// One changed row; no value when it was deleted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub at: Timestamp,
    pub table: u32,
    pub key: u32,
    pub value: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Source {
    /// In commit order; rows of one timestamp are one transaction.
    pub rows: Vec<Row>,
    now: Timestamp,
    values: u64,
}

impl Source {
    /// One transaction of some rows, each key once, as CockroachDB sends it.
    pub(crate) fn commit(&mut self, rng: &mut Rng) {
        // Several transactions may share a nanosecond.
        self.now = match rng.bool() {
            true => Timestamp { wall: self.now.wall + rng.i64(1..5), logical: 0 },
            false => Timestamp { wall: self.now.wall.max(1), logical: self.now.logical + 1 },
        };
        let count = if rng.u8(0..12) == 0 { rng.u32(10..24) } else { rng.u32(1..5) };
        let mut changed = BTreeMap::new();
        for _ in 0..count {
            self.values += 1;
            let value = (rng.u8(0..4) > 0).then_some(self.values);
            changed.insert((rng.u32(0..TABLES), rng.u32(0..KEYS)), value);
        }
        let at = self.now;
        self.rows.extend(changed.into_iter().map(|((table, key), value)| Row { at, table, key, value }));
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// What the source had in one table at a time.
    pub(crate) fn table_at(&self, table: u32, at: Timestamp) -> Rows {
        let mut rows = self.state_at(at);
        rows.retain(|&(of, _), _| of == table);
        rows
    }

    /// What a reader of the source saw at a time.
    pub(crate) fn state_at(&self, at: Timestamp) -> Rows {
        let mut rows = Rows::new();
        for row in self.rows.iter().take_while(|row| row.at <= at) {
            match row.value {
                Some(value) => drop(rows.insert((row.table, row.key), value)),
                None => drop(rows.remove(&(row.table, row.key))),
            }
        }
        rows
    }
}
