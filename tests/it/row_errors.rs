//! A row that the target does not take: applying waits in front of it, and receiving goes on.

use ebb_servers::{Flavour, Signal};

use crate::harness::client::hold;
use crate::harness::pages::{http_get, status};
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

const SOURCE: &str = "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int)";
/// It takes no value from 100 on.
const TARGET: &str = "CREATE TABLE a (id int PRIMARY KEY, v int, CONSTRAINT small CHECK (v < 100)); CREATE TABLE b (id int PRIMARY KEY, v int)";
/// The usual flags, with the default that other tests do not have.
const WAITS: &str = "--stagingSchema _replicator_1 -v --on-row-error wait";
const DIALECTS: [Dialect; 3] = [Dialect::Postgres, Dialect::MySql(Flavour::MariaDb), Dialect::MySql(Flavour::MySql)];

/// Three source transactions of which the second has a row that the target refuses, seen to wait.
fn waiting(world: &World) -> (Ebb, String) {
    let pages = format!("127.0.0.1:{}", free_port());
    let mut ebb = world.fetch(&["--metrics-listen-addr", &pages, "--replicator-flags", WAITS]).ready();
    world.source("INSERT INTO b VALUES (1, 1)");
    world.source("BEGIN; INSERT INTO b VALUES (2, 2); INSERT INTO a VALUES (7, 700); COMMIT");
    world.source("INSERT INTO b VALUES (3, 3)");
    let line = ebb.wait_line("applying waits, and receiving goes on");
    assert!(
        line.contains("--on-row-error exit") && line.contains("SIGHUP") && line.contains("error_code\":\"EBB-W01"),
        "{line}"
    );
    (ebb, pages)
}

fn rows(world: &World) -> String {
    world.target("SELECT id FROM b ORDER BY id").split_whitespace().collect::<Vec<_>>().join(",")
}

#[test]
fn a_corrected_row_takes_the_place_of_the_refused_one() {
    for dialect in DIALECTS {
        let world = World::with_target(dialect, "row_corrected", SOURCE, TARGET);
        let (mut ebb, pages) = waiting(&world);
        assert!(ebb.log().contains("error_code\":\"EBB-W012\""), "{}", ebb.log());
        assert_eq!(rows(&world), "1", "what came before is applied, and nothing behind it");
        let waiting = status(&pages)["waiting"].clone();
        let table = waiting["table"].as_str().expect("a table");
        assert!(table.ends_with('a') && waiting["source_timestamp"].is_string(), "{waiting}");
        assert!(http_get(&pages, "/_/varz").contains("ebb_apply_waiting 1\n"));
        assert!(http_get(&pages, "/_/readyz").contains("applying waits"));
        // Received all the while.
        world.source("INSERT INTO b VALUES (4, 4)");
        wait_for("the row", || ebb.log(), || status(&pages)["rows_received"] == 5);
        world.source("UPDATE a SET v = 7 WHERE id = 7");
        ebb.wait_line("the target takes the rows again");
        world.wait_equal(&ebb, &["a", "b"]);
        assert!(status(&pages)["waiting"].is_null());
        world.source("INSERT INTO b VALUES (5, 5)");
        world.wait_equal(&ebb, &["a", "b"]);
        ebb.must_run();
        ebb.stop();
    }
}

