//! Keys page by page in the target's order, and the statement that shows one row.

use ebb_sdk::{Key, KeyPage, Session as _};
use ebb_servers::Flavour;

use crate::compare::Reader;
use crate::values::{HELD, Use};
use crate::world::{World, table_of};

/// Every key once, in pages of `limit`.
async fn all_keys(reader: &mut Reader, table: &str, limit: u32) -> Vec<Key> {
    let (table, mut all) = (table_of(&reader.catalog, table), Vec::<Key>::new());
    loop {
        let page = KeyPage { after: all.last().cloned(), limit };
        let keys = reader.session.keys(table, &page).await.unwrap_or_else(|error| panic!("{table}: {error:?}"));
        assert!(keys.len() <= limit as usize);
        if keys.is_empty() {
            return all;
        }
        all.extend(keys);
    }
}

/// Type of the key, the keys as SQL in any order, and as they are given in the target's order.
const KEYS: &[(&str, &[&str], &[&str])] = &[
    ("INT", &["10", "-7", "9"], &["-7", "9", "10"]),
    (
        "BIGINT UNSIGNED",
        &["18446744073709551615", "18446744073709551614", "0"],
        &["0", "18446744073709551614", "18446744073709551615"],
    ),
    (
        "DECIMAL(30,5)",
        &["1234567890123456789012345.00002", "1234567890123456789012345.00001", "-0.5"],
        &["-0.50000", "1234567890123456789012345.00001", "1234567890123456789012345.00002"],
    ),
    ("FLOAT", &["1.1", "-1.5", "1e20"], &["-1.5", "1.1", "1e20"]),
    ("DOUBLE", &["0.1e0 + 0.2e0", "0.3", "-1e300"], &["-1e300", "0.3", "0.30000000000000004"]),
    (
        "VARCHAR(20) COLLATE utf8mb4_general_ci",
        &["'b'", "'A'", "'a b'", "'it''s'", "'é'"],
        &["A", "a b", "b", "é", "it's"],
    ),
    ("VARCHAR(20) CHARACTER SET latin1", &["'b'", "'ß'", "'a'"], &["a", "b", "ß"]),
    ("VARBINARY(9)", &["x'ff'", "x''", "x'6869'"], &["\\x", "\\x6869", "\\xff"]),
    ("BINARY(2)", &["x'ff00'", "x'0000'"], &["\\x0000", "\\xff00"]),
    ("BIT(4)", &["b'1000'", "b'0001'", "b'0111'"], &["0001", "0111", "1000"]),
    ("DATE", &["'2016-01-25'", "'1999-12-31'"], &["1999-12-31", "2016-01-25"]),
    (
        "DATETIME(6)",
        &["'2016-01-25 10:00:00.5'", "'2016-01-25 10:00:00.499999'", "'2016-01-25'"],
        &["2016-01-25 00:00:00", "2016-01-25 10:00:00.499999", "2016-01-25 10:00:00.5"],
    ),
    (
        "TIMESTAMP(3)",
        &["'2016-01-25 10:00:00.5'", "'2016-01-25 10:00:00'"],
        &["2016-01-25 10:00:00+00", "2016-01-25 10:00:00.5+00"],
    ),
    ("TIME(1)", &["'10:00:00.5'", "'-01:00:00'", "'100:00:00'"], &["-01:00:00", "10:00:00.5", "100:00:00"]),
    ("YEAR", &["2016", "1999"], &["1999", "2016"]),
    ("ENUM('z','m','a')", &["'a'", "'z'", "'m'"], &["z", "m", "a"]),
    ("SET('z','m','a')", &["'a'", "'z,m'", "''", "'m'"], &["", "m", "z,m", "a"]),
];

