//! The primary key of a source's table as messages have it, and what of it is the key on the target.
//!
//! Owns: which value of a message's `key` belongs to which column, at every time, and by which text the target's row is
//! known. Does not own: asking the source (`watch`). Pure.
//!
//! A row's identity is the target's key. The source's key may hold more columns (the region of a REGIONAL BY ROW table, the
//! shard of a hash-sharded key), may have another order, and may be changed by ALTER PRIMARY KEY while rows are staged: rows
//! are staged under the key that they came with, and read under the key that the source had at their timestamp.

use std::borrow::Cow;
use std::sync::Arc;

use ebb_sdk::{Family, Timestamp};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::columns::{Columns, canonical_value};
use crate::names;
use crate::source::SourceTable;

/// The columns of a source's primary key, in the order of a message's `key`, from a time on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyShape {
    /// Rows behind this timestamp have it.
    pub since: Timestamp,
    pub columns: Vec<String>,
    /// Of which kind each column is, as far as it is known: it tells in which JSON its values come.
    #[serde(default)]
    pub families: Vec<Family>,
}

impl KeyShape {
    /// The key of a table of the source from a time on; columns that it does not know are of any kind.
    pub fn of(table: &SourceTable, columns: Vec<String>, since: Timestamp) -> Self {
        let family = |name: &String| {
            let column = table.columns.iter().find(|column| column.name == *name);
            column.map_or(Family::Other, |column| column.source_type.family)
        };
        let families = columns.iter().map(family).collect();
        Self { since, columns, families }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct SourceKey {
    /// The columns of the target's key, in its order.
    target: Vec<String>,
    case_sensitive: bool,
    /// From the oldest to the newest. Empty where the source is not known: `key` has the target's columns then, in an order
    /// that only whole rows tell.
    shapes: RwLock<Arc<Vec<Placed>>>,
}

/// A shape, and where it has the columns of the target's key.
#[derive(Debug)]
struct Placed {
    shape: KeyShape,
    /// For each column of the target's key; `None` where it is no column of the source's.
    places: Vec<Option<usize>>,
    /// It is the target's key, column for column.
    is_same: bool,
}

/// Why a key cannot be read. Its text completes "a row of orders has the key [1, 2], …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// `key` has another number of values than the primary key has columns.
    Count { values: usize, columns: usize },
    /// A value of `key` is not what the row has in this column.
    Differs { column: String },
    /// The row has no value for this column of the target's key.
    Missing { column: String },
    /// Which value belongs to this column of the target's key is not known.
    Unplaced { column: String },
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count { values, columns } => {
                write!(f, "which has {values} values, and the primary key has {columns} columns")
            }
            Self::Differs { column } => {
                write!(f, "and its column {column} says otherwise: the primary key has changed")
            }
            Self::Missing { column } => write!(f, "and has no value for the key column {column}"),
            Self::Unplaced { column } => {
                write!(f, "of which no value belongs to the column {column} of the target's key")
            }
        }
    }
}

impl SourceKey {
    /// `target` are the columns of the target's key. Without shapes the source is not known.
    pub fn new(target: Vec<String>, case_sensitive: bool, shapes: Vec<KeyShape>) -> Self {
        let key = Self { target, case_sensitive, shapes: RwLock::default() };
        key.replace(shapes);
        key
    }

    /// Whether the source's columns are known.
    pub fn is_known(&self) -> bool {
        !self.shapes().is_empty()
    }

    /// Every shape, from the oldest to the newest.
    pub fn history(&self) -> Vec<KeyShape> {
        self.shapes().iter().map(|placed| placed.shape.clone()).collect()
    }

    /// Sets every shape.
    pub fn replace(&self, mut shapes: Vec<KeyShape>) {
        shapes.sort_by_key(|shape| shape.since);
        let placed = shapes.into_iter().map(|shape| self.placed(shape)).collect();
        *self.shapes.write() = Arc::new(placed);
    }

    /// Whether two rows of the source may be, one after the other, one row of the target.
    pub fn may_meet(&self) -> bool {
        self.shapes().iter().any(|placed| placed.shape.columns.len() != self.target.len())
    }

    /// The keys that rows behind a time have, the first of which may be older.
    pub fn behind(&self, after: Timestamp) -> Vec<KeyShape> {
        let shapes = self.shapes();
        let first = shapes.iter().rposition(|placed| placed.shape.since <= after).unwrap_or_default();
        shapes.iter().skip(first).map(|placed| placed.shape.clone()).collect()
    }

