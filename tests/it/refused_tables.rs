//! Tables that a run may not take up: what a refusal must outlast, and what an acceptance must not cover.

use crate::harness::client::hold;
use crate::harness::folders::{backup_of_progress, now};
use crate::harness::forward::dead_url;
use crate::harness::pages::status;
use crate::harness::world::{World, free_port, wait_for};

const ONE: &str = "CREATE TABLE a (id int PRIMARY KEY, v int)";
const TABLES: &str = "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int)";
const REFUSED: &str = "the last run did not replicate public.b";

fn ids(world: &World, table: &str) -> String {
    world.target(&format!("SELECT string_agg(id::text, ',' ORDER BY id) FROM {table}"))
}

/// A run of `a`, ended, and a table `b` that was made since.
fn with_a_new_table(name: &str) -> World {
    let world = World::new(name, ONE);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO a VALUES (1, 1)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    for side in [World::source, World::target] {
        side(&world, "CREATE TABLE b (id int PRIMARY KEY, v int)");
    }
    world
}

/// Runs without `b` until a row of `a` has come, while another of `b` has not.
fn run_without(world: &World, id: u32) {
    let ebb = world.fetch(&["--table-exclusion-filter", "^b$"]);
    world.source(&format!("INSERT INTO b VALUES ({id}, {id})"));
    world.source(&format!("INSERT INTO a VALUES ({id}, {id})"));
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
}

#[test]
fn a_refusal_outlasts_a_start_without_the_source() {
    let world = with_a_new_table("refused_source_down");
    assert!(world.fetch(&[]).failure().contains(REFUSED));
    for more in [&["--apply-only"][..], &[]] {
        let dead = dead_url(&world, free_port());
        let mut ebb = world.fetch(&[&["--source", &dead], more].concat());
        match more.is_empty() {
            false => assert_eq!(ebb.wait().code(), Some(0), "{}", ebb.log()),
            true => {
                ebb.wait_line("\"message\":\"applied\"");
                ebb.stop();
            }
        }
        assert!(world.fetch(&[]).failure().contains(REFUSED), "after {more:?}");
    }
}

