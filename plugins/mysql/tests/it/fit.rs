//! Whether what a column is said to take of a type is what it does take: every type of the source, every type of a column.

use ebb_servers::Flavour;

use crate::samples::{check_page, try_all};
use crate::world::World;

const COLUMNS: [&str; 46] = [
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

#[tokio::test]
async fn columns_take_what_they_are_said_to_take() {
    for world in World::both("fit", "") {
        let columns = || COLUMNS.iter().copied().enumerate().filter(|(_, column)| is_on(column, world.flavour));
        world.sql(
            &columns()
                .map(|(at, column)| format!("CREATE TABLE t{at} (id INT PRIMARY KEY, v {column} NULL);"))
                .collect::<String>(),
        );
        let mut writer = world.writer().await;
        let found = try_all(&mut writer, columns()).await;
        match world.flavour {
            Flavour::MySql => check_page("types-mysql.md", "Types: CockroachDB to MySQL", &found, ""),
            Flavour::MariaDb => check_page("types-mariadb.md", "Types: CockroachDB to MariaDB", &found, ""),
        }
    }
}
