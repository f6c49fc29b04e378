//! Rows that refer to each other and hand unique values to each other, inside one transaction and across several that are
//! applied as one; triggers and cascades of the target. Each as a superuser and as a user with no rights but those on rows.

use crate::harness::client::hold;
use crate::harness::world::{Ebb, World};

/// Who writes to the target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum User {
    Super,
    Plain,
}

/// Starts ebb as this user; plain ones own nothing and may do no more than write rows.
fn start(world: &World, user: User) -> Ebb {
    match user {
        User::Super => world.fetch(&[]).ready(),
        User::Plain => start_plain(world).ready(),
    }
}

/// As a user who may write and nothing else.
fn start_plain(world: &World) -> Ebb {
    world.fetch(&["--target", &world.plain_target_url()])
}

/// Runs transactions at the source and waits until the target is equal after each; then all of them once more while the
/// target is blocked, so that they are applied as one.
fn check(name: &str, schema: [&str; 2], tables: &[&str], steps: &[&str]) {
    for (user, suffix) in [(User::Super, "super"), (User::Plain, "plain")] {
        let world = World::with_schemas(&format!("{name}_{suffix}"), schema[0], schema[1]);
        let ebb = start(&world, user);
        for step in steps {
            world.source(&format!("BEGIN; {step}; COMMIT"));
            world.wait_equal_maybe_empty(&ebb, tables);
        }
        let delete: Vec<_> = tables.iter().map(|table| format!("DELETE FROM {table}")).collect();
        world.source(&format!("BEGIN; {}; COMMIT", delete.join("; ")));
        world.wait_equal_maybe_empty(&ebb, tables);
        let gate = hold(&world, &format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables[0]));
        for step in steps {
            world.source(&format!("BEGIN; {step}; COMMIT"));
        }
        drop(gate);
        world.wait_equal_maybe_empty(&ebb, tables);
        ebb.stop();
    }
}

#[test]
fn diamonds_with_a_shortcut_and_two_roots() {
    let schema = "CREATE TABLE a (id int PRIMARY KEY);
        CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a);
        CREATE TABLE c (id int PRIMARY KEY, a int NOT NULL REFERENCES a, b int NOT NULL REFERENCES b);
        CREATE TABLE root (id int PRIMARY KEY);
        CREATE TABLE d (id int PRIMARY KEY, b int NOT NULL REFERENCES b, c int NOT NULL REFERENCES c, root int REFERENCES root);";
    check(
        "con_diamond",
        [schema, schema],
        &["d", "c", "b", "a", "root"],
        &[
            "INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1, 1), (2, 2); INSERT INTO c VALUES (1, 1, 1), (2, 2, 2);
             INSERT INTO root VALUES (1), (2); INSERT INTO d VALUES (1, 1, 1, 1), (2, 2, 1, 2)",
            // Everything moves to a new top, and the old one goes.
            "INSERT INTO a VALUES (3); INSERT INTO b VALUES (3, 3); INSERT INTO c VALUES (3, 3, 3);
             UPDATE d SET b = 3, c = 3; DELETE FROM c WHERE id < 3; DELETE FROM b WHERE id < 3; DELETE FROM a WHERE id < 3",
            "DELETE FROM d; DELETE FROM c; DELETE FROM b; DELETE FROM a; DELETE FROM root",
        ],
    );
}

#[test]
fn trees_that_refer_to_themselves() {
    let source = "CREATE TABLE nodes (id int PRIMARY KEY, parent int REFERENCES nodes DEFERRABLE INITIALLY DEFERRED)";
    let target = "CREATE TABLE nodes (id int PRIMARY KEY, parent int REFERENCES nodes)";
    check(
        "con_tree",
        [source, target],
        &["nodes"],
        &[
            // Children before parents: the root has the largest number.
            "INSERT INTO nodes SELECT i, CASE WHEN i < 1000 THEN least(i * 2 + 1, 1000) END FROM generate_series(1, 1000) AS i",
            "UPDATE nodes SET parent = 1000 WHERE parent = 501; INSERT INTO nodes VALUES (2000, 1000);
             UPDATE nodes SET parent = 2000 WHERE id < 5",
            "DELETE FROM nodes WHERE id > 5 AND id NOT IN (SELECT parent FROM nodes WHERE parent IS NOT NULL)",
        ],
    );
}

