//! Comparing rows with a snapshot: nothing is found where nothing differs, and the smallest difference is.

use ebb_mysql::Session;
use ebb_sdk::{
    Block, Catalog, Checks, ColumnIndex, Compared, DifferentColumn, Join, Operation, RowBuffer, Session as _,
};
use ebb_servers::Flavour;

use crate::rounding::ROUNDED;
use crate::samples::{RANDOM_COLUMNS, Random, samples};
use crate::values::{HELD, Key, KeyOfMariaDb, OnlyMariaDb, OnlyMySql, REFUSED, Use, Value};
use crate::world::{FEED, World, Writer, connect_rounding, table_of};
use crate::writer::push;

/// A session in a snapshot, as often as another one is begun.
pub(crate) struct Reader {
    pub session: Session,
    pub catalog: Catalog,
}

impl Reader {
    pub(crate) async fn new(mut session: Session) -> Self {
        let catalog = session.describe().await.unwrap();
        session.join(&Join { feed: FEED.into(), snapshot: String::new() }).await.unwrap();
        Self { session, catalog }
    }

    pub(crate) async fn renew(&mut self) {
        self.session.rollback().await.unwrap();
        self.session.join(&Join { feed: FEED.into(), snapshot: String::new() }).await.unwrap();
    }

    pub(crate) async fn compare(&mut self, table: &str, columns: &[&str], rows: &[&[&str]]) -> Compared {
        let table = table_of(&self.catalog, table);
        let columns: Vec<ColumnIndex> = columns.iter().map(|name| table.column(name).expect("a column")).collect();
        let mut buffer = RowBuffer::new(columns.len());
        rows.iter().copied().flatten().for_each(|json| push(&mut buffer, json));
        let block = Block::new(table, Operation::Upsert, &columns, buffer.cells(), buffer.text());
        self.session.compare(block).await.unwrap_or_else(|error| panic!("{table} {rows:?}: {error:?}"))
    }
}

/// The columns that differ, each with what is there and what was expected.
fn differences(compared: &Compared) -> Vec<(u32, usize, Option<&str>, Option<&str>)> {
    let of = |row: u32, column: &DifferentColumn| (row, column.column.place());
    let all = compared.different.iter().flat_map(|found| found.columns.iter().map(move |column| (found.row, column)));
    all.map(|(row, column)| (of(row, column), column))
        .map(|((row, at), column)| (row, at, column.found.as_deref(), column.expected.as_deref()))
        .collect()
}

#[tokio::test]
async fn what_was_written_is_found_as_it_was_meant() {
    for world in World::both("compare_held", "") {
        let held = || HELD.iter().enumerate().filter(|(_, (_, used, ..))| used.is_on(world.flavour));
        let table = |(at, (type_name, used, ..)): (usize, &(&str, Use, &str, &str, &str))| {
            let null = if type_name.contains("SRID") { "" } else { "NULL" };
            let key = if used.is_key() {
                format!("CREATE TABLE k{at} (v {type_name} PRIMARY KEY, n INT);")
            } else {
                String::new()
            };
            format!("CREATE TABLE v{at} (id INT PRIMARY KEY, v {type_name} {null}); {key}")
        };
        world.sql(&held().map(table).collect::<String>());
        let mut writer = world.writer().await;
        writer.session.begin(Checks::Immediate).await.unwrap();
        for (at, (_, used, json, ..)) in held() {
            writer
                .write(&format!("v{at}"), Operation::Upsert, &["id", "v"], &[&["1", json], &["2", "null"]])
                .await
                .unwrap();
            if used.is_key() {
                writer.write(&format!("k{at}"), Operation::Upsert, &["v", "n"], &[&[json, "1"]]).await.unwrap();
            }
        }
        writer.commit().await.unwrap();
        let mut reader = Reader::new(world.session().await).await;
        for (at, (type_name, used, json, ..)) in held() {
            let shown = format!("{:?} {type_name} {json}", world.flavour);
            let rows: [&[&str]; 3] = [&["2", "null"], &["3", json], &["1", json]];
            let found = reader.compare(&format!("v{at}"), &["id", "v"], &rows).await;
            assert_eq!(found, Compared { missing: vec![1], different: vec![] }, "{shown}");
            // NULL is no value, and no value is NULL.
            let found = reader.compare(&format!("v{at}"), &["v", "id"], &[&["null", "1"], &[json, "2"]]).await;
            let all = differences(&found);
            assert_eq!(
                all.iter().map(|(row, column, ..)| (*row, *column)).collect::<Vec<_>>(),
                [(0, 1), (1, 1)],
                "{shown}"
            );
            assert!(all[0].2.is_some() && all[0].3.is_none() && all[1].2.is_none() && all[1].3.is_some(), "{all:?}");
            assert_eq!(all[0].2, all[1].3, "{shown}");
            if used.is_key() {
                let found = reader.compare(&format!("k{at}"), &["n", "v"], &[&["1", json]]).await;
                assert_eq!(found, Compared::default(), "{shown}");
                let found = reader.compare(&format!("k{at}"), &["n", "v"], &[&["2", json]]).await;
                assert_eq!(differences(&found), [(0, 1, Some("1"), Some("2"))], "{shown}");
            }
        }
    }
}

