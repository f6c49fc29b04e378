//! The changefeed: every row at least once, each key's rows first in order, repeats at any time, resolved timestamps that
//! repeat and go back. Row by row it knows what was answered with 200.

use ebb::stage::{Change, RowBatch};
use ebb_sdk::Timestamp;
use fastrand::Rng;

use crate::source::{LEFT, Row, Source, table_id};

#[derive(Default)]
pub(crate) struct Feed {
    /// By position in the source's history.
    pub acknowledged: Vec<bool>,
    /// The latest resolved timestamp that was answered for.
    pub resolved: Timestamp,
    /// The cursor: no row up to here is sent.
    since: Timestamp,
    /// One table is left out.
    leaves_out: bool,
}

impl Feed {
    /// A new changefeed in the place of the one before, whose folder is gone.
    pub(crate) fn begin_anew(&mut self, source: &Source, cursor: Timestamp) {
        self.resolved = Timestamp::ZERO;
        self.since = cursor;
        self.acknowledged.clear();
        self.grow(source);
    }

    /// A new changefeed for a folder that is complete up to the cursor.
    pub(crate) fn go_on(&mut self, source: &Source, cursor: Timestamp, leaves_out: bool) {
        self.leaves_out = leaves_out;
        self.begin_anew(source, cursor);
        self.resolved = cursor;
    }

    fn grow(&mut self, source: &Source) {
        let known = self.acknowledged.len();
        let is_not_sent = |row: &Row| row.at <= self.since || (self.leaves_out && row.table == LEFT);
        self.acknowledged.extend(source.rows[known..].iter().map(is_not_sent));
    }

    /// Whether everything was sent.
    pub(crate) fn is_done(&mut self, source: &Source) -> bool {
        self.grow(source);
        !self.acknowledged.contains(&false)
    }

    /// Positions of rows for one request: new ones, and repeats among them.
    pub(crate) fn batch(&mut self, source: &Source, rng: &mut Rng) -> Vec<usize> {
        self.grow(source);
        let mut batch = Vec::new();
        for _ in 0..rng.usize(1..8) {
            let position = match rng.u8(0..4) {
                0 if !source.rows.is_empty() => {
                    let was_sent = |&at: &usize| {
                        let is_left = self.leaves_out && source.rows[at].table == LEFT;
                        self.acknowledged[at] && source.rows[at].at > self.since && !is_left
                    };
                    Some(rng.usize(0..source.rows.len())).filter(was_sent)
                }
                _ => self.next_new(source, rng, &batch),
            };
            batch.extend(position);
        }
        batch
    }

    /// A row that was not acknowledged yet, and no other of its key before it.
    fn next_new(&self, source: &Source, rng: &mut Rng, batch: &[usize]) -> Option<usize> {
        let is_open = |&at: &usize| !self.acknowledged[at] && !batch.contains(&at);
        let open: Vec<_> = (0..source.rows.len()).filter(is_open).take(12).collect();
        let chosen = *open.get(rng.usize(0..open.len().max(1)))?;
        let same = |&&at: &&usize| {
            let (row, other) = (&source.rows[at], &source.rows[chosen]);
            (row.table, row.key) == (other.table, other.key)
        };
        open.iter().find(same).copied()
    }

    /// A resolved timestamp that CockroachDB may send now: everything up to it was acknowledged.
    pub(crate) fn resolved(&mut self, source: &Source, rng: &mut Rng) -> Timestamp {
        self.grow(source);
        let open = (0..source.rows.len()).find(|&at| !self.acknowledged[at]);
        let below = open.map_or(source.now(), |at| {
            let before = source.rows[..at].iter().rev().find(|row| row.at < source.rows[at].at);
            before.map_or(Timestamp::ZERO, |row| row.at)
        });
        if rng.u8(0..5) > 0 || source.rows.is_empty() {
            return below;
        }
        // It repeats an old one, as after a restart.
        source.rows[rng.usize(0..source.rows.len())].at.min(below)
    }
}

/// Rows as a request brings them.
pub(crate) fn encode<'a>(rows: impl Iterator<Item = &'a Row>) -> RowBatch {
    let mut batch = RowBatch::default();
    for row in rows {
        let json = row.value.map(|value| format!("{{\"id\": {}, \"v\": {value}}}", row.key));
        let change = json.as_deref().map_or(Change::Delete(None), Change::Upsert);
        batch.push(row.at, table_id(row.table), &format!("[{}]", row.key), change);
    }
    batch
}
