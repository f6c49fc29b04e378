//! What each type of column holds after a JSON value has come: as value, as NULL, as primary key; and what is refused.

use ebb_sdk::{Checks, ErrorKind, Operation, Session as _};
use ebb_servers::Flavour;

use crate::samples::Random;
use crate::world::World;

/// Whether the type can be a key, and which server has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Use {
    Key,
    Value,
    OnlyMySql,
    OnlyMariaDb,
    /// As a key, and on MariaDB only.
    KeyOfMariaDb,
}
pub(crate) use Use::{Key, KeyOfMariaDb, OnlyMariaDb, OnlyMySql, Value};

impl Use {
    pub(crate) fn is_key(self) -> bool {
        matches!(self, Key | KeyOfMariaDb)
    }

    pub(crate) fn is_on(self, flavour: Flavour) -> bool {
        match self {
            Key | Value => true,
            OnlyMySql => flavour == Flavour::MySql,
            OnlyMariaDb | KeyOfMariaDb => flavour == Flavour::MariaDb,
        }
    }
}

/// Type, use, JSON, how the column is shown (`v` itself when empty), and what it shows then in UTC.
pub(crate) const HELD: &[(&str, Use, &str, &str, &str)] = &[
    ("TINYINT(1)", Key, "true", "", "1"),
    ("TINYINT", Key, "-128", "", "-128"),
    ("SMALLINT", Key, "32767", "", "32767"),
    ("MEDIUMINT", Key, "-8388608", "", "-8388608"),
    ("INT", Key, "2147483647", "", "2147483647"),
    ("INT UNSIGNED", Key, "4294967295", "", "4294967295"),
    ("BIGINT", Key, "9223372036854775807", "", "9223372036854775807"),
    ("BIGINT", Key, "-9223372036854775808", "", "-9223372036854775808"),
    ("BIGINT UNSIGNED", Key, "18446744073709551615", "", "18446744073709551615"),
    ("BIGINT", Key, "1E+2", "", "100"),
    ("DECIMAL(10,4)", Key, "1.2345", "", "1.2345"),
    ("DECIMAL(10,4)", Key, "1E+2", "", "100.0000"),
    (
        "DECIMAL(65,30)",
        Key,
        "12345678901234567890123456789012345.123456789012345678901234567891",
        "",
        "12345678901234567890123456789012345.123456789012345678901234567891",
    ),
    ("DECIMAL(10,2)", Value, "1.500000", "", "1.50"),
    ("DECIMAL(10,2)", Value, "\"1.50\"", "", "1.50"),
    ("FLOAT", Key, "1.2345", "", "1.2345"),
    ("FLOAT", Key, "1.1", "", "1.1"),
    ("DOUBLE", Key, "1.2345", "", "1.2345"),
    ("DOUBLE", Key, "1E+300", "", "1e300"),
    ("DOUBLE", Key, "0.30000000000000004", "", "0.30000000000000004"),
    ("DOUBLE", Value, "5E-324", "v > 0 AND v < 1e-323", "1"),
    ("FLOAT(7,2)", Value, "-99999.99", "", "-99999.99"),
    ("DOUBLE(15,2)", Value, "1234567890123.45", "", "1234567890123.45"),
    ("CHAR(10)", Key, "\"abc\"", "", "abc"),
    ("VARCHAR(20)", Key, "\"äöü  \"", "CONCAT(v, '.')", "äöü  ."),
    ("VARCHAR(20)", Key, r#""a1\\b/2?c\"3'""#, "", r#"a1\b/2?c"3'"#),
    ("VARCHAR(20)", Key, "\"🐘é\\u0001\\u0000\"", "HEX(v)", "F09F9098C3A90100"),
    ("VARCHAR(20)", Key, "\"\"", "", ""),
    ("VARCHAR(20) CHARACTER SET latin1", Key, "\"Größe\"", "", "Größe"),
    ("VARCHAR(30)", Value, "{\"a\": [1]}", "", "{\"a\": [1]}"),
    ("TINYTEXT", Value, "\"tiny\"", "", "tiny"),
    ("TEXT", Value, "\"🐘\"", "", "🐘"),
    ("MEDIUMTEXT", Value, "\"medium\"", "", "medium"),
    ("LONGTEXT", Value, "\"long \"", "CONCAT(v, '.')", "long ."),
    ("BINARY(16)", Key, "\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\"", "HEX(v)", "7F9C24E83B124FEF91E056A2D5A246EC"),
    ("CHAR(36)", Key, "\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\"", "", "7f9c24e8-3b12-4fef-91e0-56a2d5a246ec"),
    ("BINARY(4)", Key, "\"\\\\x68690000\"", "HEX(v)", "68690000"),
    ("VARBINARY(10)", Key, "\"\\\\x613162\"", "", "a1b"),
    ("VARBINARY(10)", Key, "\"\\\\xff00fe\"", "HEX(v)", "FF00FE"),
    ("VARBINARY(10)", Key, "\"\\\\x\"", "HEX(v)", ""),
    ("TINYBLOB", Value, "\"\\\\xff\"", "HEX(v)", "FF"),
    ("BLOB", Value, "\"\\\\x613162\"", "", "a1b"),
    ("LONGBLOB", Value, "\"\\\\xc328\"", "HEX(v)", "C328"),
    ("BINARY(2)", Key, "\"\\\\x6869\"", "HEX(v)", "6869"),
    ("BIT(8)", Key, "\"10010101\"", "BIN(v)", "10010101"),
    ("BIT(16)", Key, "\"0000000010010101\"", "BIN(v)", "10010101"),
    ("BIT(8)", Value, "\"101\"", "BIN(v)", "101"),
    ("BIT(8)", Key, "10", "BIN(v)", "1010"),
    (
        "BIT(64)",
        Value,
        "\"1111111111111111111111111111111111111111111111111111111111111111\"",
        "HEX(v)",
        "FFFFFFFFFFFFFFFF",
    ),
    ("BIT(1)", Key, "true", "BIN(v)", "1"),
    ("DATE", Value, "\"2016-01-25 00:00:00\"", "", "2016-01-25"),
    ("DATE", Key, "\"2016-01-25\"", "", "2016-01-25"),
    ("DATE", Value, "\"2016-01-25T00:00:00Z\"", "", "2016-01-25"),
    ("DATETIME(6)", Key, "\"2016-01-25T10:10:10.5\"", "", "2016-01-25 10:10:10.500000"),
    ("DATETIME(6)", Key, "\"2016-01-25T10:10:10.123456Z\"", "", "2016-01-25 10:10:10.123456"),
    ("TIMESTAMP(6)", Key, "\"2016-01-25T10:10:10.5Z\"", "", "2016-01-25 10:10:10.500000"),
    ("DATETIME", Key, "\"2016-01-25T10:10:10\"", "", "2016-01-25 10:10:10"),
    ("DATETIME(3)", Key, "\"2016-01-25T10:10:10.123\"", "", "2016-01-25 10:10:10.123"),
    ("DATETIME(3)", Value, "\"2016-01-25T10:10:10.120000\"", "", "2016-01-25 10:10:10.120"),
    ("TIME(6)", Key, "\"01:23:45.123456\"", "", "01:23:45.123456"),
    ("TIME(6)", Key, "\"-01:00:00\"", "", "-01:00:00.000000"),
    ("TIME", Value, "\"24:00:00\"", "", "24:00:00"),
    ("TIME", Value, "\"3 days 04:05:06\"", "", "76:05:06"),
    ("YEAR", Key, "2016", "", "2016"),
    ("YEAR", Key, "\"2016\"", "", "2016"),
    ("YEAR", Key, "0", "", "0000"),
    ("YEAR", Value, "\"0000\"", "", "0000"),
    ("YEAR", Value, "2155", "", "2155"),
    ("ENUM('a','it''s','1')", Key, "\"a\"", "", "a"),
    ("ENUM('a','it''s','1')", Key, "\"it's\"", "", "it's"),
    ("ENUM('b','1','a')", Key, "\"1\"", "", "1"),
    ("ENUM('c:\\\\temp','a,b','x)','q\"','l\nb')", Key, "\"c:\\\\temp\"", "", "c:\\temp"),
    ("ENUM('c:\\\\temp','a,b','x)','q\"','l\nb')", Key, "\"a,b\"", "", "a,b"),
    ("ENUM('c:\\\\temp','a,b','x)','q\"','l\nb')", Value, "\"x)\"", "", "x)"),
    ("ENUM('c:\\\\temp','a,b','x)','q\"','l\nb')", Value, "\"q\\\"\"", "", "q\""),
    ("ENUM('c:\\\\temp','a,b','x)','q\"','l\nb')", Value, "\"l\\nb\"", "HEX(v)", "6C0A62"),
    ("SET('c:\\\\temp','it''s','x)')", Key, "\"c:\\\\temp,x)\"", "", "c:\\temp,x)"),
    ("SET('a','b')", Key, "\"a,b\"", "", "a,b"),
    ("SET('a','b')", Value, "\"\"", "", ""),
    ("SET('a','b','c')", Value, "\"c,a\"", "", "a,c"),
    (
        "JSON",
        Value,
        "{\"b\": 1, \"a\": [1.10, null]}",
        "CONCAT(JSON_EXTRACT(v, '$.b'), JSON_EXTRACT(v, '$.a[1]'))",
        "1null",
    ),
    ("JSON", Value, "\"hello \\\"you\\\"\"", "", "\"hello \\\"you\\\"\""),
    ("JSON", Value, "\"123\"", "", "\"123\""),
    ("JSON", Value, "123", "", "123"),
    ("JSON", Value, "true", "", "true"),
    ("JSON", Value, "18446744073709551615", "", "18446744073709551615"),
    ("JSON", Value, "[\"a\", null]", "", "[\"a\", null]"),
    ("JSON", OnlyMariaDb, "[0.12345678901234567890]", "", "[0.12345678901234567890]"),
    ("JSON", Value, "{\"__crdb_json_null__\": true}", "", "null"),
    ("POINT", Value, "{\"coordinates\": [1, 2], \"type\": \"Point\"}", "ST_AsText(v)", "POINT(1 2)"),
    (
        "POINT SRID 4326",
        OnlyMySql,
        "{\"coordinates\": [1, 2], \"type\": \"Point\"}",
        "CONCAT(ST_Longitude(v), ' ', ST_Latitude(v), ' ', ST_SRID(v))",
        "1 2 4326",
    ),
    (
        "GEOMETRY",
        Value,
        "{\"coordinates\": [[0, 0], [1, 1]], \"type\": \"LineString\"}",
        "ST_AsText(v)",
        "LINESTRING(0 0,1 1)",
    ),
    ("VECTOR(3)", OnlyMySql, "\"[1,2.5,3]\"", "VECTOR_TO_STRING(v)", "[1.00000e+00,2.50000e+00,3.00000e+00]"),
    ("INET4", KeyOfMariaDb, "\"10.1.2.3\"", "CAST(v AS CHAR)", "10.1.2.3"),
    ("INET6", KeyOfMariaDb, "\"::ffff:1.2.3.4\"", "CAST(v AS CHAR)", "::ffff:1.2.3.4"),
    (
        "UUID",
        KeyOfMariaDb,
        "\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\"",
        "CAST(v AS CHAR)",
        "7f9c24e8-3b12-4fef-91e0-56a2d5a246ec",
    ),
];

/// A check of MySQL 9 demands that vectors and shapes come out as functions; others show themselves.
fn shown(at: usize, how: &str) -> String {
    let how = if how.is_empty() { "v" } else { how };
    format!(
        "SELECT {at} AS at, GROUP_CONCAT(CONCAT(id, '=', COALESCE({how}, 'none')) ORDER BY id SEPARATOR ';') FROM v{at}"
    )
}

#[tokio::test]
async fn every_type_holds_what_came() {
    for world in World::both("values_held", "") {
        let held = || HELD.iter().enumerate().filter(|(_, (_, used, ..))| used.is_on(world.flavour));
        let tables: String = held()
            .map(|(at, (type_name, ..))| {
                // A TIMESTAMP takes NULL only where it says so, on old servers.
                let null = if type_name.contains("SRID") { "" } else { "NULL" };
                format!("CREATE TABLE v{at} (id INT PRIMARY KEY, v {type_name} {null});")
            })
            .collect();
        world.sql(&tables);
        let mut writer = world.writer().await;
        writer.session.begin(Checks::Immediate).await.unwrap();
        for (at, (type_name, _, json, ..)) in held() {
            let rows: [&[&str]; 3] = [&["1", json], &["2", "null"], &["3", json]];
            let written = writer.write(&format!("v{at}"), Operation::Upsert, &["id", "v"], &rows).await;
            written.unwrap_or_else(|error| panic!("{type_name} {json}: {error:?}"));
            // What was there gives way, to a value as to NULL.
            let rows: [&[&str]; 2] = [&["2", json], &["3", "null"]];
            writer.write(&format!("v{at}"), Operation::Upsert, &["id", "v"], &rows).await.unwrap();
        }
        writer.commit().await.unwrap();
        for (at, (type_name, _, json, how, expected)) in held() {
            let found = world.sql(&format!("SET time_zone = '+00:00'; {}", shown(at, how)));
            let expected = format!("{at}|1={expected};2={expected};3=none");
            assert_eq!(found, expected, "{:?} {type_name} {json}", world.flavour);
        }
    }
}

#[tokio::test]
async fn every_key_finds_its_row() {
    for world in World::both("values_keys", "") {
        let keys = || HELD.iter().enumerate().filter(|(_, (_, used, ..))| used.is_key() && used.is_on(world.flavour));
        let table = |(at, (type_name, ..)): (usize, &(&str, Use, &str, &str, &str))| {
            format!("CREATE TABLE k{at} (n INT, v {type_name} PRIMARY KEY);")
        };
        world.sql(&keys().map(table).collect::<String>());
        let mut writer = world.writer().await;
        for (at, (type_name, _, json, ..)) in keys() {
            let (table, flavour) = (format!("k{at}"), world.flavour);
            writer.upsert(&table, &["n", "v"], &[&["1", json]]).await.unwrap_or_else(|error| panic!("{json}: {error}"));
            writer.upsert(&table, &["v", "n"], &[&[json, "2"]]).await.unwrap_or_else(|error| panic!("{json}: {error}"));
            let found = world.sql(&format!("SELECT GROUP_CONCAT(n) FROM k{at}"));
            assert_eq!(found, "2", "{flavour:?} {type_name} {json}");
            writer.delete(&table, &["v"], &[&[json]]).await.unwrap_or_else(|error| panic!("{json}: {error}"));
            assert_eq!(world.sql(&format!("SELECT COUNT(*) FROM k{at}")), "0", "{flavour:?} {type_name} {json}");
        }
    }
}

/// Type, JSON, and what the message says.
pub(crate) const REFUSED: &[(&str, &str, &str)] = &[
    ("INT", "9223372036854775807", "Out of range"),
    ("BIGINT", "9223372036854775808", "Out of range"),
    ("INT UNSIGNED", "-1", "Out of range"),
    ("INT", "\"x\"", "not a number"),
    ("INT", "\"0101\"", "not a number"),
    ("INT", "1.5", "it holds integers"),
    ("INT", "1.5E-1", "it holds integers"),
    ("BIGINT", "\"1.5\"", "it holds integers"),
    ("DECIMAL(6,2)", "1.005", "it keeps 2 digits behind the point"),
    ("DECIMAL(6,2)", "1E-3", "it keeps 2 digits behind the point"),
    ("FLOAT", "0.123456789", "about 7 digits"),
    ("FLOAT", "16777217", "about 7 digits"),
    ("FLOAT(7,2)", "1.125", "it keeps 2 digits behind the point"),
    ("FLOAT(9,4)", "-5495.8830", "about 7 digits"),
    ("FLOAT(9,2)", "131072.32", "about 7 digits"),
    ("DOUBLE(17,2)", "80549321968204.01", "about 16 digits"),
    ("DOUBLE(30,20)", "0.3", "about 16 digits"),
    ("DOUBLE", "9007199254740993", "about 16 digits"),
    ("DOUBLE", "0.10000000000000001", "about 16 digits"),
    ("DATETIME", "\"2016-01-25T10:10:10.5\"", "0 digits of a second"),
    ("DATETIME(3)", "\"2016-01-25T10:10:10.1239\"", "3 digits of a second"),
    ("TIMESTAMP(1) NULL", "\"2016-01-25T10:10:10.55Z\"", "1 digits of a second"),
    ("TIME", "\"10:10:10.5\"", "0 digits of a second"),
    ("TIME(3)", "\"1 day 10:10:10.1239\"", "3 digits of a second"),
    ("BIT(8)", "256", "no integer in the range"),
    ("BIT(8)", "-1", "no integer in the range"),
    ("BIT(8)", "\"12\"", "digits 0 and 1"),
    ("DECIMAL(6,2)", "123456", "Out of range"),
    ("DECIMAL(6,2)", "\"NaN\"", "no NaN"),
    ("FLOAT", "1E+300", "Out of range"),
    ("DOUBLE", "\"Infinity\"", "no infinity"),
    ("VARCHAR(3)", "\"abcd\"", "too long"),
    ("VARCHAR(3)", "\"abc \"", "too long"),
    ("CHAR(3)", "\"a \"", "loses the blanks"),
    ("TINYTEXT", "\"~\"", "too long"),
    ("VARCHAR(9) CHARACTER SET utf8mb3", "\"🐘\"", "Incorrect string value|Conversion from collation"),
    ("VARCHAR(9) CHARACTER SET latin1", "\"Ж\"", "Incorrect string value|Conversion from collation"),
    ("BINARY(1)", "\"\\\\x6869\"", "too long"),
    ("BINARY(1)", "\"\\\\x\"", "adds zeros"),
    ("BINARY(20)", "\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\"", "adds zeros"),
    ("VARBINARY(1)", "\"\\\\x6869\"", "too long"),
    ("BLOB", "\"hi\"", "text where bytes"),
    ("BIT(2)", "\"101\"", "too long"),
    ("DATE", "\"0044-03-15 BC\"", "no years before 1"),
    ("DATE", "\"infinity\"", "no infinity"),
    ("DATETIME", "\"12345-01-01T00:00:00\"", "after 9999"),
    ("DATE", "\"2016-01-25T10:00:00\"", "a date cannot hold a time of day"),
    ("DATE", "\"2016-01-25 10:00:00\"", "a date cannot hold a time of day"),
    ("DATE", "\"2016-01-25 00:00:01.5\"", "a date cannot hold a time of day"),
    ("DATE", "\"2016-01-25 00:00:00+02:00\"", "a time zone"),
    ("DATE", "\"2016/01/25\"", "spelled YYYY-MM-DD"),
    ("DATE", "\"2016-00-25\"", "spelled YYYY-MM-DD"),
    ("DATE", "\"2016-01-00\"", "spelled YYYY-MM-DD"),
    ("DATE", "\"0000-00-00\"", "no years before 1"),
    ("DATE", "0", "spelled YYYY-MM-DD"),
    ("DATETIME", "\"0000-00-00T00:00:00\"", "no years before 1"),
    ("DATETIME", "\"2016-01-00T00:00:00\"", "spelled YYYY-MM-DD"),
    ("TIMESTAMP NULL", "\"0000-00-00T00:00:00\"", "no years before 1"),
    ("DATETIME", "\"2016-01-25 10:00:00+02:00\"", "a time zone"),
    ("DATETIME", "\"2016-01-25T10:00\"", "HH:MM:SS"),
    ("TIME", "\"\"", "HH:MM:SS"),
    ("TIME", "\"10\"", "HH:MM:SS"),
    ("DATETIME", "\"2016-02-31T10:00:00\"", "Incorrect datetime value"),
    ("TIMESTAMP NULL", "\"1960-01-25T10:00:00\"", "Incorrect datetime value"),
    ("TIME", "\"900:00:00\"", "Incorrect time value"),
    ("TIME", "\"03:04:05+05:30\"", "time zone"),
    ("TIME", "\"1 mon\"", "neither months"),
    ("YEAR", "1800", "a year is 0 or has four digits"),
    ("YEAR", "70", "a year is 0 or has four digits"),
    ("YEAR", "5", "a year is 0 or has four digits"),
    ("YEAR", "\"70\"", "a year is 0 or has four digits"),
    ("YEAR", "\"0\"", "a year is 0 or has four digits"),
    ("YEAR", "true", "a year is 0 or has four digits"),
    ("ENUM('a','b')", "\"c\"", "not a member"),
    ("ENUM('a','b')", "\"1\"", "not a member"),
    ("ENUM('a','b')", "\"A\"", "not a member"),
    ("SET('a','b')", "\"a,c\"", "not a member"),
    ("SET('a','b')", "\"b,a,b\"", "comes twice"),
    ("SET('a','b')", "[\"a\", \"b\"]", "not a member"),
    ("SET('a','🐘') CHARACTER SET utf8mb4", "\"a,🐘\"", "VARCHAR"),
    ("ENUM('a','🐘') CHARACTER SET utf8mb4", "\"🐘\"", "VARCHAR"),
    ("TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP", "null", "does not take NULL"),
    ("INT NOT NULL", "null", "does not take NULL"),
    ("INT CHECK (v < 10)", "11", "v"),
];

#[tokio::test]
async fn what_does_not_fit_is_refused_by_name() {
    let tables = REFUSED.iter().enumerate().map(|(at, (type_name, ..))| {
        format!("CREATE TABLE r{at} (part VARCHAR(5), id INT, a INT NOT NULL, v {type_name}, z INT, PRIMARY KEY (id, part));")
    });
    for world in World::both("values_refused", &tables.collect::<String>()) {
        let mut writer = world.writer().await;
        for (at, (type_name, json, expected)) in REFUSED.iter().enumerate() {
            let long = format!("\"{}\"", "x".repeat(256));
            let json = if *json == "\"~\"" { long.as_str() } else { json };
            let ids: Vec<_> = (0..50).map(|id: u32| id.to_string()).collect();
            let bad = [["37", "\"p\"", "1", json, "9"]];
            let good = ids.iter().map(|id| [id.as_str(), "\"p\"", "1", good_value(type_name), "9"]);
            let rows: Vec<_> = good.filter(|row| row[0] != "37").chain(bad).collect();
            let rows: Vec<&[&str]> = rows.iter().map(<[&str; 5]>::as_slice).collect();
            let refused = writer.upsert(&format!("r{at}"), &["id", "part", "a", "v", "z"], &rows).await;
            let error = refused.expect_err(type_name);
            let shown = format!("{:?} {type_name} {json}: {error:?}", world.flavour);
            assert_eq!(error.kind, ErrorKind::Refused, "{shown}");
            assert!(
                expected.split('|').any(|text| error.message.contains(text)) && error.hint.is_some() && !error.conflict,
                "{shown}"
            );
            assert_eq!(error.key.as_deref(), Some("id=37, part=p"), "{shown}");
            if !type_name.contains("CHECK") {
                assert_eq!(error.column.as_deref(), Some("v"), "{shown}");
            }
            assert_eq!(world.sql(&format!("SELECT COUNT(*) FROM r{at}")), "0", "{shown}");
        }
    }
}

pub(crate) fn good_value(type_name: &str) -> &'static str {
    match type_name.split(['(', ' ']).next().unwrap_or_default() {
        "VARCHAR" | "CHAR" | "ENUM" | "SET" | "TINYTEXT" => "\"a\"",
        "BINARY" if type_name == "BINARY(20)" => "\"\\\\x6869686968696869686968696869686968696869\"",
        "BINARY" | "VARBINARY" | "BLOB" => "\"\\\\x68\"",
        "BIT" => "\"1\"",
        "DATE" => "\"2016-01-25\"",
        "DATETIME" | "TIMESTAMP" => "\"2016-01-25T10:00:00\"",
        "TIME" => "\"01:00:00\"",
        "YEAR" => "2016",
        _ => "1",
    }
}

