//! A change as it crosses to a plugin: timestamps, typed text values, and blocks of rows.
//!
//! Owns: the memory layout of a block. A block is one shared text with one [`Cell`] per value, so that a row
//! crosses the ABI without an allocation per value. Does not own: where rows come from or what they mean.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ColumnIndex;
pub use crate::abi::Cell;
use crate::catalog::{Column, Table};

/// A commit timestamp of the source: wall time in nanoseconds since 1970 and a logical counter.
///
/// Its text is CockroachDB's own, `1629813621680097993.0000000002`; a shorter or missing fraction is accepted.
///
/// ```
/// use ebb_sdk::Timestamp;
/// let earlier: Timestamp = "10.0000000002".parse().unwrap();
/// let later: Timestamp = "10.0000000010".parse().unwrap();
/// assert!(earlier < later);
/// assert_eq!(later.to_string(), "10.0000000010");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp {
    /// Nanoseconds since the Unix epoch, never negative.
    pub wall: i64,
    /// Orders events of one nanosecond, never negative.
    pub logical: i32,
}

impl Timestamp {
    /// Before every change.
    pub const ZERO: Self = Self { wall: 0, logical: 0 };
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:010}", self.wall, self.logical)
    }
}

/// The text is not a timestamp of the form `<nanoseconds>.<logical>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampError;

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a timestamp of the form <nanoseconds>.<logical>")
    }
}

impl std::error::Error for TimestampError {}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        // Versions up to 23.x could mark a synthetic timestamp with a trailing question mark.
        let text = text.strip_suffix('?').unwrap_or(text);
        let (wall, logical) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(wall) || !digits(logical) {
            return Err(TimestampError);
        }
        Ok(Self {
            wall: wall.parse().map_err(|_| TimestampError)?,
            logical: logical.parse().map_err(|_| TimestampError)?,
        })
    }
}

/// What is to be done with the rows of a block.
///
/// The first two are all that most transactions need. The others serve where rows hand values of unique keys to each
/// other, or refer to each other in a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    /// Insert the row, or give the row of the same primary key these values. No other row may change.
    Upsert = 0,
    /// Delete the row of this primary key, if it is there. The block has the columns of the key only.
    Delete = 1,
    /// Give the row of this primary key these values, if it is there.
    Update = 2,
    /// Delete the rows of these primary keys and insert the rows of the block, in one statement where foreign keys are
    /// checked at the end of one: they see the new rows, and a unique value may go from any row of the block to any other.
    /// Columns that the block does not have keep the value that the deleted row had.
    Replace = 3,
    /// Write nothing. Every constraint that [`Checks::Suspended`](crate::Checks::Suspended) does not enforce must hold for
    /// the rows of these primary keys, and nothing may refer to one of them that is not there. The block has the columns
    /// of the key only. It comes last in a transaction.
    Verify = 4,
}

impl Operation {
    /// The operation of a number, as it crosses the ABI.
    pub(crate) fn of(number: u8) -> Option<Self> {
        [Self::Upsert, Self::Delete, Self::Update, Self::Replace, Self::Verify].get(usize::from(number)).copied()
    }
}

/// The JSON type that a value had on the wire. The text of a number is never converted on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// SQL NULL. The text is empty.
    Null = 0,
    /// The text is `true` or `false`.
    Bool = 1,
    /// The text is the number's, every digit kept.
    Number = 2,
    /// The text is the string without its quotes and escapes.
    String = 3,
    /// The text is raw JSON of an object or an array, or `null`.
    Json = 4,
}

/// One value as the changefeed wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// A JSON `true` or `false`.
    Bool(bool),
    /// The number's text, every digit kept: `26.30`, `1E+2`, `9223372036854775807`.
    Number(&'a str),
    /// A JSON string without its quotes and escapes.
    String(&'a str),
    /// An object or an array as raw JSON text, or the text `null` for a JSON null that is not SQL NULL.
    Json(&'a str),
}

impl<'a> Value<'a> {
    /// The text of the value, `None` for SQL NULL. Booleans are `true` and `false`.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Value::Null => None,
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Number(text) | Value::String(text) | Value::Json(text) => Some(text),
        }
    }

    fn kind(self) -> Kind {
        match self {
            Value::Null => Kind::Null,
            Value::Bool(_) => Kind::Bool,
            Value::Number(_) => Kind::Number,
            Value::String(_) => Kind::String,
            Value::Json(_) => Kind::Json,
        }
    }
}

/// Rows under construction: values are pushed row by row, each row with the same number of values.
///
/// ```
/// use ebb_sdk::{RowBuffer, Value};
/// let mut rows = RowBuffer::new(2);
/// rows.push(Value::Number("1"));
/// rows.push(Value::String("Ada"));
/// assert_eq!(rows.len(), 1);
/// ```
#[derive(Debug, Default)]
pub struct RowBuffer {
    width: usize,
    cells: Vec<Cell>,
    text: String,
}

impl RowBuffer {
    /// The longest text of one buffer in bytes. A caller starts another buffer long before.
    pub const TEXT_BYTES_MAX: usize = u32::MAX as usize;

    /// An empty buffer for rows of `width` values, `width` ≥ 1.
    pub fn new(width: usize) -> Self {
        assert!(width > 0, "a row has at least one value");
        Self { width, cells: Vec::new(), text: String::new() }
    }

