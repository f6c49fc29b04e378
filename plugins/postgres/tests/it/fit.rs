//! Whether what a column is said to take of a type is what it does take: every type of the source, every type of a column.

use ebb_sdk::{Checks, Fit, Operation, Session as _};

use crate::samples::{Found, check_page, samples};
use crate::world::{World, table_of};

const COLUMNS: [&str; 38] = [
    "boolean",
    "int2",
    "int4",
    "int8",
    "numeric",
    "numeric(10,2)",
    "numeric(4,2)",
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
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "json",
    "jsonb",
    "inet",
    "cidr",
    "macaddr",
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

#[tokio::test]
async fn columns_take_what_they_are_said_to_take() {
    let tables: String = COLUMNS
        .iter()
        .enumerate()
        .map(|(at, column)| format!("CREATE TABLE t{at} (id int PRIMARY KEY, v {column});"))
        .collect();
    let types = "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE TYPE \"Label\" AS ENUM ('a', 'b');";
    let world = World::new("fit", &format!("{types}{tables}"));
    let mut writer = world.writer().await;
    let (mut found, mut wrong) = (Found::new(), Vec::new());
    for (at, column) in COLUMNS.iter().enumerate() {
        let mut fits = Vec::new();
        for sample in samples() {
            let table = table_of(&writer.catalog, &format!("t{at}")).clone();
            let fit = writer.session.fits(&table, 1, &sample.source);
            for value in &sample.values {
                writer.session.begin(Checks::Immediate).await.unwrap();
                let written = writer.write(&table.name, Operation::Upsert, &["id", "v"], &[&["1", value]]).await;
                writer.session.rollback().await.unwrap();
                // What is called never may be read by accident, as something else.
                let is_as_said = fit != Fit::Whole || written.is_ok();
                if !is_as_said {
                    wrong.push(format!("{column} from {}, {value}: {fit:?}, {written:?}", sample.source.name));
                }
            }
            fits.push((sample.source.name, fit));
        }
        found.push((column.trim_start_matches("ext."), fits));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    check_page("types-postgres.md", "Types: CockroachDB to PostgreSQL", &found);
}