/// Types, and pairs of values that differ as little as can be: as JSON, and as SQL that stores the same in another spelling.
const PAIRS: &[(&str, Use, [&str; 2], [&str; 2])] = &[
    ("TINYINT(1)", Key, ["true", "false"], ["TRUE", "0"]),
    ("SMALLINT", Key, ["-32768", "-32767"], ["'-32768'", "-32767.0"]),
    ("MEDIUMINT UNSIGNED", Key, ["0", "1"], ["0", "b'1'"]),
    ("INT", Key, ["7", "-7"], ["7e0", "-7"]),
    ("BIGINT", Key, ["9223372036854775807", "9223372036854775806"], ["9223372036854775807", "9223372036854775806"]),
    ("BIGINT UNSIGNED", Key, ["18446744073709551615", "18446744073709551614"], ["~0", "~1"]),
    ("DECIMAL(10,4)", Key, ["1.0000", "1.0001"], ["1", "'1.00010'"]),
    (
        "DECIMAL(65,30)",
        Key,
        ["12345678901234567890123456789012345.1", "12345678901234567890123456789012345.100000000000000000000000000001"],
        [
            "12345678901234567890123456789012345.10",
            "12345678901234567890123456789012345.100000000000000000000000000001",
        ],
    ),
    ("DECIMAL(5,0)", Value, ["-1", "1"], ["-1.0", "1"]),
    ("FLOAT", Key, ["1.1", "1.1000001"], ["1.1", "1.1000001"]),
    ("FLOAT", Value, ["16777216", "16777214"], ["16777216", "16777214.4"]),
    ("FLOAT", Value, ["0", "-0"], ["0", "0 * -1e0"]),
    ("FLOAT(7,2)", Value, ["1.25", "1.26"], ["1.2501", "1.26"]),
    ("DOUBLE", Key, ["0.3", "0.30000000000000004"], ["0.30", "0.1e0 + 0.2e0"]),
    ("DOUBLE", Value, ["0", "-0"], ["0", "0 * -1e0"]),
    (
        "DOUBLE",
        Value,
        ["1.7976931348623157E+308", "1.7976931348623155E+308"],
        ["1.7976931348623157E+308", "1.7976931348623155E+308"],
    ),
    ("DOUBLE(15,2)", Value, ["1234567890123.45", "1234567890123.46"], ["1234567890123.4501", "1234567890123.46"]),
    ("CHAR(10)", Value, ["\"abc\"", "\"abC\""], ["'abc  '", "'abC'"]),
    ("VARCHAR(20)", Value, ["\"abc\"", "\"abc \""], ["'abc'", "'abc '"]),
    ("VARCHAR(20)", Value, ["\"abc\"", "\"ABC\""], ["'abc'", "x'414243'"]),
    ("VARCHAR(20)", Value, ["\"e\"", "\"é\""], ["'e'", "'é'"]),
    ("VARCHAR(20)", Value, ["\"é\"", "\"e\\u0301\""], ["_utf8mb4 x'C3A9'", "_utf8mb4 x'65CC81'"]),
    ("VARCHAR(20)", Value, ["\"🐘\"", "\"🐗\""], ["'🐘'", "'🐗'"]),
    ("VARCHAR(20)", Value, ["\"\"", "\"\\u0000\""], ["''", "CHAR(0)"]),
    ("VARCHAR(20) COLLATE utf8mb4_bin", Key, ["\"abc\"", "\"abC\""], ["'abc'", "'abC'"]),
    ("VARCHAR(20) CHARACTER SET latin1", Value, ["\"Größe\"", "\"Grösse\""], ["'Größe'", "'Grösse'"]),
    ("VARCHAR(20) CHARACTER SET sjis", Value, ["\"か\"", "\"が\""], ["'か'", "'が'"]),
    ("TEXT", Value, ["\"a\\nb\"", "\"a\\r\\nb\""], ["'a\nb'", "CONCAT('a', CHAR(13), CHAR(10), 'b')"]),
    ("LONGTEXT", Value, ["\"a\"", "\"a \""], ["'a'", "'a '"]),
    ("BINARY(2)", Key, ["\"\\\\x6869\"", "\"\\\\x6868\""], ["'hi'", "'hh'"]),
    ("BINARY(2)", Value, ["\"\\\\x6800\"", "\"\\\\x6820\""], ["'h'", "'h '"]),
    ("VARBINARY(10)", Key, ["\"\\\\x61\"", "\"\\\\x6100\""], ["'a'", "x'6100'"]),
    ("BLOB", Value, ["\"\\\\x\"", "\"\\\\x00\""], ["''", "x'00'"]),
    (
        "BINARY(16)",
        Key,
        ["\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\"", "\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ed\""],
        ["x'7F9C24E83B124FEF91E056A2D5A246EC'", "x'7F9C24E83B124FEF91E056A2D5A246ED'"],
    ),
    ("BIT(8)", Key, ["\"00000001\"", "\"10000000\""], ["1", "128"]),
    ("BIT(1)", Value, ["true", "false"], ["b'1'", "0"]),
    (
        "BIT(64)",
        Value,
        [
            "\"1111111111111111111111111111111111111111111111111111111111111111\"",
            "\"1111111111111111111111111111111111111111111111111111111111111110\"",
        ],
        ["~0", "~1"],
    ),
    ("DATE", Key, ["\"2016-01-25\"", "\"2016-01-26\""], ["20160125", "'2016-1-26'"]),
    ("DATE", Value, ["\"0001-01-01\"", "\"9999-12-31\""], ["'0001-01-01'", "'9999-12-31'"]),
    (
        "DATETIME(6)",
        Key,
        ["\"2016-01-25T10:10:10.5Z\"", "\"2016-01-25T10:10:10.500001Z\""],
        ["'2016-01-25T10:10:10.50'", "20160125101010.500001"],
    ),
    (
        "DATETIME(3)",
        Value,
        ["\"2016-01-25T10:10:10\"", "\"2016-01-25T10:10:10.001\""],
        ["'2016-01-25 10:10:10'", "'2016-01-25 10:10:10.001'"],
    ),
    (
        "DATETIME",
        Value,
        ["\"2016-01-25T00:00:00\"", "\"2016-01-25T00:00:01\""],
        ["'2016-01-25'", "'2016-01-25 00:00:01'"],
    ),
    (
        "TIMESTAMP(6)",
        Key,
        ["\"2016-01-25T10:10:10.5Z\"", "\"2016-01-25T10:10:10.500001Z\""],
        ["'2016-01-25 10:10:10.5'", "'2016-01-25 10:10:10.500001'"],
    ),
    ("TIME(6)", Key, ["\"-01:00:00\"", "\"01:00:00\""], ["'-1:00'", "'1:00'"]),
    ("TIME(6)", Value, ["\"23:59:59.999999\"", "\"24:00:00\""], ["'23:59:59.999999'", "'24:00:00'"]),
    ("TIME", Value, ["\"3 days 04:05:06\"", "\"3 days 04:05:07\""], ["'76:05:06'", "'3 4:05:07'"]),
    ("YEAR", Key, ["2016", "0"], ["16", "0"]),
    ("ENUM('a','A ','b') COLLATE utf8mb4_bin", Value, ["\"a\"", "\"b\""], ["1", "'b'"]),
    ("ENUM('','b')", Value, ["\"\"", "\"b\""], ["1", "2"]),
    ("SET('a','b','c')", Key, ["\"a,c\"", "\"a,b,c\""], ["'c,a,c'", "7"]),
    ("SET('a','b')", Value, ["\"\"", "\"b\""], ["''", "2"]),
    (
        "JSON",
        Value,
        ["{\"a\": 1, \"b\": [true, null]}", "{\"a\": 1, \"b\": [null, true]}"],
        ["'{\"b\":[true,null], \"a\":1}'", "'{\"b\":[null,true],\"a\":1}'"],
    ),
    ("JSON", Value, ["{\"a\": 1}", "{\"a\": \"1\"}"], ["'{\"a\":1}'", "'{\"a\":\"1\"}'"]),
    ("JSON", Value, ["1", "1.0"], ["'1'", "'1.0'"]),
    ("JSON", OnlyMariaDb, ["{\"a\": 1.0}", "{\"a\": 1.00}"], ["'{\"a\":1.0}'", "'{\"a\":1.00}'"]),
    ("JSON", OnlyMySql, ["{\"a\": 1.00}", "{\"a\": 1.5}"], ["'{\"a\":1.0}'", "'{\"a\":1.50}'"]),
    ("JSON", Value, ["\"a\"", "\"a \""], ["'\"a\"'", "'\"a \"'"]),
    ("JSON", Value, ["{\"__crdb_json_null__\": true}", "\"null\""], ["'null'", "'\"null\"'"]),
    (
        "JSON",
        Value,
        ["[18446744073709551615]", "[18446744073709551614]"],
        ["'[18446744073709551615]'", "'[ 18446744073709551614]'"],
    ),
    (
        "POINT",
        Value,
        ["{\"coordinates\": [1, 2], \"type\": \"Point\"}", "{\"coordinates\": [2, 1], \"type\": \"Point\"}"],
        ["ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('POINT(2 1)')"],
    ),
    (
        "GEOMETRY",
        Value,
        [
            "{\"coordinates\": [[0, 0], [1, 1]], \"type\": \"LineString\"}",
            "{\"coordinates\": [[0, 0], [1, 1.0000000000000002]], \"type\": \"LineString\"}",
        ],
        ["ST_GeomFromText('LINESTRING(0 0,1 1)')", "ST_GeomFromText('LINESTRING(0 0,1 1.0000000000000002)')"],
    ),
    (
        "POINT SRID 4326",
        OnlyMySql,
        ["{\"coordinates\": [1, 2], \"type\": \"Point\"}", "{\"coordinates\": [2, 1], \"type\": \"Point\"}"],
        ["ST_GeomFromText('POINT(2 1)', 4326)", "ST_GeomFromText('POINT(1 2)', 4326)"],
    ),
    (
        "VECTOR(3)",
        OnlyMySql,
        ["\"[1,2.5,3]\"", "\"[1,2.5,3.0000002]\""],
        ["STRING_TO_VECTOR('[1.0, 25e-1,3]')", "STRING_TO_VECTOR('[1,2.5,3.0000002]')"],
    ),
    ("INET4", KeyOfMariaDb, ["\"10.1.2.3\"", "\"10.1.2.4\""], ["'10.1.2.3'", "x'0A010204'"]),
    ("INET6", KeyOfMariaDb, ["\"::1\"", "\"::2\""], ["'0:0::1'", "'::2'"]),
    (
        "UUID",
        KeyOfMariaDb,
        ["\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\"", "\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ed\""],
        ["'7F9C24E83B124FEF91E056A2D5A246EC'", "'7f9c24e8-3b12-4fef-91e0-56a2d5a246ed'"],
    ),
];