#[test]
fn a_table_that_was_loaded_before_the_run_went_on_is_not_accepted() {
    let world = with_a_new_table("refused_late");
    let loaded = now(&world);
    assert!(world.fetch(&[]).failure().contains("--new-tables T"));
    run_without(&world, 2);
    for allowed in ["accept", &loaded] {
        let line = world.fetch(&["--new-tables", allowed]).failure();
        assert!(
            line.contains("in between would be missing")
                && line.contains("error_code\":\"EBB-K044\"")
                && line.contains("--new-tables T"),
            "{line}"
        );
    }
    // Loaded once more.
    world.target("INSERT INTO b VALUES (2, 2)");
    let mut ebb = world.fetch(&["--new-tables", &now(&world)]);
    ebb.wait_line("taken in: public.b");
    world.source("INSERT INTO b VALUES (3, 3)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
    let mut ebb = world.fetch(&["--new-tables", "soon"]);
    assert_eq!(ebb.wait().code(), Some(2), "{}", ebb.log());
}

#[test]
fn rows_of_before_do_not_overwrite_what_was_loaded() {
    let world = World::new("refused_overwrite", TABLES);
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    world.source("INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1)");
    world.wait_equal(&ebb, &["a", "b"]);
    let gate = hold(&world, "LOCK TABLE a IN ACCESS EXCLUSIVE MODE");
    world.source("BEGIN; UPDATE a SET v = 2; UPDATE b SET v = 2; INSERT INTO b VALUES (2, 2); COMMIT");
    let after = now(&world);
    wait_for("a resolved timestamp", || ebb.log(), || status(&pages)["resolved"].as_str() > Some(&after));
    ebb.stop();
    // Left out while rows of it wait, by a run that cannot apply them.
    let flags = "--stagingSchema _replicator_1 -v --applyTimeout 1s";
    let out = ["--table-exclusion-filter", "^b$", "--replicator-flags", flags];
    let mut ebb = world.fetch(&out);
    ebb.wait_line("rows of public.b are staged up to");
    ebb.ready().stop();
    world.source("UPDATE b SET v = 3 WHERE id = 1; DELETE FROM b WHERE id = 2");
    let loaded = now(&world);
    world.target("UPDATE b SET v = 3 WHERE id = 1");
    drop(gate);
    let ebb = world.fetch(&["--new-tables", &loaded]);
    world.source("INSERT INTO a VALUES (5, 5); INSERT INTO b VALUES (5, 5)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

#[test]
fn half_a_transaction_of_a_table_that_is_left_is_not_applied() {
    let world = World::new("refused_half", TABLES);
    let pages = format!("127.0.0.1:{}", free_port());
    world.write_changefeed_settings(r#"{"resolved": "1h"}"#);
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    world.source("BEGIN; INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1); COMMIT");
    wait_for("two rows", || ebb.log(), || status(&pages)["rows_received"] == 2);
    ebb.stop();
    world.write_changefeed_settings("{}");
    let ebb = world.fetch(&["--table-exclusion-filter", "^b$"]);
    world.wait_equal(&ebb, &["a"]);
    assert_eq!(ids(&world, "b"), "");
    ebb.stop();
}

/// The target's list is of a backup that is older than the last change of the set.
#[test]
fn an_older_list_of_the_target_does_not_bring_a_table_back() {
    let world = World::new("refused_restored", TABLES);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
    let note = world.target("SELECT note::json ->> 'tables' FROM ebb_progress");
    run_without(&world, 2);
    world.target(&format!("UPDATE ebb_progress SET note = jsonb_set(note::jsonb, '{{tables}}', '{note}')::text"));
    assert!(world.fetch(&[]).failure().contains(REFUSED));
    world.target("INSERT INTO b VALUES (2, 2)");
    let ebb = world.fetch(&["--new-tables", "accept"]);
    world.source("INSERT INTO b VALUES (3, 3)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

#[test]
fn a_changefeed_that_was_paused_is_not_taken_up_in_another_set() {
    let world = World::new("refused_paused", TABLES);
    let pause = ["--on-exit", "pause"];
    let ebb = world.fetch(&pause).ready();
    world.source("INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
    let ebb = world.fetch(&["--on-exit", "pause", "--table-exclusion-filter", "^b$"]).ready();
    world.source("INSERT INTO a VALUES (2, 2); INSERT INTO b VALUES (2, 2)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    let live = "SELECT count(*) FROM [SHOW CHANGEFEED JOBS] WHERE status IN ('running', 'paused')";
    assert_eq!(world.source(live).trim(), "1");
    world.target("INSERT INTO b VALUES (2, 2)");
    let ebb = world.fetch(&["--on-exit", "pause", "--new-tables", "accept"]);
    world.source("INSERT INTO b VALUES (3, 3)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
    assert_eq!(world.source(live).trim(), "1");
}

#[test]
fn a_table_that_is_younger_than_the_cursor_ends_nothing() {
    let world = World::new("refused_younger", ONE);
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    world.source("INSERT INTO a VALUES (1, 1)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    for side in [World::source, World::target] {
        side(&world, "CREATE TABLE b (id int PRIMARY KEY, v int)");
    }
    let line = world.fetch(&["--new-tables", "accept"]).failure();
    assert!(
        line.contains("was made, or got its name, after that") && line.contains("error_code\":\"EBB-C020\""),
        "{line}"
    );
    let running = "SELECT count(*) FROM [SHOW CHANGEFEED JOBS] WHERE status = 'running'";
    assert_eq!(world.source(running).trim(), "1");
    run_without(&world, 2);
    world.target("INSERT INTO b VALUES (2, 2)");
    let ebb = world.fetch(&["--new-tables", &now(&world)]);
    world.source("INSERT INTO b VALUES (3, 3)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

/// Where CockroachDB is gone, the tables that the target was given are worth having without the other.
#[test]
fn apply_only_leaves_out_what_the_target_was_not_given() {
    let world = World::new("refused_apply_only", TABLES);
    let ebb = world.fetch(&["--table-exclusion-filter", "^b$"]).ready();
    world.source("INSERT INTO a VALUES (1, 1)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    let backup = backup_of_progress(&world);
    let ebb = world.fetch(&["--new-tables", "accept"]);
    world.source("INSERT INTO a VALUES (2, 2); INSERT INTO b VALUES (1, 1)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
    world.target("DELETE FROM a WHERE id = 2; DELETE FROM b");
    world.target(&backup);
    let mut ebb = world.fetch(&["--source", &dead_url(&world, free_port()), "--apply-only"]);
    assert_eq!(ebb.wait().code(), Some(0), "{}", ebb.log());
    assert!(ebb.log().contains("ebb applies no row of them"), "{}", ebb.log());
    assert_eq!((ids(&world, "a").as_str(), ids(&world, "b").as_str()), ("1,2", ""));
}

#[test]
fn an_acceptance_that_failed_is_not_one() {
    let world = World::new("mistake_acceptance", TABLES);
    let without = ["--table-exclusion-filter", "^b$"];
    let ebb = world.fetch(&without).ready();
    world.source("INSERT INTO a VALUES (1, 1)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    assert!(world.fetch(&[]).failure().contains("did not replicate public.b"));
    let taken = std::net::TcpListener::bind(("::", world.port())).expect("the port");
    let line = world.fetch(&["--new-tables", "accept"]).failure();
    assert!(line.contains("another process listens there") && line.contains("error_code\":\"EBB-R010\""), "{line}");
    drop(taken);
    let ebb = world.fetch(&without);
    world.source("INSERT INTO b VALUES (2, 2); INSERT INTO a VALUES (2, 2)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    let line = world.fetch(&["--new-tables", "accept"]).failure();
    assert!(line.contains("the run has come to"), "{line}");
}

#[test]
fn a_target_of_before_a_table_was_out_and_in_lacks_it() {
    let world = World::new("mistake_out_and_in", TABLES);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
    let backup = backup_of_progress(&world);
    let mut ebb = world.fetch(&["--table-exclusion-filter", "^b$"]);
    ebb.wait_line("public.b is not replicated any more: what is changed there after");
    let ebb = ebb.ready();
    world.source("INSERT INTO b VALUES (2, 2); INSERT INTO a VALUES (2, 2)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    let loaded = now(&world);
    world.target("INSERT INTO b VALUES (2, 2)");
    let ebb = world.fetch(&["--new-tables", &loaded]);
    world.source("INSERT INTO a VALUES (3, 3); INSERT INTO b VALUES (3, 3)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
    world.target("DELETE FROM a WHERE id > 1; DELETE FROM b WHERE id > 1");
    world.target(&backup);
    let line = world.fetch(&[]).failure();
    assert!(line.contains("did not replicate public.b"), "{line}");
}
