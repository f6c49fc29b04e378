//! Keys of the source that are not the target's, and that change while ebb runs or does not.

use crate::harness::client::{Client, hold};
use crate::harness::pages::status;
use crate::harness::target::MYSQLS;
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

const DIALECTS: [Dialect; 3] = [Dialect::Postgres, MYSQLS[0], MYSQLS[1]];

#[test]
fn a_row_moves_to_another_region() {
    for dialect in DIALECTS {
        let source = "CREATE TABLE t (id int8 PRIMARY KEY, v int8); ALTER TABLE t SET LOCALITY REGIONAL BY ROW";
        let world =
            World::with_target(dialect, "keys_region", source, "CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT)");
        let ebb = world.fetch(&[]).ready();
        world.source("INSERT INTO t (id, v) VALUES (1, 10), (2, 20), (3, 30)");
        world.wait_target(&ebb, "SELECT COUNT(*), SUM(v) FROM t", "3|60");
        world.source("UPDATE t SET crdb_region = 'us-west1', v = v + 1 WHERE id <= 2");
        world.wait_target(&ebb, "SELECT COUNT(*), SUM(v) FROM t", "3|62");
        world.source(
            "BEGIN; UPDATE t SET crdb_region = 'europe-west1' WHERE id = 1; DELETE FROM t WHERE id = 3; COMMIT",
        );
        world.source("UPDATE t SET v = 100 WHERE id = 1; DELETE FROM t WHERE id = 2");
        world.wait_target(&ebb, "SELECT COUNT(*), SUM(v) FROM t", "1|100");
        ebb.stop();
    }
}

/// One that is larger than the limits, so that its rows are read as they are written.
#[test]
fn a_whole_table_moves_to_another_region_in_one_transaction() {
    for dialect in DIALECTS {
        let source = "CREATE TABLE t (id int8 PRIMARY KEY, v int8); ALTER TABLE t SET LOCALITY REGIONAL BY ROW";
        let world =
            World::with_target(dialect, "keys_regions", source, "CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT)");
        let flags = ["--replicator-flags", "--stagingSchema _replicator_1 --transaction-rows-max 100"];
        let ebb = world.fetch(&flags).ready();
        world.source("INSERT INTO t (id, v) SELECT i, 1 FROM generate_series(1, 1000) AS i");
        world.wait_target(&ebb, "SELECT COUNT(*), SUM(v) FROM t", "1000|1000");
        world.source("BEGIN; UPDATE t SET crdb_region = 'us-west1', v = 2; DELETE FROM t WHERE id % 10 = 0; COMMIT");
        world.wait_target(&ebb, "SELECT COUNT(*), SUM(v) FROM t", "900|1800");
        ebb.stop();
    }
}

#[test]
fn a_new_primary_key_is_followed() {
    for dialect in DIALECTS {
        let source = "CREATE TABLE t (a int8, b int8, v int8, PRIMARY KEY (a, b))";
        let target = "CREATE TABLE t (a BIGINT, b BIGINT, v BIGINT, PRIMARY KEY (a, b))";
        let world = World::with_target(dialect, "keys_altered", source, target);
        let mut ebb = world.fetch(&[]).ready();
        world.source("INSERT INTO t VALUES (1, 2, 12), (2, 1, 21), (3, 4, 34), (4, 3, 43), (5, 6, 56)");
        world.wait_target(&ebb, "SELECT COUNT(*) FROM t", "5");
        // Nothing but the source's catalog tells which of two rows a delete of [2, 1] is about.
        world.source("DELETE FROM t WHERE a = 3");
        world.source("ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (b, a)");
        world.source("DELETE FROM t WHERE a = 1 AND b = 2");
        world.wait_target(&ebb, "SELECT a, b FROM t WHERE a < 4", "2|1");
        ebb.wait_line("the primary key of public.t changed at the source to (b, a)");
        world.source("ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (a, b) USING HASH");
        world.source("UPDATE t SET v = 0 WHERE a = 4");
        world.source("DELETE FROM t WHERE a = 2");
        world.wait_target(&ebb, "SELECT a, b, v FROM t ORDER BY a", "4|3|0\n5|6|56");
        ebb.stop();
        // It changes once more while nothing runs, and a row is deleted before and after.
        world.source("DELETE FROM t WHERE a = 4");
        world.source("ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (b, a)");
        world.source("INSERT INTO t VALUES (6, 5, 65); DELETE FROM t WHERE a = 5");
        let mut again = world.fetch(&[]);
        again.wait_line("using the running changefeed");
        world.wait_target(&again, "SELECT a, b, v FROM t", "6|5|65");
        again.stop();
    }
}

