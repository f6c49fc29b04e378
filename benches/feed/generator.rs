//! Makes source transactions and the bodies that a changefeed would send for them.
//!
//! Owns: the table, the mix of changes, batching by key. Does not own: sending.

use std::collections::HashMap;
use std::fmt::Write;

use fastrand::Rng;

use crate::Bench;

pub(crate) const COLUMNS: [(&str, &str); 9] = [
    ("id", "int8"),
    ("customer", "text"),
    ("city", "text"),
    ("status", "text"),
    ("amount", "numeric"),
    ("quantity", "int4"),
    ("note", "text"),
    ("created", "timestamptz"),
    ("updated", "timestamptz"),
];
/// Rows between two resolved timestamps.
const RESOLVED_ROWS: usize = 5_000;
const BATCH_ROWS_MAX: usize = 1_000;
pub(crate) const WALL: i64 = 1_700_000_000_000_000_000;

/// One changed row: its values as texts, nothing when it was deleted.
pub(crate) struct Change {
    pub id: u64,
    pub values: Option<[String; 9]>,
}

pub(crate) struct Transaction {
    pub wall: i64,
    pub changes: Vec<Change>,
}

/// What the source did.
pub(crate) struct History {
    pub transactions: Vec<Transaction>,
    rows: usize,
}

/// What one connection sends, in order.
pub(crate) struct Bodies {
    /// By connection, then by epoch: what lies between two resolved timestamps.
    pub connections: Vec<Vec<Vec<Vec<u8>>>>,
    pub resolved: Vec<String>,
    pub path: String,
}

impl History {
    /// Inserts, updates and deletes of a growing table; each key once in a transaction, as CockroachDB sends it.
    pub(crate) fn generate(rows: usize, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut history = Self { transactions: Vec::new(), rows: 0 };
        let mut next = 1_u64;
        while history.rows < rows {
            // As many transactions of one row as of many: the exponent is what is uniform.
            let count = (10_f64.powf(rng.f64() * 3.0) as usize).clamp(1, rows - history.rows);
            let wall = WALL + history.transactions.len() as i64 * 1_000_000;
            let mut changes: HashMap<u64, Change> = HashMap::new();
            while changes.len() < count {
                let id = match rng.u8(0..100) {
                    0..70 => {
                        next += 1;
                        next - 1
                    }
                    _ => rng.u64(1..next.max(2)),
                };
                let is_deleted = rng.u8(0..100) < 5;
                changes.insert(id, Change { id, values: (!is_deleted).then(|| values(id, &mut rng)) });
            }
            history.rows += changes.len();
            history.transactions.push(Transaction { wall, changes: changes.into_values().collect() });
        }
        history
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The last resolved timestamp.
    pub(crate) fn end(&self) -> i64 {
        self.transactions.last().expect("there is one").wall
    }

    /// Spread over connections by key, so that versions of one key stay in order.
    pub(crate) fn bodies(&self, bench: &Bench, database: &str) -> Bodies {
        let mut bodies = Bodies {
            connections: (0..bench.connections).map(|_| Vec::new()).collect(),
            resolved: Vec::new(),
            path: bench.server.path(database),
        };
        let mut open: Vec<Vec<Message<'_>>> = (0..bench.connections).map(|_| Vec::new()).collect();
        let mut rows = 0;
        for (at, transaction) in self.transactions.iter().enumerate() {
            for change in &transaction.changes {
                let connection = change.id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                open[connection as usize % bench.connections].push((transaction.wall, change));
            }
            rows += transaction.changes.len();
            if rows >= RESOLVED_ROWS || at + 1 == self.transactions.len() {
                rows = 0;
                for (messages, epochs) in open.iter_mut().zip(&mut bodies.connections) {
                    epochs.push(messages.chunks(BATCH_ROWS_MAX).map(body).collect());
                    messages.clear();
                }
                bodies.resolved.push(resolved(transaction.wall));
            }
        }
        bodies
    }
}

type Message<'a> = (i64, &'a Change);

pub(crate) fn resolved(wall: i64) -> String {
    format!("{{\"resolved\":\"{wall}.0000000000\"}}")
}