    /// Whether one of the keys behind a time has other columns than the target's, in whatever order.
    pub fn has_differed(&self, after: Timestamp) -> bool {
        let shapes = self.shapes();
        let first = shapes.iter().rposition(|placed| placed.shape.since <= after).unwrap_or_default();
        shapes.iter().skip(first).any(|placed| self.is_other(placed))
    }

    /// The first key behind a time that has other columns than the target's: since when it holds, and the one before it.
    pub fn differs_since(&self, after: Timestamp) -> Option<(Timestamp, Vec<String>)> {
        let shapes = self.shapes();
        let is_it = |pair: &&[Placed]| pair[1].shape.since > after && self.is_other(&pair[1]);
        shapes.windows(2).find(is_it).map(|pair| (pair[1].shape.since, pair[0].shape.columns.clone()))
    }

    fn is_other(&self, placed: &Placed) -> bool {
        placed.shape.columns.len() != self.target.len() || placed.places.contains(&None)
    }

    /// Whether a row's identity is the text of its key at every time.
    pub fn is_identity(&self) -> bool {
        !self.needs_row() && self.shapes().iter().all(|placed| placed.is_same)
    }

    /// Whether only the columns of a row tell which row it is: the order of a key of several values is not known.
    pub fn needs_row(&self) -> bool {
        !self.is_known() && !self.is_single()
    }

    /// Whether the target's key is one column.
    pub fn is_single(&self) -> bool {
        self.target.len() <= 1
    }

    /// Whether keys of two times have the same columns.
    pub fn is_one_shape(&self, one: Timestamp, other: Timestamp) -> bool {
        let shapes = self.shapes();
        let since = |at| placed_at(&shapes, at).map(|placed| placed.shape.since);
        since(one) == since(other)
    }

    /// The identity of a row, by its columns.
    pub fn identity_of_row(&self, row: &Columns<'_>) -> Result<String, Unreadable> {
        let mut text = String::new();
        for (at, column) in self.target.iter().enumerate() {
            let unplaced = || Unreadable::Unplaced { column: column.clone() };
            let value = row.named(column, self.case_sensitive).ok_or_else(unplaced)?;
            text.push(if at == 0 { '[' } else { ',' });
            text.push_str(&canonical_value(value).map_err(|_| unplaced())?);
        }
        text.push(']');
        Ok(text)
    }

    /// Whether `key` has as many values as it should have at this time.
    pub fn check_count(&self, at: Timestamp, values: usize) -> Result<(), Unreadable> {
        self.counted(placed_at(&self.shapes(), at), values)
    }

    fn counted(&self, placed: Option<&Placed>, values: usize) -> Result<(), Unreadable> {
        let columns = placed.map_or(self.target.len(), |placed| placed.shape.columns.len());
        if values == columns { Ok(()) } else { Err(Unreadable::Count { values, columns }) }
    }

    /// Whether a key that came without a row has as many values as it should have, each in the JSON of its column.
    pub fn check_values(&self, at: Timestamp, parts: &[&RawValue]) -> Result<(), Unreadable> {
        let shapes = self.shapes();
        let placed = placed_at(&shapes, at);
        self.counted(placed, parts.len())?;
        let Some(placed) = placed else { return Ok(()) };
        let KeyShape { columns, families, .. } = &placed.shape;
        let mut values = columns.iter().zip(families).zip(parts);
        match values.find(|((_, family), part)| !is_of_family(**family, part)) {
            Some(((column, _), _)) => Err(Unreadable::Differs { column: column.clone() }),
            None => Ok(()),
        }
    }

