//! What a test may order beside faults: licences, rights, terminal errors, families; and changes of a paused feed.

use ebb_crdb::Options;

use crate::harness::{QUICK, Stage, connect};

const CREATE: &str = "CREATE CHANGEFEED FOR TABLE t INTO 'webhook-https://localhost:1/'";

async fn stage(version: &str) -> Stage {
    let stage = Stage::with(Options { version: version.into(), ..Options::default() }).await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY)").await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_licence_old_releases_refuse_and_new_ones_throttle() {
    for (version, state, expected) in [
        ("24.2.3", "none", "use of CHANGEFEED requires an enterprise license. see https"),
        ("24.2.3", "expired", "Your evaluation license expired on January 1, 1970"),
        ("25.2.1", "none", "No license installed. The maximum number of concurrently open transactions"),
        ("25.2.1", "expired", "License expired on January 1, 1970. The maximum number"),
    ] {
        let stage = stage(version).await;
        stage.run(&format!("CALL crdb_internal.license('{state}')")).await;
        let (code, message) = stage.refusal(CREATE).await;
        assert!(code == "XXC02" && message.contains(expected), "{code} {message}");
        stage.run("CALL crdb_internal.license('valid')").await;
        stage.run(CREATE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_shown_to_those_who_may_see_them() {
    let stage = stage("25.2.1").await;
    stage.run("CREATE USER app").await;
    let app = connect(&stage.crdb.url("defaultdb", "app")).await;
    let refused = app.batch_execute("SHOW CLUSTER SETTING kv.rangefeed.enabled").await.expect_err("it is not granted");
    assert_eq!(refused.code().expect("a code").code(), "42501");
    stage.run("GRANT SYSTEM VIEWCLUSTERSETTING TO app").await;
    app.batch_execute("SHOW CLUSTER SETTING kv.rangefeed.enabled").await.expect("it is granted");
    stage.run("REVOKE SYSTEM VIEWCLUSTERSETTING FROM app").await;
    app.batch_execute("SHOW CLUSTER SETTING kv.rangefeed.enabled").await.expect_err("it is revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_feed_is_changed_and_goes_on_with_what_it_was_given() {
    let stage = stage("25.2.1").await;
    let job = stage.feed("t", QUICK).await;
    let header = "webhook_auth_header = 'Bearer geheim'";
    let alter = format!("ALTER CHANGEFEED {job} SET {header}, sink = '{}&x=y'", stage.receiver.url("/new"));
    assert_eq!(stage.refusal(&alter).await.1, format!("job {job} is not paused"));
    stage.run(&format!("PAUSE JOB {job}")).await;
    stage.await_status(job, "paused").await;
    let cursor = format!("ALTER CHANGEFEED {job} SET cursor = '1'");
    assert!(stage.refusal(&cursor).await.1.contains("cannot alter"));
    assert!(stage.refusal(&format!("ALTER CHANGEFEED {job} ADD u")).await.1.contains("not supported"));
    assert_eq!(stage.text(&alter).await, job.to_string());
    stage.receiver.forget();
    stage.run(&format!("RESUME JOB {job}; INSERT INTO t VALUES (1)")).await;
    stage.await_resolved().await;
    let shown = stage.text("SELECT sink_uri FROM [SHOW CHANGEFEED JOBS]").await;
    assert!(shown.contains("/new?"), "{shown}");
    let requests = stage.receiver.seen();
    let request = requests.0.first().expect("a request");
    assert_eq!(request.headers.get("authorization").expect("a header"), "Bearer geheim");
    assert_eq!(request.target, "/new?x=y");
}

#[tokio::test(flavor = "multi_thread")]
async fn terminal_errors_end_a_feed_or_pause_it() {
    let stage = stage("25.2.1").await;
    let job = stage.feed("t", QUICK).await;
    stage.run(&format!("SELECT crdb_internal.fail_changefeed({job}, 'it is over')")).await;
    assert_eq!(stage.status(job).await, "failed");
    assert_eq!(stage.text("SELECT error FROM [SHOW CHANGEFEED JOBS]").await, "it is over");
    let job = stage.feed("t", &format!("{QUICK}, on_error = 'pause'")).await;
    stage.run("SELECT crdb_internal.add_family('t')").await;
    assert_eq!(stage.status(job).await, "paused");
    let status = format!("SELECT running_status FROM [SHOW CHANGEFEED JOB {job}]");
    assert!(stage.text(&status).await.contains("cannot now target a table with 2 families"));
    assert!(
        stage.refusal(CREATE).await.1.contains("with multiple column families requires WITH split_column_families")
    );
}
