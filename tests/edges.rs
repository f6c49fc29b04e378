//! What becomes of single values at the edges, as a value and as a key, for the pages of types in the docs.
//!
//! Owns: the values, writing them, and the sections of a page. It is a module of the plugins' tests. Does not own: the rest of
//! the page (`samples`).

use std::fmt::Write as _;

use ebb_sdk::{Checks, ColumnIndex, Error, Fit, Operation, Session, shortened};

use crate::samples::samples;
use crate::writer::{Writer, table_of};

/// Beside those of `samples`, by the name of their type.
const MORE: &[(&str, &[&str])] = &[
    ("DECIMAL", &["0.10", "1.005", "1E+2", "9007199254740993", "\"NaN\"", "\"Infinity\""]),
    ("FLOAT8", &["0.1", "0.30000000000000004", "-0", "1E+20", "\"NaN\""]),
    ("FLOAT4", &["1.100000023841858", "0.1"]),
    ("STRING", &["\"007\"", "\"1.50\"", "\"+1\"", "\"blank \"", "\"70-01-02\"", "\"today\"", "\"0x1F\"", "\"TRUE\""]),
    ("UUID", &["\"00000000-0000-0000-0000-000000000000\""]),
    ("TIME", &["\"10:20:30.5\""]),
    ("TIMETZ", &["\"03:04:05+00\""]),
    ("TIMESTAMP", &["\"2016-01-25T10:10:10.123456\"", "\"294277-01-01T23:59:59.999999\"", "\"-4713-11-24T00:00:00\""]),
    ("TIMESTAMPTZ", &["\"2016-01-25T10:10:10.123456Z\""]),
    ("INTERVAL", &["\"00:00:00\"", "\"1 mon\""]),
    ("JSONB", &["{\"__crdb_json_null__\": true}", "true"]),
    ("INET", &["\"::ffff:1.2.3.4\""]),
];

/// What became of a value.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Kept,
    Rounded,
    Refused,
}

fn outcome(written: Result<(), Error>) -> Outcome {
    match written {
        Ok(()) => Outcome::Kept,
        Err(error) if error.hint.as_deref().is_some_and(|hint| hint.contains("--allow-rounding")) => Outcome::Rounded,
        Err(_) => Outcome::Refused,
    }
}

/// The section of a column: every value of every type that it takes some values of, written to `v` of the table `tN`, and
/// to the key `v` of the table `kN` and deleted there again.
pub(crate) async fn section<S: Session>(writer: &mut Writer<S>, at: usize, column: &str) -> String {
    let mut page = format!("\n## {}\n\n", column.replace('|', "\\|"));
    page.push_str("| from | kept | refused, or rounded where allowed | refused | kept as a key | refused as a key |\n");
    page.push_str("|---|---|---|---|---|---|\n");
    let (value, key) = (format!("t{at}"), format!("k{at}"));
    let table = table_of(&writer.catalog, &value).clone();
    let can_be_key = writer.catalog.tables.iter().any(|table| table.name == key && table.not_writable.is_empty());
    for sample in samples() {
        if matches!(writer.session.fits(&table, ColumnIndex(1), &sample.source), Fit::Incompatible(_)) {
            continue;
        }
        let more = MORE.iter().find(|(name, _)| *name == sample.source.name).map_or([].as_slice(), |(_, more)| *more);
        let values: Vec<&str> = sample.values.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let (mut as_value, mut as_key) = (Vec::new(), Vec::new());
        for json in &values {
            as_value.push(outcome(attempt(writer, &value, &["id", "v"], &["1", json], 0).await));
            if can_be_key {
                as_key.push(outcome(attempt(writer, &key, &["v", "n"], &[json, "1"], 1).await));
            }
        }
        let list = |outcomes: &[Outcome], wanted: &[Outcome]| {
            let chosen = values.iter().zip(outcomes).filter(|(_, outcome)| wanted.contains(outcome));
            let shown = |(json, _): (&&str, _)| format!("`{}`", shortened(json, SHOWN_MAX).replace('|', "\\|"));
            chosen.map(shown).collect::<Vec<_>>().join(" ")
        };
        let (kept, rounded, refused) = (&[Outcome::Kept], &[Outcome::Rounded], &[Outcome::Refused]);
        let (key_kept, key_refused) = match can_be_key {
            true => (list(&as_key, kept), list(&as_key, &[Outcome::Rounded, Outcome::Refused])),
            false => (String::new(), "all".into()),
        };
        let (kept, rounded, refused) = (list(&as_value, kept), list(&as_value, rounded), list(&as_value, refused));
        let name = &sample.source.name;
        writeln!(page, "| {name} | {kept} | {rounded} | {refused} | {key_kept} | {key_refused} |")
            .expect("a text grows");
    }
    page
}

/// The longest text of a value on the page.
const SHOWN_MAX: usize = 44;

/// Writes a row, and deletes it again by the first columns of it where `key_columns` says how many are its key.
async fn attempt<S: Session>(
    writer: &mut Writer<S>,
    table: &str,
    columns: &[&str],
    row: &[&str],
    key_columns: usize,
) -> Result<(), Error> {
    writer.session.begin(Checks::Immediate).await.expect("a transaction");
    let mut written = writer.write(table, Operation::Upsert, columns, &[row]).await;
    if written.is_ok() && key_columns > 0 {
        let (columns, row) = (&columns[..key_columns], &row[..key_columns]);
        written = writer.write(table, Operation::Delete, columns, &[row]).await;
    }
    writer.session.rollback().await.expect("its end");
    written
}
