//! Faults beside those of the feed (`disorder`): licences, terminal errors, families; and rights.

use ebb_crdb::CrdbOptions;

use crate::harness::{QUICK, Stage, connect};

const CREATE: &str = "CREATE CHANGEFEED FOR TABLE t INTO 'webhook-https://localhost:1/'";

async fn stage(version: &str) -> Stage {
    let stage = Stage::with(CrdbOptions { version: version.into(), ..CrdbOptions::default() }).await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY)").await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_licence_old_releases_refuse_changefeeds() {
    let stage = stage("24.2.3").await;
    stage.run("CREATE DATABASE other").await;
    let other = connect(&stage.crdb.url("other", "root")).await;
    for (state, expected) in [
        ("none", "use of CHANGEFEED requires an enterprise license. see https://cockroachlabs.com/pricing?cluster="),
        (
            "expired",
            "Use of CHANGEFEED requires an enterprise license. Your evaluation license expired on January 1, 1970",
        ),
    ] {
        // One state for the whole cluster.
        let license = format!("SELECT crdb_internal.license('{state}')");
        other.batch_execute(&license).await.expect("it is set");
        let (code, message) = stage.refusal(CREATE).await;
        assert!(code == "XXC02" && message.starts_with(expected), "{code} {message}");
        stage.run("SHOW CHANGEFEED JOBS").await;
    }
    assert_eq!(stage.refusal("SELECT crdb_internal.throttle(true)").await.0, "22023");
    assert_eq!(stage.refusal("SELECT crdb_internal.license('gone')").await.0, "22023");
    stage.run("SELECT crdb_internal.license('valid')").await;
    stage.run(CREATE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_licence_new_releases_throttle_the_cluster_and_leave_feeds_alone() {
    let stage = stage("24.3.1").await;
    assert_eq!(stage.refusal("SELECT crdb_internal.throttle(true)").await.0, "22023");
    let end = ". The maximum number of concurrently open transactions has been reached.";
    for (state, expected, hint) in [
        ("none", "No license installed", "Obtain and install a valid license to continue."),
        ("expired", "License expired on January 1, 1970", "Obtain and install a new license to continue."),
    ] {
        stage.run(&format!("SELECT crdb_internal.license('{state}')")).await;
        stage.feed("t", QUICK).await;
        stage.run("SELECT crdb_internal.throttle(true)").await;
        for sql in [
            CREATE,
            "SHOW CHANGEFEED JOBS",
            "SELECT status FROM [SHOW CHANGEFEED JOB 1]",
            "SHOW CLUSTER SETTING kv.rangefeed.enabled",
            "SHOW TABLES",
            "SHOW COLUMNS FROM t",
            "SHOW INDEXES FROM t",
            "SHOW crdb_version",
        ] {
            let error = stage.sql.batch_execute(sql).await.expect_err(sql);
            let error = error.as_db_error().expect("an answer");
            assert_eq!((error.code().code(), error.message()), ("XXC02", format!("{expected}{end}").as_str()), "{sql}");
            assert_eq!(error.hint(), Some(hint));
        }
        stage.run("INSERT INTO t SELECT count(*) FROM t").await;
        stage.await_resolved().await;
        stage.run("SELECT crdb_internal.throttle(false)").await;
        stage.run("SHOW CHANGEFEED JOBS").await;
    }
    stage.run("CALL crdb_internal.license('none')").await;
    assert_eq!(stage.refusal(CREATE).await.0, "XXC02", "a CALL sets both");
    stage.run("CALL crdb_internal.license('valid')").await;
    stage.run(CREATE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_shown_and_set_by_those_who_may() {
    const SHOW: &str = "SHOW CLUSTER SETTING kv.rangefeed.enabled";
    const SET: &str = "SET CLUSTER SETTING changefeed.sink_io_workers = 2";
    let stage = stage("25.2.1").await;
    stage.run("CREATE USER app; CREATE USER other").await;
    stage.run("CREATE DATABASE far").await;
    let app = connect(&stage.crdb.url("defaultdb", "app")).await;
    // Privileges on the cluster are the same in every database.
    let far = connect(&stage.crdb.url("far", "app")).await;
    let check = async |sql: &str, is_allowed: bool| {
        for client in [&app, &far] {
            let result = client.batch_execute(sql).await;
            let code = result.err().map(|error| error.code().expect("a code").code().to_owned());
            assert_eq!(code.as_deref(), (!is_allowed).then_some("42501"), "{sql}");
        }
    };
    check(SHOW, false).await;
    check("GRANT SYSTEM VIEWCLUSTERSETTING TO app", false).await;
    stage.run("GRANT SYSTEM VIEWCLUSTERSETTING TO other, app").await;
    check(SHOW, true).await;
    check(SET, false).await;
    stage.run("REVOKE SYSTEM VIEWCLUSTERSETTING FROM app").await;
    check(SHOW, false).await;
    stage.run("GRANT SYSTEM MODIFYCLUSTERSETTING TO app").await;
    check(SHOW, true).await;
    check(SET, true).await;
    stage.run("REVOKE SYSTEM MODIFYCLUSTERSETTING, VIEWCLUSTERSETTING FROM app").await;
    check(SET, false).await;
    let message = "only users with MODIFYCLUSTERSETTING or VIEWCLUSTERSETTING privileges are allowed to show cluster setting 'kv.rangefeed.enabled'";
    let error = app.batch_execute(SHOW).await.expect_err("it is revoked");
    assert_eq!(error.as_db_error().expect("an answer").message(), message);
    assert_eq!(stage.text(SHOW).await, "t");
    stage.run("DROP USER other").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_error_ends_a_feed_or_pauses_it() {
    let stage = stage("25.2.1").await;
    // Also one that is busy trying again.
    stage.receiver.answer(|_| 500);
    let job = stage.feed("t", QUICK).await;
    stage.run("INSERT INTO t VALUES (1)").await;
    let row = format!("[SHOW CHANGEFEED JOB {job}]");
    stage.await_text(&format!("SELECT running_status FROM {row}"), "transient error").await;
    let gone = "batch timestamp 1,0 must be after replica GC threshold 2,0 (r45: /Table/104)";
    let fail = |job: i64| format!("SELECT crdb_internal.fail_changefeed({job}, '{gone}')");
    stage.run(&fail(job)).await;
    stage.await_status(job, "failed").await;
    assert_eq!(stage.text(&format!("SELECT error FROM {row} WHERE finished IS NOT NULL")).await, gone);
    let again = stage.refusal(&fail(job)).await;
    assert_eq!(again, ("22023".into(), format!("only a running job can meet an error, and job {job} is failed")));
    assert_eq!(stage.refusal(&fail(5)).await.1, "job with ID 5 does not exist");

    stage.receiver.answer(|_| 200);
    let job = stage.feed("t", &format!("{QUICK}, on_error = 'pause'")).await;
    stage.await_resolved().await;
    stage.run(&fail(job)).await;
    stage.await_status(job, "paused").await;
    stage.receiver.forget();
    let state = stage.text(&format!("SELECT running_status FROM [SHOW CHANGEFEED JOB {job}]")).await;
    assert_eq!(state, format!("job failed ({gone}) but is being paused because of on_error=pause"));
    // Nothing is sent any more, and nothing of the fault is left.
    stage.run("INSERT INTO t VALUES (2)").await;
    assert_eq!(stage.receiver.seen().0.len(), 0);
    stage.run(&format!("RESUME JOB {job}")).await;
    stage.receiver.until_rows(1).await;
    assert_eq!(stage.status(job).await, "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_family_ends_the_feeds_of_a_table_and_refuses_new_ones() {
    let stage = stage("25.2.1").await;
    stage.run(r#"CREATE TABLE "Wide" (id int8 PRIMARY KEY)"#).await;
    let plain = stage.feed("t", QUICK).await;
    let running = stage.feed(r#"t, "Wide""#, QUICK).await;
    let paused = stage.feed(r#""Wide""#, QUICK).await;
    stage.run(&format!("PAUSE JOB {paused}")).await;
    stage.await_status(paused, "paused").await;
    stage.run(r#"INSERT INTO "Wide" VALUES (1); SELECT crdb_internal.add_family('"Wide"')"#).await;
    stage.await_status(running, "failed").await;
    stage.run(&format!("RESUME JOB {paused}")).await;
    stage.await_status(paused, "failed").await;
    for job in [running, paused] {
        let error = stage.text(&format!("SELECT error FROM [SHOW CHANGEFEED JOB {job}]")).await;
        let expected = "CHANGEFEED created on a table with a single column family (Wide) cannot now target a table \
                        with 2 families. targets: {}, tableDesc: {}";
        assert_eq!(error, expected);
    }
    assert_eq!(stage.status(plain).await, "running");
    let (_, message) = stage.refusal(&CREATE.replace("TABLE t", r#"TABLE t, "Wide""#)).await;
    assert_eq!(
        message,
        "CHANGEFEED targeting a table (Wide) with multiple column families requires WITH split_column_families and will \
         emit multiple events per row."
    );
    stage.run(CREATE).await;
}
