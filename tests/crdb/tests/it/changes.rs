//! What a feed says of transactions.

use ebb_crdb::CrdbOptions;
use serde_json::{Value, json};

use crate::harness::{QUICK, Stage, connect};
use crate::receiver::hlc;

/// Keys and rows. Several connections bring them, so they are put in the order of keys.
fn brief(rows: &[Value]) -> Vec<Value> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| row["key"][0].as_i64());
    rows.iter().map(|row| json!([row["key"], row["after"]])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_then_each_transaction_at_one_time() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY, v int8); INSERT INTO t VALUES (1, 10), (2, 20)").await;
    stage.feed("t", &format!("{QUICK}, mvcc_timestamp")).await;
    let scan = stage.receiver.until_rows(2).await;
    assert_eq!(scan[0]["updated"], scan[1]["updated"]);
    assert!(hlc(scan[0]["mvcc_timestamp"].as_str().unwrap()) < hlc(scan[0]["updated"].as_str().unwrap()));
    let first = stage.receiver.until("resolved", |seen| seen.last_resolved().is_some()).await.resolved()[0];
    assert_eq!(hlc(scan[0]["updated"].as_str().unwrap()), first);

    stage.receiver.forget();
    stage
        .run(
            "BEGIN; INSERT INTO t VALUES (3, 30); UPDATE t SET v = 31 WHERE id = 3; DELETE FROM t WHERE id = 1; \
             UPDATE t SET id = 4 WHERE id = 2; INSERT INTO t VALUES (9, 9); DELETE FROM t WHERE id = 9; COMMIT",
        )
        .await;
    let rows = stage.receiver.until_rows(5).await;
    assert_eq!(
        brief(&rows),
        [
            json!([[1], null]),
            json!([[2], null]),
            json!([[3], {"id": 3, "v": 31}]),
            json!([[4], {"id": 4, "v": 20}]),
            json!([[9], null]),
        ]
    );
    assert!(rows.iter().all(|row| row["updated"] == rows[0]["updated"] && row["mvcc_timestamp"] == row["updated"]));
    stage.await_resolved().await;
    assert_eq!(stage.receiver.seen().rows().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_transaction_can_be_asked_for() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY)").await;
    stage.feed("t", QUICK).await;
    let time = stage.text("INSERT INTO t VALUES (1) RETURNING cluster_logical_timestamp()").await;
    assert_eq!(stage.receiver.until_rows(1).await[0]["updated"], time);
    stage.run("BEGIN").await;
    let time = stage.text("SELECT cluster_logical_timestamp()").await;
    stage.run("INSERT INTO t VALUES (2)").await;
    assert_eq!(stage.text("SELECT cluster_logical_timestamp()").await, time);
    stage.run("COMMIT").await;
    assert_eq!(stage.receiver.until_rows(2).await[1]["updated"], time);
    // A read-only transaction cannot move the clock; its time is still above all that it sees.
    stage.run("BEGIN READ ONLY").await;
    assert!(hlc(&stage.text("SELECT cluster_logical_timestamp()").await) > hlc(&time));
    stage.run("COMMIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rolled_back_work_is_not_told_and_unchanged_rows_are() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY, v int8); INSERT INTO t VALUES (1, 1)").await;
    stage.feed("t", &format!("{QUICK}, diff, initial_scan = 'no'")).await;
    stage.run("BEGIN; INSERT INTO t VALUES (2, 2); ROLLBACK").await;
    stage
        .run("BEGIN; INSERT INTO t VALUES (3, 3); SAVEPOINT s; INSERT INTO t VALUES (4, 4); ROLLBACK TO s; COMMIT")
        .await;
    stage.run("UPDATE t SET v = v WHERE id = 1").await;
    stage.run("INSERT INTO t VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET v = excluded.v").await;
    stage.run("DELETE FROM t WHERE id = 1").await;
    let mut rows = stage.receiver.until_rows(4).await;
    rows.sort_by_key(|row| hlc(row["updated"].as_str().unwrap()));
    let images: Vec<Value> = rows.iter().map(|row| json!([row["before"], row["after"]])).collect();
    assert_eq!(
        images,
        [
            json!([null, {"id": 3, "v": 3}]),
            json!([{"id": 1, "v": 1}, {"id": 1, "v": 1}]),
            json!([{"id": 1, "v": 1}, {"id": 1, "v": 5}]),
            json!([{"id": 1, "v": 5}, null]),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cascades_and_other_schemas_are_followed() {
    let stage = Stage::new().await;
    stage
        .run(
            "CREATE SCHEMA app; CREATE TABLE app.\"Tree\" (id int8 PRIMARY KEY, parent int8 REFERENCES app.\"Tree\" \
             ON UPDATE CASCADE ON DELETE CASCADE); INSERT INTO app.\"Tree\" VALUES (1, NULL), (2, 1), (3, 2)",
        )
        .await;
    stage.feed("app.\"Tree\"", &format!("{QUICK}, full_table_name, initial_scan = 'no'")).await;
    stage.run("UPDATE app.\"Tree\" SET id = id + 10 WHERE id = 1").await;
    let rows = stage.receiver.until_rows(3).await;
    assert_eq!(rows[0]["topic"], "defaultdb.app.\"Tree\"");
    assert_eq!(
        brief(&rows),
        [json!([[1], null]), json!([[2], {"id": 2, "parent": 11}]), json!([[11], {"id": 11, "parent": null}])]
    );
    stage.receiver.forget();
    stage.run("DELETE FROM app.\"Tree\" WHERE id = 11").await;
    let rows = stage.receiver.until_rows(3).await;
    assert!(rows.iter().all(|row| row["after"].is_null()));
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_quoted_up_to_25_3_and_bare_from_25_4() {
    for (version, name, full) in [
        ("25.3.9", r#""My Table""#, r#"defaultdb.public."My Table""#),
        ("25.4.0", "My Table", "defaultdb.public.My Table"),
    ] {
        let stage = Stage::with(CrdbOptions { version: version.into(), ..CrdbOptions::default() }).await;
        stage.run(r#"CREATE TABLE "My Table" (id int8 PRIMARY KEY); CREATE TABLE plain (id int8 PRIMARY KEY)"#).await;
        for (options, expected) in [("", [name, "plain"]), (", full_table_name", [full, "defaultdb.public.plain"])] {
            let job = stage.feed(r#""My Table", plain"#, &format!("{QUICK}, initial_scan = 'no'{options}")).await;
            stage.run(r#"INSERT INTO "My Table" SELECT count(*) FROM "My Table"; INSERT INTO plain SELECT count(*) FROM plain"#).await;
            let rows = stage.receiver.until_rows(2).await;
            let mut topics: Vec<&str> = rows.iter().map(|row| row["topic"].as_str().unwrap()).collect();
            topics.sort_unstable();
            let mut expected = expected;
            expected.sort_unstable();
            assert_eq!(topics, expected, "{version}");
            stage.run(&format!("CANCEL JOB {job}")).await;
            stage.await_status(job, "canceled").await;
            stage.receiver.forget();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_changes_send_the_table_again_or_end_the_feed() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    let job = stage.feed("t", &format!("{QUICK}, initial_scan = 'no'")).await;
    stage.run("ALTER TABLE t ADD COLUMN quiet text").await;
    stage.run("ALTER TABLE t ADD COLUMN loud text DEFAULT 'x'").await;
    let rows = stage.receiver.until_rows(2).await;
    assert_eq!(
        brief(&rows),
        [json!([[1], {"id": 1, "loud": "x", "quiet": null}]), json!([[2], {"id": 2, "loud": "x", "quiet": null}])]
    );
    assert_eq!(rows[0]["updated"], rows[1]["updated"]);
    stage.run("ALTER TABLE t RENAME COLUMN loud TO l; ALTER TABLE t RENAME TO t2; INSERT INTO t2 VALUES (3)").await;
    let rows = stage.receiver.until_rows(3).await;
    assert_eq!((&rows[2]["topic"], &rows[2]["after"]), (&json!("t"), &json!({"id": 3, "l": "x", "quiet": null})));
    stage.run("ALTER TABLE t2 DROP COLUMN quiet").await;
    assert_eq!(brief(&stage.receiver.until_rows(6).await[3..])[2..], [json!([[3], {"id": 3, "l": "x"}])]);
    stage.run("TRUNCATE t2").await;
    stage.await_status(job, "failed").await;
    assert_eq!(stage.receiver.seen().rows().len(), 6, "the rows are gone, but no delete is told");
    assert_eq!(stage.text("SELECT error FROM [SHOW CHANGEFEED JOBS]").await, "\"t2\" was truncated");
    stage.receiver.forget();
    let job = stage.feed("t2", &format!("{QUICK}, on_error = 'pause'")).await;
    stage.run("INSERT INTO t2 VALUES (7)").await;
    stage.receiver.until_rows(1).await;
    stage.run("DROP TABLE t2").await;
    stage.await_status(job, "paused").await;
    let state = stage.text(&format!("SELECT running_status FROM [SHOW CHANGEFEED JOB {job}]")).await;
    assert_eq!(state, "job failed (\"t2\" was dropped) but is being paused because of on_error=pause");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_gets_its_key_later_and_is_captured_from_then() {
    let stage = Stage::new().await;
    stage
        .run("CREATE TABLE t (id int8, v text); INSERT INTO t VALUES (1, 'a'); ALTER TABLE t ADD PRIMARY KEY (id)")
        .await;
    stage.feed("t", QUICK).await;
    assert_eq!(brief(&stage.receiver.until_rows(1).await), [json!([[1], {"id": 1, "v": "a"}])]);
}

/// The heart of it: a receiver that applies what is at or below a resolved timestamp is never wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn resolved_is_true_under_eight_writers() {
    const WRITERS: i64 = 8;
    const TRANSACTIONS: i64 = 60;
    let stage = Stage::new().await;
    stage
        .run(
            "CREATE TABLE account (id int8 PRIMARY KEY, amount int8); CREATE TABLE entry (id int8 PRIMARY KEY, a int8)",
        )
        .await;
    stage.run("INSERT INTO account SELECT g, 0 FROM generate_series(1, 20) g").await;
    let config = r#"{"Flush":{"Messages":20,"Frequency":"5ms"}}"#;
    stage.feed("account, entry", &format!("{QUICK}, webhook_sink_config = '{config}'")).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let client = connect(&stage.crdb.url("defaultdb", "root")).await;
        writers.spawn(async move {
            for n in 0..TRANSACTIONS {
                let id = writer * TRANSACTIONS + n;
                let (low, high) = (1 + id % 10, 11 + id % 10);
                let sql = format!(
                    "BEGIN; UPDATE account SET amount = amount - 1 WHERE id = {low}; \
                     UPDATE account SET amount = amount + 1 WHERE id = {high}; INSERT INTO entry VALUES ({id}, {low}); COMMIT"
                );
                client.batch_execute(&sql).await.unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    stage.await_resolved().await;
    let seen = stage.receiver.seen();
    seen.check_promises();
    let mut groups: std::collections::BTreeMap<_, Vec<Value>> = std::collections::BTreeMap::new();
    for row in seen.rows() {
        groups.entry(hlc(row["updated"].as_str().unwrap())).or_default().push(row);
    }
    // The scan is one group; every transaction another, whole.
    assert_eq!(groups.len() as i64, 1 + WRITERS * TRANSACTIONS);
    assert!(groups.values().skip(1).all(|rows| rows.len() == 3));
    let mut balance: std::collections::HashMap<String, i64> = std::collections::HashMap::new();
    for rows in groups.values() {
        for row in rows.iter().filter(|row| row["topic"] == "account") {
            balance.insert(row["key"].to_string(), row["after"]["amount"].as_i64().unwrap());
        }
        assert_eq!(balance.values().sum::<i64>(), 0);
    }
}
