//! Reads AS OF SYSTEM TIME.

use crate::harness::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_read_as_they_were() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY, v text, at timestamptz DEFAULT '2020-01-01 00:00:00+00')").await;
    stage.run("CREATE TABLE u (id int8 PRIMARY KEY, t int8)").await;
    stage.run("BEGIN; INSERT INTO t VALUES (1, 'a'), (2, 'b'); INSERT INTO u VALUES (1, 2); COMMIT").await;
    let then = stage.text("SELECT cluster_logical_timestamp()").await;
    stage.run("UPDATE t SET v = 'c' WHERE id = 1; DELETE FROM t WHERE id = 2; ALTER TABLE t ADD COLUMN w int8").await;
    let past = |what: &str, rest: &str| format!("SELECT {what} FROM t AS OF SYSTEM TIME '{then}' {rest}");
    assert_eq!(stage.text(&past("string_agg(id || v, ',' ORDER BY id)", "")).await, "1a,2b");
    assert_eq!(stage.text(&past("count(w)", "WHERE at = '2020-01-01 00:00:00+00'")).await, "0");
    assert_eq!(stage.text("SELECT string_agg(id || v, ',') FROM t").await, "1c");
    let join = format!("SELECT t.v FROM u JOIN t ON u.t = t.id AS OF SYSTEM TIME {then}");
    assert_eq!(stage.text(&join).await, "b");
    // With parameters and types, as a driver asks.
    let sql =
        format!("SELECT x.id, x.at FROM public.t AS x AS OF SYSTEM TIME {then} WHERE x.id > $1 ORDER BY x.id LIMIT 5");
    let rows = stage.sql.query(&sql, &[&1_i64]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [2]);
    let (code, text) = stage.refusal("SELECT * FROM t AS OF SYSTEM TIME '9000000000000000000'").await;
    assert_eq!((code.as_str(), text.as_str()), ("22023", "AS OF SYSTEM TIME: cannot specify timestamp in the future"));
    stage.run("SELECT crdb_internal.collect_garbage('0s')").await;
    assert!(stage.refusal(&past("*", "")).await.1.contains("must be after replica GC threshold"));
    assert_eq!(stage.text("SELECT count(*) FROM t AS OF SYSTEM TIME '-0s'").await, "1");
}

/// The same as a feed's state at a resolved timestamp.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_the_stand_in_is_known() {
    let stage = Stage::new().await;
    stage.postgres.psql("postgres", "CREATE DATABASE old").unwrap();
    stage
        .postgres
        .psql("old", "CREATE TABLE t (id int8 PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)")
        .unwrap();
    let sql = crate::harness::connect(&stage.crdb.url("old", "root")).await;
    let then = crate::harness::text(&sql, "SELECT cluster_logical_timestamp()").await;
    sql.batch_execute("TRUNCATE t").await.unwrap();
    let count = format!("SELECT count(*) FROM t AS OF SYSTEM TIME {then}");
    assert_eq!(crate::harness::text(&sql, &count).await, "100");
    assert_eq!(crate::harness::text(&sql, "SELECT count(*) FROM t AS OF SYSTEM TIME '-0s'").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_reads_at_one_time() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let then = stage.text("SELECT cluster_logical_timestamp()").await;
    stage.run("UPDATE t SET v = 'c' WHERE id = 1").await;
    let read = "SELECT string_agg(v, '' ORDER BY id) FROM public.t";
    let prepared = async || stage.sql.query_one(read, &[]).await.unwrap().get::<_, String>(0);
    for begin in [
        format!("BEGIN READ ONLY; SET TRANSACTION AS OF SYSTEM TIME {then}"),
        format!("BEGIN AS OF SYSTEM TIME '{then}'"),
    ] {
        stage.run(&begin).await;
        assert_eq!((stage.text(read).await, prepared().await), ("ab".to_owned(), "ab".to_owned()));
        assert_eq!(stage.text("SELECT string_agg(v, '' ORDER BY id) FROM t").await, "ab");
        let json = "SELECT row_to_json(r)::STRING FROM (SELECT v FROM public.t WHERE id = 1) AS r";
        stage.run("SET TimeZone = 'UTC'").await;
        assert_eq!(stage.text(json).await, "{\"v\": \"a\"}");
        stage.run("COMMIT").await;
        assert_eq!((stage.text(read).await, prepared().await), ("cb".to_owned(), "cb".to_owned()));
    }
    stage.run(&format!("BEGIN AS OF SYSTEM TIME {then}")).await;
    let (code, text) = stage.refusal("INSERT INTO t VALUES (3, 'd')").await;
    assert_eq!((code.as_str(), text.as_str()), ("25006", "cannot execute INSERT in a read-only transaction"));
    stage.run("ROLLBACK").await;
    stage.run(&format!("BEGIN AS OF SYSTEM TIME {then}")).await;
    assert!(stage.refusal("SET TRANSACTION AS OF SYSTEM TIME 17").await.1.contains("a second time"));
    stage.run("ROLLBACK").await;
    // Outside of a transaction it is forgotten with its statement.
    stage.run(&format!("SET TRANSACTION AS OF SYSTEM TIME {then}")).await;
    assert_eq!(stage.text(read).await, "cb");
}
