//! Comparing the rows of a block with those of the target, as a snapshot has them.
//!
//! Owns: the question, finding the row of each key, and what becomes of values that no column could hold. Does not own: when two
//! values are the same (`values/stored`), the snapshot.
//!
//! The rows are read, not written beside the table and compared there: a snapshot then writes nothing, needs no right but SELECT,
//! puts nothing into a binary log, and works on a replica. What a written value would become is known without the server, since
//! writing refuses what the server would alter; only shapes and vectors are given to it to be converted.
//!
//! The rows of a block come in the order of the source's key, which mostly is the target's too: they are read from the first key
//! to the last one, as the index has them, and only what was not among those is asked for key by key.
//!
//! Keys are the same letter by letter. A row whose key is equal only to the target's collation is another row: the source's is
//! missing, and the target's is one that only the target has.

use std::collections::HashMap;
use std::ops::Range;

use ebb_sdk::{Block, Compared, Difference, DifferentColumn, ErrorKind, Result, Value};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error as Failure, Params, Row, Value as Parameter};

use crate::connect::Flavour;
use crate::error::translate;
use crate::statement::{TargetColumn, beyond, in_list};
use crate::values::{Conversion, NO_MEMBER};
use crate::write::{STATEMENT_BYTES_MAX, parameter, targets};
use crate::{Session, answered, quoted};

/// How many keys a statement asks for: few numbers, so that few are prepared.
const SHAPES: [usize; 6] = [1, 4, 16, 64, 256, 960];
const KEYS_MAX: usize = SHAPES[SHAPES.len() - 1];
/// How many rows are read from one key to another.
const ROWS_MAX: usize = 4096;
/// Fewer are asked for key by key.
const ROWS_MIN: usize = 8;
/// How many shapes and vectors are converted at once.
const CONVERTED_MAX: usize = 100;
/// The column's character set lacks a letter of the key.
const CANNOT_CONVERT: u16 = 3854;
/// Of each letter these have, the server knows one of Unicode.
const WELL_KNOWN: [&str; 9] = ["utf8mb4", "utf8mb3", "utf8", "latin1", "ascii", "ucs2", "utf16", "utf16le", "utf32"];

pub(crate) async fn compare(session: &mut Session, block: &Block<'_>) -> Result<Compared> {
    let targets = targets(session, block)?;
    let bytes_max = (session.server.packet_bytes_max / 2).min(STATEMENT_BYTES_MAX);
    let comparison = Comparison::new(block, &targets, bytes_max, session.server.flavour);
    let (wait, conn) = (session.answer_wait, &mut session.conn);
    let mut outcome = Outcome { compared: Compared::default(), is_in_order: comparison.is_ordered() };
    for rows in comparison.parts() {
        answered(wait, &comparison.doing, comparison.part(conn, rows, &mut outcome)).await?;
    }
    let mut compared = outcome.compared;
    compared.missing.sort_unstable();
    compared.different.sort_unstable_by_key(|difference| difference.row);
    Ok(compared)
}

struct Comparison<'a> {
    block: &'a Block<'a>,
    targets: &'a [TargetColumn],
    /// Which of them are the key.
    key: Vec<usize>,
    /// Without its condition.
    select: String,
    bytes_max: usize,
    flavour: Flavour,
    /// Completes "cannot …" in messages.
    doing: String,
}

struct Outcome {
    compared: Compared,
    /// Most rows of the block were found between its first and its last key.
    is_in_order: bool,
}

/// What would be sent to write some rows, value by value; `None` for what cannot be.
struct Sent {
    start: usize,
    values: Vec<Option<Parameter>>,
}

impl<'a> Comparison<'a> {
    fn new(block: &'a Block<'a>, targets: &'a [TargetColumn], bytes_max: usize, flavour: Flavour) -> Self {
        let key = targets.iter().enumerate().filter(|(_, target)| target.is_key).map(|(at, _)| at).collect();
        let columns: Vec<_> = targets.iter().map(expression).collect();
        // The planner is not to read the whole table where its statistics are old.
        let select =
            format!("SELECT {} FROM {} FORCE INDEX (PRIMARY)", columns.join(", "), quoted(&block.table().name));
        let doing = format!("compare rows of {}", block.table());
        Self { block, targets, key, select, bytes_max, flavour, doing }
    }

