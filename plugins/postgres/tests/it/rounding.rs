//! Digits that a column has no room for: refused by name, or counted where they may be lost, and never in a key.

use ebb_sdk::{Checks, ColumnIndex, ErrorKind, Family, Fit, Operation, Rounded, Session as _, SourceType};

use crate::world::{World, table_of};

/// Type, JSON, and what the column shows when it may round.
const LOST: &[(&str, &str, &str)] = &[
    ("numeric(6,2)", "1.005", "1.01"),
    ("numeric(6,2)", "\"1.005\"", "1.01"),
    ("numeric(6,-2)", "150", "200"),
    ("numeric(6,2)[]", "[1, 1.005]", "{1.00,1.01}"),
    ("money", "12.345", "$12.35"),
    ("float4", "0.1234567890123", "0.12345679"),
    ("float4", "16777217", "1.6777216e+07"),
    ("float8", "9007199254740993", "9.007199254740992e+15"),
    ("float8", "0.12345678901234567890", "0.12345678901234568"),
    ("float8[]", "[9007199254740993]", "{9.007199254740992e+15}"),
    ("time(0)", "\"10:00:00.5\"", "10:00:01"),
    ("timetz(0)", "\"10:00:00.6+02\"", "10:00:01+02"),
    ("timestamp(3)", "\"2016-01-25T15:10:10.1239\"", "2016-01-25 15:10:10.124"),
    ("timestamptz(0)", "\"2016-01-25T15:10:10.6Z\"", "2016-01-25 15:10:11+00"),
    ("timestamp(0)[]", "[\"2016-01-25T15:10:10.6\"]", "{\"2016-01-25 15:10:11\"}"),
    ("interval(0)", "\"1 day 00:00:01.6\"", "1 day 00:00:02"),
    ("seconds", "\"2016-01-25T15:10:10.6\"", "2016-01-25 15:10:11"),
];

/// Zeros at the end are not lost, and a float is what its text says.
const KEPT: &[(&str, &str, &str)] = &[
    ("numeric(6,2)", "1.5000", "1.50"),
    ("money", "12.500", "$12.50"),
    ("float4", "1.100000023841858", "1.1"),
    ("float4", "0.1", "0.1"),
    ("float8", "0.1", "0.1"),
    ("float8", "1.00000000000000000000", "1"),
    ("timestamp(0)", "\"2016-01-25T15:10:10.000\"", "2016-01-25 15:10:10"),
];

fn world(database: &str) -> World {
    let cases = LOST.iter().chain(KEPT).enumerate();
    let tables = cases.map(|(at, (name, ..))| format!("CREATE TABLE t{at} (id int PRIMARY KEY, v {name});"));
    World::new(database, &("CREATE DOMAIN seconds AS timestamp(0);".to_owned() + &tables.collect::<String>()))
}

const SETTINGS: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres';";

#[tokio::test]
async fn digits_are_refused_by_name_or_rounded_where_they_may() {
    let world = world("rounding_values");
    let mut strict = world.writer().await;
    let mut lax = world.rounding_writer(&["*"]).await;
    for (at, (name, json, shown)) in LOST.iter().enumerate() {
        let (table, rows) = (format!("t{at}"), [["1", "null"], ["2", json]]);
        let rows: Vec<&[&str]> = rows.iter().map(<[&str; 2]>::as_slice).collect();
        let error = strict.upsert(&table, &["id", "v"], &rows).await.expect_err(name);
        assert_eq!(
            (error.kind, error.key.as_deref(), error.column.as_deref()),
            (ErrorKind::Refused, Some("id=2"), Some("v"))
        );
        assert!(error.message.contains("more digits than its column"), "{name} {json}: {error}");
        assert!(error.hint.unwrap().contains(&format!("--allow-rounding public.{table}.v")), "{name}");
        lax.session.begin(Checks::Immediate).await.unwrap();
        lax.write(&table, Operation::Upsert, &["id", "v"], &rows)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        lax.session.rollback().await.unwrap();
        assert_eq!(lax.session.rounded(), [], "{name}");
        lax.progress = lax.session.take_over(crate::world::FEED, 1).await.unwrap();
        lax.upsert(&table, &["id", "v"], &rows).await.unwrap();
        let expected = Rounded { table: format!("public.{table}"), column: "v".into(), values: 1 };
        assert_eq!((lax.session.rounded(), lax.session.rounded()), (vec![expected], vec![]), "{name}");
        assert_eq!(world.sql(&format!("{SETTINGS} SELECT v FROM t{at} WHERE id = 2")), *shown, "{name} {json}");
        strict.progress = strict.session.take_over(crate::world::FEED, 1).await.unwrap();
    }
    for (at, (name, json, shown)) in KEPT.iter().enumerate() {
        let table = format!("t{}", LOST.len() + at);
        strict
            .upsert(&table, &["id", "v"], &[&["1", json]])
            .await
            .unwrap_or_else(|error| panic!("{name} {json}: {error}"));
        assert_eq!(world.sql(&format!("{SETTINGS} SELECT v FROM {table}")), *shown, "{name} {json}");
    }
}

