//! Whether what a column is said to take of a type is what it does take: every type of the source, every type of a column.

use ebb_postgres::Session;
use ebb_sdk::{Checks, ColumnIndex, Fit, Operation, Session as _};

use crate::edges::section;
use crate::samples::{check_page, samples, try_all};
use crate::world::{World, Writer, table_of};

pub(crate) const COLUMNS: [&str; 44] = [
    "boolean",
    "int2",
    "int4",
    "int8",
    "numeric",
    "numeric(10,2)",
    "numeric(4,2)",
    "money",
    "float4",
    "float8",
    "text",
    "varchar(5)",
    "varchar(40)",
    "varchar",
    "char(5)",
    "name",
    "ext.citext",
    "bytea",
    "uuid",
    "date",
    "time",
    "time(0)",
    "timetz",
    "timestamp",
    "timestamptz",
    "timestamp(3)",
    "timestamptz(0)",
    "interval",
    "interval(0)",
    "json",
    "jsonb",
    "inet",
    "cidr",
    "macaddr",
    "oid",
    "bit(8)",
    "varbit(8)",
    "varbit",
    "\"Label\"",
    "int8[]",
    "text[]",
    "varchar(2)[]",
    "tsvector",
    "xml",
];

/// What the types of the columns need.
pub(crate) const SCHEMA: &str =
    "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE TYPE \"Label\" AS ENUM ('a', 'b');";

#[tokio::test]
async fn columns_take_what_they_are_said_to_take() {
    let tables: String = COLUMNS
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let value = format!("CREATE TABLE t{at} (id int PRIMARY KEY, v {column});");
            // PostgreSQL itself makes no keys of these.
            let is_key = !matches!(*column, "json" | "xml");
            value + &if is_key { format!("CREATE TABLE k{at} (v {column} PRIMARY KEY, n int);") } else { String::new() }
        })
        .collect();
    let world = World::new("fit", &format!("{SCHEMA}{tables}"));
    let mut writer = world.writer().await;
    let columns = COLUMNS.iter().copied().enumerate();
    let mut found = try_all(&mut writer, columns).await;
    found.iter_mut().for_each(|(column, _)| *column = column.trim_start_matches("ext."));
    let mut sections = String::new();
    for (at, (column, _)) in found.iter().enumerate() {
        sections.push_str(&section(&mut writer, at, column).await);
    }
    check_page("types-postgres.md", "Types: CockroachDB to PostgreSQL", &found, &sections);
    check_keys(&mut writer).await;
}

/// Whole means every value also in a key, and digits are never rounded there.
async fn check_keys(writer: &mut Writer<Session>) {
    for (at, column) in COLUMNS.iter().enumerate() {
        let Some(table) = writer.catalog.tables.iter().find(|table| table.name == format!("k{at}")).cloned() else {
            continue;
        };
        for sample in samples() {
            let fit = writer.session.fits(&table, ColumnIndex(0), &sample.source);
            assert!(!matches!(fit, Fit::Rounds(_)), "{} from {}", column, sample.source.name);
            assert!(table.not_writable.is_empty() || matches!(fit, Fit::Incompatible(_)), "{} {fit:?}", column);
            for json in &sample.values {
                writer.session.begin(Checks::Immediate).await.expect("a transaction");
                let written = writer.write(&table.name, Operation::Upsert, &["v", "n"], &[&[json, "1"]]).await;
                writer.session.rollback().await.expect("its end");
                let is_kept = fit != Fit::Full || written.is_ok();
                assert!(is_kept, "{} from {}, {json}: {written:?}", column, sample.source.name);
            }
        }
    }
    assert_eq!(table_of(&writer.catalog, "k0").not_writable, []);
}