    /// All rows, as many at once as are asked for in one statement.
    fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let (first, mut bytes) = (start, 0);
            while start < self.block.rows() && start - first < ROWS_MAX {
                bytes += (0..self.targets.len())
                    .map(|at| self.block.value(start, at).text().map_or(1, str::len))
                    .sum::<usize>();
                if bytes > self.bytes_max && start > first {
                    break;
                }
                start += 1;
            }
            (start > first).then_some(first..start)
        })
    }

    async fn part(&self, conn: &mut Conn, rows: Range<usize>, outcome: &mut Outcome) -> Result<()> {
        let mut sent = self.sent(rows.clone());
        self.convert(conn, &mut sent).await?;
        let has_key = |row: &usize| self.key.iter().all(|&at| self.sent_key(&sent, *row, at).is_some());
        let asked: Vec<usize> = rows.clone().filter(has_key).collect();
        let mut wanted: HashMap<Vec<u8>, usize> =
            asked.iter().map(|&row| (self.key_of_sent(&sent, row), row)).collect();
        if outcome.is_in_order && asked.len() >= ROWS_MIN {
            let found = self.ask_between(conn, &sent, &asked).await?;
            self.take(&sent, found, &mut wanted, outcome);
            outcome.is_in_order = wanted.len() <= asked.len() / 2;
        }
        let mut rest: Vec<usize> = wanted.values().copied().collect();
        rest.sort_unstable();
        for some in rest.chunks(KEYS_MAX) {
            let found = self.ask(conn, &sent, some).await?;
            self.take(&sent, found, &mut wanted, outcome);
        }
        outcome.compared.missing.extend(wanted.into_values().map(number));
        outcome.compared.missing.extend(rows.filter(|row| !has_key(row)).map(number));
        Ok(())
    }

    /// Compares those of the rows that were wanted. Others are equal to a key only in the target's collation, or only lie between
    /// two keys.
    fn take(&self, sent: &Sent, found: Vec<Row>, wanted: &mut HashMap<Vec<u8>, usize>, outcome: &mut Outcome) {
        for found in found.into_iter().map(Row::unwrap) {
            let Some(row) = wanted.remove(&self.key_of_found(&found)) else { continue };
            let columns = self.differences(sent, row, &found);
            if !columns.is_empty() {
                outcome.compared.different.push(Difference { row: number(row), columns });
            }
        }
    }

    fn sent(&self, rows: Range<usize>) -> Sent {
        let start = rows.start;
        let cells = rows.flat_map(|row| (0..self.targets.len()).map(move |at| (row, at)));
        let value = |(row, at): (usize, usize)| {
            let value = parameter(&self.targets[at], self.block.value(row, at)).ok()?;
            Some(match value {
                // MariaDB has no zero below zero: it stores the other one.
                Parameter::Double(number) if number == 0.0 && self.flavour == Flavour::MariaDb => {
                    Parameter::Double(0.0)
                }
                value => value,
            })
        };
        let values = cells.map(value).collect();
        Sent { start, values }
    }

    fn place(&self, sent: &Sent, row: usize, column: usize) -> usize {
        (row - sent.start) * self.targets.len() + column
    }

    fn sent_key<'s>(&self, sent: &'s Sent, row: usize, column: usize) -> Option<&'s Parameter> {
        sent.values[self.place(sent, row, column)].as_ref().filter(|value| **value != Parameter::NULL)
    }

    /// Gives the values that only the server can convert to it.
    async fn convert(&self, conn: &mut Conn, sent: &mut Sent) -> Result<()> {
        let width = self.targets.len();
        let is_wanted = |(at, value): (usize, &Option<Parameter>)| {
            let is_given = value.as_ref().is_some_and(|value| *value != Parameter::NULL);
            (is_given && is_converted(self.conversion(at % width))).then_some(at)
        };
        let wanted: Vec<usize> = sent.values.iter().enumerate().filter_map(is_wanted).collect();
        let mut open: Vec<&[usize]> = wanted.chunks(CONVERTED_MAX).collect();
        while let Some(places) = open.pop() {
            let calls: Vec<_> =
                places.iter().map(|&at| format!("HEX({})", self.conversion(at % width).placeholder())).collect();
            let given = places.iter().filter_map(|&at| sent.values[at].clone()).collect();
            let sql = format!("SELECT {}", calls.join(", "));
            let found: Result<Option<Row>, Failure> = conn.exec_first(sql, Params::Positional(given)).await;
            match found {
                Ok(found) => {
                    let found = found.map(Row::unwrap).unwrap_or_default();
                    for (&at, value) in places.iter().zip(found) {
                        sent.values[at] = Some(value).filter(|value| *value != Parameter::NULL);
                    }
                }
                Err(failure) if !is_about_values(&failure) => return Err(translate(&failure, &self.doing)),
                Err(_) if places.len() == 1 => places.iter().for_each(|&at| sent.values[at] = None),
                Err(_) => open.extend([&places[..places.len() / 2], &places[places.len() / 2..]]),
            }
        }
        Ok(())
    }

    fn conversion(&self, column: usize) -> &Conversion {
        &self.targets[column].column_type.conversion
    }

    /// Members are in the order of their numbers, and compared as texts.
    fn is_ordered(&self) -> bool {
        !self.key.iter().any(|&at| matches!(self.conversion(at), Conversion::Enum(_) | Conversion::Set(_)))
    }

    /// Rows from the first key to the last one. There may be many more of them than were asked for: the reading ends early then.
    async fn ask_between(&self, conn: &mut Conn, sent: &Sent, rows: &[usize]) -> Result<Vec<Row>> {
        let [first, .., last] = *rows else { return Ok(Vec::new()) };
        let names: Vec<_> = self.key.iter().map(|&at| quoted(&self.targets[at].column.name)).collect();
        let given: Vec<_> = self.key.iter().map(|&at| self.conversion(at).comparable()).collect();
        let (from, from_places) = beyond(&names, &given, '>', true);
        let (to, to_places) = beyond(&names, &given, '<', true);
        let value = |row: usize, place: usize| self.sent_key(sent, row, self.key[place]).cloned();
        let ends = from_places.iter().map(|&place| (first, place)).chain(to_places.iter().map(|&place| (last, place)));
        let mut given: Vec<Parameter> = ends.filter_map(|(row, place)| value(row, place)).collect();
        given.push(Parameter::UInt(rows.len() as u64 * 2));
        let sql = format!("{} WHERE {from} AND {to} ORDER BY {} LIMIT ?", self.select, names.join(", "));
        match conn.exec(sql, Params::Positional(given)).await {
            Ok(found) => Ok(found),
            Err(failure) if is_about_values(&failure) => Ok(Vec::new()),
            Err(failure) => Err(translate(&failure, &self.doing)),
        }
    }

    /// The rows of these keys, and of keys that the target takes for the same.
    async fn ask(&self, conn: &mut Conn, sent: &Sent, rows: &[usize]) -> Result<Vec<Row>> {
        let mut all = Vec::with_capacity(rows.len());
        let mut open = if rows.is_empty() { Vec::new() } else { vec![rows] };
        while let Some(some) = open.pop() {
            let found: Result<Vec<Row>, Failure> =
                conn.exec(self.question(some.len()), Params::Positional(self.keys(sent, some))).await;
            match found {
                Ok(found) => all.extend(found),
                Err(failure) if !is_about_values(&failure) => return Err(translate(&failure, &self.doing)),
                // The server cannot look for such a key: no row has it.
                Err(_) if some.len() == 1 => {}
                Err(_) => open.extend([&some[..some.len() / 2], &some[some.len() / 2..]]),
            }
        }
        Ok(all)
    }

    fn question(&self, rows: usize) -> String {
        let names: Vec<_> = self.key.iter().map(|&at| quoted(&self.targets[at].column.name)).collect();
        let row: Vec<_> = self.key.iter().map(|&at| self.conversion(at).comparable()).collect();
        format!("{} WHERE {}", self.select, in_list(&names, &row, shape(rows)))
    }

    /// The last key comes as often as the statement has room.
    fn keys(&self, sent: &Sent, rows: &[usize]) -> Vec<Parameter> {
        let last = rows.last().copied();
        let repeated = last.into_iter().cycle().take(shape(rows.len()) - rows.len());
        let rows = rows.iter().copied().chain(repeated);
        rows.flat_map(|row| self.key.iter().filter_map(move |&at| self.sent_key(sent, row, at).cloned())).collect()
    }

    fn key_of_sent(&self, sent: &Sent, row: usize) -> Vec<u8> {
        let mut key = Vec::new();
        for &at in &self.key {
            let value = self.sent_key(sent, row, at).unwrap_or(&Parameter::NULL);
            push_part(&mut key, &self.conversion(at).stored(value));
        }
        key
    }

    fn key_of_found(&self, found: &[Parameter]) -> Vec<u8> {
        let mut key = Vec::new();
        self.key.iter().for_each(|&at| push_part(&mut key, &self.conversion(at).found(&found[at])));
        key
    }

    fn differences(&self, sent: &Sent, row: usize, found: &[Parameter]) -> Vec<DifferentColumn> {
        let place = self.place(sent, row, 0);
        let sent = &sent.values[place..place + self.targets.len()];
        let difference = |(at, (sent, found)): (usize, (&Option<Parameter>, &Parameter))| {
            let conversion = self.conversion(at);
            if sent.as_ref().is_some_and(|sent| conversion.is_same(sent, found)) {
                return None;
            }
            let shown = |spelling: &[u8]| conversion.shown(spelling, DifferentColumn::CHARS_MAX);
            let expected = match sent {
                Some(Parameter::NULL) => None,
                Some(sent) => Some(shown(&conversion.stored(sent))),
                None => as_it_came(self.block.value(row, at)),
            };
            let found = (*found != Parameter::NULL).then(|| shown(&conversion.found(found)));
            let column = self.block.table().column(&self.targets[at].column.name)?;
            Some(DifferentColumn { column, found, expected })
        };
        sent.iter().zip(found).enumerate().filter_map(difference).collect()
    }
}