#[test]
fn circles_of_tables() {
    let tables = |deferrable: &str| {
        format!(
            "CREATE TABLE cities (id int PRIMARY KEY); CREATE TABLE teams (id int PRIMARY KEY, lead int, name text, city int REFERENCES cities);
             CREATE TABLE people (id int PRIMARY KEY, team int NOT NULL REFERENCES teams {deferrable});
             ALTER TABLE teams ADD FOREIGN KEY (lead) REFERENCES people {deferrable};"
        )
    };
    let (source, target) = (tables("DEFERRABLE INITIALLY DEFERRED"), tables(""));
    check(
        "con_circle",
        [&source, &target],
        &["people", "teams", "cities"],
        &[
            "INSERT INTO cities VALUES (1), (2); INSERT INTO teams VALUES (1, 1, 'a', 1), (2, 3, 'b', 2); INSERT INTO people VALUES (1, 1), (2, 1), (3, 2)",
            "INSERT INTO people VALUES (4, 2); UPDATE teams SET lead = 4 WHERE id = 2; DELETE FROM people WHERE id = 3",
            "DELETE FROM teams; DELETE FROM people; DELETE FROM cities",
        ],
    );
}

/// Seats swapped, rotated, and handed on, where the target's key is as given.
fn check_seats(name: &str, seat: &str) {
    let source = "CREATE TABLE guests (id int PRIMARY KEY, seat int UNIQUE DEFERRABLE INITIALLY DEFERRED)";
    let target = format!("CREATE TABLE guests (id int PRIMARY KEY, seat int {seat})");
    check(
        name,
        [source, &target],
        &["guests"],
        &[
            "INSERT INTO guests SELECT i, i FROM generate_series(1, 20) AS i",
            "UPDATE guests SET seat = 3 - seat WHERE id IN (1, 2)",
            "UPDATE guests SET seat = seat % 20 + 1",
            "DELETE FROM guests WHERE id = 5; INSERT INTO guests VALUES (100, 6); UPDATE guests SET seat = 500 WHERE id = 7",
            "UPDATE guests SET seat = 8 WHERE id = 100; UPDATE guests SET seat = 6 WHERE id = 8",
        ],
    );
}

#[test]
fn unique_values_that_may_be_null_rotate() {
    check_seats("con_seats_null", "UNIQUE");
}

#[test]
fn unique_values_that_may_not_be_null_rotate() {
    check_seats("con_seats_rigid", "NOT NULL UNIQUE");
}

#[test]
fn unique_values_that_are_checked_at_commit_rotate() {
    check_seats("con_seats_late", "NOT NULL UNIQUE DEFERRABLE");
}

/// Rows that others hang on cannot be replaced; a key that waits for COMMIT needs neither that nor a right.
#[test]
fn a_deferrable_key_rotates_among_rows_that_others_hang_on() {
    let source = "CREATE TABLE guests (id int PRIMARY KEY, seat int UNIQUE DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE bags (id int PRIMARY KEY, guest int REFERENCES guests)";
    let target = "CREATE TABLE guests (id int PRIMARY KEY, seat int NOT NULL UNIQUE DEFERRABLE);
        CREATE TABLE bags (id int PRIMARY KEY, guest int REFERENCES guests ON DELETE CASCADE)";
    let world = World::with_schemas("con_deferrable", source, target);
    start(&world, User::Plain).stop();
    // Each row in a statement of its own: within one, the key would be checked at its end anyway.
    let (target, flags) =
        (world.target_url_as("con_deferrable_app", "x"), "--stagingSchema _replicator_1 --transaction-rows-max 1");
    let ebb = world.fetch(&["--target", &target, "--replicator-flags", flags]);
    world.source("INSERT INTO guests VALUES (1, 1), (2, 2); INSERT INTO bags VALUES (1, 1)");
    world.wait_equal(&ebb, &["guests", "bags"]);
    world.source("UPDATE guests SET seat = 3 - seat");
    world.wait_equal(&ebb, &["guests", "bags"]);
    ebb.stop();
}

