//! Rows of a block beside those of the target: what is the same, what differs, what is not there, and what cannot be.

use std::time::Instant;

use ebb_sdk::{Compared, KeyPage, Session as _};

use crate::reader::{Reader, shown};
use crate::world::{World, table_of};

#[tokio::test]
async fn rows_are_the_same_or_different_or_missing() {
    let world = World::new("compare_rows", "CREATE TABLE t (id int PRIMARY KEY, v text, n numeric(6,2))");
    let mut writer = world.writer().await;
    let columns = ["id", "v", "n"];
    let rows: [&[&str]; 3] = [&["1", "\"a\"", "1E+2"], &["2", "null", "1.5"], &["3", "\"\"", "null"]];
    writer.upsert("t", &columns, &rows).await.unwrap();
    let mut reader = Reader::new(&world).await;
    let same = reader.compare("t", &columns, &rows).await;
    assert_eq!(shown(&same, &reader.catalog, "t"), "");
    let rows: [&[&str]; 5] = [
        &["1", "\"a\"", "100"],
        &["7", "\"a\"", "1"],
        &["2", "\"\"", "1.51"],
        &["3", "null", "null"],
        &["null", "null", "null"],
    ];
    let other = reader.compare("t", &columns, &rows).await;
    let expected = "1 missing; 4 missing; 2 v: NULL, ; 2 n: 1.50, 1.51; 3 v: , NULL";
    assert_eq!(shown(&other, &reader.catalog, "t"), expected);
}

#[tokio::test]
async fn digits_that_may_be_lost_are_no_difference() {
    let world = World::new("compare_rounding", "CREATE TABLE t (id int PRIMARY KEY, n numeric(6,2), d timestamp(0))");
    let mut writer = world.rounding_writer(&["*"]).await;
    let columns = ["id", "n", "d"];
    let row: &[&str] = &["1", "1.005", "\"2016-01-25T15:10:10.6\""];
    writer.upsert("t", &columns, &[row]).await.unwrap();
    let mut lax = Reader::rounding(&world, &["n", "d"]).await;
    assert_eq!(shown(&lax.compare("t", &columns, &[row]).await, &lax.catalog, "t"), "");
    // Where they may not, the row could not be written.
    let mut strict = Reader::new(&world).await;
    let expected = "0 n: 1.01, 1.005; 0 d: 2016-01-25 15:10:11, 2016-01-25T15:10:10.6";
    assert_eq!(shown(&strict.compare("t", &columns, &[row]).await, &strict.catalog, "t"), expected);
}

#[tokio::test]
async fn a_row_whose_key_only_looks_the_same_is_another_one() {
    let world = World::new(
        "compare_folded",
        "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
         CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE c (k ext.citext PRIMARY KEY, v int); CREATE TABLE i (k interval PRIMARY KEY, v int);
         CREATE TABLE l (k text COLLATE nocase PRIMARY KEY, v int); CREATE TABLE n (k numeric PRIMARY KEY, v int);
         CREATE TABLE f (k float8 PRIMARY KEY, v int);",
    );
    let mut writer = world.writer().await;
    for (table, one, ..) in FOLDED {
        writer.upsert(table, &["k", "v"], &[&[one, "1"]]).await.unwrap();
    }
    let mut reader = Reader::new(&world).await;
    for (table, one, other, expected) in FOLDED {
        let found = reader.compare(table, &["k", "v"], &[&[one, "1"]]).await;
        assert_eq!(shown(&found, &reader.catalog, table), "", "{table}");
        let found = reader.compare(table, &["k", "v"], &[&[other, "1"]]).await;
        assert_eq!(shown(&found, &reader.catalog, table), *expected, "{table}");
    }
}

/// Table, the key that is there, another one that the target takes for the same, and what is found of it. Of numbers both
/// sides say that the two are one, and an upsert gives the row the other spelling.
const FOLDED: &[(&str, &str, &str, &str)] = &[
    ("c", "\"Ada\"", "\"ADA\"", "0 missing"),
    ("i", "\"1 mon\"", "\"30 days\"", "0 missing"),
    ("l", "\"x\"", "\"X\"", "0 missing"),
    ("n", "1.0", "1.00", "0 k: 1.0, 1.00"),
    ("f", "0", "-0", "0 k: 0, -0"),
];

