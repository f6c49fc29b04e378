//! Upserts and deletes: which rows change, and which do not.

use ebb_sdk::{Checks, ErrorKind, Operation, Session as _};
use ebb_servers::Flavour;

use crate::world::World;

#[tokio::test]
async fn rows_come_change_and_go() {
    for world in World::both("rows_basic", "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), b INT DEFAULT 7)") {
        let mut writer = world.writer().await;
        writer.upsert("t", &["id", "a"], &[&["1", "\"x\""], &["2", "null"], &["3", "\"z\""]]).await.unwrap();
        writer.upsert("t", &["a", "id"], &[&["\"y\"", "2"], &["\"z\"", "3"]]).await.unwrap();
        assert_eq!(world.sql("SELECT * FROM t ORDER BY id"), "1|x|7\n2|y|7\n3|z|7");
        writer.delete("t", &["id"], &[&["1"], &["9"], &["3"]]).await.unwrap();
        assert_eq!(world.sql("SELECT * FROM t"), "2|y|7");
    }
}

#[tokio::test]
async fn rows_of_every_number_are_split_into_statements() {
    let columns: Vec<String> = (0..60).map(|at| format!("c{at} INT")).collect();
    let schema = format!("CREATE TABLE t ({}, PRIMARY KEY (c3))", columns.join(", "));
    for world in World::both("rows_wide", &schema) {
        let mut writer = world.writer().await;
        let names: Vec<_> = (0..60).map(|at| format!("c{at}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for count in [1_usize, 3, 4, 5, 63, 64, 1023, 2000] {
            let numbers: Vec<_> = (0..count).map(|row| row.to_string()).collect();
            let rows: Vec<_> = numbers.iter().map(|number| vec![number.as_str(); 60]).collect();
            let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
            writer.upsert("t", &names, &rows).await.unwrap();
            let sum = (0..count).sum::<usize>();
            assert_eq!(world.sql("SELECT COUNT(*), SUM(c0), SUM(c59) FROM t"), format!("{count}|{sum}|{sum}"));
            writer.delete("t", &["c3"], &rows.iter().map(|row| &row[..1]).collect::<Vec<_>>()).await.unwrap();
            assert_eq!(world.sql("SELECT COUNT(*) FROM t"), "0");
        }
    }
}

#[tokio::test]
async fn values_larger_than_a_message_should_be_are_split() {
    for world in World::both("rows_large", "CREATE TABLE t (id INT PRIMARY KEY, a LONGTEXT)") {
        let mut writer = world.writer().await;
        let text = format!("\"{}\"", "x".repeat(3 << 20));
        let ids: Vec<_> = (0..20).map(|id: u32| id.to_string()).collect();
        let rows: Vec<_> = ids.iter().map(|id| [id.as_str(), text.as_str()]).collect();
        let rows: Vec<&[&str]> = rows.iter().map(<[&str; 2]>::as_slice).collect();
        writer.upsert("t", &["id", "a"], &rows).await.unwrap();
        assert_eq!(world.sql("SELECT COUNT(*), SUM(LENGTH(a)) FROM t"), format!("20|{}", 20 * (3 << 20)));
    }
}

/// `ON DUPLICATE KEY UPDATE` fires on any unique key, and would write over the wrong row without a word.
#[tokio::test]
async fn an_upsert_never_touches_another_row() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, u VARCHAR(10) UNIQUE, v INT); INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2);
         CREATE TABLE k (a INT, b INT, PRIMARY KEY (a, b), UNIQUE (b)); INSERT INTO k VALUES (1, 1);
         CREATE TABLE f (id INT PRIMARY KEY, v VARCHAR(10), UNIQUE (v(2))); INSERT INTO f VALUES (1, 'abc')";
    for world in World::both("rows_other", schema) {
        let mut writer = world.writer().await;
        for row in [["3", "\"a\"", "9"], ["2", "\"a\"", "9"]] {
            let error = writer.upsert("t", &["id", "u", "v"], &[&["7", "\"g\"", "7"], &row]).await.unwrap_err();
            assert_eq!((error.kind, error.conflict), (ErrorKind::Refused, true), "{error:?}");
            assert_eq!(world.sql("SELECT * FROM t ORDER BY id"), "1|a|1\n2|b|2");
        }
        assert!(writer.upsert("k", &["a", "b"], &[&["2", "1"]]).await.unwrap_err().conflict);
        writer.upsert("k", &["a", "b"], &[&["1", "1"]]).await.unwrap();
        assert!(writer.upsert("f", &["id", "v"], &[&["2", "\"abd\""]]).await.unwrap_err().conflict);
        writer.upsert("t", &["id", "u", "v"], &[&["1", "\"a\"", "5"], &["3", "\"c\"", "6"]]).await.unwrap();
        assert_eq!(world.sql("SELECT * FROM t ORDER BY id"), "1|a|5\n2|b|2\n3|c|6");
        assert_eq!(world.sql("SELECT * FROM k; SELECT * FROM f"), "1|1\n1|abc");
    }
}

