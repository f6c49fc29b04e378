//! Cuts staged rows into windows: what one target transaction will bring from one source state to a later one.
//!
//! Owns: the rule that a source transaction is never split over two windows, and that of several versions of a row only
//! the last is kept. Does no I/O: it reads an iterator of rows in commit order.
//!
//! Invariant: `from < to <= resolved`, and the target equals the source at `to` once the window is applied.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ebb_sdk::Timestamp;

use crate::code;
use crate::error::{Error, Result};
use crate::row::{self, StagedRow, Unread};
use crate::stage::Entry;
use crate::tables::{Table, Tables};

/// Completes the message of a row that cannot be read.
const NO_COLUMNS: &str = "and its columns are not JSON";

/// How much a window may hold, unless a single source transaction holds more.
#[derive(Clone, Copy, Debug)]
pub struct WindowLimits {
    pub rows_max: usize,
    pub bytes_max: usize,
    pub transactions_max: usize,
}

impl WindowLimits {
    /// The same, and every source transaction becomes a window of its own.
    pub fn one_transaction(self) -> Self {
        Self { transactions_max: 1, ..self }
    }
}

/// The source transactions of `(from, to]`.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// The changes of `(from, to]`.
#[derive(Debug)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
    pub rows: WindowRows,
    /// How many source transactions it holds.
    pub transactions: usize,
}

impl Window {
    pub fn interval(&self) -> Interval {
        Interval { from: self.from, to: self.to }
    }

    /// The time of its first source transaction, as long as the rows are in commit order; `None` where it has none.
    pub fn oldest(&self) -> Option<Timestamp> {
        match &self.rows {
            WindowRows::InMemory(rows) => rows.first().map(|row| row.timestamp),
            WindowRows::Streamed => Some(self.to),
        }
    }
}

/// Where the rows of a window are.
#[derive(Debug)]
pub enum WindowRows {
    /// Every row, in commit order; [`last_versions`] leaves the one of each key that counts.
    InMemory(Vec<Entry>),
    /// One source transaction, at `to`, that is larger than the limits: its rows stay in staging and are read as they
    /// are written.
    Streamed,
}

/// Cuts windows from rows in commit order, one after the other.
pub struct Cutter<I: Iterator<Item = Result<Entry>>> {
    rows: I,
    /// Rows that were read, and belong to no window yet: the start of one source transaction.
    carried: Vec<Entry>,
    from: Timestamp,
    resolved: Timestamp,
}

impl<I: Iterator<Item = Result<Entry>>> Cutter<I> {
    /// All rows lie in `(from, resolved]`.
    pub fn new(rows: I, from: Timestamp, resolved: Timestamp) -> Self {
        Self { rows, carried: Vec::new(), from, resolved }
    }

    /// Where the next window begins.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// The next window, up to the resolved timestamp when every row fits; `None` once that is reached. Behind a window
    /// that is streamed the rows have to be read anew.
    pub fn next(&mut self, limits: WindowLimits) -> Result<Option<Window>> {
        if self.from >= self.resolved {
            return Ok(None);
        }
        let mut window = WindowBuilder::default();
        let carried = std::mem::take(&mut self.carried);
        let mut rows = carried.into_iter().map(Ok).chain(&mut self.rows);
        while let Some(row) = rows.next().transpose()? {
            if window.rows.last().is_some_and(|last| last.timestamp != row.timestamp) {
                window.complete_transaction();
            }
            let is_full = window.rows.len() >= limits.rows_max
                || window.bytes + row.bytes() > limits.bytes_max
                || window.transactions >= limits.transactions_max;
            if is_full && window.complete > 0 {
                let mut carried = window.rows.split_off(window.complete);
                carried.push(row);
                // What was carried into this window was read before this row, so none of it is left.
                self.carried = carried;
                return Ok(Some(self.finish(window.to, window.rows, window.transactions)));
            }
            if is_full && !window.rows.is_empty() {
                let (from, to) = (std::mem::replace(&mut self.from, row.timestamp), row.timestamp);
                return Ok(Some(Window { from, to, rows: WindowRows::Streamed, transactions: 1 }));
            }
            window.bytes += row.bytes();
            window.rows.push(row);
        }
        window.complete_transaction();
        // A window that took every row reaches up to the resolved timestamp.
        Ok(Some(self.finish(self.resolved, window.rows, window.transactions)))
    }