#[tokio::test]
async fn a_block_reads_its_own_rows_of_a_large_table() {
    let world = World::new(
        "compare_plan",
        "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE a (id int PRIMARY KEY, v text);
         CREATE TABLE b (v text, part int, name text COLLATE nocase, PRIMARY KEY (part, name));
         CREATE TABLE c (id numeric PRIMARY KEY, v text) PARTITION BY RANGE (id);
         CREATE TABLE c0 PARTITION OF c FOR VALUES FROM (0) TO (100001);
         CREATE TABLE c1 PARTITION OF c FOR VALUES FROM (100001) TO (300000);
         CREATE TABLE d (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = false);
         INSERT INTO a SELECT i, 'x' FROM generate_series(1, 200000) i;
         INSERT INTO b SELECT 'x', i % 3, 'n' || i FROM generate_series(1, 200000) i;
         INSERT INTO c SELECT i, 'x' FROM generate_series(1, 200000) i;
         INSERT INTO d SELECT i, 'x' FROM generate_series(1, 200000) i;
         ANALYZE a; ANALYZE b; ANALYZE c;",
    );
    drop(world.writer().await);
    let mut reader = Reader::new(&world).await;
    world.sql("SELECT pg_stat_reset()");
    let numbers: Vec<_> = (190_000..195_000).map(|id: u32| (id.to_string(), (id % 3).to_string())).collect();
    let names: Vec<_> = numbers.iter().map(|(id, _)| format!("\"n{id}\"")).collect();
    for table in ["a", "c", "d"] {
        let rows: Vec<_> = numbers.iter().map(|(id, _)| [id.as_str(), "\"x\""]).collect();
        let rows: Vec<_> = rows.iter().map(<[&str; 2]>::as_slice).collect();
        assert_eq!(reader.compare(table, &["id", "v"], &rows).await, Compared::default());
    }
    let rows: Vec<_> = numbers.iter().zip(&names).map(|((_, part), name)| [part.as_str(), name, "\"x\""]).collect();
    let rows: Vec<_> = rows.iter().map(<[&str; 3]>::as_slice).collect();
    assert_eq!(reader.compare("b", &["part", "name", "v"], &rows).await, Compared::default());
    // A page of keys is one range of the index, wherever it begins.
    for (table, after) in [("a", vec!["190000"]), ("b", vec!["1", "n5"]), ("c", vec!["190000"])] {
        let after = Some(after.into_iter().map(String::from).collect());
        let table = table_of(&reader.catalog, table).clone();
        assert_eq!(reader.session.keys(&table, &KeyPage { after, limit: 1000 }).await.unwrap().len(), 1000);
    }
    reader.session.close().await;
    world.wait_for_no_session();
    let read = "SELECT relname, seq_tup_read, coalesce(idx_tup_fetch, 0) + (SELECT sum(idx_tup_read)
             FROM pg_stat_user_indexes i WHERE i.relid = t.relid) < 30000
         FROM pg_stat_user_tables t WHERE relkind_of(relid) = 'r' AND relname <> 'ebb_progress' ORDER BY 1";
    let read = read.replace("relkind_of(relid)", "(SELECT relkind FROM pg_class WHERE oid = relid)");
    assert_eq!(world.sql(&read), "a|0|t\nb|0|t\nc0|0|t\nc1|0|t\nd|0|t");
}

/// `EBB_ROWS=500000 cargo test --release -p ebb-postgres --test it -- --ignored --nocapture rows_a_second`
#[tokio::test]
#[ignore = "it measures, and takes minutes"]
async fn rows_a_second() {
    let rows: usize = std::env::var("EBB_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(500_000);
    let world = World::new(
        "compare_speed",
        "CREATE TABLE t (id int8 PRIMARY KEY, name text NOT NULL, price numeric(12,2), seen timestamptz, is_new bool, \
             code uuid, about jsonb, weight float8)",
    );
    let columns = ["id", "name", "price", "seen", "is_new", "code", "about", "weight"];
    let row = |id: usize| {
        [
            id.to_string(),
            format!("\"customer number {id} of Zürich\""),
            format!("{}.{:02}", id % 10_000, id % 100),
            format!("\"2024-{:02}-{:02}T10:20:30.{:06}Z\"", id % 12 + 1, id % 28 + 1, id % 1_000_000),
            id.is_multiple_of(3).to_string(),
            format!("\"7f9c24e8-3b12-4fef-91e0-{id:012}\""),
            format!("{{\"a\": {id}, \"b\": [1.10, null, \"text {id}\"], \"c\": {{\"d\": true}}}}"),
            format!("{}.25", id % 1000),
        ]
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    let rows: Vec<[&str; 8]> = rows.iter().map(|row| row.each_ref().map(String::as_str)).collect();
    let rows: Vec<&[&str]> = rows.iter().map(<[&str; 8]>::as_slice).collect();
    let per_second = |start: Instant| rows.len() as f64 / start.elapsed().as_secs_f64();
    let mut writer = world.writer().await;
    for turn in ["insert", "upsert"] {
        let start = Instant::now();
        for block in rows.chunks(5000) {
            writer.upsert("t", &columns, block).await.unwrap();
        }
        println!("{turn} in blocks of 5000: {:.0} rows/s", per_second(start));
    }
    world.sql("VACUUM ANALYZE t");
    let start = Instant::now();
    world.sql("COPY (SELECT * FROM t) TO '/dev/null'");
    println!("plain SELECT: {:.0} rows/s", per_second(start));
    let mut reader = Reader::new(&world).await;
    for size in [1000, 5000, 20_000, 5000, 1000] {
        let start = Instant::now();
        for block in rows.chunks(size) {
            assert_eq!(reader.compare("t", &columns, block).await, Compared::default());
        }
        println!("compare in blocks of {size}: {:.0} rows/s", per_second(start));
    }
    let start = Instant::now();
    reader.session.count(&table_of(&reader.catalog, "t").clone()).await.unwrap();
    println!("count: {:.0} rows/s", per_second(start));
}