#[tokio::test]
async fn keys_that_are_equal_here_may_be_two_rows_at_the_source() {
    let schema = "CREATE TABLE t (name VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT);
         CREATE TABLE l (name VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci PRIMARY KEY, v INT);
         CREATE TABLE c (city VARCHAR(10), n INT, v INT, PRIMARY KEY (city, n));
         CREATE TABLE k (name VARCHAR(20) PRIMARY KEY)";
    for world in World::both("rows_folded", schema) {
        let mut writer = world.writer().await;
        for (table, a, b) in [("t", "Ada", "ADA"), ("t", "x", "x "), ("l", "é", "É"), ("t", "É", "é")] {
            let (json_a, json_b) = (format!("\"{a}\""), format!("\"{b}\""));
            writer.upsert(table, &["name", "v"], &[&[&json_a, "1"]]).await.unwrap();
            let both: [&[&[&str]]; 2] = [&[&[&json_b, "2"]], &[&["\"0\"", "0"], &[&json_b, "2"], &[&json_a, "3"]]];
            for rows in both {
                let error = writer.upsert(table, &["name", "v"], rows).await.unwrap_err();
                assert_eq!((error.kind, error.conflict), (ErrorKind::Refused, true), "{error:?}");
            }
            let error = writer.upsert(table, &["name", "v"], both[0]).await.unwrap_err();
            assert_eq!(error.key.unwrap(), format!("name={b}"));
            writer.delete(table, &["name"], &[&[&json_b]]).await.unwrap();
            assert_eq!(world.sql(&format!("SELECT * FROM {table}")), format!("{a}|1"));
            writer.upsert(table, &["name", "v"], &[&[&json_a, "4"]]).await.unwrap();
            writer.delete(table, &["name"], &[&[&json_a]]).await.unwrap();
            writer.upsert(table, &["name", "v"], &[&[&json_b, "5"]]).await.unwrap();
            assert_eq!(world.sql(&format!("SELECT * FROM {table}")), format!("{b}|5"));
            writer.delete(table, &["name"], &[&[&json_b]]).await.unwrap();
        }
        // Each part of the one key is in the other, and together they are not the row.
        writer.upsert("c", &["city", "n", "v"], &[&["\"Rome\"", "1", "0"], &["\"Oslo\"", "2", "0"]]).await.unwrap();
        writer
            .delete("c", &["n", "city"], &[&["2", "\"Rome\""], &["1", "\"ROME\""], &["9", "\"Oslo\""]])
            .await
            .unwrap();
        assert_eq!(world.sql("SELECT COUNT(*) FROM c"), "2");
        writer.delete("c", &["n", "city"], &[&["2", "\"Oslo\""], &["1", "\"Rome\""]]).await.unwrap();
        assert_eq!(world.sql("SELECT COUNT(*) FROM c"), "0");
        writer.upsert("k", &["name"], &[&["\"Ada\""]]).await.unwrap();
        writer.upsert("k", &["name"], &[&["\"Ada\""]]).await.unwrap();
        writer.upsert("k", &["name"], &[&["\"ADA\""]]).await.unwrap_err();
        assert_eq!(world.sql("SELECT * FROM k"), "Ada");
    }
}

