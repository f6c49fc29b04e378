//! `ALTER CHANGEFEED`: a paused feed goes on with what it was given.

use ebb_crdb::CrdbOptions;

use crate::harness::{QUICK, Stage};

/// A feed of an empty table `t`, and its job.
async fn stage(options: &str) -> (Stage, i64) {
    let stage = Stage::with(CrdbOptions { version: "25.4.0".into(), ..CrdbOptions::default() }).await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY); CREATE TABLE u (id int8 PRIMARY KEY)").await;
    let job = stage.feed("t", options).await;
    (stage, job)
}

async fn pause(stage: &Stage, job: i64) {
    stage.run(&format!("PAUSE JOB {job}")).await;
    stage.await_status(job, "paused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_feed_goes_on_with_another_sink_and_other_options() {
    let (stage, job) = stage(&format!("{QUICK}, mvcc_timestamp, initial_scan = 'yes'")).await;
    stage.await_resolved().await;
    pause(&stage, job).await;
    stage.receiver.forget();
    let sink = format!("{}&client_key=&x=y", stage.receiver.url("/new"));
    let alter = format!(
        "ALTER CHANGEFEED {job} SET webhook_auth_header = 'Bearer geheim', diff, extra_headers = '{{\"X-A\": \"b\"}}', \
         on_error = 'pause' SET sink = '{sink}' UNSET mvcc_timestamp"
    );
    let row = stage.sql.query_one(&alter, &[]).await.expect("it is altered");
    let names: Vec<&str> = row.columns().iter().map(|column| column.name()).collect();
    assert_eq!(names, ["job_id", "job_description"]);
    assert_eq!(row.get::<_, i64>(0), job);
    let redacted = sink.replace("client_key=", "client_key=redacted");
    let description = format!(
        "CREATE CHANGEFEED FOR TABLE defaultdb.public.t INTO '{redacted}' WITH OPTIONS (diff, extra_headers = \
         '{{\"X-A\": \"b\"}}', min_checkpoint_frequency = '50ms', on_error = 'pause', resolved = '50ms', updated, \
         webhook_auth_header = 'redacted')"
    );
    assert_eq!(row.get::<_, String>(1), description);
    let job_row = format!("[SHOW CHANGEFEED JOB {job}]");
    assert_eq!(stage.text(&format!("SELECT description FROM {job_row}")).await, description);
    assert_eq!(stage.text(&format!("SELECT sink_uri FROM {job_row}")).await, redacted);
    stage.run(&format!("RESUME JOB {job}; INSERT INTO t VALUES (1)")).await;
    stage.await_resolved().await;
    let seen = stage.receiver.seen();
    for request in &seen.0 {
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("authorization"), Some("Bearer geheim"));
        assert_eq!(header("x-a"), Some("b"));
        assert_eq!(request.target, "/new?x=y");
    }
    let row = &seen.rows()[0];
    assert!(row.get("before").is_some() && row.get("mvcc_timestamp").is_none(), "{row}");
    stage.run("TRUNCATE t").await;
    stage.await_status(job, "paused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_altered_is_refused_and_changes_nothing() {
    let (stage, job) = stage(QUICK).await;
    let alter = async |what: &str| stage.refusal(&format!("ALTER CHANGEFEED {job} {what}")).await;
    let other_sink = |scheme: &str| {
        format!(
            "New sink type \"{scheme}\" does not match original sink type \"webhook-https\". Altering the sink type of \
             a changefeed is disallowed, consider creating a new changefeed instead."
        )
    };
    // Names are looked at before the job, and the job before everything else.
    assert_eq!(alter("SET nonsense").await, ("22023".into(), "invalid option \"nonsense\"".into()));
    assert_eq!(alter("SET cursor = '1'").await, ("XXUUU".into(), format!("job {job} is not paused")));
    let (code, message) = stage.refusal("ALTER CHANGEFEED 5 SET diff").await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("22023", "could not load job with job id 5: job with ID 5 does not exist")
    );
    pause(&stage, job).await;
    for (what, code, message) in [
        ("SET cursor = '1'", "22023", "cannot alter option \"cursor\""),
        ("UNSET end_time", "22023", "cannot alter option \"end_time\""),
        ("SET diff, full_table_name", "22023", "cannot alter option \"full_table_name\""),
        ("SET initial_scan = 'only'", "22023", "cannot alter option \"initial_scan\""),
        ("UNSET sink", "22023", "cannot unset option \"sink\""),
        ("UNSET nonsense", "22023", "invalid option \"nonsense\""),
        ("SET sink", "22023", "option \"sink\" requires a value"),
        ("SET sink = 'kafka://h'", "22023", &other_sink("kafka")),
        ("SET sink = 'webhook-http://h'", "22023", &other_sink("webhook-http")),
        ("SET sink = 'webhook-https://h?client_cert=YQ=='", "XXUUU", "client_cert requires client_key to be set"),
        ("SET resolved = 'x'", "XXUUU", "problem parsing option resolved: time: invalid duration \"x\""),
        ("ADD u", "0A000", "stand-in: not supported: ALTER CHANGEFEED with ADD or DROP"),
        ("DROP t", "0A000", "stand-in: not supported: ALTER CHANGEFEED with ADD or DROP"),
    ] {
        assert_eq!(alter(what).await, (code.to_owned(), message.to_owned()), "{what}");
    }
    let description = stage.text("SELECT description FROM [SHOW CHANGEFEED JOBS]").await;
    assert!(description.starts_with("CREATE CHANGEFEED FOR TABLE t INTO") && !description.contains("diff"));
}
