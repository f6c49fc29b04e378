//! Refused rows that are corrected in unlikely ways: far behind, one of several, in a large transaction, in a table that is left.

use ebb_servers::Signal;

use crate::harness::client::hold;
use crate::harness::pages::status;
use crate::harness::world::{Ebb, World, free_port, wait_for};

const SOURCE: &str = "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int)";
/// Neither takes a value from 100 on.
const TARGET: &str = "CREATE TABLE a (id int PRIMARY KEY, v int, CONSTRAINT small CHECK (v < 100)); \
                      CREATE TABLE b (id int PRIMARY KEY, v int, CONSTRAINT small_b CHECK (v < 100))";

/// Started so that it waits, and given few rows at once.
fn start(world: &World, more: &[&str]) -> (Ebb, String) {
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = "--stagingSchema _replicator_1 -v --on-row-error wait --transaction-rows-max 50";
    let ebb = world.fetch(&[&["--metrics-listen-addr", &pages, "--replicator-flags", flags], more].concat());
    (ebb, pages)
}

#[test]
fn a_correction_may_lie_far_behind() {
    let world = World::with_schemas("refused_far", SOURCE, TARGET);
    let (ebb, _) = start(&world, &[]);
    let mut ebb = ebb.ready();
    world.source("INSERT INTO a VALUES (7, 700)");
    ebb.wait_line("applying waits");
    for first in [1, 31, 61] {
        world.source(&format!("INSERT INTO b SELECT i, 1 FROM generate_series({first}, {}) AS i", first + 29));
    }
    world.source("UPDATE a SET v = 7 WHERE id = 7");
    ebb.wait_line("the target takes the rows again");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

#[test]
fn a_row_of_a_large_transaction_is_corrected_too() {
    let world = World::with_schemas("refused_large", SOURCE, TARGET);
    let (ebb, _) = start(&world, &[]);
    let mut ebb = ebb.ready();
    world.source(
        "BEGIN; INSERT INTO b SELECT i, 1 FROM generate_series(1, 200) AS i; INSERT INTO a VALUES (7, 700); COMMIT",
    );
    ebb.wait_line("applying waits");
    world.source("DELETE FROM a WHERE id = 7");
    world.wait_equal_maybe_empty(&ebb, &["a", "b"]);
    ebb.stop();
}

/// The first plan meets a unique value that a later one frees; what no plan can mend is the row of another table.
#[test]
fn the_row_that_no_plan_can_write_is_the_one_that_is_named() {
    let films = "CREATE TABLE film (id int PRIMARY KEY, slug text UNIQUE)";
    let world = World::with_schemas(
        "refused_other",
        &format!("{films}; CREATE TABLE note (id int PRIMARY KEY, v int)"),
        &format!(
            "{films}; CREATE TABLE note (id int PRIMARY KEY, v int, CONSTRAINT small CHECK (v < 100), CONSTRAINT one UNIQUE (v))"
        ),
    );
    let (ebb, _) = start(&world, &[]);
    let mut ebb = ebb.ready();
    world.source("INSERT INTO film VALUES (6, 's'); INSERT INTO note VALUES (1, 1)");
    world.wait_equal(&ebb, &["film", "note"]);
    world.source("BEGIN; UPDATE film SET id = 106 WHERE id = 6; INSERT INTO note VALUES (2, 1); COMMIT");
    let line = ebb.wait_line("applying waits");
    assert!(line.contains("\"table\":\"public.note\""), "{line}");
    world.source("UPDATE note SET v = 2 WHERE id = 2");
    ebb.wait_line("the target takes the rows again");
    world.wait_equal(&ebb, &["film", "note"]);
    ebb.stop();
}

/// The last plan of a user who may not suspend checks deletes first, and meets what still refers to the deleted row.
#[test]
fn what_a_plan_has_provoked_is_not_taken_for_the_fault() {
    let schema =
        "CREATE TABLE customer (id int PRIMARY KEY); CREATE TABLE film (id int PRIMARY KEY, slug text NOT NULL);
        CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL REFERENCES customer)";
    let world = World::with_schemas("refused_own", schema, &format!("{schema}; ALTER TABLE film ADD UNIQUE (slug)"));
    let (ebb, _) = start(&world, &["--target", &world.plain_target_url()]);
    let mut ebb = ebb.ready();
    world.source(
        "INSERT INTO customer VALUES (1), (2); INSERT INTO orders VALUES (1, 1); INSERT INTO film VALUES (1, 'a')",
    );
    world.wait_equal(&ebb, &["customer", "orders", "film"]);
    world.source(
        "BEGIN; UPDATE orders SET customer = 2; DELETE FROM customer WHERE id = 1; INSERT INTO film VALUES (2, 'a'); COMMIT",
    );
    let line = ebb.wait_line("applying waits");
    assert!(line.contains("\"table\":\"public.film\""), "{line}");
    world.source("UPDATE film SET slug = 'b' WHERE id = 2");
    ebb.wait_line("the target takes the rows again");
    world.wait_equal(&ebb, &["customer", "orders", "film"]);
    ebb.stop();
}

