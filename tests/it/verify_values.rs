//! `ebb verify` against the smallest change of each type: every one is found, with its table, key, column and both values, and
//! nothing else is.

use serde_json::Value;

use crate::harness::comparison::{DIALECTS, counts, must_be_equal, must_differ};
use crate::harness::target::MYSQLS;
use crate::harness::world::{Dialect, World};

/// A column with a value, and what is planted on PostgreSQL, MariaDB and MySQL in its place.
struct Column {
    name: &'static str,
    source: &'static str,
    /// PostgreSQL, and the others.
    target: [&'static str; 2],
    /// As CockroachDB's SQL writes it.
    value: &'static str,
    planted: [&'static [&'static str]; 3],
}

const fn column(
    name: &'static str,
    types: [&'static str; 3],
    value: &'static str,
    planted: [&'static [&'static str]; 3],
) -> Column {
    Column { name, source: types[0], target: [types[1], types[2]], value, planted }
}

/// The same on every target.
const fn same(
    name: &'static str,
    types: [&'static str; 3],
    value: &'static str,
    planted: &'static [&'static str],
) -> Column {
    column(name, types, value, [planted; 3])
}

const COLUMNS: &[Column] = &[
    same("b", ["bool", "boolean", "TINYINT(1)"], "true", &["false", "NULL"]),
    same("small", ["int2", "smallint", "SMALLINT"], "7", &["8", "-7", "NULL"]),
    same("big", ["int8", "bigint", "BIGINT"], "9223372036854775807", &["9223372036854775806", "NULL", "0"]),
    same(
        "n",
        ["numeric(30,10)", "numeric(30,10)", "DECIMAL(30,10)"],
        "12345678901234567890.0000000001",
        &["12345678901234567890.0000000002", "12345678901234567890", "-12345678901234567890.0000000001", "NULL"],
    ),
    column(
        "digits",
        ["numeric", "numeric", "DECIMAL(65,30)"],
        "1.10",
        [
            &["1.1", "1.100", "1.11"],
            &["1.100000000000000000000000000001", "1.11"],
            &["1.100000000000000000000000000001", "1.11"],
        ],
    ),
    same("f", ["float8", "double precision", "DOUBLE"], "0.3", &["0.30000000000000004", "-0.3", "NULL"]),
    column(
        "zero",
        ["float8", "double precision", "DOUBLE"],
        "0",
        // An UPDATE of MariaDB takes both zeros for the same.
        [&["'-0'", "5e-324", "'NaN'"], &["5e-320"], &["0 * -1e0", "5e-320"]],
    ),
    same(
        "s",
        ["text", "text", "VARCHAR(100)"],
        "'abc'",
        &["'ABC'", "'abC'", "'abc '", "' abc'", "'abç'", "''", "NULL", "'a\u{200b}bc'"],
    ),
    same("blank", ["text", "varchar(10)", "VARCHAR(10)"], "''", &["NULL", "' '"]),
    same("absent", ["text", "text", "TEXT"], "NULL", &["''", "'NULL'", "'null'"]),
    same("lengthy", ["text", "text", "LONGTEXT"], "repeat('é', 3000)", &["concat(repeat('é', 2999), 'e')"]),
    column(
        "bytes",
        ["bytea", "bytea", "VARBINARY(20)"],
        r"'\x6869'",
        [
            &[r"'\x6868'", r"'\x686900'", r"'\x'", "NULL"],
            &["x'6868'", "x'686900'", "''", "NULL"],
            &["x'6868'", "x'686900'", "''", "NULL"],
        ],
    ),
    same(
        "u",
        ["uuid", "uuid", "CHAR(36)"],
        "'7f9c24e8-3b12-4fef-91e0-56a2d5a246ec'",
        &["'7f9c24e8-3b12-4fef-91e0-56a2d5a246ed'", "NULL"],
    ),
    same("d", ["date", "date", "DATE"], "'2016-01-25'", &["'2016-01-26'", "'2015-01-25'", "NULL"]),
    same("t", ["time", "time", "TIME(6)"], "'01:23:45.123456'", &["'01:23:45.123457'", "'01:23:45'", "NULL"]),
    same(
        "ts",
        ["timestamp", "timestamp", "DATETIME(6)"],
        "'2016-01-25 10:10:10.999999'",
        &["'2016-01-25 10:10:10.999998'", "'2016-01-25 10:10:11'", "NULL"],
    ),
    column(
        "tz",
        ["timestamptz", "timestamptz", "TIMESTAMP(6) NULL"],
        "'2016-01-25 10:10:10.999999+00'",
        [
            &["tz + interval '1 microsecond'", "tz - interval '1 hour'", "NULL"],
            &["tz + INTERVAL 1 MICROSECOND", "tz - INTERVAL 1 HOUR", "NULL"],
            &["tz + INTERVAL 1 MICROSECOND", "tz - INTERVAL 1 HOUR", "NULL"],
        ],
    ),
    column(
        "iv",
        ["interval", "interval", "TIME(6)"],
        "'24:00:00'",
        [
            &["'1 day'", "'24:00:00.000001'", "'-24:00:00'"],
            &["'24:00:00.000001'", "'-24:00:00'"],
            &["'24:00:00.000001'", "'-24:00:00'"],
        ],
    ),
    column(
        "bits",
        ["varbit", "varbit", "BIT(8)"],
        "B'10010101'",
        [&["B'10010100'", "B'100101010'", "B''"], &["b'10010100'", "b'0'"], &["b'10010100'", "b'0'"]],
    ),
    column(
        "doc",
        ["jsonb", "jsonb", "JSON"],
        r#"'{"a": [1.10, null], "b": "x"}'"#,
        [
            &[
                r#"'{"a": [1.1, null], "b": "x"}'"#,
                r#"'{"a": [null, 1.10], "b": "x"}'"#,
                r#"'{"a": [1.10, null], "b": "X"}'"#,
                r#"'{"a": [1.10, null]}'"#,
                r#"'{"a": ["1.10", null], "b": "x"}'"#,
                "NULL",
            ],
            // It keeps the text of a document.
            &[
                r#"'{"a": [1.1, null], "b": "x"}'"#,
                r#"'{"a": [null, 1.10], "b": "x"}'"#,
                r#"'{"a": [1.10, null], "b": "X"}'"#,
                r#"'{"a": [1.10, null]}'"#,
                r#"'{"a": ["1.10", null], "b": "x"}'"#,
                "NULL",
            ],
            &[
                r#"'{"a": [1.11, null], "b": "x"}'"#,
                r#"'{"a": [null, 1.10], "b": "x"}'"#,
                r#"'{"a": [1.10, null], "b": "X"}'"#,
                r#"'{"a": [1.10, null]}'"#,
                r#"'{"a": ["1.10", null], "b": "x"}'"#,
                "NULL",
            ],
        ],
    ),
    same("nothing", ["jsonb", "jsonb", "JSON"], "'null'", &["NULL", "'0'", "'\"null\"'", "'{}'"]),
    same("no_doc", ["jsonb", "jsonb", "JSON"], "NULL", &["'null'", "'\"\"'", "'[]'"]),
    column(
        "list",
        ["text[]", "text[]", "JSON"],
        "ARRAY['a', NULL, 'b c']",
        [
            &["'{a,NULL,\"b C\"}'", "'{a,\"NULL\",\"b c\"}'", "'{NULL,a,\"b c\"}'", "'{}'", "NULL"],
            &[r#"'["a", null, "b C"]'"#, r#"'["a", "null", "b c"]'"#, r#"'[null, "a", "b c"]'"#, "'[]'", "NULL"],
            &[r#"'["a", null, "b C"]'"#, r#"'["a", "null", "b c"]'"#, r#"'[null, "a", "b c"]'"#, "'[]'", "NULL"],
        ],
    ),
    same("numbers", ["int8[]", "int8[]", "JSON"], "ARRAY[1, 2]::int8[]", &["NULL"]),
    same("ip", ["inet", "inet", "VARCHAR(50)"], "'10.0.0.1/24'", &["'10.0.0.1/25'", "'10.0.0.1'"]),
];

/// Rows that are taken away, and rows that are put there.
const GONE: u64 = 7;
const MORE: u64 = 5;

/// A place, a column and what is planted there.
fn planted(at: usize) -> Vec<(u64, &'static str, &'static str)> {
    let all = COLUMNS.iter().flat_map(|column| column.planted[at].iter().map(move |value| (column.name, *value)));
    all.zip(1..).map(|((name, value), id)| (id, name, value)).collect()
}

#[test]
fn the_smallest_change_of_each_type_is_found() {
    for (at, dialect) in DIALECTS.into_iter().enumerate() {
        let is_postgres = dialect == Dialect::Postgres;
        let list = |of: &dyn Fn(&Column) -> String| COLUMNS.iter().map(of).collect::<Vec<_>>().join(", ");
        let source = list(&|column| format!("{} {}", column.name, column.source));
        let target = list(&|column| format!("{} {}", column.name, column.target[usize::from(!is_postgres)]));
        let world = World::with_target(
            dialect,
            "verify_types",
            &format!("CREATE TABLE t (id int8 PRIMARY KEY, {source}); CREATE TABLE k (a text PRIMARY KEY)"),
            &format!("CREATE TABLE t (id BIGINT PRIMARY KEY, {target}); CREATE TABLE k (a VARCHAR(20) PRIMARY KEY)"),
        );
        // The source may have more digits than a column of MySQL; the one value here has not.
        let flags = ["--allow-rounding", "digits,doc,nothing,no_doc,list,numbers"];
        let ebb = world.fetch(&flags).ready();
        let planted = planted(at);
        let changed = planted.len() as u64;
        let rows = changed + GONE + 3;
        let values = list(&|column| column.value.to_owned());
        world.source(&format!("INSERT INTO t SELECT i, {values} FROM generate_series(1, {rows}) AS i"));
        world.source("INSERT INTO k VALUES ('a'), ('b'), ('c '), ('')");
        world.wait_target(&ebb, "SELECT COUNT(*) FROM t", &rows.to_string());
        world.wait_target(&ebb, "SELECT COUNT(*) FROM k", "4");
        must_be_equal(&world, &flags);
        for (id, name, value) in &planted {
            world.target(&format!("UPDATE t SET {name} = {value} WHERE id = {id}"));
        }
        world.target(&format!("DELETE FROM t WHERE id > {changed} AND id <= {}", changed + GONE));
        (0..MORE).for_each(|row| drop(world.target(&format!("INSERT INTO t (id) VALUES ({})", 100_000 + row))));
        world.target("UPDATE k SET a = 'A' WHERE a = 'a'");
        let result = must_differ(&world, &[&flags[..], &["--limit", "1000"]].concat());
        must_be_named(dialect, &result, &planted);
        assert_eq!(counts(&result, "t"), [rows, GONE, MORE, changed].map(Some), "{dialect:?}");
        assert_eq!(counts(&result, "k"), [4, 1, 1, 0].map(Some), "{dialect:?} {result:#}");
        ebb.stop();
    }
}

/// Each with its key, its column and both values.
fn must_be_named(dialect: Dialect, result: &Value, planted: &[(u64, &str, &str)]) {
    let shown = result["shown"].as_array().expect("a list");
    let of = |kind: &'static str| shown.iter().filter(move |row| row["kind"] == kind && row["key"][0][0] == "id");
    for (id, name, value) in planted {
        let what = format!("{dialect:?} {name} = {value}");
        let is_it = |row: &&Value| row["key"] == serde_json::json!([["id", id.to_string()]]);
        let row = of("different").find(is_it).unwrap_or_else(|| panic!("{what} is not found"));
        let [column] = &row["columns"].as_array().expect("a list")[..] else { panic!("{what}: {row:#}") };
        assert_eq!(column["column"], *name, "{what}: {row:#}");
        let (source, target) = (&column["source"], &column["target"]);
        let is_long = *name == "lengthy";
        assert!(source != target || is_long, "{what}: {row:#}");
        assert_eq!(target.is_null(), *value == "NULL", "{what}: {row:#}");
        assert!(target.as_str().is_none_or(|text| text.chars().count() <= 140), "{what}: {row:#}");
    }
    assert_eq!((of("missing").count() as u64, of("extra").count() as u64), (GONE, MORE));
}

/// Before 24.2 a changefeed sends a JSON null as SQL NULL, and so it is written: it must be compared as such.
#[test]
fn a_json_null_is_what_the_feed_makes_of_it() {
    let schema = "CREATE TABLE t (id int8 PRIMARY KEY, doc jsonb)";
    for (release, is_marked) in [("24.1.3", false), ("24.2.0", true)] {
        let world = World::of_release(release, &format!("verify_json_{is_marked}"), schema);
        let ebb = world.fetch(&[]).ready();
        world.source("INSERT INTO t VALUES (1, 'null'), (2, NULL), (3, '{\"a\": null}'), (4, '\"null\"')");
        world.wait_target(&ebb, "SELECT count(*) FROM t", "4");
        let held = if is_marked { "1:null 2:SQL" } else { "1:SQL 2:SQL" };
        let sql = "SELECT string_agg(id || ':' || coalesce(doc::text, 'SQL'), ' ' ORDER BY id) FROM t WHERE id < 3";
        assert_eq!(world.target(sql), held, "{release}");
        must_be_equal(&world, &[]);
        world.target("UPDATE t SET doc = CASE id WHEN 1 THEN NULL ELSE 'null'::jsonb END WHERE id < 3");
        let changed = if is_marked { 2 } else { 1 };
        assert_eq!(counts(&must_differ(&world, &[]), "t"), [4, 0, 0, changed].map(Some), "{release}");
        ebb.stop();
    }
}

/// The same letters in another case are another key, also where the target takes them for equal.
#[test]
fn a_key_is_compared_letter_by_letter() {
    for dialect in MYSQLS {
        let source = "CREATE TABLE k (a text, b int8, v int8, PRIMARY KEY (a, b))";
        let target = "CREATE TABLE k (v BIGINT, b BIGINT, a VARCHAR(20), PRIMARY KEY (b, a))";
        let world = World::with_target(dialect, "verify_letters", source, target);
        let ebb = world.fetch(&[]).ready();
        world.source("INSERT INTO k SELECT chr(96 + i::int) || ' x', i, i FROM generate_series(1, 20) AS i");
        world.wait_target(&ebb, "SELECT COUNT(*) FROM k", "20");
        must_be_equal(&world, &[]);
        world.target("UPDATE k SET a = 'C x' WHERE b = 3");
        world.target("UPDATE k SET a = 'd x ' WHERE b = 4");
        let result = must_differ(&world, &[]);
        assert_eq!(counts(&result, "k"), [20, 2, 2, 0].map(Some), "{dialect:?} {result:#}");
        let result = must_differ(&world, &["--only-keys"]);
        assert_eq!(counts(&result, "k"), [20, 2, 2, 0].map(Some), "{dialect:?} {result:#}");
        ebb.stop();
    }
}