/// Rows that another tool has loaded: the same value in any spelling is the same, and the smallest difference is one, whichever
/// of the two the target has.
#[tokio::test]
async fn the_smallest_difference_of_every_type_is_found_and_no_other() {
    for world in World::both("compare_pairs", "") {
        let pairs = || PAIRS.iter().enumerate().filter(|(_, (_, used, ..))| used.is_on(world.flavour));
        let table = |(at, (type_name, used, _, [a, b])): (usize, &(&str, Use, [&str; 2], [&str; 2]))| {
            let key = match used.is_key() {
                true => format!(
                    "CREATE TABLE k{at} (v {type_name} PRIMARY KEY, n INT); INSERT INTO k{at} VALUES ({a}, 1), ({b}, 2);"
                ),
                false => String::new(),
            };
            format!(
                "CREATE TABLE v{at} (id INT PRIMARY KEY, w INT, v {type_name} NOT NULL, z INT); \
                 INSERT INTO v{at} VALUES (1, 5, {a}, 6), (2, 5, {b}, 6); {key}"
            )
        };
        world.writer().await;
        for pair in pairs() {
            world.sql(&format!("SET time_zone = '+00:00'; {}", table(pair)));
        }
        let mut reader = Reader::new(world.session().await).await;
        for (at, (type_name, used, [a, b], _)) in pairs() {
            let (name, shown) = (format!("v{at}"), format!("{:?} {type_name} {a} {b}", world.flavour));
            let columns = ["id", "w", "v", "z"];
            let found = reader.compare(&name, &columns, &[&["1", "5", a, "6"], &["2", "5", b, "6"]]).await;
            assert_eq!(found, Compared::default(), "{shown}");
            let found = reader.compare(&name, &columns, &[&["2", "5", a, "6"], &["1", "5", b, "6"]]).await;
            let all = differences(&found);
            assert_eq!(
                all.iter().map(|(row, column, ..)| (*row, *column)).collect::<Vec<_>>(),
                [(0, 2), (1, 2)],
                "{shown}"
            );
            assert_eq!((all[0].2, all[0].3), (all[1].3, all[1].2), "{shown}");
            assert_ne!(all[0].2, all[0].3, "{shown}");
            if used.is_key() {
                let rows: [&[&str]; 2] = [&[b, "1"], &[a, "1"]];
                let found = reader.compare(&format!("k{at}"), &["v", "n"], &rows).await;
                assert_eq!(differences(&found), [(0, 1, Some("2"), Some("1"))], "{shown}");
            }
        }
    }
}