    /// The text by which the target's row is known: the canonical key, reduced to the target's columns, in their order.
    /// Two rows with one identity are one row of the target.
    pub fn identity<'k>(&self, at: Timestamp, key: &'k str) -> Result<Cow<'k, str>, Unreadable> {
        let shapes = self.shapes();
        let Some(placed) = placed_at(&shapes, at).filter(|placed| !placed.is_same) else { return Ok(key.into()) };
        let parts = parts_of(key);
        let mut text = String::with_capacity(key.len());
        for (at, (column, place)) in self.target.iter().zip(&placed.places).enumerate() {
            let part = place.and_then(|place| parts.get(place));
            let part = part.ok_or_else(|| Unreadable::Unplaced { column: column.clone() })?;
            text.push(if at == 0 { '[' } else { ',' });
            text.push_str(part.get());
        }
        text.push(']');
        Ok(text.into())
    }

    /// The value of a column of the target's key, by its place there. A key of one column needs no name.
    pub fn value<'k>(&self, at: Timestamp, column: usize, parts: &[&'k RawValue]) -> Option<&'k RawValue> {
        let shapes = self.shapes();
        let place = match placed_at(&shapes, at) {
            Some(placed) => placed.places[column]?,
            None if self.target.len() == 1 && parts.len() == 1 => 0,
            None => return None,
        };
        parts.get(place).copied()
    }

    /// Whether `key` says the same as the columns of the row that it came with. A column that is not among them, such as a
    /// shard, says nothing.
    pub fn check_row(&self, at: Timestamp, parts: &[&RawValue], row: &Columns<'_>) -> Result<(), Unreadable> {
        let shapes = self.shapes();
        let placed = placed_at(&shapes, at);
        self.counted(placed, parts.len())?;
        let Some(placed) = placed else { return self.check_same(parts, row) };
        let is_there = |column: &&String| row.named(column, self.case_sensitive).is_some();
        if let Some(missing) = self.target.iter().find(|column| !is_there(column)) {
            return Err(Unreadable::Missing { column: missing.clone() });
        }
        for (column, part) in placed.shape.columns.iter().zip(parts) {
            // Names of one side are equal to the letter.
            if row.exactly(column).is_some_and(|value| !is_same_value(part, value)) {
                return Err(Unreadable::Differs { column: column.clone() });
            }
        }
        Ok(())
    }

    /// Without names: the values of the target's key are those of `key`, each once, in whatever order.
    fn check_same(&self, parts: &[&RawValue], row: &Columns<'_>) -> Result<(), Unreadable> {
        let mut rest = parts.to_vec();
        for column in &self.target {
            let value = row.named(column, self.case_sensitive);
            let place = value.and_then(|value| rest.iter().position(|part| is_same_value(part, value)));
            rest.remove(place.ok_or_else(|| Unreadable::Differs { column: column.clone() })?);
        }
        Ok(())
    }

    fn shapes(&self) -> Arc<Vec<Placed>> {
        Arc::clone(&self.shapes.read())
    }

    fn placed(&self, shape: KeyShape) -> Placed {
        let place = |name: &String| {
            let exact = shape.columns.iter().position(|column| column == name);
            exact.or_else(|| shape.columns.iter().position(|column| names::same(column, name, self.case_sensitive)))
        };
        let places: Vec<_> = self.target.iter().map(place).collect();
        let is_in_order = places.iter().enumerate().all(|(at, place)| *place == Some(at));
        let is_same = is_in_order && shape.columns.len() == self.target.len();
        Placed { shape, places, is_same }
    }
}

/// The shape that a row of this time has: the newest that began before it, or the oldest that is known.
fn placed_at(shapes: &[Placed], at: Timestamp) -> Option<&Placed> {
    shapes.iter().rev().find(|placed| placed.shape.since < at).or_else(|| shapes.first())
}

/// The values of a canonical key.
pub fn parts_of(key: &str) -> Vec<&RawValue> {
    // Whatever is staged was read as an array when it came; a damaged one has no values, and is refused for it.
    serde_json::from_str(key).unwrap_or_default()
}

/// Whether a value of this kind may have this JSON.
fn is_of_family(family: Family, value: &RawValue) -> bool {
    let json = value.get();
    let is_number = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    match family {
        Family::Int => is_number,
        Family::Decimal | Family::Float => {
            is_number || matches!(json, "\"NaN\"" | "\"Infinity\"" | "\"-Infinity\"" | "\"Inf\"" | "\"-Inf\"")
        }
        Family::Bool => matches!(json, "true" | "false"),
        Family::Json | Family::Array | Family::Geometry | Family::Vector | Family::Other => true,
        _ => json.starts_with('"'),
    }
}

