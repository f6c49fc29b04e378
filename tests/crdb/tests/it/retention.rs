//! History that is protected from the collection of garbage, and the variables of a session that reads it.

use ebb_crdb::CrdbOptions;

use crate::harness::Stage;

async fn collect(stage: &Stage) {
    stage.run("SELECT crdb_internal.collect_garbage('0s')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protected_history_can_be_read_until_the_protection_ends() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY, v int8); INSERT INTO t VALUES (1, 1)").await;
    let before = stage.text("SELECT cluster_logical_timestamp()").await;
    stage.run("UPDATE t SET v = 2").await;
    let then = stage.text("SELECT cluster_logical_timestamp()").await;
    let read = |time: &str| format!("SELECT v FROM public.t AS OF SYSTEM TIME {time}");
    let protect = |window: &str| format!("SELECT crdb_internal.protect_mvcc_history({then}, '{window}', 'test')");
    let job = stage.text(&protect("1h")).await;
    stage.run("UPDATE t SET v = 3").await;
    collect(&stage).await;
    assert_eq!(stage.text(&read(&then)).await, "2");
    let (code, text) = stage.refusal(&read(&before)).await;
    assert!(code == "XXUUU" && text.contains("must be after replica GC threshold"), "{text}");
    // A second one takes over from the first.
    let short = stage.text(&protect("1h")).await;
    stage.run(&format!("CANCEL JOB {job}")).await;
    collect(&stage).await;
    assert_eq!(stage.text(&read(&then)).await, "2");
    // As if nobody had extended it for longer than it lasts.
    stage.run(&format!("SELECT crdb_internal.extend_mvcc_history_protection({short})")).await;
    stage
        .run(&format!("UPDATE crdb_internal.retention SET heartbeat = heartbeat - interval '2h' WHERE id = {short}"))
        .await;
    let status = format!("SELECT status FROM [SHOW JOBS] WHERE job_id = {short}");
    assert_eq!(stage.text(&status).await, "succeeded");
    collect(&stage).await;
    assert!(stage.refusal(&read(&then)).await.1.contains("must be after replica GC threshold"));
    let extend = format!("SELECT crdb_internal.extend_mvcc_history_protection({short})");
    assert!(stage.refusal(&extend).await.1.contains("a protection of history that has ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_protects_what_it_has_not_sent() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY, v int8); INSERT INTO t VALUES (1, 1)").await;
    let job = stage.feed("t", "resolved = '50ms', min_checkpoint_frequency = '50ms'").await;
    stage.await_resolved().await;
    stage.run(&format!("PAUSE JOB {job}")).await;
    stage.await_status(job, "paused").await;
    let high_water = stage.text(&format!("SELECT high_water_timestamp FROM [SHOW CHANGEFEED JOB {job}]")).await;
    stage.run("UPDATE t SET v = 2").await;
    collect(&stage).await;
    let read = format!("SELECT v FROM public.t AS OF SYSTEM TIME {high_water}");
    assert_eq!(stage.text(&read).await, "1");
    stage.run(&format!("CANCEL JOB {job}")).await;
    stage.await_status(job, "canceled").await;
    collect(&stage).await;
    assert!(stage.refusal(&read).await.1.contains("must be after replica GC threshold"));
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_releases_guard_what_is_internal() {
    let stage = Stage::with(CrdbOptions { version: "26.1.3".to_owned(), ..CrdbOptions::default() }).await;
    let protect = "SELECT crdb_internal.protect_mvcc_history(1795765754614498000.0, '1h', 'test')";
    let (code, text) = stage.refusal(protect).await;
    assert_eq!((code.as_str(), text.as_str()), ("42501", "Access to crdb_internal and system is restricted."));
    stage.run("SET allow_unsafe_internals = on").await;
    stage.run(protect).await;
    stage.run("CREATE ROLE plain LOGIN").await;
    let plain = crate::harness::connect(&stage.crdb.url("defaultdb", "plain")).await;
    plain.batch_execute("SET allow_unsafe_internals = true").await.unwrap();
    let error = plain.batch_execute(protect).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().message(), "user plain does not have REPLICATION system privilege");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_set_up_to_read() {
    let stage = Stage::new().await;
    stage
        .run(
            "SET default_transaction_quality_of_service = 'background'; SET TimeZone = 'UTC'; \
             SET bytea_output = 'hex'; SET extra_float_digits = 0; SET IntervalStyle = 'postgres'; \
             SET DateStyle = 'ISO, MDY'; SET statement_timeout = '60s'; CREATE TABLE t (id int8 PRIMARY KEY); \
             SET default_transaction_read_only = on",
        )
        .await;
    assert_eq!(stage.text("SHOW default_transaction_quality_of_service").await, "background");
    let then = stage.text("SELECT cluster_logical_timestamp()").await;
    let read = format!(
        "SELECT row_to_json(r)::STRING FROM (SELECT \"id\" FROM \"defaultdb\".\"public\".\"t\") AS r \
         AS OF SYSTEM TIME {then}"
    );
    assert_eq!(stage.sql.query(&read, &[]).await.unwrap().len(), 0);
    assert_eq!(stage.refusal("INSERT INTO t VALUES (1)").await.0, "25006");
    assert_eq!(stage.refusal("SET allow_unsafe_internals = on").await.0, "42704");
}
