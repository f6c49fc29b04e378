//! Rows that are posted once more or after their time, and deletes of rows that never were.

use crate::harness::post::{Post, a_moment_from_now, one_row};
use crate::harness::world::{World, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";

/// The progress row's timestamp, as CockroachDB writes it.
fn applied(world: &World) -> String {
    world.target("SELECT wall || '.' || lpad(logical::text, 10, '0') FROM ebb_progress")
}

#[test]
fn a_row_after_its_time_stops_ebb_and_a_repeat_does_not() {
    let world = World::new("promise_late", TABLE);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    let time = a_moment_from_now();
    assert_eq!(Post::new(&world).send(&one_row(1, &time)).status, 200);
    wait_for("the time to be applied", || ebb.log(), || applied(&world) > time);
    // The same row again: it was applied, and is skipped.
    assert_eq!(Post::new(&world).send(&one_row(1, &time)).status, 200);
    // Another row of that time never came.
    assert_ne!(Post::new(&world).send(&one_row(7, &time)).status, 200);
    let line = ebb.failure();
    for text in [
        "a row of public.t with timestamp",
        "\"key\":\"[7]\"",
        &time,
        "came for the first time",
        "SHOW CHANGEFEED JOBS",
        "A-104309",
        "initial_scan",
    ] {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    assert_eq!(world.target("SELECT count(*) FROM t"), "1");
}

#[test]
fn a_repeat_is_known_after_a_new_start() {
    let world = World::new("promise_repeat", TABLE);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    let time = a_moment_from_now();
    assert_eq!(Post::new(&world).send(&one_row(1, &time)).status, 200);
    wait_for("the time to be applied", || ebb.log(), || applied(&world) > time);
    ebb.kill9();
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("using the running changefeed");
    assert_eq!(Post::new(&world).send(&one_row(1, &time)).status, 200);
    assert_ne!(Post::new(&world).send(&one_row(50, &time)).status, 200);
    assert!(ebb.failure().contains("\"key\":\"[50]\""));
}

#[test]
fn a_delete_of_a_row_that_never_was_changes_nothing() {
    let world = World::new("promise_phantom", TABLE);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    let time = a_moment_from_now();
    let phantom = format!(r#"{{"payload":[{{"after":null,"key":[77],"topic":"t","updated":"{time}"}}],"length":1}}"#);
    assert_eq!(Post::new(&world).send(&phantom).status, 200);
    wait_for("the time to be applied", || ebb.log(), || applied(&world) > time);
    assert_eq!(world.target("SELECT id FROM t"), "1");
    ebb.stop();
}
