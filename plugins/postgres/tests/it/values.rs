//! What each type of column holds after a JSON value has come: as value, as NULL, as primary key; and what is refused.

use ebb_sdk::{Checks, ErrorKind, Operation, Session as _};

use crate::samples::Random;
use crate::world::World;

pub(crate) const TYPES: &str = "
    CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext;
    CREATE EXTENSION ltree SCHEMA ext;
    CREATE SCHEMA \"Other\"; CREATE TYPE \"Other\".\"State\" AS ENUM ('foo', 'bar', 'a \"b\", {c}');
    CREATE DOMAIN \"Other\".code AS varchar(5) CHECK (VALUE <> 'bad');
    CREATE DOMAIN \"Other\".document AS jsonb; CREATE DOMAIN nested AS \"Other\".document;
    CREATE DOMAIN places AS int8[]; CREATE TYPE \"Other\".pair AS (a int, b int);
    ALTER DATABASE values_held SET TimeZone = 'America/New_York';
    ALTER DATABASE values_held SET DateStyle = 'SQL, DMY';
    ALTER DATABASE values_held SET IntervalStyle = 'iso_8601';";

/// Whether the type can be a key.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Use {
    Key,
    Value,
}
pub(crate) use Use::{Key, Value};

/// Type, use, JSON, and what the column shows afterwards in UTC.
pub(crate) const HELD: &[(&str, Use, &str, &str)] = &[
    ("boolean", Key, "true", "true"),
    ("int2", Key, "12345", "12345"),
    ("int4", Key, "-2147483648", "-2147483648"),
    ("int4", Key, "1E+2", "100"),
    ("int4", Value, "7.0", "7"),
    ("int8[]", Key, "[1, 2]", "{1,2}"),
    ("int8", Key, "9223372036854775807", "9223372036854775807"),
    ("numeric", Key, "26.30", "26.30"),
    ("numeric", Key, "1E+2", "100"),
    ("numeric(6,2)", Key, "498.77", "498.77"),
    ("numeric(6,2)", Key, "1E+2", "100.00"),
    ("numeric(600,2)", Key, "4E+50", "400000000000000000000000000000000000000000000000000.00"),
    ("numeric", Value, "\"NaN\"", "NaN"),
    ("numeric", Value, "\"Infinity\"", "Infinity"),
    ("float4", Key, "1.2345", "1.2345"),
    ("float4", Value, "1.100000023841858", "1.1"),
    ("float8", Key, "1E+2", "100"),
    ("float8", Key, "\"NaN\"", "NaN"),
    ("float8", Key, "\"-Infinity\"", "-Infinity"),
    ("float8", Key, "-0", "-0"),
    ("float8", Key, "5E-324", "5e-324"),
    ("float8", Value, "1.7976931348623157E+308", "1.7976931348623157e+308"),
    ("text", Key, r#""a1\\b/2?c\"3""#, r#"a1\b/2?c"3"#),
    ("text", Key, "\"\"", ""),
    ("text", Key, "\"🐘é\\u0001\"", "🐘é\u{1}"),
    ("text", Value, "{\"a\": [1]}", "{\"a\": [1]}"),
    ("varchar(10)", Key, "\"äöü  \"", "äöü  "),
    ("varchar", Key, "\"abc\"", "abc"),
    ("char(5)", Key, "\"abc\"", "abc"),
    ("\"char\"", Value, "\"a\"", "a"),
    ("name", Key, "\"pg_class\"", "pg_class"),
    ("text COLLATE \"C\"", Key, "\"x\"", "x"),
    ("ext.citext", Key, "\"Mixed\"", "Mixed"),
    ("bytea", Key, r#""\\x6869""#, "\\x6869"),
    ("bytea", Key, r#""\\x""#, "\\x"),
    ("date", Key, "\"2016-01-25\"", "2016-01-25"),
    ("date", Key, "\"0044-03-15 BC\"", "0044-03-15 BC"),
    ("date", Value, "\"infinity\"", "infinity"),
    ("date", Value, "\"-infinity\"", "-infinity"),
    ("date", Value, "\"12345-01-01\"", "12345-01-01"),
    ("date", Value, "\"2016-01-25T00:00:00\"", "2016-01-25"),
    ("time", Key, "\"01:23:45.123456\"", "01:23:45.123456"),
    ("time", Key, "\"24:00:00\"", "24:00:00"),
    ("timetz", Key, "\"03:04:05+05:30\"", "03:04:05+05:30"),
    ("timetz", Value, "\"03:04:05+00\"", "03:04:05+00"),
    ("timestamp", Key, "\"2016-01-25T10:10:10\"", "2016-01-25 10:10:10"),
    ("timestamp", Key, "\"2025-04-24T14:59:28.96273\"", "2025-04-24 14:59:28.96273"),
    ("timestamp", Key, "\"-0043-03-15T00:00:00\"", "0044-03-15 00:00:00 BC"),
    ("timestamp", Value, "\"12345-06-07T08:09:10\"", "12345-06-07 08:09:10"),
    ("timestamp", Value, "\"294277-01-01T23:59:59.999999\"", "infinity"),
    ("timestamptz", Key, "\"2016-01-25T15:10:10Z\"", "2016-01-25 15:10:10+00"),
    ("timestamptz", Key, "\"-0043-03-15T01:02:03.5Z\"", "0044-03-15 01:02:03.5+00 BC"),
    ("timestamptz", Value, "\"-4713-11-24T00:00:00Z\"", "-infinity"),
    ("interval", Key, "\"1 year 2 mons 3 days 04:05:06.789\"", "1 year 2 mons 3 days 04:05:06.789"),
    ("interval", Key, "\"-1 days +02:00:00\"", "-1 days +02:00:00"),
    ("uuid", Key, "\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\"", "7f9c24e8-3b12-4fef-91e0-56a2d5a246ec"),
    ("inet", Key, "\"::ffff:1.2.3.4\"", "::ffff:1.2.3.4/128"),
    ("inet", Value, "\"10.1.2.3/8\"", "10.1.2.3/8"),
    ("cidr", Key, "\"10.0.0.0/8\"", "10.0.0.0/8"),
    ("macaddr", Key, "\"08:00:2b:01:02:03\"", "08:00:2b:01:02:03"),
    ("json", Value, "{\"b\": 1, \"a\": [1.10,  null]}", "{\"b\": 1, \"a\": [1.10,  null]}"),
    ("json", Value, "\"hello \\\"you\\\"\"", "\"hello \\\"you\\\"\""),
    ("jsonb", Value, "{\"b\": 1, \"a\": [1.10, null]}", "{\"a\": [1.10, null], \"b\": 1}"),
    ("jsonb", Value, "\"hello\"", "\"hello\""),
    ("jsonb", Value, "\"123\"", "\"123\""),
    ("jsonb", Value, "123", "123"),
    ("jsonb", Value, "true", "true"),
    ("jsonb", Value, "[]", "[]"),
    ("jsonb", Value, "{\"__crdb_json_null__\": true}", "null"),
    ("text[]", Key, r#"["sky", null, "a,b\"c{}\\", ""]"#, r#"{sky,NULL,"a,b\"c{}\\",""}"#),
    ("text[]", Value, "[\"NULL\"]", "{\"NULL\"}"),
    ("text[]", Value, "[]", "{}"),
    ("int8[]", Value, "[1, null, 9223372036854775807]", "{1,NULL,9223372036854775807}"),
    ("uuid[]", Value, "[\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\"]", "{7f9c24e8-3b12-4fef-91e0-56a2d5a246ec}"),
    ("bool[]", Value, "[true, false, null]", "{t,f,NULL}"),
    ("numeric[]", Value, "[26.30, 1E+2, \"NaN\"]", "{26.30,100,NaN}"),
    ("timestamptz[]", Value, "[\"2016-01-25T15:10:10Z\"]", "{\"2016-01-25 15:10:10+00\"}"),
    ("timestamp[]", Value, "[\"-0043-03-15T00:00:00\"]", "{\"0044-03-15 00:00:00 BC\"}"),
    ("bytea[]", Value, r#"["\\x6869", "\\x"]"#, r#"{"\\x6869","\\x"}"#),
    ("jsonb[]", Value, r#"["a", {"b": 1}, null]"#, r#"{"\"a\"","{\"b\": 1}",NULL}"#),
    ("varchar(5)[]", Value, "[\"abcde\"]", "{abcde}"),
    ("\"Other\".\"State\"", Key, "\"bar\"", "bar"),
    ("\"Other\".\"State\"[]", Value, r#"["foo", "a \"b\", {c}"]"#, r#"{foo,"a \"b\", {c}"}"#),
    ("bit(8)", Key, "\"10010101\"", "10010101"),
    ("varbit", Key, "\"10010101\"", "10010101"),
    ("bit varying(4)", Key, "\"101\"", "101"),
    ("tsvector", Value, "\"'a':1A 'cat':3\"", "'a':1A 'cat':3"),
    ("tsquery", Value, "\"'a' & 'b'\"", "'a' & 'b'"),
    ("xml", Value, "\"<a>1</a>\"", "<a>1</a>"),
    ("ext.hstore", Value, "\"\\\"a\\\"=>\\\"1\\\"\"", "\"a\"=>\"1\""),
    ("ext.ltree", Key, "\"a.b\"", "a.b"),
    ("int4range", Value, "\"[1,5)\"", "[1,5)"),
    ("tstzrange", Value, "\"[2016-01-25T15:10:10Z,)\"", "[\"2016-01-25 15:10:10+00\",)"),
    ("money", Value, "\"$12.50\"", "$12.50"),
    ("money", Key, "1E+2", "$100.00"),
    ("money", Value, "-1234.5", "-$1,234.50"),
    ("money[]", Value, "[1.5, null]", "{$1.50,NULL}"),
    ("pg_lsn", Value, "\"16/B374D848\"", "16/B374D848"),
    ("oid", Value, "\"1234\"", "1234"),
    ("\"Other\".code", Key, "\"abcde\"", "abcde"),
    ("nested", Value, "\"hello\"", "\"hello\""),
    ("\"Other\".document[]", Value, "[\"x\", 1]", "{\"\\\"x\\\"\",1}"),
    ("places", Value, "[1, 2]", "{1,2}"),
];

#[tokio::test]
async fn every_type_holds_what_came() {
    let tables = HELD.iter().enumerate().map(|(at, (type_name, as_key, ..))| {
        let key = format!("CREATE TABLE k{at} (n int, v {type_name} PRIMARY KEY);");
        let value = format!("CREATE TABLE v{at} (id int PRIMARY KEY, v {type_name});");
        if *as_key == Key { value + &key } else { value }
    });
    let world = World::new("values_held", &(TYPES.to_owned() + &tables.collect::<String>()));
    let mut writer = world.writer().await;
    writer.session.begin(Checks::Immediate).await.unwrap();
    for (at, (type_name, _, json, _)) in HELD.iter().enumerate() {
        let rows: [&[&str]; 3] = [&["1", json], &["2", "null"], &["3", json]];
        let written = writer.write(&format!("v{at}"), Operation::Upsert, &["id", "v"], &rows).await;
        written.unwrap_or_else(|error| panic!("{type_name} {json}: {error}"));
        // What was there gives way, to a value as to NULL.
        let rows: [&[&str]; 2] = [&["2", json], &["3", "null"]];
        writer.write(&format!("v{at}"), Operation::Upsert, &["id", "v"], &rows).await.unwrap();
    }
    writer.commit().await.unwrap();
    let shown = |at: usize| {
        format!("SELECT {at} AS at, string_agg(id || '=' || coalesce(v::text, 'none'), ';' ORDER BY id) FROM v{at}")
    };
    let shown: Vec<_> = (0..HELD.len()).map(shown).collect();
    let settings = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres';";
    let shown = world.sql(&format!("{settings} {} ORDER BY at", shown.join(" UNION ALL ")));
    for ((at, line), (type_name, _, json, expected)) in shown.lines().enumerate().zip(HELD) {
        assert_eq!(line, format!("{at}|1={expected};2={expected};3=none"), "{type_name} {json}");
    }
    assert_eq!(shown.lines().count(), HELD.len());
}

#[tokio::test]
async fn every_key_finds_its_row() {
    let keys = || HELD.iter().enumerate().filter(|(_, (_, as_key, ..))| *as_key == Key);
    let tables: String =
        keys().map(|(at, (type_name, ..))| format!("CREATE TABLE k{at} (n int, v {type_name} PRIMARY KEY);")).collect();
    let world = World::new("values_keys", &(TYPES.replace("values_held", "values_keys") + &tables));
    let mut writer = world.writer().await;
    for (at, (type_name, _, json, _)) in keys() {
        let table = format!("k{at}");
        writer.upsert(&table, &["n", "v"], &[&["1", json]]).await.unwrap_or_else(|error| panic!("{json}: {error}"));
        writer.upsert(&table, &["v", "n"], &[&[json, "2"]]).await.unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!(world.sql(&format!("SELECT string_agg(n::text, ',') FROM k{at}")), "2", "{type_name} {json}");
        writer.delete(&table, &["v"], &[&[json]]).await.unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!(world.sql(&format!("SELECT count(*) FROM k{at}")), "0", "{type_name} {json}");
    }
}

/// Type, JSON, and what the message says.
pub(crate) const REFUSED: &[(&str, &str, &str)] = &[
    ("int4", "9223372036854775807", "out of range"),
    ("int4", "1.5", "an integer cannot hold digits behind the point"),
    ("int4", "\"0x10\"", "not a number in its plain spelling"),
    ("money", "\"1,5\"", "invalid input syntax"),
    ("money", "\"$1,5\"", "invalid input syntax"),
    ("oid", "-1", "read as something else"),
    ("bit(8)", "10", "digits 0 and 1"),
    ("date", "\"70-01-02\"", "a year of four digits"),
    ("timestamp", "\"now\"", "a year of four digits"),
    ("interval year to month", "\"1 year 5 days\"", "an interval with fields"),
    ("\"Other\".pair", "\"(1,2)\"", "a row type"),
    ("numeric(6,2)", "123456", "numeric field overflow (A field with precision 6, scale 2"),
    ("float4", "1E+300", "out of range"),
    ("varchar(3)", "\"abcd\"", "value too long"),
    ("varchar(3)", "\"abc \"", "value too long"),
    ("varchar(3)[]", "[\"ab\", \"abcd\"]", "value too long"),
    ("char(3)", "\"abcd\"", "value too long for type character(3)"),
    ("char(3)[]", "[\"abcd\"]", "value too long for type character(3)"),
    ("name", "\"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\"", "value too long"),
    ("text", "\"a\\u0000b\"", "U+0000"),
    ("jsonb", "\"{\\\"a\\\": 1}\"", "spells a JSON object or array"),
    ("jsonb", "{\"a\": \"\\u0000\"}", "unsupported Unicode escape sequence"),
    ("bytea", "\"hi\"", "text where bytes"),
    ("date", "\"2016-01-25T10:00:00\"", "a date cannot hold a time of day"),
    ("time", "\"03:04:05+05:30\"", "without a zone"),
    ("bit(8)", "\"101\"", "bit string length 3 does not match type bit(8)"),
    ("bit varying(2)", "\"101\"", "bit string too long for type bit varying(2)"),
    ("uuid", "\"x\"", "invalid input syntax for type uuid"),
    ("\"Other\".\"State\"", "\"baz\"", "invalid input value for enum \"Other\".\"State\": \"baz\""),
    ("\"Other\".code", "\"bad\"", "violates check constraint"),
    ("\"Other\".code", "\"abcdef\"", "value too long"),
    ("int8[]", "[1, \"x\"]", "not a number in its plain spelling"),
    ("int8[]", "{\"a\": 1}", "the value is not an array"),
    ("text NOT NULL", "null", "null value in column \"v\""),
];

#[tokio::test]
async fn what_does_not_fit_is_refused_by_name() {
    let types = TYPES.replace("values_held", "values_refused");
    let tables = REFUSED.iter().enumerate();
    // The column in front has no default and may not be NULL: a search that leaves it out must not blame it.
    let tables = tables.map(|(at, (type_name, ..))| {
        format!(
            "CREATE TABLE r{at} (part text, a text NOT NULL, id int, v {type_name}, z int, PRIMARY KEY (id, part));"
        )
    });
    let world = World::new("values_refused", &(types + &tables.collect::<String>()));
    let mut writer = world.writer().await;
    for (at, (type_name, json, expected)) in REFUSED.iter().enumerate() {
        let good = good_value(type_name);
        let ids: Vec<_> = (0..50).map(|id: u32| id.to_string()).collect();
        let rows: Vec<_> =
            ids.iter().map(|id| [id.as_str(), "\"p\"", "\"a\"", if id == "37" { json } else { good }, "9"]).collect();
        let rows: Vec<&[&str]> = rows.iter().map(<[&str; 5]>::as_slice).collect();
        let refused = writer.upsert(&format!("r{at}"), &["id", "part", "a", "v", "z"], &rows).await;
        let error = refused.expect_err(type_name);
        assert_eq!(error.kind, ErrorKind::Refused, "{error}");
        assert!(error.message.contains(expected), "{type_name} {json}: {error}");
        assert!(error.message.contains(", column v, value ") && error.hint.is_some(), "{error:?}");
        assert_eq!(error.table, Some(format!("public.r{at}")), "{error}");
        assert_eq!((error.column.as_deref(), error.key.as_deref()), (Some("v"), Some("id=37, part=p")), "{error}");
        assert_eq!(world.sql(&format!("SELECT count(*) FROM r{at}")), "0");
    }
}

/// A value that the type takes.
pub(crate) fn good_value(type_name: &str) -> &'static str {
    match type_name {
        name if name.ends_with("[]") => "[]",
        "jsonb" => "{}",
        "bytea" => r#""\\x00""#,
        "date" => "\"2016-01-25\"",
        "bit(8)" => "\"00000000\"",
        "time" => "\"10:00:00\"",
        "timestamp" => "\"2016-01-25T00:00:00\"",
        "interval year to month" | "\"Other\".pair" => "null",
        "oid" | "money" => "1",
        "bit varying(2)" => "\"1\"",
        "uuid" => "\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\"",
        "\"Other\".\"State\"" => "\"foo\"",
        name if name.starts_with("int") || name.starts_with("numeric") || name.starts_with("float") => "1",
        _ => "\"x\"",
    }
}

#[tokio::test]
async fn long_values_are_shown_in_part() {
    let world = World::new("values_long", "CREATE TABLE t (id text PRIMARY KEY, v int)");
    let mut writer = world.writer().await;
    let long = format!("\"{}\"", "x".repeat(5000));
    let error = writer.upsert("t", &["id", "v"], &[&["\"a\"", &long]]).await.unwrap_err();
    assert!(error.message.len() < 700 && error.message.contains("the row is id=a, column v, value \"xxx"), "{error}");
}

#[tokio::test]
async fn random_values_make_the_round_trip() {
    let world = World::new(
        "values_random",
        "CREATE TABLE t (id int PRIMARY KEY, i int8, n numeric, f float8, t text, b bytea, d date, m timestamptz, u uuid)",
    );
    let mut writer = world.writer().await;
    let (seed, random) = Random::fill(&mut writer).await;
    let shown = world.sql(
        "SET TimeZone = 'UTC'; SELECT i, n, f, encode(convert_to(t, 'UTF8'), 'hex'), encode(b, 'hex'), d,
             to_char(m, 'YYYY-MM-DD HH24:MI:SS.US'), u FROM t ORDER BY id",
    );
    assert_eq!(shown.lines().count(), random.len());
    for (line, row) in shown.lines().zip(&random) {
        assert!(row.is_shown(line), "seed {seed}: {:?} became {line}", row.json);
    }
}