/// From (id) to (tenant, id), and without the uniqueness of the id that CockroachDB keeps.
fn widen_key(world: &World, table: &str) {
    world.source(&format!("ALTER TABLE {table} ALTER PRIMARY KEY USING COLUMNS (tenant, id)"));
    world.source(&format!(
        "DO $$DECLARE c text; BEGIN FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = '{table}'::regclass
        AND contype = 'u' LOOP EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT %I', c); END LOOP; END$$"
    ));
}

/// Nothing is applied by a key that does not tell rows apart, in whichever order tables are changed and starts are made, and
/// one table after the other is brought over.
#[test]
fn keys_that_changed_before_a_crash_are_brought_over_one_by_one() {
    for dialect in DIALECTS {
        let of = |integer: &str| {
            ["t", "u"].map(|name| {
                format!("CREATE TABLE {name} (id {integer} PRIMARY KEY, tenant {integer} NOT NULL, v {integer})")
            })
        };
        let world = World::with_target(dialect, "keys_crash", &of("int8").join(";"), &of("BIGINT").join(";"));
        let pages = format!("127.0.0.1:{}", free_port());
        let flags = "--stagingSchema _replicator_1 -v --applyTimeout 5m";
        let mut ebb = world.fetch(&["--metrics-listen-addr", &pages, "--replicator-flags", flags]).ready();
        for table in ["t", "u"] {
            world.source(&format!("INSERT INTO {table} SELECT i, 1, i FROM generate_series(1, 20) AS i"));
        }
        world.wait_equal(&ebb, &["t", "u"]);
        let mut gate = Client::connect(dialect, &world.target_url());
        let lock = match dialect {
            Dialect::Postgres => "BEGIN; LOCK TABLE t, u IN ACCESS EXCLUSIVE MODE",
            Dialect::MySql(_) => "LOCK TABLES t WRITE, u WRITE",
        };
        gate.ask(lock).expect("a lock");
        world.source("DELETE FROM t WHERE id = 7; DELETE FROM u WHERE id = 7");
        widen_key(&world, "u");
        world.source(
            "INSERT INTO u SELECT i, 2, i FROM generate_series(1, 20) AS i; DELETE FROM u WHERE id = 8 AND tenant = 1",
        );
        ebb.wait_line("the primary key of public.u changed at the source");
        world.source("DELETE FROM t WHERE id = 9");
        let now = world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
        wait_for("a resolved timestamp", || ebb.log(), || status(&pages)["resolved"].as_str() > Some(&now));
        ebb.kill9();
        widen_key(&world, "t");
        world.source(
            "INSERT INTO t SELECT i, 2, i FROM generate_series(1, 20) AS i; DELETE FROM t WHERE id = 8 AND tenant = 1",
        );
        drop(gate);
        let rest = |table: &str| world.target(&format!("SELECT COUNT(*), SUM(tenant) FROM {table}"));
        let apply = || world.fetch(&["--apply-only"]);
        let line = world.fetch(&[]).failure();
        assert!(line.contains("2) apply what came before"), "{dialect:?}: {line}");
        for _ in 0..3 {
            let line = apply().failure();
            assert!(line.contains("EBB-K015") && line.contains("public.u"), "{dialect:?}: {line}");
            assert_eq!((rest("t"), rest("u")), ("19|19".into(), "19|19".into()), "{dialect:?}");
        }
        let key = if dialect == Dialect::Postgres { "CONSTRAINT u_pkey" } else { "PRIMARY KEY" };
        let widen = |table: &str| {
            let key = key.replace("u_", &format!("{table}_"));
            world.target(&format!("ALTER TABLE {table} DROP {key}, ADD PRIMARY KEY (tenant, id)"))
        };
        widen("u");
        let mut applied = apply();
        assert_eq!(applied.wait().code(), Some(0), "{dialect:?}: {}", applied.log());
        let line = world.fetch(&[]).failure();
        assert!(line.contains("EBB-K015") && line.contains("public.t"), "{dialect:?}: {line}");
        assert_eq!(rest("t"), "18|18", "{dialect:?}");
        widen("t");
        let ebb = world.fetch(&[]);
        world.wait_equal(&ebb, &["t", "u"]);
        ebb.stop();
    }
}