    fn finish(&mut self, to: Timestamp, rows: Vec<Entry>, transactions: usize) -> Window {
        let from = std::mem::replace(&mut self.from, to);
        Window { from, to, rows: WindowRows::InMemory(rows), transactions }
    }
}

#[derive(Default)]
struct WindowBuilder {
    rows: Vec<Entry>,
    bytes: usize,
    transactions: usize,
    /// Rows of whole transactions; behind them stand those of the one in hand.
    complete: usize,
    /// The timestamp of the last whole transaction.
    to: Timestamp,
}

impl WindowBuilder {
    fn complete_transaction(&mut self) {
        if let Some(last) = self.rows.last().filter(|_| self.rows.len() > self.complete) {
            self.to = last.timestamp;
            self.complete = self.rows.len();
            self.transactions += 1;
        }
    }
}

/// The last version of every row of the target, sorted by table and key. Two rows of the source may be one row there, one
/// after the other: where both change at one timestamp, as when a row moves to another region, the one that is there
/// afterwards wins over the one that is gone.
pub fn last_versions(rows: Vec<Entry>, tables: &Tables) -> Result<Vec<Entry>> {
    let mut is_identity = BTreeMap::new();
    for row in &rows {
        is_identity
            .entry(row.table)
            .or_insert_with(|| tables.numbered(row.table).is_none_or(|table| table.key.is_identity()));
    }
    let (plain, other): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| is_identity[&row.table]);
    let mut kept = last_of_keys(plain, tables)?;
    if other.is_empty() {
        return Ok(kept);
    }
    let mut identified = Vec::with_capacity(other.len());
    for row in other {
        let Some(table) = tables.numbered(row.table) else { continue };
        let identity = identity(table, &row)?.into_owned();
        identified.push((row.table, identity, row));
    }
    identified.sort_by(|(a_table, a_identity, a), (b_table, b_identity, b)| {
        let (a, b) = ((a.timestamp, !a.is_delete()), (b.timestamp, !b.is_delete()));
        (a_table, a_identity).cmp(&(b_table, b_identity)).then(a.cmp(&b))
    });
    for pair in identified.windows(2).filter(|pair| (pair[0].0, &pair[0].1) == (pair[1].0, &pair[1].1)) {
        check_dropped(&pair[0].2, tables)?;
        check_same_row(&pair[0].2, &pair[1].2, tables)?;
    }
    identified.reverse();
    identified.dedup_by(|later, kept| (later.0, &later.1) == (kept.0, &kept.1));
    kept.extend(identified.into_iter().rev().map(|(_, _, row)| row));
    kept.sort_by_key(|row| row.table);
    Ok(kept)
}

/// The text by which the row of the target is known.
pub fn identity<'e>(table: &Table, row: &'e Entry) -> Result<Cow<'e, str>> {
    let known = match table.key.needs_row() {
        false => table.key.identity(row.timestamp, row.key()),
        true => {
            let columns = row::columns_of(row).map_err(|_| unreadable(row, &NO_COLUMNS))?;
            table.key.identity_of_row(&columns).map(Cow::Owned)
        }
    };
    known.map_err(|why| unreadable(row, &why))
}

fn unreadable(row: &Entry, why: &dyn std::fmt::Display) -> Error {
    Error::new(code::row::KEY_UNKNOWN, format!("a row came at {} with the key {}, {why}", row.timestamp, row.shown_key()))
        .hint(
            "give --sourceConn, so that the order of the source's key can be read, or create the changefeed WITH diff; both \
             sides must have the same primary key, in any order",
        )
        .field("key", row.short_key())
}

/// A version that is left out was whole too, and must agree with its key: else it may be another row's.
fn check_dropped(dropped: &Entry, tables: &Tables) -> Result<()> {
    let Some(table) = tables.numbered(dropped.table) else { return Ok(()) };
    if dropped.is_delete() || table.key.is_single() {
        return Ok(());
    }
    match StagedRow::read(dropped, &table.key) {
        Ok(_) => Ok(()),
        Err(Unread::Flawed(_)) => Err(unreadable(dropped, &NO_COLUMNS)),
        Err(Unread::Key(why)) => Err(unreadable(dropped, &why)),
    }
}