    /// Appends the next value of the current row.
    ///
    /// # Panics
    /// When the text would pass [`RowBuffer::TEXT_BYTES_MAX`].
    pub fn push(&mut self, value: Value<'_>) {
        let start = self.text.len();
        self.text.push_str(value.text().unwrap_or(""));
        let offset = |at: usize| u32::try_from(at).expect("a buffer is cut long before 4 GiB");
        self.cells.push(Cell {
            start: offset(start),
            len: offset(self.text.len()) - offset(start),
            kind: value.kind() as u8,
        });
    }

    /// Whole rows in the buffer.
    pub fn len(&self) -> usize {
        self.cells.len() / self.width
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Bytes that the buffer holds, text and cells.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.cells.len() * size_of::<Cell>()
    }

    /// Values, row after row.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The text that the cells point into.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Rows of one table and one operation, borrowed for the length of one call. No primary key occurs twice.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    table: &'a Table,
    operation: Operation,
    columns: &'a [ColumnIndex],
    cells: &'a [Cell],
    text: &'a str,
}

impl<'a> Block<'a> {
    /// Puts a block together. `columns` are positions in `table.columns`; `cells` holds whole rows of that width.
    pub fn new(
        table: &'a Table,
        operation: Operation,
        columns: &'a [ColumnIndex],
        cells: &'a [Cell],
        text: &'a str,
    ) -> Self {
        assert!(!columns.is_empty(), "a block has at least one column");
        assert!(cells.len().is_multiple_of(columns.len()), "a block holds whole rows");
        assert!(columns.iter().all(|&at| at.place() < table.columns.len()), "columns are the table's");
        Self { table, operation, columns, cells, text }
    }

    /// The table that the rows are of.
    pub fn table(&self) -> &'a Table {
        self.table
    }

    /// What is to be done with the rows.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The columns of each row, in the order of its values. For a delete they are those of the primary key.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &'a Column> + 'a {
        let (table, columns) = (self.table, self.columns);
        columns.iter().map(move |&at| &table.columns[at])
    }

    /// The number of columns.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.cells.len() / self.columns.len()
    }

    /// The value of a row and a column, both counted from 0.
    ///
    /// # Panics
    /// When either is out of range.
    pub fn value(&self, row: usize, column: usize) -> Value<'a> {
        assert!(column < self.columns.len(), "column {column} of {}", self.columns.len());
        let cell = self.cells[row * self.columns.len() + column];
        let text = &self.text[cell.start as usize..][..cell.len as usize];
        match cell.kind {
            kind if kind == Kind::Null as u8 => Value::Null,
            kind if kind == Kind::Bool as u8 => Value::Bool(text == "true"),
            kind if kind == Kind::Number as u8 => Value::Number(text),
            kind if kind == Kind::String as u8 => Value::String(text),
            kind if kind == Kind::Json as u8 => Value::Json(text),
            kind => panic!("a cell of unknown kind {kind}"),
        }
    }

    /// The values of one column, row after row.
    pub fn column_values(&self, column: usize) -> impl ExactSizeIterator<Item = Value<'a>> + 'a {
        let block = *self;
        (0..block.rows()).map(move |row| block.value(row, column))
    }

    /// The primary key of a row as text for messages, `id=1, city=rome`. Only columns that the block carries.
    pub fn key_text(&self, row: usize) -> String {
        let part = |(at, column): (usize, &Column)| {
            let is_key = self.table.primary_key.contains(&self.columns[at]);
            is_key.then(|| format!("{}={}", column.name, self.value(row, at).text().unwrap_or("NULL")))
        };
        self.columns().enumerate().filter_map(part).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_compare_as_numbers() {
        let parse = |text: &str| text.parse::<Timestamp>();
        assert!(parse("9.0").unwrap() < parse("10.0000000000").unwrap());
        assert!(parse("10").unwrap() < parse("10.0000000001").unwrap());
        assert_eq!(parse("7.0000000003?").unwrap(), Timestamp { wall: 7, logical: 3 });
        for bad in ["", ".", "1.", ".1", "-1.0", "1.x", "99999999999999999999.0", "1.0.0"] {
            assert_eq!(parse(bad), Err(TimestampError), "{bad}");
        }
    }

    #[test]
    fn values_come_back_as_they_went_in() {
        let column = |name: &str| Column { name: name.into(), ..Column::default() };
        let table =
            Table { columns: vec![column("a"), column("b")], primary_key: vec![ColumnIndex(1)], ..Table::default() };
        let values = [
            Value::Null,
            Value::Bool(false),
            Value::Number("1E+2"),
            Value::String("é\"\n"),
            Value::Json("{\"a\": [1.10]}"),
            Value::String(""),
        ];
        let mut rows = RowBuffer::new(2);
        values.iter().for_each(|&value| rows.push(value));
        let block = Block::new(&table, Operation::Upsert, &[ColumnIndex(0), ColumnIndex(1)], rows.cells(), rows.text());
        assert_eq!(block.rows(), 3);
        let seen: Vec<_> = (0..3).flat_map(|row| [block.value(row, 0), block.value(row, 1)]).collect();
        assert_eq!(seen, values);
        assert_eq!(block.key_text(0), "b=false");
    }
}