/// CockroachDB writes a value in `key` as it writes it in the row, but for the trailing zeros of a DECIMAL. JSON and arrays
/// are not looked into.
fn is_same_value(a: &RawValue, b: &RawValue) -> bool {
    let is_nested = |value: &RawValue| value.get().starts_with(['{', '[']);
    a.get() == b.get() || is_nested(a) && is_nested(b) || canonical_value(a).ok() == canonical_value(b).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(target: &[&str], shapes: &[(i64, &[&str])]) -> SourceKey {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let shape = |&(wall, columns): &(i64, &[&str])| KeyShape {
            since: at(wall),
            columns: owned(columns),
            families: Vec::new(),
        };
        SourceKey::new(owned(target), false, shapes.iter().map(shape).collect())
    }

    fn at(wall: i64) -> Timestamp {
        Timestamp { wall, logical: 0 }
    }

    fn row(json: &str) -> Columns<'_> {
        crate::columns::columns(json).unwrap()
    }

    #[test]
    fn an_identity_has_the_columns_of_the_target_in_their_order() {
        let region = key(&["id"], &[(0, &["crdb_region", "id"])]);
        assert_eq!(region.identity(at(5), "[\"eu\",7]").unwrap(), "[7]");
        assert_eq!(region.identity(at(5), "[\"us\",7]").unwrap(), "[7]");
        assert!(region.may_meet() && !region.is_identity());
        let turned = key(&["A", "b"], &[(0, &["b", "a"])]);
        assert_eq!(turned.identity(at(5), "[1,2]").unwrap(), "[2,1]");
        assert!(!turned.may_meet());
        let same = key(&["a"], &[(0, &["a"])]);
        assert!(matches!(same.identity(at(5), "[1]"), Ok(Cow::Borrowed("[1]"))));
        assert_eq!(key(&["a", "b"], &[]).identity(at(5), "[1,2]").unwrap(), "[1,2]");
        let other = key(&["c"], &[(0, &["a"])]);
        assert_eq!(other.identity(at(5), "[1]"), Err(Unreadable::Unplaced { column: "c".into() }));
    }

    #[test]
    fn a_row_is_read_under_the_key_of_its_time() {
        let altered = key(&["a", "b"], &[(0, &["a", "b"]), (10, &["b", "a"]), (20, &["shard", "a", "b"])]);
        assert_eq!(altered.identity(at(10), "[1,2]").unwrap(), "[1,2]");
        assert_eq!(altered.identity(at(11), "[1,2]").unwrap(), "[2,1]");
        assert_eq!(altered.identity(at(21), "[9,1,2]").unwrap(), "[1,2]");
        assert_eq!(altered.check_count(at(20), 2), Ok(()));
        assert_eq!(altered.check_count(at(21), 2), Err(Unreadable::Count { values: 2, columns: 3 }));
        let parts = parts_of("[9,1,2]");
        assert_eq!(altered.value(at(21), 1, &parts).unwrap().get(), "2");
    }

    #[test]
    fn a_key_without_a_row_has_values_of_its_columns() {
        let families = vec![Family::Int, Family::String, Family::Decimal];
        let columns = ["a", "b", "c"].map(String::from).to_vec();
        let shape = KeyShape { since: at(0), columns: columns.clone(), families };
        let key = SourceKey::new(columns, false, vec![shape]);
        assert_eq!(key.check_values(at(1), &parts_of("[1,\"x\",\"NaN\"]")), Ok(()));
        let differs = |column: &str| Err(Unreadable::Differs { column: column.into() });
        assert_eq!(key.check_values(at(1), &parts_of("[\"x\",\"1\",1]")), differs("a"));
        assert_eq!(key.check_values(at(1), &parts_of("[1,2,3]")), differs("b"));
        assert_eq!(key.check_values(at(1), &parts_of("[1,\"x\",\"3\"]")), differs("c"));
    }

    #[test]
    fn keys_are_compared_with_their_rows() {
        let two = key(&["a", "b"], &[(0, &["shard", "b", "a"])]);
        let whole = row(r#"{"a": 1, "b": "x", "v": null}"#);
        assert_eq!(two.check_row(at(1), &parts_of("[3,\"x\",1]"), &whole), Ok(()));
        let differs = Err(Unreadable::Differs { column: "b".into() });
        assert_eq!(two.check_row(at(1), &parts_of("[3,1,\"x\"]"), &whole), differs);
        let decimal = key(&["a"], &[(0, &["a"])]);
        assert_eq!(decimal.check_row(at(1), &parts_of("[26.3]"), &row(r#"{"a": 26.30}"#)), Ok(()));
        let unknown = key(&["a", "b"], &[]);
        assert_eq!(unknown.check_row(at(1), &parts_of("[\"x\",1]"), &whole), Ok(()));
        let differs = Err(Unreadable::Differs { column: "b".into() });
        assert_eq!(unknown.check_row(at(1), &parts_of("[1,1]"), &whole), differs);
        let counted = Err(Unreadable::Count { values: 1, columns: 2 });
        assert_eq!(unknown.check_row(at(1), &parts_of("[1]"), &whole), counted);
    }
}