#[test]
fn a_new_primary_key_that_would_merge_rows_ends_the_run() {
    let source = "CREATE TABLE t (id int8 PRIMARY KEY, tenant int8 NOT NULL, v int8)";
    let world = World::with_schemas("keys_merged", source, source);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1, 1)");
    world.wait_target(&ebb, "SELECT COUNT(*) FROM t", "1");
    // What comes before the change belongs to the old key, and is applied by it, also when both are seen at once.
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO t VALUES (2, 1, 2)");
    widen_key(&world, "t");
    world.source("INSERT INTO t VALUES (1, 2, 2); DELETE FROM t WHERE id = 2");
    drop(gate);
    let line = ebb.failure();
    for text in
        ["was changed at the source from (id)", "several rows of the source's table public.t could become one row"]
    {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    assert_eq!(world.target("SELECT id, v FROM t ORDER BY id"), "1|1\n2|2");
    // What mends it is possible then.
    world.target("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (tenant, id)");
    let again = world.fetch(&[]);
    world.wait_target(&again, "SELECT id, tenant FROM t ORDER BY tenant", "1|1\n1|2");
    again.stop();
}

/// The rows of both sides, and of a target that reads a key in another order.
const SWAPPED: &str = "CREATE TABLE t (a int8, b int8, v int8, PRIMARY KEY (a, b))";

fn swap_key(world: &World, columns: &str) {
    world.source(&format!("ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS ({columns})"));
}

fn swapped(dialect: Dialect, name: &str) -> (World, Ebb) {
    let target = match dialect {
        Dialect::Postgres => SWAPPED.to_owned(),
        Dialect::MySql(_) => SWAPPED.replace("int8", "BIGINT"),
    };
    let world = World::with_target(dialect, name, SWAPPED, &target);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 2, 0), (2, 1, 0), (3, 4, 0), (4, 3, 0), (5, 6, 0), (6, 5, 0)");
    world.wait_equal(&ebb, &["t"]);
    (world, ebb)
}

/// The columns are the same at both ends, and deletes in between have the other order.
#[test]
fn a_key_that_was_changed_and_changed_back_between_two_looks() {
    for dialect in DIALECTS {
        let (world, ebb) = swapped(dialect, "keys_back");
        ebb.stop();
        swap_key(&world, "b, a");
        world.source("DELETE FROM t WHERE a = 1");
        swap_key(&world, "a, b");
        let ebb = world.fetch(&[]);
        world.wait_equal(&ebb, &["t"]);
        // The same while a run goes on and its target is locked.
        let mut gate = Client::connect(dialect, &world.target_url());
        let lock = match dialect {
            Dialect::Postgres => "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE",
            Dialect::MySql(_) => "LOCK TABLES t WRITE",
        };
        gate.ask(lock).expect("a lock");
        world.source("UPDATE t SET v = 1 WHERE a = 6");
        swap_key(&world, "b, a");
        world.source("DELETE FROM t WHERE a = 3");
        swap_key(&world, "a, b");
        world.source("UPDATE t SET v = 2 WHERE a = 6");
        drop(gate);
        world.wait_equal(&ebb, &["t"]);
        ebb.stop();
    }
}

/// Nothing needs the new key before the run ends, and the target has passed its time.
#[test]
fn a_key_of_a_quiet_table_that_was_changed_before_a_new_start() {
    for dialect in DIALECTS {
        let (world, ebb) = swapped(dialect, "keys_quiet");
        swap_key(&world, "b, a");
        world.source("UPDATE t SET v = 1 WHERE a = 6");
        world.wait_equal(&ebb, &["t"]);
        ebb.stop();
        let ebb = world.fetch(&[]);
        world.source("DELETE FROM t WHERE a = 1");
        world.wait_equal(&ebb, &["t"]);
        // Another column is no other key, though it is another index.
        world.source("ALTER TABLE t ADD COLUMN w int8");
        world.target("ALTER TABLE t ADD COLUMN w bigint");
        ebb.stop();
        let ebb = world.fetch(&[]);
        world.source("DELETE FROM t WHERE a = 3");
        world.wait_equal(&ebb, &["t"]);
        let line = {
            ebb.stop();
            let target = world.target_url();
            let bind = format!("127.0.0.1:{}", world.port());
            let flags = ["--stagingSchema", "_replicator_1", "--disableAuthentication", "--allow-tls-mode-disable"];
            world.ebb(&[&["start", "--targetConn", &target, "--bindAddr", &bind], &flags[..]].concat()).failure()
        };
        assert!(line.contains("EBB-K050") && line.contains("--sourceConn"), "{dialect:?}: {line}");
    }
}
