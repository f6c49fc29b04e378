//! Digits that a column has no room for: lost only where that is allowed, and counted then.

use ebb_sdk::{Checks, ColumnIndex, Family, Fit, Operation, Rounded, Session as _, SourceType};
use ebb_servers::Flavour;

use crate::samples::samples;
use crate::world::{World, Writer, connect_rounding, table_of};

/// Type, JSON, and what the column shows once the digits may be lost.
pub(crate) const ROUNDED: &[(&str, &str, &str)] = &[
    ("INT", "1.5", "2"),
    ("BIGINT", "9007199254740993.5", "9007199254740994"),
    ("INT", "\"2.4\"", "2"),
    ("DECIMAL(10,2)", "1.005", "1.01"),
    ("DECIMAL(10,2)", "12.3449E-1", "1.23"),
    ("FLOAT", "0.123456789", "0.123457"),
    ("DOUBLE", "0.10000000000000000001", "0.1"),
    ("DATETIME", "\"2016-01-25T10:10:10.6\"", "2016-01-25 10:10:11"),
    ("DATETIME(3)", "\"2016-01-25T10:10:10.1239\"", "2016-01-25 10:10:10.124"),
    ("TIME", "\"10:10:10.5\"", "10:10:11"),
];

#[tokio::test]
async fn digits_are_lost_only_where_that_is_allowed() {
    let table = |(at, (type_name, ..)): (usize, &(&str, &str, &str))| {
        format!("CREATE TABLE d{at} (id INT PRIMARY KEY, v {type_name}, w {type_name});")
    };
    for world in World::both("rounding", &ROUNDED.iter().enumerate().map(table).collect::<String>()) {
        let mut writer = Writer::new(connect_rounding(&world.url(), &["V"]).await).await;
        for (at, (type_name, json, shown)) in ROUNDED.iter().enumerate() {
            let name = format!("d{at}");
            let error = writer.upsert(&name, &["id", "v", "w"], &[&["1", json, json]]).await.unwrap_err();
            assert_eq!(error.column.as_deref(), Some("w"), "{type_name} {json}: {error:?}");
            let hint = error.hint.unwrap_or_default();
            assert!(hint.contains(&format!("--allow-rounding {name}.w")), "{hint}");
            assert!(error.message.contains("would lose digits"), "{}", error.message);
            assert_eq!(writer.session.rounded(), []);
            writer.upsert(&name, &["id", "v"], &[&["1", json], &["2", json], &["3", "null"]]).await.unwrap();
            let found = world.sql(&format!("SELECT v FROM {name} WHERE id = 1"));
            assert_eq!(found, *shown, "{:?} {type_name} {json}", world.flavour);
            let table = format!("rounding.{name}");
            assert_eq!(writer.session.rounded(), [Rounded { table, column: "v".into(), values: 2 }]);
        }
        assert_eq!(writer.session.rounded(), []);
    }
}

#[tokio::test]
async fn what_was_not_committed_is_not_counted_and_keys_never_round() {
    let schema = "CREATE TABLE t (id DECIMAL(9,1) PRIMARY KEY, v INT)";
    for world in World::both("rounding_counts", schema) {
        let mut writer = Writer::new(connect_rounding(&world.url(), &["*"]).await).await;
        writer.session.begin(Checks::Immediate).await.unwrap();
        writer.write("t", Operation::Upsert, &["id", "v"], &[&["1", "1.5"]]).await.unwrap();
        writer.session.rollback().await.unwrap();
        assert_eq!(writer.session.rounded(), []);
        writer.upsert("t", &["id", "v"], &[&["1.25", "1"]]).await.unwrap_err();
        writer.delete("t", &["id"], &[&["1.25"]]).await.unwrap_err();
        writer.upsert("t", &["id", "v"], &[&["1.2", "1"], &["1.3", "2.5"]]).await.unwrap();
        let expected = Rounded { table: "rounding_counts.t".into(), column: "v".into(), values: 1 };
        assert_eq!(writer.session.rounded(), [expected]);
    }
}