/// One row of the target is one row of the source at a time: another one may take its place only once it is gone.
fn check_same_row(earlier: &Entry, later: &Entry, tables: &Tables) -> Result<()> {
    let Some(table) = tables.numbered(later.table) else { return Ok(()) };
    let is_other = !earlier.is_delete()
        && !later.is_delete()
        && earlier.key() != later.key()
        && table.key.is_known()
        && table.key.is_one_shape(earlier.timestamp, later.timestamp);
    match is_other {
        false => Ok(()),
        true => Err(Error::new(
            code::row::SAME_KEY,
            format!(
                "two rows of the source, {} and {}, are one row of the target",
                earlier.shown_key(),
                later.shown_key()
            ),
        )
        .hint("the target's key is not unique at the source any more: give both sides the same primary key")
        .field("key", later.short_key())),
    }
}

/// The sort is stable, so versions of one key stay in commit order and the last one wins.
fn last_of_keys(mut rows: Vec<Entry>, tables: &Tables) -> Result<Vec<Entry>> {
    rows.sort_by(|a, b| (a.table, a.key_bytes()).cmp(&(b.table, b.key_bytes())));
    let is_same = |a: &Entry, b: &Entry| (a.table, a.key_bytes()) == (b.table, b.key_bytes());
    for pair in rows.windows(2).filter(|pair| is_same(&pair[0], &pair[1])) {
        check_dropped(&pair[0], tables)?;
    }
    // `dedup_by` keeps the first of equal neighbours, so the order is turned around for it.
    rows.reverse();
    rows.dedup_by(|later, kept| is_same(later, kept));
    rows.reverse();
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::{Change, RowBatch, TableId};
    use crate::tables::{KeyShape, SourceKey};
    use std::sync::Arc;

    const NO_LIMITS: WindowLimits =
        WindowLimits { rows_max: 1000, bytes_max: usize::MAX, transactions_max: usize::MAX };

    /// Rows written `wall:table:key=value`, a delete without value.
    fn staged(rows: &[&str]) -> Vec<Result<Entry>> {
        let mut batch = RowBatch::default();
        for row in rows {
            let (place, value) = row.split_once('=').unwrap_or((row, ""));
            let parts: Vec<_> = place.split(':').collect();
            let at = Timestamp { wall: parts[0].parse().unwrap(), logical: 0 };
            let change = if value.is_empty() { Change::Delete(None) } else { Change::Upsert(value) };
            batch.push(at, TableId(parts[1].parse().unwrap()), parts[2], change);
        }
        batch.entries()
    }

    /// Table 3 has the source's key (region, id) and the target's key (id).
    fn tables() -> Tables {
        let mut tables = Tables::default();
        for number in 1..=3 {
            let columns = if number == 3 { vec!["region".to_owned(), "id".to_owned()] } else { vec!["id".to_owned()] };
            let shapes = vec![KeyShape { since: Timestamp::ZERO, columns, families: Vec::new() }];
            let key = Arc::new(SourceKey::new(vec!["id".into()], false, shapes));
            tables.add(&[], &[], false, Table { number: TableId(number), key, ..Table::default() });
        }
        tables
    }

    fn shown(window: Window) -> String {
        let rows = match window.rows {
            WindowRows::Streamed => "streamed".into(),
            WindowRows::InMemory(rows) => last_versions(rows, &tables())
                .unwrap()
                .iter()
                .map(|row| match row.change() {
                    Change::Upsert(json) => format!("{}:{}={json}", row.table, row.key()),
                    Change::Delete(_) => format!("{}:{}", row.table, row.key()),
                })
                .collect::<Vec<_>>()
                .join(" "),
        };
        format!("{}-{} {} {rows}", window.from.wall, window.to.wall, window.transactions)
    }

    fn check(rows: &[&str], limits: WindowLimits, expected: &str) {
        let (from, resolved) = (Timestamp { wall: 1, logical: 0 }, Timestamp { wall: 99, logical: 0 });
        let window = Cutter::new(staged(rows).into_iter(), from, resolved).next(limits).unwrap().unwrap();
        assert_eq!(shown(window).trim_end(), expected);
    }

    #[test]
    fn the_last_version_of_a_key_wins() {
        check(&["5:1:a=1", "6:1:a=2", "6:1:b=1", "7:1:a", "8:2:a=9"], NO_LIMITS, "1-99 4 1:a 1:b=1 2:a=9");
        check(&["5:1:a", "6:1:a=2"], NO_LIMITS, "1-99 2 1:a=2");
        check(&[], NO_LIMITS, "1-99 0");
    }

    #[test]
    fn a_row_that_moves_to_another_region_stays() {
        // The delete of the old key and the upsert of the new one come in the order of their keys.
        check(&["5:3:[\"eu\",7]", "5:3:[\"us\",7]={}"], NO_LIMITS, "1-99 1 3:[\"us\",7]={}");
        check(&["5:3:[\"eu\",7]={}", "5:3:[\"us\",7]"], NO_LIMITS, "1-99 1 3:[\"eu\",7]={}");
        check(
            &["5:3:[\"eu\",7]={}", "6:3:[\"us\",7]={}", "6:3:[\"eu\",7]", "7:3:[\"us\",7]"],
            NO_LIMITS,
            "1-99 3 3:[\"us\",7]",
        );
        check(
            &["5:3:[\"eu\",7]={}", "5:3:[\"eu\",8]={}", "5:1:[1]={}", "6:2:[1]={}"],
            NO_LIMITS,
            "1-99 2 1:[1]={} 2:[1]={} 3:[\"eu\",7]={} 3:[\"eu\",8]={}",
        );
    }

    #[test]
    fn a_window_is_cut_between_transactions_only() {
        let limits = |rows_max| WindowLimits { rows_max, bytes_max: usize::MAX, transactions_max: usize::MAX };
        let rows = ["5:1:a=1", "5:1:b=1", "6:1:a=2", "6:1:b=2", "7:1:c=1"];
        check(&rows, limits(5), "1-99 3 1:a=2 1:b=2 1:c=1");
        check(&rows, limits(4), "1-6 2 1:a=2 1:b=2");
        check(&rows, limits(3), "1-5 1 1:a=1 1:b=1");
        check(&rows, limits(2), "1-5 1 1:a=1 1:b=1");
        check(&rows, limits(1), "1-5 1 streamed");
        check(&rows[4..], limits(1), "1-99 1 1:c=1");
        check(&["5:1:a=1", "6:1:b=1"], limits(1), "1-5 1 1:a=1");
        check(&rows, NO_LIMITS.one_transaction(), "1-5 1 1:a=1 1:b=1");
        check(&rows[2..], NO_LIMITS.one_transaction(), "1-6 1 1:a=2 1:b=2");
        check(&rows, limits(1).one_transaction(), "1-5 1 streamed");
    }

    #[test]
    fn windows_follow_each_other_without_a_gap() {
        let rows = ["5:1:a=1", "5:1:b=1", "6:1:a=2", "6:1:b=2", "7:1:c=1", "8:1:d=1", "8:1:e=1", "8:1:f=1", "9:1:g=1"];
        let (from, resolved) = (Timestamp { wall: 1, logical: 0 }, Timestamp { wall: 99, logical: 0 });
        let limits = WindowLimits { rows_max: 3, bytes_max: usize::MAX, transactions_max: usize::MAX };
        let mut cutter = Cutter::new(staged(&rows).into_iter(), from, resolved);
        let windows: Vec<_> = std::iter::from_fn(|| cutter.next(limits).unwrap()).map(shown).collect();
        let expected = ["1-5 1 1:a=1 1:b=1", "5-7 2 1:a=2 1:b=2 1:c=1", "7-8 1 1:d=1 1:e=1 1:f=1", "8-99 1 1:g=1"];
        assert_eq!(windows, expected);
    }

    #[test]
    fn bytes_limit_a_window_too() {
        let limits = WindowLimits { bytes_max: 60, ..NO_LIMITS };
        check(&["5:1:a=1", "6:1:b=1", "7:1:c=1"], limits, "1-6 2 1:a=1 1:b=1");
        check(&["5:1:a=1", "5:1:b=1", "5:1:c=1"], limits, "1-5 1 streamed");
    }
}