#[tokio::test]
async fn json_numbers_that_would_be_rounded_are_refused() {
    for world in World::both("values_json", "CREATE TABLE t (id INT PRIMARY KEY, v JSON)") {
        let mut writer = world.writer().await;
        let written = writer.upsert("t", &["id", "v"], &[&["1", "{\"a\": 0.12345678901234567890}"]]).await;
        match world.flavour {
            Flavour::MariaDb => {
                assert_eq!(written.map(|()| world.sql("SELECT v FROM t")).unwrap(), "{\"a\": 0.12345678901234567890}");
            }
            Flavour::MySql => {
                let error = written.unwrap_err();
                assert!(error.message.contains("would round") && error.key.as_deref() == Some("id=1"), "{error:?}");
            }
        }
    }
}

#[tokio::test]
async fn random_values_make_the_round_trip() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, i BIGINT, n DECIMAL(30,6), f DOUBLE, t TEXT, b VARBINARY(60), d DATE, m DATETIME(6),
         u BINARY(16))";
    for world in World::both("values_random", schema) {
        let mut writer = world.writer().await;
        let (seed, random) = Random::fill(&mut writer).await;
        let uuid = "CONCAT_WS('-', LEFT(HEX(u), 8), MID(HEX(u), 9, 4), MID(HEX(u), 13, 4), MID(HEX(u), 17, 4), RIGHT(HEX(u), 12))";
        let shown = world.sql(&format!("SELECT i, n, f, HEX(t), HEX(b), d, m, {uuid} FROM t ORDER BY id"));
        assert_eq!(shown.lines().count(), random.len());
        for (line, row) in shown.lines().zip(&random) {
            assert!(row.is_shown(line), "{:?}, seed {seed}: {:?} became {line}", world.flavour, row.json);
        }
    }
}