/// A value that no row could hold is different from the one that is there, and takes nothing else along.
#[tokio::test]
async fn what_could_not_be_written_is_different_or_missing() {
    for world in World::both("compare_refused", "") {
        let refused = || REFUSED.iter().enumerate().filter(|(_, (type_name, ..))| !type_name.contains("CHECK"));
        let table = |(at, (type_name, ..)): (usize, &(&str, &str, &str))| {
            format!(
                "CREATE TABLE r{at} (id INT PRIMARY KEY, v {type_name}); CREATE TABLE s{at} (id INT PRIMARY KEY, v INT);"
            )
        };
        world.sql(&refused().map(table).collect::<String>());
        let mut writer = world.writer().await;
        for (at, (type_name, ..)) in refused() {
            let good = crate::values::good_value(type_name);
            writer.upsert(&format!("r{at}"), &["id", "v"], &[&["1", good], &["2", good]]).await.unwrap();
        }
        let mut reader = Reader::new(world.session().await).await;
        for (at, (type_name, json, _)) in refused() {
            let long = format!("\"{}\"", "x".repeat(256));
            let json = if *json == "\"~\"" { long.as_str() } else { json };
            let good = crate::values::good_value(type_name);
            let rows: [&[&str]; 4] = [&["1", good], &["9", json], &["2", json], &["8", good]];
            let found = reader.compare(&format!("r{at}"), &["id", "v"], &rows).await;
            let shown = format!("{:?} {type_name} {json}: {found:?}", world.flavour);
            assert_eq!(found.missing, [1, 3], "{shown}");
            let [(2, 1, Some(_), expected)] = *differences(&found) else { panic!("{shown}") };
            assert_eq!(expected.is_none(), json == "null", "{shown}");
        }
    }
}

