//! Rows of a table in the JSON of a changefeed, read as of a time.

use tokio_postgres::types::Type;

use crate::encoding::{VALUES, table};
use crate::harness::{QUICK, Stage};

/// What a client sets that reads so.
const SETTINGS: &str = "SET timezone = 'UTC'; SET bytea_output = 'hex'; SET extra_float_digits = 0; \
     SET intervalstyle = 'postgres'; SET datestyle = 'ISO, MDY'";

/// `SELECT row_to_json(r)::STRING …` of one table.
fn select(columns: &str, table: &str, rest: &str, time: &str) -> String {
    format!(
        "SELECT row_to_json(r)::STRING FROM (SELECT {columns} FROM \"defaultdb\".\"public\".{table} {rest}) AS r \
         AS OF SYSTEM TIME {time}"
    )
}

async fn rows(stage: &Stage, sql: &str) -> Vec<String> {
    let rows = stage.sql.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// As of now, for later.
async fn now(stage: &Stage) -> String {
    stage.text("SELECT cluster_logical_timestamp()").await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_reads_as_the_feed_sends_it() {
    let stage = Stage::new().await;
    table(&stage).await;
    stage.run("ALTER TABLE \"All\" ADD COLUMN \"A \"\"b\" text; UPDATE \"All\" SET \"A \"\"b\" = 'x'").await;
    stage.run("INSERT INTO \"All\" (id, c05, c07, c09) VALUES (2, 0.1, 5e-324, 1.2345678e-10)").await;
    stage.feed("\"All\"", QUICK).await;
    let both = |seen: &crate::receiver::Seen| {
        ["[1]", "[2]"].iter().all(|key| seen.0.iter().any(|body| body.text().contains(&format!("\"key\": {key}"))))
    };
    let seen = stage.receiver.until("the rows", both).await;
    let bodies: String = seen.0.iter().map(|body| body.text().to_string()).collect();
    stage.run(SETTINGS).await;
    let columns: Vec<String> = (0..VALUES.len()).map(|at| format!("\"c{at:02}\"")).collect();
    let columns = format!("\"id\", {}, \"A \"\"b\"", columns.join(", "));
    let then = now(&stage).await;
    let read = |time: &str| select(&columns, "\"All\"", "ORDER BY \"id\"", time);
    let found = rows(&stage, &read(&then)).await;
    assert_eq!(found.len(), 2);
    for row in &found {
        assert!(bodies.contains(&format!("{{\"after\": {row}, \"key\": ")), "{row} is not in {bodies}");
    }
    // Old versions go another way than present rows.
    stage.run("UPDATE \"All\" SET c00 = false WHERE id = 1; DELETE FROM \"All\" WHERE id = 2").await;
    assert_eq!(rows(&stage, &read(&then)).await, found);
    // And a table that has changed a third.
    stage.run("ALTER TABLE \"All\" ADD COLUMN later int8").await;
    assert_eq!(rows(&stage, &read(&then)).await, found);
    assert_eq!(stage.text("SHOW extra_float_digits").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_stand_in_the_order_of_keys_and_know_what_was_there() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (k text, id int8, v text, PRIMARY KEY (id, k))").await;
    stage.run("INSERT INTO t SELECT 'x', n, 'old' FROM generate_series(1, 20) AS n").await;
    let then = now(&stage).await;
    stage.run("UPDATE t SET v = 'new' WHERE id IN (3, 7)").await;
    stage
        .run("DELETE FROM t WHERE id = 8; UPDATE t SET id = 109 WHERE id = 9; INSERT INTO t VALUES ('a', 10, 'new')")
        .await;
    stage.run("DELETE FROM t WHERE id = 11; INSERT INTO t VALUES ('x', 11, 'new')").await;
    stage.run("INSERT INTO t VALUES ('x', 12, 'new') ON CONFLICT DO NOTHING; BEGIN; DELETE FROM t; ROLLBACK").await;
    let row = |id: i64| format!("{{\"id\": {id}, \"v\": \"old\"}}");
    let sql = select(
        "\"id\", \"v\"",
        "\"t\"",
        "WHERE (\"id\", \"k\") > ('2'::INT8, 'x'::STRING) ORDER BY \"id\", \"k\" LIMIT 12",
        &then,
    );
    stage.run(SETTINGS).await;
    assert_eq!(rows(&stage, &sql).await, (3..15).map(row).collect::<Vec<_>>());
    // Over the simple protocol too, with the number of the rows in the tag.
    let messages = stage.sql.simple_query(&sql).await.unwrap();
    let [first, .., tokio_postgres::SimpleQueryMessage::CommandComplete(12)] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert!(matches!(first, tokio_postgres::SimpleQueryMessage::RowDescription(_)), "{first:?}");
    let statement = stage.sql.prepare(&sql).await.unwrap();
    let columns: Vec<_> = statement.columns().iter().map(|column| (column.name(), column.type_())).collect();
    assert_eq!(columns, [("row_to_json", &Type::TEXT)]);
    let all = select("\"id\", \"v\"", "\"t\"", "", &then);
    let mut all = rows(&stage, &all).await;
    all.sort();
    let mut expected: Vec<_> = (1..=20).map(row).collect();
    expected.sort();
    assert_eq!(all, expected);
    let count = format!("SELECT count(*) FROM \"defaultdb\".\"public\".\"t\" AS OF SYSTEM TIME {then}");
    assert_eq!(stage.text(&count).await, "20");
    let missing = format!(
        "SELECT v.i FROM (VALUES (0, '8'::INT8, 'x'::STRING), (1, '9'::INT8, 'y'::STRING), \
         (2, '109'::INT8, 'x'::STRING), (3, '10'::INT8, 'a'::STRING), (4, '10'::INT8, 'x'::STRING)) AS v (i, k1, k2) \
         LEFT JOIN \"defaultdb\".\"public\".\"t\" AS t ON t.\"id\" = v.k1 AND t.\"k\" = v.k2 WHERE t.\"id\" IS NULL \
         AS OF SYSTEM TIME {then}"
    );
    let mut found: Vec<i32> = stage.sql.query(&missing, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3]);
    // The present, which has no time.
    let present = "SELECT row_to_json(r)::STRING FROM (SELECT id FROM public.t WHERE id > 100) AS r";
    assert_eq!(rows(&stage, present).await, ["{\"id\": 109}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_waits_for_a_commit_that_has_its_time_already() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY)").await;
    let url = stage.crdb.url("defaultdb", "root");
    let (writer, reader) = (crate::harness::connect(&url).await, crate::harness::connect(&url).await);
    writer.batch_execute("BEGIN; INSERT INTO t VALUES (1); SELECT cluster_logical_timestamp()").await.unwrap();
    let micros = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    let sql = format!("SELECT count(*) FROM defaultdb.public.t AS OF SYSTEM TIME {micros}000");
    let read = tokio::spawn(async move { crate::harness::text(&reader, &sql).await });
    stage.await_text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", "1").await;
    writer.batch_execute("COMMIT").await.unwrap();
    assert_eq!(read.await.unwrap(), "1");
}

/// The one that holds the lock of commits cannot wait for another that wants it.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_has_its_time_can_read_an_earlier_one() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let then = now(&stage).await;
    stage.run("BEGIN; SELECT cluster_logical_timestamp()").await;
    let sql = format!("SELECT count(*) FROM defaultdb.public.t AS OF SYSTEM TIME {then}");
    assert_eq!(stage.text(&sql).await, "1");
    stage.run("COMMIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_refused() {
    let stage = Stage::new().await;
    let early = now(&stage).await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY, v int4, w text)").await;
    stage.run("INSERT INTO t VALUES (1, 2, 'x')").await;
    let then = now(&stage).await;
    stage.run(SETTINGS).await;
    let read = |columns: &str, time: &str| select(columns, "\"t\"", "", time);
    stage.run("SET timezone = 'Asia/Kolkata'").await;
    assert!(stage.refusal(&read("id", &then)).await.1.contains("with the setting TimeZone = Asia/Kolkata"));
    stage.run("SET timezone = 'UTC'; ALTER TABLE t ALTER COLUMN v TYPE text; ALTER TABLE t ADD COLUMN x int8").await;
    assert!(stage.refusal(&read("id, v", &then)).await.1.contains("column \"v\" of t at a time when it was another"));
    assert_eq!(
        stage.refusal(&read("id, x", &then)).await,
        ("42703".to_owned(), "column \"x\" does not exist".to_owned())
    );
    assert_eq!(rows(&stage, &read("id, w", &then)).await, ["{\"id\": 1, \"w\": \"x\"}"]);
    assert_eq!(stage.refusal(&read("id", &early)).await.0, "42P01");
    assert_eq!(stage.refusal(&read("id", "9000000000000000000")).await.0, "22023");
    let later = now(&stage).await;
    stage.run("BEGIN; INSERT INTO t VALUES (2, 'y')").await;
    assert!(stage.refusal(&read("id", &later)).await.1.contains("to which the transaction has written"));
    stage.run("ROLLBACK; CREATE ROLE reader LOGIN").await;
    let reader = crate::harness::connect(&stage.crdb.url("defaultdb", "reader")).await;
    let error = reader.batch_execute(&read("id", &later)).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().code().code(), "42501");
    stage.run("GRANT SELECT ON t TO reader").await;
    reader.batch_execute(&format!("SET timezone = 'UTC'; {}", read("id", &later))).await.unwrap();
    stage.run("SELECT crdb_internal.collect_garbage('0s')").await;
    assert!(stage.refusal(&read("id", &later)).await.1.contains("must be after replica GC threshold"));
}