/// A plain user, a rigid key, and a reference that makes deleting unsafe: there is no safe way, and the error says so.
#[test]
fn without_a_safe_way_the_error_names_constraint_and_grant() {
    let source = "CREATE TABLE guests (id int PRIMARY KEY, seat int UNIQUE DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE bags (id int PRIMARY KEY, guest int REFERENCES guests)";
    let target = "CREATE TABLE guests (id int PRIMARY KEY, seat int NOT NULL CONSTRAINT one_seat UNIQUE);
        CREATE TABLE bags (id int PRIMARY KEY, guest int REFERENCES guests ON DELETE CASCADE)";
    let world = World::with_schemas("con_no_way", source, target);
    let ebb = start(&world, User::Plain);
    world.source("INSERT INTO guests VALUES (1, 1), (2, 2); INSERT INTO bags VALUES (1, 1)");
    world.wait_equal(&ebb, &["guests", "bags"]);
    world.source("UPDATE guests SET seat = 3 - seat");
    let line = ebb.failure();
    for text in ["one_seat", "DEFERRABLE", "GRANT SET ON PARAMETER session_replication_role TO"] {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    assert_eq!(world.target("SELECT string_agg(seat::text, ',' ORDER BY id) FROM guests"), "1,2");
    assert_eq!(world.target("SELECT count(*) FROM bags"), "1");
    // With the right that it names the same command goes on.
    world.target("GRANT SET ON PARAMETER session_replication_role TO con_no_way_app");
    let ebb = world.fetch(&["--target", &world.target_url_as("con_no_way_app", "x")]);
    world.wait_equal(&ebb, &["guests", "bags"]);
    ebb.stop();
}

#[test]
fn a_row_that_the_targets_key_refuses_is_refused_whoever_writes() {
    let source = "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a int)";
    let target = "CREATE TABLE a (id int PRIMARY KEY);
        CREATE TABLE b (id int PRIMARY KEY, a int CONSTRAINT b_needs_a REFERENCES a)";
    for (user, name) in [(User::Super, "con_orphan_super"), (User::Plain, "con_orphan_plain")] {
        let world = World::with_schemas(name, source, target);
        let ebb = start(&world, user);
        world.source("INSERT INTO b VALUES (1, 7)");
        let line = ebb.failure();
        assert!(line.contains("b_needs_a"), "{line}");
        assert_eq!(world.target("SELECT count(*) FROM b"), "0");
    }
}

/// A cascade that only the target has must not delete what the source still has: the source sends every row itself.
#[test]
fn cascades_and_triggers_of_the_target_do_not_act_a_second_time() {
    let source = "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a int);
        CREATE TABLE totals (id int PRIMARY KEY, n int)";
    let target = "CREATE TABLE a (id int PRIMARY KEY);
        CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE);
        CREATE TABLE totals (id int PRIMARY KEY, n int);
        CREATE FUNCTION count_b() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN UPDATE totals SET n = n + 1 WHERE id = 1; RETURN NULL; END$$;
        CREATE TRIGGER count_b AFTER INSERT OR DELETE ON b FOR EACH ROW EXECUTE FUNCTION count_b();";
    let world = World::with_schemas("con_cascade", source, target);
    let tables = ["a", "b", "totals"];
    let ebb = start(&world, User::Super);
    world.source("BEGIN; INSERT INTO totals VALUES (1, 2); INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1, 1), (2, 2); COMMIT");
    world.wait_equal(&ebb, &tables);
    // b moves in the same transaction that deletes its parent.
    world.source("BEGIN; UPDATE b SET a = 2 WHERE id = 1; DELETE FROM a WHERE id = 1; COMMIT");
    world.wait_equal(&ebb, &tables);
    // The trigger would count this one, and the source does not.
    world.source("INSERT INTO b VALUES (5, 2)");
    world.wait_equal(&ebb, &tables);
    ebb.stop();
    // Where the rights are missing ebb says what will happen; with --triggers fire it is what was asked for.
    let fires = world.fetch(&["--replicator-flags", "--stagingSchema _replicator_1 --triggers fire"]);
    world.source("INSERT INTO b VALUES (3, 2)");
    world.wait_target(&fires, "SELECT n FROM totals", "3");
    fires.stop();
    let plain = World::with_schemas("con_cascade_plain", source, target);
    let line = start_plain(&plain).failure();
    assert!(line.contains("public.b") && line.contains("suspended: count_b"), "{line}");
    assert!(line.contains("GRANT SET ON PARAMETER") && line.contains("--triggers drop"), "{line}");
    plain.target("DROP TRIGGER count_b ON b");
    let mut ebb = plain.fetch(&["--target", &plain.target_url_as("con_cascade_plain_app", "x")]);
    let line = ebb.wait_line("triggers or cascades of the target act");
    assert!(line.contains("on public.a:") && line.contains("GRANT SET ON PARAMETER"), "{line}");
    ebb.stop();
}