/// It is told at the start, and what is offered is possible: an index cannot be made DEFERRABLE.
#[test]
fn partial_unique_rules_are_told_to_users_who_cannot_suspend_them() {
    let seats = "CREATE TABLE seats (id int PRIMARY KEY, seat int NOT NULL)";
    let index = "CREATE UNIQUE INDEX taken ON seats (seat) WHERE seat > 0; INSERT INTO seats VALUES (100, 100)";
    let world = World::with_schemas("refused_partial", seats, &format!("{seats}; {index}"));
    let (ebb, _) = start(&world, &["--target", &world.plain_target_url()]);
    let mut ebb = ebb.ready();
    let line = ebb.wait_line("partial or computed unique indexes");
    assert!(line.contains("EBB-K056") && line.contains("in public.seats") && line.contains("GRANT SET ON"), "{line}");
    world.source("INSERT INTO seats VALUES (1, 100)");
    let line = ebb.wait_line("applying waits");
    assert!(line.contains("GRANT SET ON") && !line.contains("DEFERRABLE"), "{line}");
    world.target("DELETE FROM seats WHERE id = 100");
    ebb.signal(Signal::HUP);
    world.wait_equal(&ebb, &["seats"]);
    ebb.stop();
}

#[test]
fn of_several_refused_rows_both_are_named() {
    for (name, both) in [
        ("refused_two_a", "BEGIN; INSERT INTO a VALUES (7, 700); INSERT INTO b VALUES (8, 800); COMMIT"),
        ("refused_two_b", "INSERT INTO a VALUES (7, 700); INSERT INTO b VALUES (8, 800)"),
    ] {
        let world = World::with_schemas(name, SOURCE, TARGET);
        let (ebb, pages) = start(&world, &[]);
        let mut ebb = ebb.ready();
        world.source(both);
        ebb.wait_line("applying waits");
        world.source("UPDATE a SET v = 7 WHERE id = 7");
        let named = || status(&pages)["waiting"].to_string();
        wait_for("the other row", named, || named().contains("small_b"));
        world.source("UPDATE b SET v = 8 WHERE id = 8");
        world.wait_equal(&ebb, &["a", "b"]);
        ebb.stop();
    }
}