/// The type of a column, of the source, the digits of the latter, and whether some may be lost.
const SECONDS: &[(&str, Family, Option<u64>, bool)] = &[
    ("timestamp(3)", Family::Timestamp, Some(3), false),
    ("timestamp(3)", Family::Timestamp, Some(4), true),
    ("timestamp(3)", Family::Timestamp, None, true),
    ("timestamp(3)", Family::TimestampTz, Some(2), false),
    ("timestamp(0)", Family::Date, Some(0), false),
    ("timestamp(5)", Family::String, None, true),
    ("timestamptz(0)", Family::TimestampTz, Some(0), false),
    ("timestamptz(0)", Family::TimestampTz, Some(6), true),
    ("time(2)", Family::Time, Some(2), false),
    ("timetz(2)", Family::TimeTz, Some(3), true),
    ("interval(1)", Family::Interval, Some(1), false),
    ("interval(1)", Family::Interval, Some(6), true),
    ("seconds", Family::Timestamp, Some(0), false),
];

#[tokio::test]
async fn digits_of_a_second_are_lost_where_the_source_has_more() {
    let tables = SECONDS.iter().enumerate().map(|(at, (name, ..))| {
        format!(
            "CREATE TABLE t{at} (id int PRIMARY KEY, v {name}); CREATE TABLE a{at} (id int PRIMARY KEY, v {name}[]);"
        )
    });
    let domain = "CREATE DOMAIN seconds AS timestamp(0);".to_owned();
    let writer = World::new("rounding_seconds", &(domain + &tables.collect::<String>())).writer().await;
    for (at, &(name, family, scale, is_lost)) in SECONDS.iter().enumerate() {
        let source = SourceType { family, scale, ..SourceType::default() };
        let element = Some(Box::new(source.clone()));
        let array = SourceType { family: Family::Array, element, ..SourceType::default() };
        for (table, source) in [(format!("t{at}"), source), (format!("a{at}"), array)] {
            let fit = writer.session.fits(table_of(&writer.catalog, &table), ColumnIndex(1), &source);
            assert_eq!(matches!(fit, Fit::Rounds(_)), is_lost, "{name} from {family:?} {scale:?}: {fit:?}");
        }
    }
}

/// Type of a key, and two values of the source that would meet there.
const KEYS: &[(&str, &str, &str)] = &[
    ("time(0)", "\"10:00:00.1\"", "\"10:00:00.2\""),
    ("timestamp(0)", "\"2024-01-01T10:00:00.1\"", "\"2024-01-01T10:00:00.2\""),
    ("timestamptz(3)", "\"2024-01-01T10:00:00.1231Z\"", "\"2024-01-01T10:00:00.1232Z\""),
    ("numeric(6,2)", "1.001", "1.002"),
    ("money", "1.001", "\"$1.00\""),
    ("float8", "9007199254740993", "0.10000000000000000001"),
    ("float4", "16777217", "0.1234567890123"),
    ("interval(0)", "\"00:00:00.1\"", "\"1 mons\""),
    ("bit(4)", "\"101\"", "5"),
    ("char(5)", "\"ab \"", "\"ab  \""),
    ("uuid", "\"7F9C24E8-3B12-4FEF-91E0-56A2D5A246EC\"", "\"7f9c24e83b124fef91e056a2d5a246ec\""),
    ("int4", "\"007\"", "\"+7\""),
    ("boolean", "\"t\"", "\"TRUE\""),
    ("inet", "\"10.1.2.3/32\"", "\"::0\""),
    ("date", "\"16-01-25\"", "\"2016-1-25\""),
    ("bytea", "\"\\\\x6A\"", "\"\\\\x6\""),
    ("text", "1.50", "1E+2"),
];

#[tokio::test]
async fn keys_that_would_meet_are_refused_in_every_operation() {
    let tables =
        KEYS.iter().enumerate().map(|(at, (name, ..))| format!("CREATE TABLE k{at} (k {name} PRIMARY KEY, v int);"));
    let world = World::new("rounding_keys", &tables.collect::<String>());
    // Not even where rounding is allowed.
    let mut writer = world.rounding_writer(&["*"]).await;
    for (at, (name, one, other)) in KEYS.iter().enumerate() {
        let table = format!("k{at}");
        for json in [one, other] {
            for operation in [Operation::Upsert, Operation::Delete, Operation::Update, Operation::Replace] {
                writer.session.begin(Checks::Immediate).await.unwrap();
                let (columns, row) = (["k", "v"], [json, "1"]);
                let width = if operation == Operation::Delete { 1 } else { 2 };
                let written = writer.write(&table, operation, &columns[..width], &[&row[..width]]).await;
                let error = written.expect_err(&format!("{name} {json} {operation:?}"));
                assert_eq!((error.kind, error.conflict), (ErrorKind::Refused, false), "{error:?}");
                assert_eq!((error.table, error.column), (Some(format!("public.{table}")), Some("k".into())), "{name}");
                assert!(error.key.is_some_and(|key| key.starts_with("k=")) && error.hint.is_some(), "{name} {json}");
                writer.session.rollback().await.unwrap();
            }
        }
    }
}