#[tokio::test]
async fn keys_that_no_row_can_have_are_missing() {
    let schema = "CREATE TABLE l (k VARCHAR(9) CHARACTER SET latin1 PRIMARY KEY, v INT); INSERT INTO l VALUES ('?', 1), ('a', 1);
         CREATE TABLE d (k DECIMAL(4,2) PRIMARY KEY, v INT); INSERT INTO d VALUES (99.99, 1), (1, 1);
         CREATE TABLE e (k ENUM('a','b') PRIMARY KEY, v INT); INSERT INTO e VALUES ('a', 1);
         CREATE TABLE m (k DATE PRIMARY KEY, v INT); INSERT INTO m VALUES ('2016-03-01', 1)";
    for world in World::both("compare_no_key", schema) {
        world.writer().await;
        let mut reader = Reader::new(world.session().await).await;
        for (table, key, good) in [
            ("l", "\"🐘\"", "\"a\""),
            ("l", "\"Ж\"", "\"a\""),
            ("d", "100", "1"),
            ("d", "99.991", "1"),
            ("e", "\"c\"", "\"a\""),
            ("m", "\"2016-02-31\"", "\"2016-03-01\""),
        ] {
            let found = reader.compare(table, &["k", "v"], &[&[key, "1"], &[good, "1"], &["null", "1"]]).await;
            assert_eq!(found, Compared { missing: vec![0, 2], different: vec![] }, "{:?} {table} {key}", world.flavour);
        }
    }
}