/// In the compact spelling of CockroachDB's webhook sink, columns in the order of their names' bytes.
pub(crate) fn body(messages: &[Message<'_>]) -> Vec<u8> {
    let mut text = String::with_capacity(messages.len() * 420 + 64);
    text.push_str("{\"payload\":[");
    for (at, (wall, change)) in messages.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        match &change.values {
            None => text.push_str("{\"after\":null"),
            Some([id, customer, city, status, amount, quantity, note, created, updated]) => {
                let _ = write!(
                    text,
                    "{{\"after\":{{\"amount\":{amount},\"city\":\"{city}\",\"created\":\"{created}\",\"customer\":\"{customer}\",\
                     \"id\":{id},\"note\":\"{note}\",\"quantity\":{quantity},\"status\":\"{status}\",\"updated\":\"{updated}\"}}"
                );
            }
        }
        let _ = write!(text, ",\"key\":[{}],\"topic\":\"t\",\"updated\":\"{wall}.0000000000\"}}", change.id);
    }
    let _ = write!(text, "],\"length\":{}}}", messages.len());
    text.into_bytes()
}

pub(crate) const BATCH_ROWS: usize = 1_000;

/// Source transactions of [`BATCH_ROWS`] rows each, which can be made one by one and again: of each ten the last two delete
/// and change the rows of two before them.
#[derive(Clone, Copy)]
pub(crate) struct Batches {
    pub count: usize,
}

impl Batches {
    pub(crate) fn wall(self, batch: usize) -> i64 {
        WALL + batch as i64 * 1_000_000
    }

    pub(crate) fn resolved(self, batch: usize) -> String {
        resolved(self.wall(batch))
    }

    pub(crate) fn body(self, batch: usize) -> Vec<u8> {
        let rows = self.changes(batch);
        body(&rows.iter().map(|change| (self.wall(batch), change)).collect::<Vec<_>>())
    }

    fn changes(self, batch: usize) -> Vec<Change> {
        let (of, is_deleted) = match batch % 10 {
            8 => (batch - 5, true),
            9 => (batch - 5, false),
            _ => (batch, false),
        };
        let mut rng = Rng::with_seed(batch as u64);
        let ids = (of * BATCH_ROWS) as u64..((of + 1) * BATCH_ROWS) as u64;
        ids.map(|id| Change { id, values: (!is_deleted).then(|| values(id, &mut rng)) }).collect()
    }

    /// The batch whose changes to the rows of this one are the last; `None` when it has no rows of its own.
    fn last_of(self, batch: usize) -> Option<usize> {
        match batch % 10 {
            8 | 9 => None,
            3 | 4 if batch + 5 < self.count => Some(batch + 5),
            _ => Some(batch),
        }
    }

    /// Every row that must be there is, and every hundredth batch is compared value by value.
    pub(crate) fn compare(self, bench: &Bench, database: &str) {
        let is_there = |batch: &usize| self.last_of(*batch).is_some_and(|last| last % 10 != 8);
        let count = (0..self.count).filter(is_there).count() * BATCH_ROWS;
        assert_eq!(bench.server.sql(database, "SELECT count(*) FROM t"), count.to_string(), "rows are missing");
        let every = (self.count / 100).max(1) | 1;
        for batch in (0..self.count).step_by(every) {
            let Some(last) = self.last_of(batch) else { continue };
            let expected: Vec<String> =
                self.changes(last).into_iter().filter_map(|change| Some(change.values?.join("|"))).collect();
            let range = format!("{} AND {}", batch * BATCH_ROWS, (batch + 1) * BATCH_ROWS - 1);
            let found =
                bench.server.sql(database, &format!("SELECT {SHOWN} FROM t WHERE id BETWEEN {range} ORDER BY id"));
            assert!(found.lines().eq(expected.iter().map(String::as_str)), "batch {batch} is not what was sent");
        }
    }
}

/// The columns as [`values`] writes them.
const SHOWN: &str = "concat_ws('|', id, customer, city, status, amount, quantity, note, \
     to_char(created AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
     to_char(updated AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))";

/// About 300 bytes of JSON.
pub(crate) fn values(id: u64, rng: &mut Rng) -> [String; 9] {
    let word = |rng: &mut Rng, length: usize| -> String { (0..length).map(|_| rng.lowercase()).collect() };
    let time = |rng: &mut Rng| {
        format!(
            "2026-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
            rng.u8(1..13),
            rng.u8(1..29),
            rng.u8(0..24),
            rng.u8(0..60),
            rng.u8(0..60),
            rng.u32(0..1_000_000)
        )
    };
    [
        id.to_string(),
        format!("customer {}", word(rng, 12)),
        word(rng, 9),
        ["open", "paid", "shipped", "returned"][rng.usize(0..4)].to_owned(),
        format!("{}.{:02}", rng.u32(1..1_000_000), rng.u8(0..100)),
        rng.u32(1..1000).to_string(),
        word(rng, 70),
        time(rng),
        time(rng),
    ]
}
