//! Tables that are taken in and left out, and where a changefeed that is made anew begins.

use crate::harness::client::hold;
use crate::harness::pages::{http_get, status};
use crate::harness::world::{World, free_port, wait_for};

const TABLES: &str = "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int)";

fn cursor_of(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).expect("a line of the log");
    line["cursor"].as_str().expect("a cursor").to_owned()
}

fn cancel_the_changefeed(world: &World) {
    world.source("CANCEL JOBS (SELECT job_id FROM [SHOW CHANGEFEED JOBS])");
}

#[test]
fn a_table_that_was_left_out_is_refused_until_it_was_loaded() {
    let world = World::new("tables_in_and_out", TABLES);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
    // Left out by a filter: the changefeed of both is replaced by one of `a`.
    let mut ebb = world.fetch(&["--table-filter", "^a$"]);
    ebb.wait_line("the changefeed of an earlier start is replaced");
    let ebb = ebb.ready();
    world.source("INSERT INTO a VALUES (2, 2); INSERT INTO b VALUES (2, 2)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    for _ in 0..2 {
        let line = world.fetch(&[]).failure();
        assert!(
            line.contains("the last run did not replicate public.b")
                && line.contains("--new-tables")
                && line.contains("error_code\":\"EBB-K044\""),
            "{line}"
        );
    }
    world.target("INSERT INTO b VALUES (2, 2)");
    let mut ebb = world.fetch(&["--new-tables", "accept"]);
    ebb.wait_line("taken in: public.b");
    let ebb = ebb.ready();
    world.source("INSERT INTO a VALUES (3, 3); INSERT INTO b VALUES (3, 3)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
    // It is known from now on.
    let ebb = world.fetch(&[]);
    world.source("INSERT INTO b VALUES (4, 4)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

#[test]
fn a_table_that_is_made_later_is_new() {
    let world = World::new("tables_later", "CREATE TABLE a (id int PRIMARY KEY, v int)");
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO a VALUES (1, 1)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    for side in [World::source, World::target] {
        side(&world, "CREATE TABLE b (id int PRIMARY KEY, v int)");
    }
    let line = world.fetch(&[]).failure();
    assert!(line.contains("the last run did not replicate public.b"), "{line}");
}

#[test]
fn a_changefeed_that_is_made_anew_begins_where_staging_is_complete() {
    let world = World::new("tables_cursor", TABLES);
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    world.source("INSERT INTO a VALUES (1, 1)");
    world.wait_equal(&ebb, &["a", "b"]);
    // The target takes nothing more for a long time, in which the source's history is collected.
    let gate = hold(&world, "LOCK TABLE a IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO a VALUES (2, 2)");
    wait_for("the row", || ebb.log(), || http_get(&pages, "/_/varz").contains("ebb_rows_received_total 2\n"));
    let after = world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
    wait_for("a resolved timestamp", || ebb.log(), || status(&pages)["resolved"].as_str() > Some(&after));
    ebb.kill9();
    drop(gate);
    cancel_the_changefeed(&world);
    let mut ebb = world.fetch(&[]);
    let cursor = cursor_of(&ebb.wait_line("\"message\":\"changefeed created\""));
    assert!(cursor > after, "{cursor} is not behind {after}");
    world.source("INSERT INTO a VALUES (3, 3)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

#[test]
fn half_an_initial_scan_is_not_made_whole_by_another() {
    let world = World::new("tables_scan", TABLES);
    world.source("ALTER TABLE a ADD COLUMN w text");
    world.target("ALTER TABLE a ADD COLUMN w text");
    world.source("INSERT INTO a SELECT i, i, repeat('x', 1000) FROM generate_series(1, 10000) AS i");
    world.write_changefeed_settings(r#"{"initial_scan": "yes"}"#);
    let mut ebb = world.fetch(&["--replicator-flags", "--stagingSchema _replicator_1 --staging-max-bytes 4000000"]);
    ebb.wait_line("staging is full");
    ebb.kill9();
    assert_eq!(world.target("SELECT count(*) FROM a"), "0");
    cancel_the_changefeed(&world);
    // A second scan would not say that this one is gone.
    world.source("DELETE FROM a WHERE id = 5");
    let line = world.fetch(&[]).failure();
    assert!(
        line.contains("before its initial scan was complete")
            && line.contains("error_code\":\"EBB-C029\"")
            && line.contains("--stagingSchema"),
        "{line}"
    );
    let ebb = world.fetch(&["--replicator-flags", "--stagingSchema _replicator_2"]);
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
}

#[test]
fn rows_that_wait_outlive_their_table() {
    for (name, end, filter) in
        [("tables_dropped", "DROP TABLE a", None), ("tables_truncated", "TRUNCATE a", Some("--table-exclusion-filter"))]
    {
        let world = World::new(name, TABLES);
        let pages = format!("127.0.0.1:{}", free_port());
        let mut ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
        world.source("INSERT INTO a VALUES (1, 1), (2, 2); INSERT INTO b VALUES (1, 1)");
        world.wait_equal(&ebb, &["a", "b"]);
        let gate = hold(&world, "LOCK TABLE a IN ACCESS EXCLUSIVE MODE");
        world.source(
            "BEGIN; DELETE FROM a WHERE id = 1; INSERT INTO a VALUES (3, 3); INSERT INTO b VALUES (3, 3); COMMIT",
        );
        let after = world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
        wait_for("a resolved timestamp", || ebb.log(), || status(&pages)["resolved"].as_str() > Some(&after));
        world.source(end);
        assert_eq!(ebb.wait().code(), Some(1), "{}", ebb.log());
        drop(gate);
        // As the error says.
        let more: Vec<&str> = filter.into_iter().flat_map(|filter| [filter, "^a$"]).collect();
        let mut ebb = world.fetch(&more);
        ebb.wait_line("rows of public.a are staged up to");
        let ebb = ebb.ready();
        world.source("INSERT INTO b VALUES (4, 4)");
        world.wait_equal(&ebb, &["b"]);
        assert_eq!(world.target("SELECT string_agg(id::text, ',' ORDER BY id) FROM a"), "2,3");
        ebb.stop();
        let ebb = world.fetch(&more);
        world.source("INSERT INTO b VALUES (5, 5)");
        world.wait_equal(&ebb, &["b"]);
        assert!(!ebb.log().contains("rows of public.a are staged"), "{}", ebb.log());
        ebb.stop();
    }
}
