//! The life of a job: its states, what it remembers, and that it outlives the stand-in and the backend.

use ebb_crdb::{Crdb, CrdbOptions};

use crate::harness::{QUICK, Stage, backend, connect, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_feed_is_silent_and_goes_on_where_it_was() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY)").await;
    let job = stage.feed("t", QUICK).await;
    stage.run("INSERT INTO t VALUES (1)").await;
    stage.await_resolved().await;
    stage.await_text("SELECT running_status FROM [SHOW CHANGEFEED JOBS]", "running: resolved=1").await;
    stage.run(&format!("PAUSE JOB {job}")).await;
    assert!(["pause-requested", "paused"].contains(&stage.status(job).await.as_str()));
    stage.await_status(job, "paused").await;
    stage.receiver.forget();
    stage.run("INSERT INTO t VALUES (2)").await;
    stage.run(&format!("PAUSE JOB {job}")).await;
    assert_eq!(stage.receiver.seen().0.len(), 0);
    stage.run(&format!("RESUME JOB {job}")).await;
    stage.await_resolved().await;
    let rows = stage.receiver.seen().rows();
    assert_eq!(rows.iter().map(|row| row["key"][0].as_i64().unwrap()).collect::<Vec<_>>(), [2]);
    let high_water = "SELECT high_water_timestamp <= cluster_logical_timestamp() AND readable_high_water_timestamptz <= now() + '1m' FROM [SHOW CHANGEFEED JOBS]";
    assert_eq!(stage.text(high_water).await, "t");

    stage.run(&format!("CANCEL JOB {job}")).await;
    stage.await_status(job, "canceled").await;
    stage.receiver.forget();
    stage.run("INSERT INTO t VALUES (3)").await;
    assert_eq!(
        stage.refusal(&format!("PAUSE JOB {job}")).await.1,
        "job with state canceled cannot be requested to be paused"
    );
    assert_eq!(stage.refusal(&format!("RESUME JOB {job}")).await.1, "job with state canceled cannot be resumed");
    assert_eq!(stage.refusal("PAUSE JOB 999").await.1, "job with ID 999 does not exist");
    assert_eq!(stage.receiver.seen().0.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_alone_succeeds() {
    let stage = Stage::new().await;
    stage.run("SET CLUSTER SETTING kv.rangefeed.enabled = false").await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 2500); DELETE FROM t WHERE id = 7").await;
    let config = r#"{"Flush":{"Messages":100,"Frequency":"1s"}}"#;
    let job = stage.feed("t", &format!("initial_scan = 'only', webhook_sink_config = '{config}'")).await;
    stage.await_status(job, "succeeded").await;
    assert_eq!(stage.receiver.seen().rows().len(), 2499);
    assert_eq!(stage.text("SELECT finished IS NOT NULL FROM [SHOW CHANGEFEED JOBS]").await, "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_leaves_out_what_was_before() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let at = stage.text("INSERT INTO t VALUES (2) RETURNING cluster_logical_timestamp()").await;
    stage.run("INSERT INTO t VALUES (3)").await;
    stage.feed("t", &format!("{QUICK}, cursor = '{at}'")).await;
    stage.await_resolved().await;
    let rows = stage.receiver.seen().rows();
    assert_eq!(rows.iter().map(|row| row["key"][0].as_i64().unwrap()).collect::<Vec<_>>(), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_outlive_the_stand_in() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY)").await;
    let job = stage.feed("t", QUICK).await;
    let paused = stage.feed("t", QUICK).await;
    stage.run(&format!("PAUSE JOB {paused}")).await;
    stage.await_status(paused, "paused").await;
    stage.run("INSERT INTO t VALUES (1)").await;
    stage.await_resolved().await;
    let Stage { crdb, receiver, postgres, .. } = stage;
    crdb.stop().await;
    receiver.forget();
    // Triggers are in the database: what is written meanwhile is not lost.
    postgres.psql("defaultdb", "INSERT INTO t VALUES (2)").unwrap();
    let crdb = Crdb::start(CrdbOptions { backend: backend(&postgres), ..CrdbOptions::default() }).await.unwrap();
    let seen = receiver.until("the second row", |seen| !seen.rows().is_empty()).await;
    assert_eq!(seen.rows()[0]["key"][0], 2);
    let sql = connect(&crdb.url("defaultdb", "root")).await;
    assert_eq!(text(&sql, &format!("SELECT status FROM [SHOW CHANGEFEED JOB {job}]")).await, "running");
    assert_eq!(text(&sql, &format!("SELECT status FROM [SHOW CHANGEFEED JOB {paused}]")).await, "paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_outlive_the_death_of_the_backend() {
    let mut stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY)").await;
    stage.feed("t", QUICK).await;
    stage.run("INSERT INTO t VALUES (1)").await;
    stage.await_resolved().await;
    stage.postgres.kill9().unwrap();
    stage.postgres.restart().unwrap();
    stage.sql = connect(&stage.crdb.url("defaultdb", "root")).await;
    stage.run("INSERT INTO t VALUES (2)").await;
    stage.await_resolved().await;
    let seen = stage.receiver.seen();
    seen.check_promises();
    assert_eq!(seen.state().len(), 2);
}
