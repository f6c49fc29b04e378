//! The text of the statement that compares rows of a block with those of the target.
//!
//! Owns: SQL, and when two values are one. Does not own: which rows it is run for, and values that the server refuses
//! (`compare`). Pure.

use ebb_sdk::{DifferentColumn, Table};

use crate::column::ColumnType;
use crate::quoted;
use crate::statement::{TargetColumn, placed_rows, qualified, rows, same_row};

/// Which values the statement leaves alone, and how it tells documents apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    /// Columns whose values cannot be had: they are different whatever the target has.
    pub(crate) left_out: Vec<bool>,
    /// Texts of JSON are compared as texts, since one of them is none that `jsonb` takes.
    pub(crate) json_as_text: bool,
}

impl Comparison {
    /// The statement. Its parameters are one array of text for each column. It returns a row for each row of the block that is
    /// not there, or has another value: its place, counted from 1; whether it is missing; for each column whether it differs,
    /// what the target has, and what it would have, the latter two only of columns that differ.
    ///
    /// Most rows are the same to the last byte, and are told so at once. The others are judged value by value.
    pub(crate) fn sql(&self, table: &Table, targets: &[TargetColumn]) -> String {
        let columns: Vec<_> = targets.iter().enumerate().map(|(at, target)| Sides::new(at, target)).collect();
        let is_other = match self.left_out.contains(&true) {
            true => "true".into(),
            false => {
                let stored: Vec<_> = columns.iter().map(|sides| sides.stored.as_str()).collect();
                let assigned: Vec<_> = columns.iter().map(|sides| sides.assigned.as_str()).collect();
                image_differs(&stored.join(", "), &assigned.join(", "))
            }
        };
        let differs = |(sides, left_out): (&Sides<'_>, &bool)| match left_out {
            true => "true".into(),
            false => sides.differs(self.json_as_text),
        };
        let differs: Vec<_> = columns.iter().zip(&self.left_out).map(differs).collect();
        let texts = |text: &dyn Fn(usize) -> Option<String>| {
            let part = |at: usize| match text(at) {
                Some(text) => format!(
                    "CASE WHEN d.differs[{}] THEN pg_catalog.left({text}, {}) END",
                    at + 1,
                    DifferentColumn::CHARS_MAX
                ),
                None => "NULL".into(),
            };
            let parts: Vec<_> = (0..columns.len()).map(part).collect();
            format!("ARRAY[{}]::pg_catalog.text[]", parts.join(", "))
        };
        let missing = missing(table);
        format!(
            "SELECT v.place, {missing}, d.differs, \
             CASE WHEN NOT {missing} THEN {found} END, CASE WHEN NOT {missing} THEN {expected} END \
             FROM {rows} LEFT JOIN {table} AS t ON {same_row} \
             CROSS JOIN LATERAL (SELECT CASE WHEN NOT {missing} THEN ARRAY[{differs}] END OFFSET 0) AS d (differs) \
             WHERE ({missing} OR {is_other}) AND ({missing} OR true OPERATOR(pg_catalog.=) ANY (d.differs))",
            found = texts(&|at| Some(columns[at].shown(&columns[at].stored))),
            expected = texts(&|at| (!self.left_out[at]).then(|| columns[at].shown(&columns[at].assigned))),
            rows = placed_rows(targets.len()),
            table = qualified(table),
            same_row = same_row(table, targets),
            differs = differs.join(", "),
        )
    }
}

/// A value of the target and the value of the block that it is compared with, as expressions of one type.
struct Sides<'a> {
    column_type: &'a ColumnType,
    stored: String,
    assigned: String,
}

impl<'a> Sides<'a> {
    fn new(at: usize, target: &'a TargetColumn) -> Self {
        let column_type = &target.column_type;
        // Without this a domain would be another type than the one that it is of.
        let stored = format!("t.{}::{}", quoted(&target.column.name), column_type.cast);
        Self { column_type, stored, assigned: column_type.assigned(at) }
    }

    /// Values that are not stored alike may yet be the same, as a geometry with its bounding box and one without: what they
    /// are written with decides. Of JSON that is the document, whose blanks and order mean nothing.
    fn differs(&self, json_as_text: bool) -> String {
        let image_differs = image_differs(&self.stored, &self.assigned);
        let is_json = self.column_type.base.name == "json";
        if is_json && json_as_text {
            return image_differs;
        }
        let text = |side: &str| match (is_json, self.column_type.base.is_array) {
            (true, true) => format!("({side})::pg_catalog.text[]::pg_catalog.jsonb[]::pg_catalog.text"),
            (true, false) => format!("({side})::pg_catalog.jsonb::pg_catalog.text"),
            (false, _) => self.shown(side),
        };
        let text_differs = self::image_differs(&text(&self.stored), &text(&self.assigned));
        format!("CASE WHEN {image_differs} THEN {text_differs} ELSE false END")
    }

    /// The text of a value as its type writes it. A cast to text drops the blanks behind a `char(n)`, and anybody may make
    /// another one of a type of their own.
    fn shown(&self, side: &str) -> String {
        shown(self.column_type, side)
    }
}

/// What a type writes for a value, NULL for NULL.
pub(crate) fn shown(column_type: &ColumnType, value: &str) -> String {
    match column_type.base.name.as_str() {
        "bool" if !column_type.base.is_array => format!("({value})::pg_catalog.text"),
        _ => format!("CASE WHEN {value} IS NOT NULL THEN pg_catalog.format('%s', {value}) END"),
    }
}

/// Whether values are others, to the byte, whatever their type's own `=` and the collation would say. NULL is a value here. The
/// cast keeps PostgreSQL from taking the two rows apart and looking for an operator of each column.
fn image_differs(stored: &str, assigned: &str) -> String {
    format!("ROW({stored})::record OPERATOR(pg_catalog.*<>) ROW({assigned})::record")
}

/// A column of a primary key holds no NULL.
fn missing(table: &Table) -> String {
    format!("t.{} IS NULL", quoted(&table.columns[table.primary_key[0].place()].name))
}

/// The statement that makes of the values of one column what the column would hold, and nothing else.
pub(crate) fn trial(target: &TargetColumn) -> String {
    let assigned = target.column_type.assigned(0);
    format!("SELECT pg_catalog.count(*) FROM {} WHERE ({assigned}) IS NULL", rows(1))
}
