//! Faults to order. After each, the receiver's newest versions are the table, and no promise was broken.

use ebb_crdb::Fault;
use serde_json::Value;

use crate::harness::{QUICK, Stage};

async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY, v int8)").await;
    let config = r#"{"Retry":{"Max":3,"Backoff":"5ms"}}"#;
    stage.feed("t", &format!("{QUICK}, webhook_sink_config = '{config}'")).await;
    stage
}

async fn work(stage: &Stage, from: i64) {
    for id in from..from + 5 {
        stage
            .run(&format!("BEGIN; INSERT INTO t VALUES ({id}, 0), ({id} + 100, 0); UPDATE t SET v = v + 1; COMMIT"))
            .await;
        stage.run(&format!("DELETE FROM t WHERE id = {id} + 100")).await;
    }
}

/// The order stands in the table before the change does, so the change meets it.
async fn check(fault: Fault, count: u32, prove: impl Fn(&crate::receiver::Seen)) {
    let stage = stage().await;
    work(&stage, 1).await;
    stage.await_resolved().await;
    stage.run(&format!("SELECT crdb_internal.inject_fault('{}', count => {count})", fault.name())).await;
    // As often as it takes for all of them to have happened, and once more.
    let mut from = 1;
    let mut is_done = false;
    while !is_done {
        is_done = from > 1 && stage.crdb.faults_left(fault) == 0;
        from += 10;
        assert!(from < 300, "{} does not happen", fault.name());
        work(&stage, from).await;
        stage.await_resolved().await;
    }
    let seen = stage.receiver.seen();
    seen.check_promises();
    let table = stage.sql.query("SELECT id, v FROM t", &[]).await.unwrap();
    let state = seen.state();
    assert_eq!(state.len(), table.len());
    for row in table {
        let (id, v): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(state[&format!("\"t\"[{id}]")]["v"], v);
    }
    prove(&seen);
}

fn repeated(seen: &crate::receiver::Seen) -> usize {
    let rows = seen.rows();
    let distinct: std::collections::HashSet<String> = rows.iter().map(Value::to_string).collect();
    rows.len() - distinct.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_lost() {
    check(Fault::AnswerLost, 3, |seen| {
        let bodies: Vec<String> = seen.0.iter().map(crate::receiver::Delivery::text).collect();
        assert!((0..bodies.len()).any(|at| bodies[at + 1..].contains(&bodies[at])));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_cut_in_the_body() {
    check(Fault::CutMidBody, 2, |seen| assert!(seen.0.iter().any(|delivery| delivery.body.is_none()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suffix_is_replayed_with_gaps() {
    check(Fault::Replay, 1, |seen| assert!(repeated(seen) > 5, "{}", repeated(seen))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_repeated_with_older_after_newer() {
    check(Fault::Duplicates, 2, |seen| {
        assert!(repeated(seen) > 5);
        let rows = seen.rows();
        let is_older = |pair: &[Value]| {
            pair[0]["key"] == pair[1]["key"] && pair[0]["updated"].as_str() > pair[1]["updated"].as_str()
        };
        let first: Vec<Value> = rows.into_iter().filter(|row| row["key"][0] == 1).collect();
        assert!(first.windows(2).any(is_older));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resolved_timestamps_repeat_and_go_back() {
    check(Fault::ResolvedRepeated, 2, |seen| {
        assert!(seen.resolved().windows(2).filter(|pair| pair[0] == pair[1]).count() >= 2);
    })
    .await;
    check(Fault::ResolvedBack, 1, |seen| assert!(seen.resolved().windows(2).any(|pair| pair[1] < pair[0]))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_nobody_knows_are_added() {
    check(Fault::ExtraFields, 2, |seen| {
        assert_eq!(seen.rows().iter().filter(|row| row["zz_extra"]["level"] == 2).count(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_come_before_parents() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE parent (id int8 PRIMARY KEY); CREATE TABLE child (id int8 PRIMARY KEY, p int8 REFERENCES parent)").await;
    stage
        .feed(
            "parent, child",
            &format!("{QUICK}, webhook_sink_config = '{{\"Flush\":{{\"Messages\":100,\"Frequency\":\"10ms\"}}}}'"),
        )
        .await;
    stage.crdb.inject_fault(Fault::Reversed, 1, None);
    stage.run("BEGIN; INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 1); COMMIT").await;
    let rows = stage.receiver.until_rows(2).await;
    assert_eq!((rows[0]["topic"].as_str(), rows[1]["topic"].as_str()), (Some("child"), Some("parent")));
    stage.await_resolved().await;
    stage.receiver.seen().check_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_slow_unknown_and_taken_back() {
    let stage = stage().await;
    assert!(stage.refusal("SELECT crdb_internal.inject_fault('nonsense')").await.1.contains("known are answer_lost"));
    stage.crdb.inject_fault(Fault::Slow, 1, Some(300));
    let start = std::time::Instant::now();
    stage.run("INSERT INTO t VALUES (1, 1)").await;
    stage.await_resolved().await;
    assert!(start.elapsed().as_millis() >= 300);
    stage.crdb.inject_fault(Fault::Replay, 5, None);
    stage.crdb.clear_faults();
    assert_eq!(stage.crdb.faults_left(Fault::Replay), 0);
}
