//! Keys convert one to one: what another key could be equal to on the target is refused, in every operation, and what is
//! taken finds its row again.

use ebb_sdk::{Checks, ColumnIndex, ErrorKind, Family, Fit, Operation, Session as _, SourceType};
use ebb_servers::Flavour;

use crate::world::{World, table_of};

/// Type of the key, keys that are taken, and keys that are refused.
const KEYS: &[(&str, &[&str], &[&str])] = &[
    ("INT", &["7", "-7", "1E+1"], &["\"007\"", "\"+1\"", "\" 1\"", "\"1.0\"", "1.5", "\"t\""]),
    ("DECIMAL(10,2)", &["1.50", "1E+2", "2.000", "\"0.5\""], &["1.005", "1E-3", "\"1.0\"", "\"1E+2\"", "\"01\""]),
    ("FLOAT", &["0.1", "1.5", "1.100000023841858"], &["0.123456789", "16777217", "\"1.0\""]),
    ("DOUBLE", &["0.1", "1E+300"], &["0.10000000000000001", "9007199254740993", "\"1E+2\""]),
    ("CHAR(5)", &["\"a\"", "\" a\""], &["\"a \"", "1.0"]),
    ("VARCHAR(9)", &["\"a \"", "\"B\"", "100", "0.5"], &["1.0", "1E+2", "{\"a\": 1}", "[1]"]),
    ("BINARY(2)", &["\"\\\\x6869\""], &["\"\\\\x68\"", "\"\\\\x68AA\"", "\"\\\\x\""]),
    ("VARBINARY(9)", &["\"\\\\x68\"", "\"\\\\x6800\""], &["\"\\\\x6A\""]),
    ("BINARY(16)", &["\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\""], &["\"7F9C24E8-3B12-4FEF-91E0-56A2D5A246EC\""]),
    ("BIT(4)", &["\"0101\"", "7"], &["\"101\"", "\"1\"", "1.5", "16", "-1"]),
    ("DATE", &["\"2016-01-25\""], &["\"2016-1-25\"", "\"2016-01-25T00:00:00\"", "\"16-01-25\""]),
    (
        "DATETIME",
        &["\"2024-01-01T10:00:00\""],
        &["\"2024-01-01T10:00:00.1\"", "\"2024-01-01 10:00:00\"", "\"2024-01-01T10:00:00.0\"", "\"2024-01-01\""],
    ),
    ("TIMESTAMP(3)", &["\"2024-01-01T10:00:00.123Z\""], &["\"2024-01-01T10:00:00.1234Z\""]),
    (
        "TIME(1)",
        &["\"10:00:00.5\"", "\"-10:00:00\"", "\"100:00:00\""],
        &["\"10:00:00.55\"", "\"1 day\"", "\"1:00:00\""],
    ),
    ("YEAR", &["2016", "\"1999\"", "0"], &["70", "5", "\"70\"", "\"5\"", "true", "2016.5"]),
    ("ENUM('a','1.0')", &["\"a\""], &["\"A\"", "1", "1.0"]),
    ("SET('a','b','c')", &["\"a,b\"", "\"\"", "\"c\""], &["\"b,a\"", "\"a,a\""]),
    ("UUID", &["\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\""], &["\"7F9C24E8-3B12-4FEF-91E0-56A2D5A246EC\""]),
    ("INET4", &["\"10.1.2.3\""], &["\"10.1.2.3/32\"", "\"::1\""]),
    ("INET6", &["\"::1\"", "\"::ffff:10.1.2.3\""], &["\"10.1.2.3\"", "\"::0001\"", "\"2001:DB8::1\""]),
];

fn is_on(type_name: &str, flavour: Flavour) -> bool {
    flavour == Flavour::MariaDb || !matches!(type_name, "UUID" | "INET4" | "INET6")
}

#[tokio::test]
async fn keys_that_could_meet_are_refused_in_every_operation() {
    for world in World::both("keys_refused", "") {
        let keys = || KEYS.iter().enumerate().filter(|(_, (type_name, ..))| is_on(type_name, world.flavour));
        let table = |(at, (type_name, ..)): (usize, &(&str, _, _))| {
            format!("CREATE TABLE k{at} (n INT, k {type_name} NOT NULL PRIMARY KEY);")
        };
        world.sql(&keys().map(table).collect::<String>());
        let mut writer = world.writer().await;
        for (at, (type_name, kept, refused)) in keys() {
            let name = format!("k{at}");
            let rows: Vec<_> = kept.iter().map(|key| [*key, "1"]).collect();
            let rows: Vec<&[&str]> = rows.iter().map(<[&str; 2]>::as_slice).collect();
            writer.upsert(&name, &["k", "n"], &rows).await.unwrap_or_else(|error| panic!("{type_name}: {error}"));
            let count = || world.sql(&format!("SELECT COUNT(*) FROM {name}"));
            assert_eq!(count(), kept.len().to_string(), "{:?} {type_name}", world.flavour);
            for key in *refused {
                for operation in [Operation::Upsert, Operation::Delete, Operation::Update, Operation::Replace] {
                    let (columns, row): (&[&str], &[&str]) = match operation {
                        Operation::Delete => (&["k"], &[key]),
                        _ => (&["k", "n"], &[key, "2"]),
                    };
                    writer.session.begin(Checks::Immediate).await.unwrap();
                    let error = writer.write(&name, operation, columns, &[row]).await;
                    writer.session.rollback().await.unwrap();
                    let error = error.expect_err(&format!("{type_name} {key} {operation:?}"));
                    let shown = format!("{:?} {type_name} {key} {operation:?}: {error:?}", world.flavour);
                    assert_eq!((error.kind, error.column.as_deref()), (ErrorKind::Refused, Some("k")), "{shown}");
                    assert!(error.key.is_some() && error.hint.is_some() && error.message.contains(&name), "{shown}");
                }
            }
            let rows: Vec<&[&str]> = rows.iter().map(|row| &row[..1]).collect();
            writer.delete(&name, &["k"], &rows).await.unwrap();
            assert_eq!(count(), "0", "{:?} {type_name}", world.flavour);
        }
    }
}

