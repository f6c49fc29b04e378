//! How rows travel: HTTP versions, headers, TLS, batches, retries, restarts.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ebb_crdb::CrdbOptions;
use hyper::Version;

use crate::harness::{QUICK, Stage};
use crate::receiver::{Receiver, parameter};

async fn table(stage: &Stage) {
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY, v text)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_with_the_headers_asked_for() {
    let stage = Stage::with(CrdbOptions { version: "25.4.0".to_owned(), ..CrdbOptions::default() }).await;
    table(&stage).await;
    let old = Receiver::start_with(&stage.certs, &[b"http/1.1"], false).await;
    let options = "webhook_auth_header = 'Bearer abc', extra_headers = '{\"X-Key\": \"k\"}', initial_scan = 'no'";
    stage.feed("t", options).await;
    let sql = format!("CREATE CHANGEFEED FOR t INTO '{}&z=1&a=b%20c' WITH initial_scan = 'no'", old.url("/db/public"));
    stage.run(&sql).await;
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    let new = stage.receiver.until("a row", |seen| !seen.0.is_empty()).await.0.remove(0);
    let old = old.until("a row", |seen| !seen.0.is_empty()).await.0.remove(0);
    assert_eq!((new.version, new.target.as_str()), (Version::HTTP_2, "/"));
    assert_eq!((old.version, old.target.as_str()), (Version::HTTP_11, "/db/public?a=b+c&z=1"));
    assert_eq!(new.text(), r#"{"payload":[{"after": {"id": 1, "v": "a"}, "key": [1], "topic": "t"}],"length":1}"#);
    assert_eq!(new.text(), old.text());
    let header = |name: &str| new.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("authorization"), Some("Bearer abc"));
    assert_eq!(header("x-key"), Some("k"));
    assert_eq!(header("user-agent"), Some("Go-http-client/2.0"));
    assert_eq!(header("content-length").unwrap(), new.text().len().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_compressed() {
    let stage = Stage::new().await;
    table(&stage).await;
    for compression in ["gzip", "zstd"] {
        stage.receiver.forget();
        let job = stage.feed("t", &format!("compression = '{compression}', initial_scan = 'no'")).await;
        stage.run("INSERT INTO t VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET v = 'a'").await;
        let seen = stage.receiver.until("a row", |seen| !seen.0.is_empty()).await;
        assert_eq!(seen.0[0].headers["content-encoding"], compression);
        let body = seen.0[0].body.clone().unwrap();
        let mut text = String::new();
        match compression {
            "gzip" => flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap(),
            _ => zstd::Decoder::new(&body[..]).unwrap().read_to_string(&mut text).unwrap(),
        };
        assert!(text.starts_with(r#"{"payload":[{"after": {"id": 1"#), "{text}");
        stage.run(&format!("CANCEL JOB {job}")).await;
        stage.await_status(job, "canceled").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_trusts_and_proves_what_its_url_says() {
    let stage = Stage::new().await;
    table(&stage).await;
    let strict = Receiver::start_with(&stage.certs, &[b"h2"], true).await;
    let root = stage.certs.client("root").unwrap();
    let (cert, key) = (std::fs::read(root.cert).unwrap(), std::fs::read(root.key).unwrap());
    let proven = format!("{}&client_cert={}&client_key={}", strict.url("/"), parameter(&cert), parameter(&key));
    let unproven = strict.url("/");
    let untrusted = stage.receiver.url("/").split_once('?').unwrap().0.to_owned();
    let unverified = format!("{untrusted}?insecure_tls_skip_verify=true");
    for (sink, is_accepted) in [(&proven, true), (&unproven, false), (&untrusted, false), (&unverified, true)] {
        let sql = format!(
            "CREATE CHANGEFEED FOR t INTO '{sink}' WITH initial_scan = 'no', min_checkpoint_frequency = '20ms', \
            webhook_sink_config = '{{\"Retry\":{{\"Max\":1,\"Backoff\":\"1ms\"}}}}'"
        );
        let job: i64 = stage.sql.query_one(&sql, &[]).await.unwrap().get(0);
        stage.run("INSERT INTO t VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET v = 'a'").await;
        let now = stage.text("SELECT cluster_logical_timestamp()").await;
        let state = format!(
            "SELECT coalesce(high_water_timestamp > {now}, false) || running_status FROM [SHOW CHANGEFEED JOB {job}]"
        );
        stage.await_text(&state, if is_accepted { "true" } else { "transient error: Post \"https://localhost" }).await;
        stage.run(&format!("CANCEL JOB {job}")).await;
        stage.await_status(job, "canceled").await;
    }
    let shown = stage.text("SELECT string_agg(sink_uri || description, ' ') FROM [SHOW CHANGEFEED JOBS]").await;
    assert!(shown.contains("client_key=redacted") && !shown.contains(&parameter(&key)));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_mix_tables_and_go_when_full_or_late() {
    let stage = Stage::new().await;
    table(&stage).await;
    stage.run("CREATE TABLE u (id int8 PRIMARY KEY)").await;
    let config = r#"{"Flush":{"Messages":3,"Frequency":"60ms"}}"#;
    stage.feed("t, u", &format!("updated, initial_scan = 'no', webhook_sink_config = '{config}'")).await;
    // The first checkpoint flushes what there is, so let it pass.
    let high_water = "SELECT (high_water_timestamp IS NOT NULL)::text FROM [SHOW CHANGEFEED JOBS]";
    stage.await_text(high_water, "true").await;
    stage.run("BEGIN; INSERT INTO t VALUES (1, 'a'); INSERT INTO u SELECT generate_series(1, 3); COMMIT").await;
    let seen = stage.receiver.until("four rows", |seen| seen.rows().len() == 4).await;
    let lengths: Vec<usize> = seen.0.iter().map(|delivery| delivery.text().matches("\"topic\"").count()).collect();
    assert_eq!(lengths, [3, 1]);
    assert!(seen.0[0].text().contains("\"topic\": \"t\"") && seen.0[0].text().contains("\"topic\": \"u\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_comes_again_byte_for_byte() {
    let stage = Stage::new().await;
    table(&stage).await;
    stage.receiver.answer(|number| if number < 2 { 503 } else { 204 });
    let config = r#"{"Retry":{"Max":3,"Backoff":"5ms"}}"#;
    stage.feed("t", &format!("{QUICK}, initial_scan = 'no', webhook_sink_config = '{config}'")).await;
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    stage.await_resolved().await;
    let seen = stage.receiver.seen();
    let refused: HashSet<String> = seen.0.iter().filter(|delivery| delivery.status == 503).map(|d| d.text()).collect();
    assert_eq!(refused.len(), 1);
    let again = seen.0.iter().filter(|delivery| refused.contains(&delivery.text())).count();
    assert_eq!(again, 3, "two refusals and the acceptance");
    seen.check_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_retry_everything_since_the_checkpoint_comes_again() {
    let stage = Stage::new().await;
    table(&stage).await;
    let config = r#"{"Retry":{"Max":1,"Backoff":"1ms"}}"#;
    let options = format!(
        "updated, resolved = '50ms', min_checkpoint_frequency = '1h', initial_scan = 'no', webhook_sink_config = '{config}'"
    );
    let job = stage.feed("t", &options).await;
    stage.receiver.until("the first resolved", |seen| seen.last_resolved().is_some()).await;
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    stage.receiver.until_rows(1).await;
    let refuses = Arc::new(AtomicBool::new(true));
    let answer = Arc::clone(&refuses);
    stage.receiver.answer(move |_| if answer.load(Ordering::SeqCst) { 500 } else { 200 });
    stage.run("INSERT INTO t VALUES (2, 'b')").await;
    let state = format!("SELECT running_status || status FROM [SHOW CHANGEFEED JOB {job}]");
    stage.await_text(&state, "transient error: 500 Internal Server Error: not nowrunning").await;
    stage.receiver.forget();
    refuses.store(false, Ordering::SeqCst);
    let accepted = |key: &'static str| {
        move |seen: &crate::receiver::Seen| seen.0.iter().any(|d| d.status == 200 && d.text().contains(key))
    };
    // The first row was acknowledged, but after the last checkpoint.
    stage.receiver.until("the first row again", accepted("\"key\": [1]")).await;
    stage.receiver.until("the second row", accepted("\"key\": [2]")).await;
    stage.await_text(&state, "running: resolved=").await;
}