/// As a column is asked for, so that different values come differently.
fn expression(target: &TargetColumn) -> String {
    let name = quoted(&target.column.name);
    match (&target.column_type.conversion, target.column_type.charset.as_deref()) {
        (Conversion::Shape { .. } | Conversion::Vector(_), _) => format!("HEX({name})"),
        // What is none of the members, from a session that was not strict, looks like this one.
        (Conversion::Enum(members), _) if members.iter().any(String::is_empty) => {
            format!("IF({name} + 0 = 0, '{NO_MEMBER}', {name})")
        }
        // A letter that Unicode lacks comes as a question mark, and is none.
        (_, Some(charset)) if !WELL_KNOWN.contains(&charset) => {
            let text = format!("CONVERT({name} USING utf8mb4)");
            format!(
                "IF(LOCATE('?', {text}) > 0 AND CAST(CONVERT({text} USING {charset}) AS BINARY) <> CAST({name} AS BINARY), \
                 CONCAT({text}, ' (has a letter that Unicode lacks)'), {name})"
            )
        }
        _ => name,
    }
}

/// Only the server knows what becomes of it.
fn is_converted(conversion: &Conversion) -> bool {
    matches!(conversion, Conversion::Shape { .. } | Conversion::Vector(_))
}

fn is_about_values(failure: &Failure) -> bool {
    let Failure::Server(answer) = failure else { return false };
    answer.code == CANNOT_CONVERT || translate(failure, "").kind == ErrorKind::Refused
}

/// The smallest statement for so many rows.
fn shape(rows: usize) -> usize {
    SHAPES.into_iter().find(|shape| *shape >= rows).unwrap_or(rows)
}

/// With its length, so that no two keys of several parts are one text.
fn push_part(key: &mut Vec<u8>, part: &[u8]) {
    key.extend((part.len() as u64).to_le_bytes());
    key.extend(part);
}

fn as_it_came(value: Value<'_>) -> Option<String> {
    value.text().map(|text| text.chars().take(DifferentColumn::CHARS_MAX).collect())
}

fn number(row: usize) -> u32 {
    u32::try_from(row).expect("a block has fewer rows than a buffer has bytes")
}