/// Equal in the collation is another row: one is missing, and one is only the target's.
#[tokio::test]
async fn keys_are_the_same_letter_by_letter() {
    let schema = "CREATE TABLE t (k VARCHAR(20) COLLATE utf8mb4_general_ci, n INT, v INT, PRIMARY KEY (k, n));
         INSERT INTO t VALUES ('ADA', 1, 1), ('x ', 1, 1), ('é', 1, 1), ('Rome', 1, 1), ('Oslo', 2, 2)";
    for world in World::both("compare_letters", schema) {
        world.writer().await;
        let mut reader = Reader::new(world.session().await).await;
        let rows: [&[&str]; 6] = [
            &["\"Ada\"", "1", "1"],
            &["\"x\"", "1", "1"],
            &["\"E\"", "1", "1"],
            &["\"Rome\"", "2", "1"],
            &["\"Oslo\"", "2", "3"],
            &["\"ADA\"", "1", "1"],
        ];
        let found = reader.compare("t", &["k", "n", "v"], &rows).await;
        assert_eq!(found.missing, [0, 1, 2, 3], "{:?}", world.flavour);
        assert_eq!(differences(&found), [(4, 2, Some("2"), Some("3"))]);
    }
}

/// What looks like the value is not always the value.
#[tokio::test]
async fn what_only_looks_the_same_is_different() {
    let schema =
        "SET sql_mode = ''; CREATE TABLE e (id INT PRIMARY KEY, v ENUM('','b')); INSERT INTO e VALUES (1, 'c'), (2, 1);
         CREATE TABLE s (id INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET eucjpms);
         INSERT INTO s VALUES (1, _binary x'8FFEFE'), (2, '?'), (3, 'か?');
         CREATE TABLE z (id INT PRIMARY KEY, v DATE); INSERT INTO z VALUES (1, '0000-00-00')";
    for world in World::both("compare_looks", schema) {
        world.writer().await;
        let mut reader = Reader::new(world.session().await).await;
        let found = reader.compare("e", &["id", "v"], &[&["1", "\"\""], &["2", "\"\""]]).await;
        assert_eq!(differences(&found), [(0, 1, Some("(no member)"), Some(""))], "{:?}", world.flavour);
        let rows: [&[&str]; 3] = [&["1", "\"?\""], &["2", "\"?\""], &["3", "\"か?\""]];
        let found = reader.compare("s", &["id", "v"], &rows).await;
        assert_eq!(found.different.iter().map(|found| found.row).collect::<Vec<_>>(), [0], "{found:?}");
        let found = reader.compare("z", &["id", "v"], &[&["1", "\"0001-01-01\""]]).await;
        assert_eq!(differences(&found), [(0, 1, Some("0000-00-00"), Some("0001-01-01"))]);
    }
}