/// What other tables bring cannot help, and is not written in vain.
#[test]
fn rows_of_other_tables_are_not_tried() {
    let world = World::with_schemas("refused_quiet", SOURCE, TARGET);
    let (ebb, pages) = start(&world, &[]);
    let mut ebb = ebb.ready();
    world.source("INSERT INTO a VALUES (7, 700)");
    ebb.wait_line("applying waits");
    let written = || world.target("SELECT n_tup_ins + n_tup_del FROM pg_stat_user_tables WHERE relname = 'b'");
    world.source("INSERT INTO b SELECT i, 1 FROM generate_series(1, 40) AS i");
    wait_for("the rows", || ebb.log(), || status(&pages)["rows_received"] == 41);
    let tries = status(&pages)["waiting"]["tries"].as_u64();
    wait_for("two tries", || ebb.log(), || status(&pages)["waiting"]["tries"].as_u64() >= tries.map(|tries| tries + 2));
    // The statistics of a session are there for certain once it has ended, as it does after every try.
    assert_eq!(written(), "0");
    world.source("UPDATE a SET v = 7 WHERE id = 7");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

#[test]
fn a_refused_row_of_a_table_that_is_left_out_has_its_own_way_out() {
    let world = World::with_schemas("refused_left", SOURCE, TARGET);
    let (ebb, pages) = start(&world, &[]);
    let mut ebb = ebb.ready();
    world.source("INSERT INTO a VALUES (7, 700)");
    world.source("INSERT INTO b VALUES (1, 1)");
    let now = world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
    ebb.wait_line("applying waits");
    wait_for("a resolved timestamp", || ebb.log(), || status(&pages)["resolved"].as_str() > Some(&now));
    ebb.stop();
    let (mut ebb, _) = start(&world, &["--table-exclusion-filter", "^a$"]);
    let line = ebb.wait_line("applying waits");
    assert!(line.contains("its table is not replicated any more") && !line.contains("correct the row"), "{line}");
    ebb.stop();
    // Loaded anew, and taken in again.
    world.source("UPDATE a SET v = 7 WHERE id = 7");
    let now = world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
    world.target("INSERT INTO a VALUES (7, 7)");
    let (ebb, _) = start(&world, &["--new-tables", &now]);
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

/// The source need not have the constraint that the target has.
#[test]
fn a_child_waits_for_a_parent_that_comes_later() {
    let target = "CREATE TABLE b (id int PRIMARY KEY, v int); CREATE TABLE a (id int PRIMARY KEY, v int REFERENCES b)";
    let world = World::with_schemas("refused_child", SOURCE, target);
    let (ebb, _) = start(&world, &[]);
    let mut ebb = ebb.ready();
    world.source("INSERT INTO a VALUES (7, 1)");
    ebb.wait_line("applying waits");
    world.source("INSERT INTO b VALUES (1, 1)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}

#[test]
fn a_signal_during_a_try_is_not_lost() {
    let world = World::with_schemas("refused_signal", SOURCE, TARGET);
    let (ebb, pages) = start(&world, &[]);
    let mut ebb = ebb.ready();
    world.source("INSERT INTO a VALUES (7, 700)");
    ebb.wait_line("applying waits");
    let tries = || status(&pages)["waiting"]["tries"].as_u64().unwrap_or(0);
    let before = tries();
    for wanted in 1..=5 {
        ebb.signal(Signal::HUP);
        wait_for("a try", || ebb.log(), || tries() >= before + wanted);
    }
    ebb.stop();
}

/// A try that was cut off is made again by itself.
#[test]
fn a_corrected_row_is_tried_again_after_a_lock() {
    let target = "CREATE TABLE a (id int PRIMARY KEY, v int, CONSTRAINT small CHECK (v < 100)); \
                  CREATE TABLE b (id int PRIMARY KEY, v int)";
    let world = World::with_schemas("mistake_lock", SOURCE, target);
    let flags = "--stagingSchema _replicator_1 -v --on-row-error wait --applyTimeout 1s";
    let mut ebb = world.fetch(&["--replicator-flags", flags]).ready();
    world.source("INSERT INTO a VALUES (7, 700)");
    ebb.wait_line("applying waits");
    let gate = hold(&world, "LOCK TABLE b IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO b VALUES (1, 1)");
    world.source("UPDATE a SET v = 7 WHERE id = 7");
    ebb.wait_line("while a row is waited for");
    drop(gate);
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}
