//! Values of every type that differ as little as can be, and the same value in another spelling.

use ebb_sdk::Compared;

use crate::compare::{Reader, differences};
use crate::values::{Key, KeyOfMariaDb, OnlyMariaDb, OnlyMySql, Use, Value};
use crate::world::World;

/// Types, and pairs of values that differ as little as can be: as JSON, and as SQL that stores the same in another spelling.
type Pair = (&'static str, Use, [&'static str; 2], [&'static str; 2]);
const PAIRS: &[Pair] = &[
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
    ("FLOAT", OnlyMySql, ["0", "-0"], ["0", "0 * -1e0"]),
    ("FLOAT(7,2)", Value, ["1.25", "1.26"], ["1.2501", "1.26"]),
    ("DOUBLE", Key, ["0.3", "0.30000000000000004"], ["0.30", "0.1e0 + 0.2e0"]),
    ("DOUBLE", OnlyMySql, ["0", "-0"], ["0", "0 * -1e0"]),
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
        let table = |(at, (type_name, used, _, [a, b])): (usize, &Pair)| {
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