#[tokio::test]
async fn digits_that_may_be_lost_are_compared_as_they_are_stored() {
    let table = |(at, (type_name, ..)): (usize, &(&str, &str, &str))| {
        format!("CREATE TABLE d{at} (id INT PRIMARY KEY, v {type_name}, w {type_name});")
    };
    for world in World::both("compare_rounding", &ROUNDED.iter().enumerate().map(table).collect::<String>()) {
        let mut writer = Writer::new(connect_rounding(&world.url(), &["v"]).await).await;
        for (at, (type_name, json, _)) in ROUNDED.iter().enumerate() {
            writer
                .upsert(&format!("d{at}"), &["id", "v"], &[&["1", json]])
                .await
                .unwrap_or_else(|error| panic!("{type_name}: {error}"));
            world.sql(&format!("UPDATE d{at} SET w = v"));
        }
        let mut reader = Reader::new(connect_rounding(&world.url(), &["v"]).await).await;
        for (at, (type_name, json, _)) in ROUNDED.iter().enumerate() {
            let found = reader.compare(&format!("d{at}"), &["id", "v", "w"], &[&["1", json, json]]).await;
            let all = differences(&found);
            assert!(matches!(*all, [(0, 2, Some(_), Some(_))]), "{:?} {type_name} {json}: {all:?}", world.flavour);
        }
    }
}

/// Whatever the server rounds, the comparison rounds alike.
#[tokio::test]
async fn random_numbers_round_as_the_server_does() {
    let types = [
        "INT",
        "DECIMAL(20,3)",
        "FLOAT",
        "DOUBLE",
        "FLOAT(9,2)",
        "DOUBLE(15,3)",
        "DATETIME(3)",
        "DATETIME",
        "TIME(2)",
        "TIME",
    ];
    let table = |(at, type_name): (usize, &&str)| format!("CREATE TABLE n{at} (id INT PRIMARY KEY, v {type_name});");
    let (seed, schema) = (fastrand::u64(..), types.iter().enumerate().map(table).collect::<String>());
    for world in World::both("compare_random", &schema) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut writer = Writer::new(connect_rounding(&world.url(), &["v"]).await).await;
        let mut written = Vec::new();
        for (at, type_name) in types.iter().enumerate() {
            let value = |rng: &mut fastrand::Rng| {
                let (day, hour) = (rng.u32(1..=31), rng.u32(0..24));
                let clock = format!(
                    "{hour:02}:{}:{}.{:06}",
                    if rng.bool() { "59" } else { "00" },
                    if rng.bool() { "59" } else { "07" },
                    rng.u32(..1_000_000)
                );
                match type_name {
                    name if name.starts_with("DATE") => format!("\"2015-12-{day:02}T{clock}Z\""),
                    name if name.starts_with("TIME") => format!("\"{}{clock}\"", if rng.bool() { "-" } else { "" }),
                    _ => {
                        let digits = rng.usize(1..=9);
                        format!(
                            "{}{}.{:0digits$}",
                            if rng.bool() { "-" } else { "" },
                            rng.u32(..99_999),
                            rng.u64(..10_u64.pow(digits as u32))
                        )
                    }
                }
            };
            let rows: Vec<[String; 2]> = (0..500).map(|id| [id.to_string(), value(&mut rng)]).collect();
            let rows: Vec<[&str; 2]> = rows.iter().map(|[id, value]| [id.as_str(), value.as_str()]).collect();
            let rows: Vec<&[&str]> = rows.iter().map(<[&str; 2]>::as_slice).collect();
            writer
                .upsert(&format!("n{at}"), &["id", "v"], &rows)
                .await
                .unwrap_or_else(|error| panic!("{type_name}: {error}"));
            written.push(rows.iter().map(|row| row[1].to_owned()).collect::<Vec<_>>());
        }
        let mut reader = Reader::new(connect_rounding(&world.url(), &["v"]).await).await;
        for (at, type_name) in types.iter().enumerate() {
            let ids: Vec<_> = (0..500).map(|id| id.to_string()).collect();
            let rows: Vec<[&str; 2]> =
                ids.iter().zip(&written[at]).map(|(id, value)| [id.as_str(), value.as_str()]).collect();
            let rows: Vec<&[&str]> = rows.iter().map(<[&str; 2]>::as_slice).collect();
            let found = reader.compare(&format!("n{at}"), &["id", "v"], &rows).await;
            assert_eq!(found, Compared::default(), "{:?} {type_name}, seed {seed}", world.flavour);
        }
    }
}

