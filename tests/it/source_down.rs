//! A start while CockroachDB is down or gone: what was acknowledged is applied all the same.

use crate::harness::client::hold;
use crate::harness::forward::{dead_url, forward, source_port};
use crate::harness::pages::status;
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (region int, id int, v int, PRIMARY KEY (region, id))";
/// The same key in another order: a delete is placed by its columns, which the source has told.
const SWAPPED: &str = "CREATE TABLE t (region int, id int, v int, PRIMARY KEY (id, region))";

/// Leaves three rows and a delete staged that the target has not taken, and ends ebb.
fn stage_and_die(world: &World) {
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    world.source("INSERT INTO t VALUES (1, 7, 1), (7, 1, 2)");
    world.wait_equal(&ebb, &["t"]);
    let gate = hold(world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO t VALUES (2, 2, 2); DELETE FROM t WHERE region = 1 AND id = 7");
    let now = world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
    wait_for("a resolved timestamp", || ebb.log(), || status(&pages)["resolved"].as_str() > Some(&now));
    ebb.kill9();
    drop(gate);
}

#[test]
fn what_is_staged_is_applied_and_the_source_is_looked_for() {
    let world = World::with_schemas("source_down", TABLE, SWAPPED);
    stage_and_die(&world);
    let port = free_port();
    let mut ebb = world.fetch(&["--source", &dead_url(&world, port)]);
    let line = ebb.wait_line("cannot connect to the source");
    assert!(line.contains("error_code\":\"EBB-S010\""), "{line}");
    ebb.wait_line("the source has been down for 3");
    // The stand-in still sends, and what it sends is taken.
    world.source("INSERT INTO t VALUES (3, 3, 3)");
    world.wait_equal(&ebb, &["t"]);
    let _forward = forward(port, source_port(&world));
    ebb.wait_line("the source is there again");
    ebb.wait_line("using the running changefeed");
    world.source("DELETE FROM t WHERE region = 7 AND id = 1");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn a_first_start_needs_the_source() {
    let world = World::new("source_never", TABLE);
    let line = world.fetch(&["--source", &dead_url(&world, free_port())]).failure();
    assert!(line.contains("cannot connect to the source") && line.contains("error_code\":\"EBB-S010\""), "{line}");
}

#[test]
fn apply_only_ends_when_all_is_applied() {
    let world = World::with_schemas("source_apply_only", TABLE, SWAPPED);
    let dead = dead_url(&world, free_port());
    let line = world.fetch(&["--source", &dead, "--apply-only"]).failure();
    assert!(
        line.contains("nothing is staged for _replicator_1") && line.contains("error_code\":\"EBB-D040\""),
        "{line}"
    );
    stage_and_die(&world);
    world.source("CANCEL JOBS (SELECT job_id FROM [SHOW CHANGEFEED JOBS])");
    let mut ebb: Ebb = world.fetch(&["--source", &dead, "--apply-only"]);
    assert_eq!(ebb.wait().code(), Some(0), "{}", ebb.log());
    assert!(ebb.log().contains("everything staged was applied"), "{}", ebb.log());
    world.wait_equal(&ebb, &["t"]);
}

/// A part of an initial scan is nothing that the target could equal the source by.
#[test]
fn apply_only_without_a_resolved_timestamp_fails() {
    let world = World::new("source_unresolved", "CREATE TABLE a (id int PRIMARY KEY, w text)");
    world.source("INSERT INTO a SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) AS i");
    world.write_changefeed_settings(r#"{"initial_scan": "yes"}"#);
    let mut ebb = world.fetch(&["--replicator-flags", "--stagingSchema _replicator_1 --staging-max-bytes 4000000"]);
    ebb.wait_line("staging is full");
    ebb.kill9();
    let line = world.fetch(&["--source", &dead_url(&world, free_port()), "--apply-only"]).failure();
    assert!(
        line.contains("no resolved timestamp has come yet") && line.contains("error_code\":\"EBB-D041\""),
        "{line}"
    );
}

#[test]
fn apply_only_that_a_signal_ends_early_fails() {
    let world = World::new("source_early", TABLE);
    stage_and_die(&world);
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    let flags = "--stagingSchema _replicator_1 -v --applyTimeout 1s";
    let mut ebb =
        world.fetch(&["--source", &dead_url(&world, free_port()), "--apply-only", "--replicator-flags", flags]);
    ebb.wait_line("cannot write to the target");
    ebb.signal(ebb_servers::Signal::TERM);
    assert_eq!(ebb.wait().code(), Some(1), "{}", ebb.log());
    assert!(ebb.log().contains("a signal ended ebb at"), "{}", ebb.log());
    drop(gate);
}

/// A JSON string that spells a document is known for one as long as the types of both sides are as they were looked at.
#[test]
fn json_strings_are_known_without_the_source() {
    let world = World::new("source_json", "CREATE TABLE t (id int PRIMARY KEY, v jsonb)");
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    world.source(r#"INSERT INTO t VALUES (1, to_jsonb('{"a": 1}'::text))"#);
    world.wait_equal(&ebb, &["t"]);
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source(r#"INSERT INTO t VALUES (2, to_jsonb('{"a": 2}'::text))"#);
    let now = world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
    wait_for("a resolved timestamp", || ebb.log(), || status(&pages)["resolved"].as_str() > Some(&now));
    ebb.kill9();
    drop(gate);
    let mut ebb = world.fetch(&["--source", &dead_url(&world, free_port()), "--apply-only"]);
    assert_eq!(ebb.wait().code(), Some(0), "{}", ebb.log());
    assert_eq!(world.target("SELECT string_agg(jsonb_typeof(v), ',') FROM t"), "string,string");
}

#[test]
fn json_strings_are_known_when_the_target_was_down() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v jsonb)";
    let world = World::with_own_target(Dialect::Postgres, "source_json_down", schema, schema);
    let ebb = world.fetch(&[]).ready();
    world.source(r#"INSERT INTO t VALUES (1, to_jsonb('{"a": 1}'::text))"#);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
    world.server().kill9().expect("a signal");
    world.source(r#"INSERT INTO t VALUES (2, to_jsonb('{"a": 2}'::text))"#);
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("receiving goes on while the target is down");
    world.server().restart().expect("the target starts");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}