#[tokio::test]
async fn pages_have_every_key_once_in_the_order_of_the_index() {
    let table = |(at, (type_name, keys, _)): (usize, &(&str, &[&str], &[&str]))| {
        let rows: Vec<_> = keys.iter().map(|key| format!("({key})")).collect();
        // In a key of two columns each value comes with others.
        let pairs = keys.iter().flat_map(|one| [1, 2].map(|n| format!("({n}, {one}), ({}, {one})", n + 8)));
        format!(
            "CREATE TABLE k{at} (k {type_name} NOT NULL PRIMARY KEY); INSERT INTO k{at} VALUES {};
             CREATE TABLE p{at} (n INT, k {type_name} NOT NULL, PRIMARY KEY (k, n)); INSERT INTO p{at} VALUES {};",
            rows.join(","),
            pairs.collect::<Vec<_>>().join(",")
        )
    };
    for world in World::both("row_keys_pages", "") {
        world.writer().await;
        world.sql(&format!("SET time_zone = '+00:00'; {}", KEYS.iter().enumerate().map(table).collect::<String>()));
        let mut reader = Reader::new(world.session().await).await;
        for (at, (type_name, _, expected)) in KEYS.iter().enumerate() {
            for limit in [1, 2, 100] {
                let found = all_keys(&mut reader, &format!("k{at}"), limit).await;
                assert_eq!(found.concat(), *expected, "{:?} {type_name}", world.flavour);
            }
            let pairs =
                expected.iter().flat_map(|key| ["1", "2", "9", "10"].map(|n| vec![(*key).to_owned(), n.to_owned()]));
            let pairs: Vec<Key> = pairs.collect();
            for limit in [1, 3] {
                assert_eq!(
                    all_keys(&mut reader, &format!("p{at}"), limit).await,
                    pairs,
                    "{:?} {type_name}",
                    world.flavour
                );
            }
        }
    }
}

/// What is shown for a person finds the row, in a session of any mode and time zone.
#[tokio::test]
async fn a_look_finds_the_row() {
    for world in World::both("row_keys_look", "") {
        let keys =
            || HELD.iter().enumerate().filter(|(_, (_, used, ..))| Use::is_key(*used) && used.is_on(world.flavour));
        let table = |(at, (type_name, ..)): (usize, &(&str, Use, &str, &str, &str))| {
            format!("CREATE TABLE k{at} (v {type_name} PRIMARY KEY, n INT);")
        };
        world.sql(&keys().map(table).collect::<String>());
        let mut writer = world.writer().await;
        for (at, (_, _, json, ..)) in keys() {
            writer.upsert(&format!("k{at}"), &["v", "n"], &[&[json, "7"]]).await.unwrap();
        }
        let mut reader = Reader::new(world.session().await).await;
        for (at, (type_name, _, json, ..)) in keys() {
            let name = format!("k{at}");
            let [key] = <[Key; 1]>::try_from(all_keys(&mut reader, &name, 10).await).unwrap();
            let as_it_came: String = serde_json::from_str(json).unwrap_or_else(|_| (*json).to_owned());
            for key in [key, vec![as_it_came]] {
                let look = reader.session.look(table_of(&reader.catalog, &name), &key);
                for mode in ["", "NO_BACKSLASH_ESCAPES"] {
                    let counted = look.replacen("SELECT *", "SELECT COUNT(*)", 1);
                    let found = world.sql(&format!("SET sql_mode = '{mode}', time_zone = '-03:00'; {counted}"));
                    assert_eq!(found, "1", "{:?} {type_name} {look}", world.flavour);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_look_is_spelled_as_people_do() {
    let schema = "CREATE TABLE `o``r` (id INT, name VARCHAR(20), b VARBINARY(9), PRIMARY KEY (id, name, b))";
    for world in World::both("row_keys_text", schema) {
        world.writer().await;
        let reader = Reader::new(world.session().await).await;
        let look = |key: [&str; 3]| reader.session.look(table_of(&reader.catalog, "o`r"), &key.map(String::from));
        assert_eq!(
            look(["7", "it's", "\\x6869"]),
            "SELECT * FROM `o``r` WHERE `id` = 7 AND `name` = 'it''s' AND `b` = x'6869';"
        );
        assert!(look(["7", "a\\b", "\\x"]).contains("`name` = CONVERT(x'615c62' USING utf8mb4) AND `b` = x''"));
        assert!(matches!(world.flavour, Flavour::MariaDb | Flavour::MySql));
    }
}
