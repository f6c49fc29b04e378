//! Keys of the source that are not the target's, and that change while ebb runs or does not.

use crate::harness::client::hold;
use crate::harness::target::MYSQLS;
use crate::harness::world::{Dialect, World};

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
    world.source("ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (tenant, id)");
    world.source(
        "DROP INDEX IF EXISTS t_id_key CASCADE; ALTER TABLE t DROP CONSTRAINT IF EXISTS crdb_internal_key CASCADE",
    );
    world.source(
        "DO $$DECLARE c text; BEGIN FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = 't'::regclass
        AND contype = 'u' LOOP EXECUTE format('ALTER TABLE t DROP CONSTRAINT %I', c); END LOOP; END$$",
    );
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