#[test]
fn a_row_that_is_deleted_is_waited_for_no_more() {
    let world = World::with_schemas("row_deleted", SOURCE, TARGET);
    let (ebb, _) = waiting(&world);
    // Of two bad rows the second stays: the window ends between them.
    world.source("DELETE FROM a WHERE id = 7");
    world.source("INSERT INTO b VALUES (4, 4)");
    world.source("INSERT INTO a VALUES (8, 800)");
    world.source("INSERT INTO b VALUES (5, 5)");
    wait_for("the row in front", || ebb.log(), || rows(&world) == "1,2,3,4");
    world.source("UPDATE a SET v = 8 WHERE id = 8");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

#[test]
fn a_target_that_was_mended_is_seen_at_once_on_a_signal() {
    let world = World::with_schemas(
        "row_mended",
        SOURCE,
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE a (id int PRIMARY KEY, v int REFERENCES p); \
         CREATE TABLE b (id int PRIMARY KEY, v int)",
    );
    let (mut ebb, pages) = waiting(&world);
    assert!(ebb.log().contains("error_code\":\"EBB-W011\""), "{}", ebb.log());
    // Long enough that the delay between two tries is more than some seconds.
    wait_for("some tries", || ebb.log(), || status(&pages)["waiting"]["tries"].as_u64() >= Some(3));
    world.target("INSERT INTO p VALUES (700)");
    ebb.signal(Signal::HUP);
    ebb.wait_line("the target takes the rows again");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

#[test]
fn it_waits_again_after_a_new_start() {
    let world = World::with_schemas("row_restart", SOURCE, TARGET);
    let (ebb, _) = waiting(&world);
    ebb.stop();
    let mut ebb = world.fetch(&["--replicator-flags", WAITS]);
    ebb.wait_line("applying waits, and receiving goes on");
    ebb.kill9();
    let mut ebb = world.fetch(&["--replicator-flags", WAITS]);
    ebb.wait_line("applying waits, and receiving goes on");
    assert_eq!(rows(&world), "1");
    world.source("UPDATE a SET v = 7 WHERE id = 7");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

#[test]
fn a_large_transaction_with_a_refused_row_waits_whole() {
    let world = World::with_schemas("row_large", SOURCE, TARGET);
    let flags = "--stagingSchema _replicator_1 -v --on-row-error wait --transaction-rows-max 50";
    let mut ebb = world.fetch(&["--replicator-flags", flags]).ready();
    world.source(
        "BEGIN; INSERT INTO b SELECT i, i FROM generate_series(1, 200) AS i; INSERT INTO a VALUES (7, 700); COMMIT",
    );
    ebb.wait_line("applying waits, and receiving goes on");
    assert_eq!(world.target("SELECT count(*) FROM b"), "0");
    world.target("ALTER TABLE a DROP CONSTRAINT small");
    ebb.signal(Signal::HUP);
    // What the target's tables are is read at a start.
    assert_eq!(ebb.wait().code(), Some(1), "{}", ebb.log());
    assert!(ebb.log().contains("has changed while ebb ran"), "{}", ebb.log());
    let ebb = world.fetch(&["--replicator-flags", flags]);
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

#[test]
fn a_column_that_the_target_lacks_does_not_end_receiving() {
    let world = World::new("row_column", SOURCE);
    let pages = format!("127.0.0.1:{}", free_port());
    let mut ebb = world.fetch(&["--metrics-listen-addr", &pages, "--replicator-flags", WAITS]).ready();
    world.source("INSERT INTO b VALUES (1, 1)");
    world.source("ALTER TABLE a ADD COLUMN w int; INSERT INTO a VALUES (1, 1, 1)");
    let line = ebb.wait_line("applying waits, and receiving goes on");
    assert!(line.contains("the source has a column w") && line.contains("error_code\":\"EBB-W020\""), "{line}");
    world.source("INSERT INTO b VALUES (2, 2)");
    wait_for("the row", || ebb.log(), || status(&pages)["rows_received"].as_u64() >= Some(3));
    assert_eq!(rows(&world), "1");
    world.target("ALTER TABLE a ADD COLUMN w int");
    ebb.signal(Signal::HUP);
    assert_eq!(ebb.wait().code(), Some(1), "{}", ebb.log());
    assert!(ebb.log().contains("has changed while ebb ran"), "{}", ebb.log());
    let ebb = world.fetch(&[]);
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

#[test]
fn exit_ends_the_run_and_nothing_behind_the_row_is_applied() {
    let world = World::with_schemas("row_exit", SOURCE, TARGET);
    let flags = "--stagingSchema _replicator_1 -v --on-row-error exit";
    let ebb = world.fetch(&["--replicator-flags", flags]).ready();
    let gate = hold(&world, "LOCK TABLE b IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO b VALUES (1, 1)");
    world.source("INSERT INTO a VALUES (7, 700)");
    world.source("INSERT INTO b VALUES (3, 3)");
    drop(gate);
    let line = ebb.failure();
    assert!(line.contains("small") && !line.contains("DEFERRABLE"), "{line}");
    assert_eq!(rows(&world), "1");
}

#[test]
fn a_target_that_is_too_slow_is_given_less_at_once() {
    let world = World::new("row_slow", SOURCE);
    world.target(
        "CREATE FUNCTION drowse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.004); RETURN new; END $$; \
         CREATE TRIGGER drowse BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION drowse()",
    );
    let flags = "--stagingSchema _replicator_1 -v --triggers fire --applyTimeout 1s --transaction-rows-max 1000";
    let mut ebb = world.fetch(&["--replicator-flags", flags]).ready();
    let gate = hold(&world, "LOCK TABLE a IN ACCESS EXCLUSIVE MODE");
    for first in [1, 501] {
        world.source(&format!("INSERT INTO a SELECT i, i FROM generate_series({first}, {}) AS i", first + 499));
    }
    drop(gate);
    let line = ebb.wait_line("at once are tried");
    assert!(line.contains("--applyTimeout (now 1000 ms)"), "{line}");
    world.wait_equal(&ebb, &["a"]);
    // One source transaction of more rows than the target takes in time.
    world.source("INSERT INTO a SELECT i, i FROM generate_series(2001, 3000) AS i");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
}

/// Nothing can take the place of a row where nothing is received.
#[test]
fn apply_only_ends_at_a_refused_row() {
    let world = World::with_schemas("row_apply_only", SOURCE, TARGET);
    let (ebb, _) = waiting(&world);
    ebb.stop();
    let flags = ["--apply-only", "--replicator-flags", WAITS];
    let line = world.fetch(&flags).failure();
    assert!(line.contains("small"), "{line}");
    assert_eq!(rows(&world), "1");
}

#[test]
fn a_row_that_the_target_refuses_stops_with_its_name() {
    let world = World::with_schemas(
        "fail_row",
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(3))",
    );
    let mut ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 'abc')");
    world.wait_equal(&ebb, &["t"]);
    world.source("BEGIN; INSERT INTO t SELECT i, 'ok' FROM generate_series(2, 50) AS i; UPDATE t SET v = 'too long' WHERE id = 33; COMMIT");
    assert_eq!(ebb.wait().code(), Some(1));
    let error = ebb.failure();
    for text in ["value too long", "public.t", "id=33", "\"code\":\"22001\""] {
        assert!(error.contains(text), "{text:?} is not in {error}");
    }
    assert_eq!(world.target("SELECT count(*) FROM t").trim(), "1", "nothing of the transaction is there");
    // Mended, the same command goes on.
    world.target("ALTER TABLE t ALTER COLUMN v TYPE text");
    let ebb = world.fetch(&[]);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}