/// Grandchildren that no transaction touches must survive whatever order is tried.
#[test]
fn unchanged_grandchildren_survive() {
    let source =
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a, seat int UNIQUE);
        CREATE TABLE c (id int PRIMARY KEY, b int REFERENCES b)";
    let target = source
        .replace("REFERENCES a", "REFERENCES a ON DELETE CASCADE")
        .replace("REFERENCES b", "REFERENCES b ON DELETE CASCADE");
    check(
        "con_grandchild",
        [source, &target],
        &["c", "b", "a"],
        &[
            "INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1, 1, 10), (2, 2, 20); INSERT INTO c VALUES (1, 1), (2, 2)",
            // b moves away from a parent that is deleted, and takes over a seat from a deleted row.
            "DELETE FROM c WHERE id = 2; DELETE FROM b WHERE id = 2; UPDATE b SET a = 2, seat = 20 WHERE id = 1; DELETE FROM a WHERE id = 1",
        ],
    );
}

/// One source transaction that is larger than the limits goes through the same plans.
#[test]
fn large_transactions_are_planned_again_too() {
    let source = "CREATE TABLE nodes (id int PRIMARY KEY, parent int REFERENCES nodes DEFERRABLE INITIALLY DEFERRED, seat int UNIQUE DEFERRABLE INITIALLY DEFERRED)";
    let target = "CREATE TABLE nodes (id int PRIMARY KEY, parent int REFERENCES nodes, seat int UNIQUE)";
    let world = World::with_schemas("con_large", source, target);
    let flags = "--stagingSchema _replicator_1 --transaction-rows-max 100";
    let ebb = world.fetch(&["--replicator-flags", flags]).ready();
    world.source(
        "INSERT INTO nodes SELECT i, CASE WHEN i < 1000 THEN 1001 - i END, i FROM generate_series(1, 1000) AS i",
    );
    world.wait_equal(&ebb, &["nodes"]);
    world.source("UPDATE nodes SET seat = seat % 1000 + 1");
    world.wait_equal(&ebb, &["nodes"]);
    ebb.stop();
}

/// PostgreSQL enforces a DEFERRABLE key by a trigger too, which does not fire where the triggers of users are skipped.
#[test]
fn a_deferrable_key_holds_where_triggers_are_skipped() {
    let source = "CREATE TABLE guests (id int PRIMARY KEY, seat int)";
    let target = "CREATE TABLE guests (id int PRIMARY KEY, seat int CONSTRAINT one_seat UNIQUE DEFERRABLE);
        CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
        CREATE TRIGGER pass AFTER INSERT OR UPDATE ON guests FOR EACH ROW EXECUTE FUNCTION pass();";
    let world = World::with_schemas("con_deferrable_kept", source, target);
    let ebb = start(&world, User::Super);
    world.source("INSERT INTO guests VALUES (1, 1), (2, 2)");
    world.wait_equal(&ebb, &["guests"]);
    world.source("UPDATE guests SET seat = 3 - seat");
    world.wait_equal(&ebb, &["guests"]);
    world.source("INSERT INTO guests VALUES (3, 2)");
    let line = ebb.failure();
    assert!(line.contains("one_seat") && line.contains("id=3"), "{line}");
    assert_eq!(world.target("SELECT string_agg(seat::text, ',' ORDER BY id) FROM guests"), "2,1");
    world.target("ALTER TABLE guests DROP CONSTRAINT one_seat");
    let ebb = world.fetch(&[]);
    world.wait_equal(&ebb, &["guests"]);
    ebb.stop();
}
