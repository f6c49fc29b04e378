//! `/_/livez` stays 200 while a run waits for others, however long they take: another start would not help. What makes it 503
//! is tested where it is judged (`measure/heartbeat`, `status/liveness`).

use std::time::{Duration, Instant};

use ebb_servers::Signal;
use serde_json::Value;

use crate::harness::client::hold;
use crate::harness::pages::{http_get, status};
use crate::harness::world::{Ebb, World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

fn start(world: &World, flags: &str) -> (Ebb, String) {
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = format!("--stagingSchema _replicator_1 {flags}");
    let ebb = world.fetch(&["--metrics-listen-addr", &pages, "--replicator-flags", &flags]).ready();
    (ebb, pages)
}

/// Waits for a state, in which every look until then finds all threads alive: none is quiet at work for longer than this.
fn alive_until(ebb: &Ebb, pages: &str, quiet_max: u64, what: &str, is_it: impl Fn(&Value) -> bool) {
    wait_for(
        what,
        || format!("{}\n{}", status(pages), ebb.log()),
        || {
            let live = http_get(pages, "/_/livez");
            assert!(live.starts_with("HTTP/1.1 200") && live.contains("\r\n\r\nOK"), "{live}\n{}", ebb.log());
            let now = status(pages);
            for thread in now["threads"].as_array().expect("a list") {
                let is_alive = ["rests", "works"].iter().any(|state| thread["state"] == *state);
                let quiet = thread["quiet_seconds"].as_u64().expect("seconds");
                assert!(is_alive && quiet <= quiet_max, "{thread}\n{}", ebb.log());
            }
            is_it(&now)
        },
    );
}

fn seconds(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

#[test]
fn a_target_that_hangs_is_waited_for_by_a_run_that_lives() {
    let world = World::new("live_target", TABLE);
    let (ebb, pages) = start(&world, "--applyTimeout 1s");
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO t VALUES (1, 'a')");
    // Many times as long as an attempt may take: who is heard of only now and then would be quiet for longer.
    alive_until(&ebb, &pages, 6, "an outage of 15 s", |now| seconds(&now["target_down"]["seconds"]) >= 15);
    drop(gate);
    alive_until(&ebb, &pages, 6, "the row", |now| now["rows_applied"] == 1);
    let applied = status(&pages);
    let threads: Vec<_> =
        applied["threads"].as_array().expect("a list").iter().map(|it| it["thread"].clone()).collect();
    assert_eq!(threads, ["intake", "staging-writer", "compaction", "reader", "applier"]);
    ebb.stop();
}

#[test]
fn a_source_that_is_silent_is_waited_for_by_a_run_that_lives() {
    let world = World::new("live_source", TABLE);
    let (ebb, pages) = start(&world, "");
    alive_until(&ebb, &pages, 6, "a look at the changefeed", |now| now["changefeed"]["job"].is_i64());
    world.source(&format!("PAUSE JOB {}", status(&pages)["changefeed"]["job"]));
    alive_until(&ebb, &pages, 6, "a silence of 12 s", |now| seconds(&now["last_request_seconds_ago"]) >= 12);
    ebb.stop();
}

#[test]
fn a_full_staging_is_no_death() {
    let world = World::new("live_staging", TABLE);
    let (ebb, pages) = start(&world, "--staging-max-bytes 4000000 --httpResponseTimeout 8s");
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    for first in (0..6000).step_by(100) {
        let last = first + 99;
        world.source(&format!("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series({first}, {last}) AS i"));
    }
    // Each is held for eight seconds.
    let is_held = |now: &Value| now["staging_full"] == true && seconds(&now["requests_refused"]) >= 1;
    // The applier hangs in one attempt on the lock.
    alive_until(&ebb, &pages, 40, "requests that are held", |now| {
        let writer = &now["threads"][1];
        assert!(writer["thread"] == "staging-writer" && seconds(&writer["quiet_seconds"]) <= 2, "{writer}");
        is_held(now)
    });
    assert!(http_get(&pages, "/_/readyz").starts_with("HTTP/1.1 503"));
    drop(gate);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn a_process_that_was_stopped_for_a_while_is_not_stuck() {
    let world = World::new("live_stopped", TABLE);
    let (ebb, pages) = start(&world, "");
    alive_until(&ebb, &pages, 6, "a look at the changefeed", |now| now["changefeed"]["job"].is_i64());
    ebb.signal(Signal::STOP);
    // No step of the receiver may take longer than 30 s.
    std::thread::sleep(Duration::from_secs(33));
    ebb.signal(Signal::CONT);
    let begun = Instant::now();
    alive_until(&ebb, &pages, 6, "three seconds of life", |_| begun.elapsed() >= Duration::from_secs(3));
    world.source("INSERT INTO t VALUES (1, 'a')");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}
