//! Whether what a column is said to take of a type is what it does take: every type of the source, every type of a column.

use crate::samples::{check_page, try_all};
use crate::world::World;

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
    let columns = COLUMNS.iter().copied().enumerate();
    let mut found = try_all(&mut writer, columns).await;
    found.iter_mut().for_each(|(column, _)| *column = column.trim_start_matches("ext."));
    check_page("types-postgres.md", "Types: CockroachDB to PostgreSQL", &found);
}
