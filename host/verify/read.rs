//! Rows of the source as blocks, in the order of its primary key.
//!
//! Owns: streaming a table, and where a row's values stand on the target. Does not own: the statement (`pairs`), comparing (`work`).

use std::time::Instant;

use ebb_sdk::{RowBuffer, Timestamp, Value};
use tokio::runtime::Handle;

use super::pace::Pace;
use super::pairs::Pair;
use crate::code;
use crate::columns::{Columns, columns, push_value};
use crate::error::{Error, Result};
use crate::source::Past;

/// Rows that are compared by one statement.
const ROWS_MAX: usize = 5_000;
/// And bytes.
const BYTES_MAX: usize = 4 << 20;

/// Rows of one table, one behind the other.
pub(super) struct Chunk {
    /// Which of the tables.
    pub(super) pair: usize,
    /// Counted from 0 in the order of the rows.
    pub(super) number: u64,
    pub(super) rows: RowBuffer,
    /// The key of the last row, as the source's SQL takes it.
    pub(super) after: Vec<String>,
}

/// How a table ended.
pub(super) struct End {
    pub(super) chunks: u64,
    /// All of it was read; else the end of the run came before.
    pub(super) is_whole: bool,
}

/// Reads a table behind a key, and gives its rows away chunk by chunk. `send` says whether somebody still takes them.
pub(super) fn read(
    (runtime, past): (&Handle, &Past<'_>),
    (number, pair): (usize, &Pair),
    (at, after): (Timestamp, Option<&[String]>),
    (pace, deadline): (&Pace<'_>, Instant),
    mut send: impl FnMut(Chunk) -> bool,
) -> Result<End> {
    let mut lines = runtime.block_on(past.lines(&pair.rows(at, after)))?;
    let width = pair.positions().len();
    let mut end = End { chunks: 0, is_whole: true };
    let mut rows = RowBuffer::new(width);
    let rows_max = pace.rows_max(ROWS_MAX);
    let mut last = Vec::new();
    loop {
        let line = runtime.block_on(lines.next())?;
        if let Some(line) = &line {
            let text = line.get(0).ok_or_else(|| unreadable(pair, "it is NULL"))?;
            let columns = columns(text).map_err(|why| unreadable(pair, &why.to_string()))?;
            push(pair, &columns, &mut rows)?;
            let is_full = rows.len() >= rows_max || rows.bytes() >= BYTES_MAX;
            last = key(pair, &columns);
            if !is_full {
                continue;
            }
        }
        if !rows.is_empty() {
            pace.wait(rows.len(), Some(deadline));
            if pace.is_ending() {
                end.is_whole = false;
                return Ok(end);
            }
            let full = std::mem::replace(&mut rows, RowBuffer::new(width));
            let chunk = Chunk { pair: number, number: end.chunks, rows: full, after: std::mem::take(&mut last) };
            end.chunks += 1;
            if !send(chunk) {
                end.is_whole = false;
                return Ok(end);
            }
        }
        if line.is_none() {
            return Ok(end);
        }
    }
}

/// The row must have exactly the columns that were asked for.
fn push(pair: &Pair, row: &Columns<'_>, rows: &mut RowBuffer) -> Result<()> {
    if !row.names().eq(pair.columns.iter().map(|(name, _)| name.as_str())) {
        return Err(unreadable(pair, "it has other columns than were asked for"));
    }
    for (value, (_, place)) in row.values().zip(&pair.columns) {
        if place.is_some() {
            push_value(rows, value.get());
        }
    }
    Ok(())
}

/// As the literals of SQL that have the same value.
fn key(pair: &Pair, row: &Columns<'_>) -> Vec<String> {
    let text = |name: &str| {
        let mut value = RowBuffer::new(1);
        push_value(&mut value, row.exactly(name).map_or("null", |value| value.get()));
        value.text().to_owned()
    };
    pair.key_names().map(text).collect()
}

fn unreadable(pair: &Pair, why: &str) -> Error {
    Error::new(code::source::UNEXPECTED_ANSWER, format!("a row of {} cannot be read: {why}", pair.name))
        .hint("report this with the version of CockroachDB")
}

/// The text of a value, for messages.
pub(super) fn text(value: Value<'_>) -> Option<String> {
    value.text().map(str::to_owned)
}