/// MySQL compares a number with a text as doubles, to which these are the same.
#[tokio::test]
async fn keys_are_told_apart_to_the_last_digit() {
    let schema = "CREATE TABLE d (k DECIMAL(30,5) PRIMARY KEY); CREATE TABLE i (k BIGINT UNSIGNED PRIMARY KEY);
         CREATE TABLE m (k DATETIME(6) PRIMARY KEY)";
    for world in World::both("rows_digits", schema) {
        let mut writer = world.writer().await;
        for (table, gone, kept, shown) in [
            (
                "d",
                "1234567890123456789012345.00001",
                "1234567890123456789012345.00002",
                "1234567890123456789012345.00002",
            ),
            ("i", "18446744073709551615", "18446744073709551614", "18446744073709551614"),
            ("m", "\"2016-01-25T10:10:10.000001Z\"", "\"2016-01-25T10:10:10.000002Z\"", "2016-01-25 10:10:10.000002"),
        ] {
            writer.upsert(table, &["k"], &[&[gone], &[kept]]).await.unwrap();
            writer.delete(table, &["k"], &[&[gone]]).await.unwrap();
            assert_eq!(world.sql(&format!("SELECT k FROM {table}")), shown, "{:?}", world.flavour);
        }
    }
}

#[tokio::test]
async fn the_source_decides_what_the_target_would_make_up() {
    let schema = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v INT DEFAULT 5, changed TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP
             ON UPDATE CURRENT_TIMESTAMP, twice INT GENERATED ALWAYS AS (v * 2) STORED, own INT DEFAULT 3)";
    for world in World::both("rows_made_up", schema) {
        let mut writer = world.writer().await;
        let columns = ["id", "v", "changed"];
        writer.upsert("t", &columns, &[&["0", "1", "\"2020-01-01T00:00:00Z\""], &["7", "null", "null"]]).await.unwrap();
        let shown = "SET time_zone = '+00:00'; SELECT * FROM t ORDER BY id";
        assert_eq!(world.sql(shown), "0|1|2020-01-01 00:00:00|2|3\n7|NULL|NULL|NULL|3");
        writer.upsert("t", &columns, &[&["0", "2", "\"2020-01-01T00:00:00Z\""], &["7", "4", "null"]]).await.unwrap();
        assert_eq!(world.sql(shown), "0|2|2020-01-01 00:00:00|4|3\n7|4|NULL|8|3");
    }
}

#[tokio::test]
async fn names_of_every_kind() {
    let long = "n".repeat(64);
    let schema = format!(
        "CREATE TABLE `select` (`order by` INT PRIMARY KEY, `a``b\"c'd\\\\` INT, `Größe` INT, `{long}` INT, `?` INT);
         CREATE TABLE `{long}` (`key` INT PRIMARY KEY);"
    );
    for world in World::both("rows names-ä", &schema.replace("\\\\", "\\")) {
        let mut writer = world.writer().await;
        let columns = ["order by", "a`b\"c'd\\", "Größe", &long, "?"];
        writer.upsert("select", &columns, &[&["1", "2", "3", "4", "5"]]).await.unwrap();
        writer.upsert("select", &columns, &[&["1", "3", "3", "4", "6"]]).await.unwrap();
        assert_eq!(world.sql("SELECT * FROM `select`"), "1|3|3|4|6");
        writer.delete("select", &["order by"], &[&["1"]]).await.unwrap();
        writer.upsert(&long, &["key"], &[&["1"]]).await.unwrap();
        assert_eq!(world.sql(&format!("SELECT COUNT(*) FROM `select`; SELECT COUNT(*) FROM `{long}`")), "0\n1");
    }
}

/// A statement that fails in MySQL leaves the transaction open; nothing of it may be committed.
#[tokio::test]
async fn a_refused_block_takes_the_others_along() {
    for world in World::both("rows_rollback", "CREATE TABLE t (id INT PRIMARY KEY, a TINYINT)") {
        let mut writer = world.writer().await;
        writer.session.begin(Checks::Immediate).await.unwrap();
        writer.write("t", Operation::Upsert, &["id", "a"], &[&["1", "1"]]).await.unwrap();
        let error = writer.write("t", Operation::Upsert, &["id", "a"], &[&["2", "300"]]).await.unwrap_err();
        assert_eq!(
            (error.kind, error.key.as_deref(), error.column.as_deref()),
            (ErrorKind::Refused, Some("id=2"), Some("a"))
        );
        writer.session.rollback().await.unwrap();
        assert_eq!(world.sql("SELECT COUNT(*) FROM t"), "0");
        assert!(matches!(world.flavour, Flavour::MariaDb | Flavour::MySql));
    }
}