/// A value that loses digits is of a pair of types of which that was said.
#[tokio::test]
async fn what_may_be_lost_is_said_at_start() {
    let types = [
        "INT",
        "DECIMAL(10,2)",
        "FLOAT",
        "DOUBLE",
        "FLOAT(7,2)",
        "DOUBLE(12,2)",
        "DATETIME",
        "DATETIME(6)",
        "TIME",
        "JSON",
        "YEAR",
        "BIT(8)",
    ];
    let table = |(at, type_name): (usize, &&str)| format!("CREATE TABLE f{at} (id INT PRIMARY KEY, v {type_name});");
    for world in World::both("rounding_fit", &types.iter().enumerate().map(table).collect::<String>()) {
        let mut writer = world.writer().await;
        for (at, type_name) in types.iter().enumerate() {
            for sample in samples() {
                let fit =
                    writer.session.fits(table_of(&writer.catalog, &format!("f{at}")), ColumnIndex(1), &sample.source);
                for value in &sample.values {
                    let written = writer.upsert(&format!("f{at}"), &["id", "v"], &[&["1", value]]).await;
                    let lost = written.is_err_and(|error| error.message.contains("would lose digits"));
                    let is_said = matches!(fit, Fit::Rounds(_) | Fit::Incompatible(_));
                    assert!(!lost || is_said, "{type_name} from {} {value}: {fit:?}", sample.source.name);
                }
            }
        }
        let fit = |at: usize, source: &SourceType| {
            writer.session.fits(table_of(&writer.catalog, &format!("f{at}")), ColumnIndex(1), source)
        };
        let float =
            SourceType { family: Family::Float, size_max: Some(8), name: "FLOAT8".into(), ..Default::default() };
        assert!(matches!(fit(2, &float), Fit::Rounds(_)) && matches!(fit(3, &float), Fit::Partial(_)));
        let json = SourceType { family: Family::Json, name: "JSONB".into(), ..Default::default() };
        assert_eq!(matches!(fit(9, &json), Fit::Rounds(_)), world.flavour == Flavour::MySql);
    }
}

/// What a float with digits behind the point is not said to lose, the server shows as it came.
#[tokio::test]
async fn floats_show_what_they_are_not_said_to_lose() {
    let types = ["FLOAT(7,2)", "FLOAT(9,4)", "DOUBLE(15,2)", "DOUBLE(17,2)", "DOUBLE(30,20)"];
    let table = |(at, type_name): (usize, &&str)| format!("CREATE TABLE s{at} (id INT PRIMARY KEY, v {type_name});");
    let (seed, schema) = (fastrand::u64(..), types.iter().enumerate().map(table).collect::<String>());
    for world in World::both("rounding_shown", &schema) {
        let (mut writer, mut rng) = (world.writer().await, fastrand::Rng::with_seed(seed));
        for (at, type_name) in types.iter().enumerate() {
            let digits: Vec<u32> = type_name.split(['(', ',', ')']).filter_map(|digits| digits.parse().ok()).collect();
            let (before, behind) = (digits[0] - digits[1], digits[1] as usize);
            let (mut kept, mut refused) = (Vec::new(), 0);
            for id in 0..400 {
                let (before, after) = (rng.u32(1..=before), rng.u32(1..=digits[1].min(16)));
                let whole = rng.u64(0..10_u64.pow(before));
                let fraction = rng.u64(1..10_u64.pow(after));
                let number = format!("{whole}.{:0behind$}", fraction);
                match writer.upsert(&format!("s{at}"), &["id", "v"], &[&[&id.to_string(), &number]]).await {
                    Ok(()) => kept.push(number),
                    Err(error) if error.message.contains("would lose digits") => refused += 1,
                    Err(error) => panic!("{type_name} {number}, seed {seed}: {error}"),
                }
            }
            let shown = world.sql(&format!("SELECT v FROM s{at} ORDER BY id"));
            assert_eq!(shown.lines().collect::<Vec<_>>(), kept, "{:?} {type_name}, seed {seed}", world.flavour);
            assert_eq!(refused == 0, matches!(*type_name, "FLOAT(7,2)" | "DOUBLE(15,2)"), "{type_name}, seed {seed}");
        }
    }
}

#[tokio::test]
async fn digits_of_a_second_are_lost_where_the_source_has_more() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, at DATETIME(3), t TIMESTAMP(0) NULL, clock TIME(2))";
    for world in World::both("rounding_seconds", schema) {
        let writer = world.writer().await;
        for (column, family, scale, is_lost) in [
            (1, Family::Timestamp, Some(3), false),
            (1, Family::Timestamp, Some(4), true),
            (1, Family::TimestampTz, None, true),
            (1, Family::String, None, true),
            (2, Family::TimestampTz, Some(0), false),
            (2, Family::TimestampTz, Some(1), true),
            (3, Family::Time, Some(2), false),
            (3, Family::Time, Some(6), true),
            (3, Family::Interval, Some(2), false),
            (3, Family::Interval, Some(3), true),
        ] {
            let source = SourceType { family, scale, ..SourceType::default() };
            let fit = writer.session.fits(table_of(&writer.catalog, "t"), ColumnIndex(column), &source);
            assert_eq!(matches!(fit, Fit::Rounds(_)), is_lost, "column {column} from {family:?} {scale:?}: {fit:?}");
        }
    }
}
