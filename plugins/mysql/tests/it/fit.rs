//! Whether what a column is said to take of a type is what it does take: every type of the source, every type of a column.

use ebb_mysql::Session;
use ebb_sdk::{Checks, ColumnIndex, Fit, Operation, Session as _};
use ebb_servers::Flavour;

use crate::edges::section;
use crate::samples::{check_page, samples, try_all};
use crate::world::{World, Writer, table_of};

const COLUMNS: [&str; 48] = [
    "TINYINT",
    "SMALLINT",
    "MEDIUMINT",
    "INT",
    "INT UNSIGNED",
    "BIGINT",
    "BIGINT UNSIGNED",
    "DECIMAL(10,2)",
    "DECIMAL(4,2)",
    "DECIMAL(65,30)",
    "FLOAT",
    "DOUBLE",
    "FLOAT(7,2)",
    "DOUBLE(12,2)",
    "CHAR(5)",
    "CHAR(36)",
    "VARCHAR(5)",
    "VARCHAR(40)",
    "VARCHAR(400)",
    "VARCHAR(400) CHARACTER SET latin1",
    "VARCHAR(400) CHARACTER SET utf8mb3",
    "TINYTEXT",
    "TEXT",
    "LONGTEXT",
    "BINARY(16)",
    "BINARY(4)",
    "VARBINARY(400)",
    "TINYBLOB",
    "BLOB",
    "LONGBLOB",
    "BIT(1)",
    "BIT(8)",
    "BIT(64)",
    "DATE",
    "DATETIME",
    "DATETIME(6)",
    "TIMESTAMP(6)",
    "TIME",
    "TIME(6)",
    "YEAR",
    "ENUM('a','b')",
    "SET('a','b')",
    "JSON",
    "POINT",
    "GEOMETRY",
    "VECTOR(3)",
    "INET6",
    "UUID",
];

fn is_on(column: &str, flavour: Flavour) -> bool {
    match flavour {
        Flavour::MySql => !matches!(column, "INET6" | "UUID"),
        // Since version 11.7.
        Flavour::MariaDb => column != "VECTOR(3)",
    }
}

/// The servers make no keys of the others, or only of their beginning.
fn can_be_key(column: &str) -> bool {
    let is_long = column.contains("TEXT") || column.contains("BLOB");
    !is_long && !matches!(column, "JSON" | "POINT" | "GEOMETRY" | "VECTOR(3)")
}

#[tokio::test]
async fn columns_take_what_they_are_said_to_take() {
    for world in World::both("fit", "") {
        let columns = || COLUMNS.iter().copied().enumerate().filter(|(_, column)| is_on(column, world.flavour));
        let value = |(at, column): (usize, &str)| format!("CREATE TABLE t{at} (id INT PRIMARY KEY, v {column} NULL);");
        let key = |(at, column): (usize, &str)| format!("CREATE TABLE k{at} (v {column} NOT NULL PRIMARY KEY, n INT);");
        world.sql(&columns().map(value).collect::<String>());
        world.sql(&columns().filter(|(_, column)| can_be_key(column)).map(key).collect::<String>());
        let mut writer = world.writer().await;
        let found = try_all(&mut writer, columns()).await;
        let mut sections = String::new();
        for (at, column) in columns() {
            sections.push_str(&section(&mut writer, at, column).await);
        }
        match world.flavour {
            Flavour::MySql => check_page("types-mysql.md", "Types: CockroachDB to MySQL", &found, &sections),
            Flavour::MariaDb => check_page("types-mariadb.md", "Types: CockroachDB to MariaDB", &found, &sections),
        }
        check_keys(&mut writer, columns().filter(|(_, column)| can_be_key(column))).await;
    }
}

/// Whole means every value in a key too.
async fn check_keys(writer: &mut Writer<Session>, columns: impl Iterator<Item = (usize, &str)>) {
    for (at, column) in columns {
        let table = table_of(&writer.catalog, &format!("k{at}")).clone();
        for sample in samples() {
            let fit = writer.session.fits(&table, ColumnIndex(0), &sample.source);
            assert!(!matches!(fit, Fit::Rounds(_)), "{column} from {}", sample.source.name);
            for json in &sample.values {
                writer.session.begin(Checks::Immediate).await.expect("a transaction");
                let written = writer.write(&table.name, Operation::Upsert, &["v", "n"], &[&[json, "1"]]).await;
                writer.session.rollback().await.expect("its end");
                let is_kept = fit != Fit::Full || written.is_ok();
                assert!(is_kept, "{column} from {}, {json}: {written:?}", sample.source.name);
            }
        }
    }
}