/// A key of texts of which only the beginning is indexed, and keys of bytes too.
#[tokio::test]
async fn the_beginning_of_a_key_is_not_the_key() {
    let schema =
        "CREATE TABLE t (k TEXT, v INT, PRIMARY KEY (k(3))); CREATE TABLE b (k BLOB, v INT, PRIMARY KEY (k(3)))";
    for world in World::both("keys_beginning", schema) {
        let mut writer = world.writer().await;
        for (table, one, other) in [("t", "\"abcd\"", "\"abce\""), ("b", "\"\\\\x61626364\"", "\"\\\\x61626365\"")] {
            writer.upsert(table, &["k", "v"], &[&[one, "1"]]).await.unwrap();
            let error = writer.upsert(table, &["k", "v"], &[&[other, "2"]]).await.unwrap_err();
            assert_eq!((error.kind, error.conflict), (ErrorKind::Refused, true), "{error:?}");
            writer.delete(table, &["k"], &[&[other]]).await.unwrap();
            assert_eq!(world.sql(&format!("SELECT k, v FROM {table}")), "abcd|1");
            writer.delete(table, &["k"], &[&[one]]).await.unwrap();
            assert_eq!(world.sql(&format!("SELECT COUNT(*) FROM {table}")), "0");
        }
    }
}

#[tokio::test]
async fn keys_that_cannot_be_written_are_named_at_start() {
    for world in World::both("keys_unfit", "") {
        // Each server refuses what the other takes.
        world.sql(match world.flavour {
            Flavour::MariaDb => "CREATE TABLE t (k JSON, v INT, PRIMARY KEY (k(99)))",
            Flavour::MySql => "CREATE TABLE t (a INT, k INT AS (a * 10) STORED PRIMARY KEY, v INT); INSERT INTO t (a, v) VALUES (1, 1)",
        });
        let catalog = world.session().await.describe().await.unwrap();
        for table in &catalog.tables {
            let [not_writable] = table.not_writable.as_slice() else { panic!("{table:?}") };
            assert!(not_writable.why.contains("column k of its primary key"), "{not_writable:?}");
            // The statement is the one that mends it.
            world.sql(&not_writable.hint);
        }
        let mut writer = world.writer().await;
        assert_eq!(table_of(&writer.catalog, "t").not_writable, []);
        writer.upsert("t", &["k", "v"], &[&["\"10\"", "2"], &["\"20\"", "2"]]).await.unwrap();
        writer.delete("t", &["k"], &[&["\"10\""]]).await.unwrap();
        assert_eq!(world.sql("SELECT k, v FROM t"), "20|2");
    }
}

#[tokio::test]
async fn what_a_key_refuses_is_said_at_start_and_it_never_rounds() {
    let tables = KEYS.iter().enumerate().map(|(at, (type_name, ..))| (at, *type_name));
    for world in World::both("keys_fit", "") {
        for (at, type_name) in tables.clone().filter(|(_, type_name)| is_on(type_name, world.flavour)) {
            world.sql(&format!("CREATE TABLE k{at} (k {type_name} NOT NULL PRIMARY KEY)"));
        }
        let writer = world.writer().await;
        let fit = |type_name: &str, sample: &SourceType| {
            let at = tables.clone().find(|(_, name)| *name == type_name).unwrap().0;
            writer.session.fits(table_of(&writer.catalog, &format!("k{at}")), ColumnIndex(0), sample)
        };
        for sample in crate::samples::samples() {
            for (_, type_name) in tables.clone().filter(|(_, type_name)| is_on(type_name, world.flavour)) {
                let found = fit(type_name, &sample.source);
                assert!(!matches!(found, Fit::Rounds(_)), "{type_name} {}: {found:?}", sample.source.name);
            }
        }
        let source =
            |name: &str, family, size_max| SourceType { name: name.into(), family, size_max, ..SourceType::default() };
        let timestamp = source("TIMESTAMP", Family::Timestamp, None);
        assert!(matches!(fit("DATETIME", &timestamp), Fit::Partial(why) if why.contains("fraction")));
        assert!(matches!(fit("INT", &source("VARBIT", Family::Bit, None)), Fit::Incompatible(_)));
        assert!(matches!(fit("VARCHAR(9)", &source("INT8[]", Family::Array, None)), Fit::Incompatible(_)));
        assert!(matches!(fit("FLOAT", &source("FLOAT8", Family::Float, Some(8))), Fit::Incompatible(_)));
        assert!(matches!(fit("BIT(4)", &source("VARBIT(4)", Family::Bit, Some(4))), Fit::Partial(_)));
        assert_eq!(fit("BIT(4)", &source("BIT(4)", Family::Bit, Some(4))), Fit::Full);
    }
}