/// Every value of every type of the source that a column takes is found as it was written.
#[tokio::test]
async fn samples_of_every_family_are_found_as_they_were_written() {
    const TYPES: [&str; 30] = [
        "TINYINT(1)",
        "INT",
        "BIGINT",
        "DECIMAL(65,2)",
        "FLOAT",
        "DOUBLE",
        "CHAR(255)",
        "VARCHAR(400)",
        "TEXT",
        "BINARY(16)",
        "VARBINARY(400)",
        "BLOB",
        "BIT(8)",
        "BIT(64)",
        "DATE",
        "DATETIME(6)",
        "DATETIME",
        "TIMESTAMP(6)",
        "TIME(6)",
        "TIME",
        "YEAR",
        "ENUM('a','a label with blanks')",
        "SET('a','b')",
        "JSON",
        "POINT",
        "GEOMETRY",
        "LONGTEXT CHARACTER SET latin1",
        "VARCHAR(400) CHARACTER SET utf16",
        "DECIMAL(10,4)",
        "TINYTEXT",
    ];
    let table =
        |(at, type_name): (usize, &&str)| format!("CREATE TABLE f{at} (id INT PRIMARY KEY, v {type_name} NULL);");
    for world in World::both("compare_samples", &TYPES.iter().enumerate().map(table).collect::<String>()) {
        let special = match world.flavour {
            Flavour::MySql => vec!["VECTOR(3)"],
            Flavour::MariaDb => vec!["UUID", "INET4", "INET6"],
        };
        let types: Vec<_> = TYPES.iter().copied().chain(special).collect();
        for (at, type_name) in types.iter().enumerate().skip(TYPES.len()) {
            world.sql(&table((at, type_name)));
        }
        let (mut writer, mut tried) = (world.writer().await, 0);
        let mut reader = Reader::new(world.session().await).await;
        for (at, type_name) in types.iter().enumerate() {
            for sample in samples() {
                let mut id = 0;
                let mut kept: Vec<[String; 2]> = Vec::new();
                world.sql(&format!("DELETE FROM f{at}"));
                for value in &sample.values {
                    id += 1;
                    let id = id.to_string();
                    if writer.upsert(&format!("f{at}"), &["id", "v"], &[&[&id, value]]).await.is_ok() {
                        kept.push([id, value.clone()]);
                    }
                }
                reader.renew().await;
                let rows: Vec<[&str; 2]> = kept.iter().map(|[id, value]| [id.as_str(), value.as_str()]).collect();
                let rows: Vec<&[&str]> = rows.iter().map(<[&str; 2]>::as_slice).collect();
                if rows.is_empty() {
                    continue;
                }
                tried += rows.len();
                let found = reader.compare(&format!("f{at}"), &["id", "v"], &rows).await;
                assert_eq!(
                    found,
                    Compared::default(),
                    "{:?} {type_name} from {}: {rows:?}",
                    world.flavour,
                    sample.source.name
                );
            }
        }
        assert!(tried > 200, "{tried}");
    }
}

#[tokio::test]
async fn random_rows_are_found_as_they_were_written() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, i BIGINT, n DECIMAL(30,6), f DOUBLE, t TEXT, b VARBINARY(60), d DATE, m DATETIME(6),
         u BINARY(16))";
    for world in World::both("compare_rows", schema) {
        let mut writer = world.writer().await;
        let (seed, random) = Random::fill(&mut writer).await;
        let mut reader = Reader::new(world.session().await).await;
        let ids: Vec<_> = (0..random.len()).map(|id| id.to_string()).collect();
        let row = |(id, row)| {
            let (id, row): (&String, &Random) = (id, row);
            std::iter::once(id.clone()).chain(row.json.clone()).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<String>> = ids.iter().zip(&random).map(row).collect();
        let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
        let columns: Vec<_> = std::iter::once("id").chain(RANDOM_COLUMNS).collect();
        let found = reader.compare("t", &columns, &rows).await;
        assert_eq!(found, Compared::default(), "{:?}, seed {seed}", world.flavour);
    }
}
