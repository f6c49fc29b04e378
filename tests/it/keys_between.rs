//! Keys of the source between two looks at them: what was the case then counts, and not what is the case afterwards.
//!
//! Owns: rows that could not be told apart for a time, rows of before the first look, rows that were read unseen. Does not own:
//! changes that are followed without either (`keys`).

use crate::harness::forward::{Cuttable, dead_url, source_port};
use crate::harness::target::MYSQLS;
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

const DIALECTS: [Dialect; 3] = [Dialect::Postgres, MYSQLS[0], MYSQLS[1]];

fn of(dialect: Dialect, schema: &str) -> String {
    match dialect {
        Dialect::Postgres => schema.to_owned(),
        Dialect::MySql(_) => schema.replace("int8", "BIGINT"),
    }
}

fn drop_unique(world: &World) {
    world.source(
        "DO $$DECLARE c text; BEGIN FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = 't'::regclass
        AND contype = 'u' LOOP EXECUTE format('ALTER TABLE t DROP CONSTRAINT %I', c); END LOOP; END$$",
    );
}

fn widen_key(world: &World) {
    world.source("ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (tenant, id)");
    drop_unique(world);
}

/// A row that is another one's on the target, and goes again.
const MERGED: &str = "INSERT INTO t VALUES (1, 2, 22); DELETE FROM t WHERE id = 1 AND tenant = 2";

fn refused(ebb: Ebb, dialect: Dialect) {
    let line = ebb.failure();
    assert!(line.contains("EBB-K015") && line.contains("load the table anew"), "{dialect:?}: {line}");
}

/// Whatever is done at the source afterwards: a row that became another one's there stays what it was.
#[test]
fn rows_that_could_not_be_told_apart_for_a_time_are_not_applied_later() {
    let plain = "CREATE TABLE t (id int8 PRIMARY KEY, tenant int8 NOT NULL, v int8)";
    let wide = "CREATE TABLE t (id int8 UNIQUE, tenant int8 NOT NULL, v int8, PRIMARY KEY (tenant, id))";
    let unique = "ALTER TABLE t ADD CONSTRAINT again UNIQUE (id)";
    let back = "ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (id)";
    for dialect in DIALECTS {
        for (name, source, mended) in [("hint", plain, unique), ("back", plain, back), ("unique", wide, unique)] {
            for is_down in [false, true] {
                let name = format!("between_{name}_{is_down}");
                let world = World::with_target(dialect, &name, source, &of(dialect, plain));
                let ebb = world.fetch(&[]).ready();
                world.source("INSERT INTO t VALUES (1, 1, 1), (2, 1, 2)");
                world.wait_target(&ebb, "SELECT COUNT(*) FROM t", "2");
                let change = || if source == plain { widen_key(&world) } else { drop_unique(&world) };
                if is_down {
                    ebb.stop();
                    change();
                    world.source(MERGED);
                } else {
                    change();
                    world.source(MERGED);
                    let line = ebb.failure();
                    assert!(line.contains("EBB-K015"), "{dialect:?}: {line}");
                }
                world.source(mended);
                for _ in 0..2 {
                    refused(world.fetch(&[]), dialect);
                    let rows = "SELECT id, tenant, v FROM t ORDER BY id";
                    assert_eq!(world.target(rows), "1|1|1\n2|1|2", "{dialect:?} {name}");
                }
                if mended == unique {
                    let key = if dialect == Dialect::Postgres { "CONSTRAINT t_pkey" } else { "PRIMARY KEY" };
                    world.target(&format!("ALTER TABLE t DROP {key}, ADD PRIMARY KEY (tenant, id)"));
                    let ebb = world.fetch(&[]);
                    world.source("INSERT INTO t VALUES (3, 3, 3)");
                    world.wait_equal(&ebb, &["t"]);
                    ebb.stop();
                }
            }
        }
    }
}

/// One table that is left out, or gone, does not keep the others waiting; and its merged rows are never applied.
#[test]
fn a_table_that_is_left_ends_where_its_rows_cannot_be_told_apart() {
    let tables =
        "CREATE TABLE t (id int8 PRIMARY KEY, tenant int8 NOT NULL, v int8); CREATE TABLE u (id int8 PRIMARY KEY)";
    for is_dropped in [false, true] {
        let world = World::new(&format!("between_left_{is_dropped}"), tables);
        let ebb = world.fetch(&[]).ready();
        world.source("INSERT INTO t VALUES (1, 1, 1), (2, 1, 2)");
        world.wait_equal(&ebb, &["t"]);
        widen_key(&world);
        world.source(MERGED);
        assert!(ebb.failure().contains("EBB-K015"));
        let flags: &[&str] = match is_dropped {
            true => &[],
            false => &["--table-exclusion-filter", "^t$"],
        };
        if is_dropped {
            world.source("DROP TABLE t");
        }
        let mut ebb = world.fetch(flags);
        ebb.wait_line("and later ones are left out");
        world.source("INSERT INTO u VALUES (1)");
        world.wait_equal(&ebb, &["u"]);
        assert_eq!(world.target("SELECT id, tenant, v FROM t ORDER BY id"), "1|1|1\n2|1|2");
        ebb.stop();
    }
}

/// What CockroachDB does by itself: the id stays unique, by another index.
#[test]
fn a_key_that_was_widened_and_stays_unique_is_followed() {
    let plain = "CREATE TABLE t (id int8 PRIMARY KEY, tenant int8 NOT NULL, v int8)";
    for dialect in DIALECTS {
        let world = World::with_target(dialect, "between_kept", plain, &of(dialect, plain));
        let ebb = world.fetch(&[]).ready();
        world.source("INSERT INTO t VALUES (1, 1, 1), (2, 1, 2)");
        world.wait_equal(&ebb, &["t"]);
        world.source("ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (tenant, id)");
        world.source("DELETE FROM t WHERE id = 1");
        world.wait_equal(&ebb, &["t"]);
        ebb.stop();
        world.source("ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (id, tenant)");
        world.source("INSERT INTO t VALUES (1, 2, 12); DELETE FROM t WHERE id = 2");
        let ebb = world.fetch(&[]);
        world.wait_equal(&ebb, &["t"]);
        ebb.stop();
    }
}

const SWAPPED: &str = "CREATE TABLE t (a int8, b int8, v int8, PRIMARY KEY (a, b))";
const SWAP: &str = "ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (b, a)";
const ROWS: &str = "INSERT INTO t VALUES (1, 2, 0), (2, 1, 0), (3, 4, 0), (4, 3, 0), (5, 6, 0)";

/// A pair of tables that hold the rows already, and the time at which they did.
fn loaded(dialect: Dialect, name: &str) -> (World, String) {
    let world = World::with_target(dialect, name, SWAPPED, &of(dialect, SWAPPED));
    world.source(ROWS);
    world.target(ROWS);
    let then = world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
    world.source("DELETE FROM t WHERE a = 1");
    world.source(SWAP);
    world.source("UPDATE t SET v = 9 WHERE a = 4; DELETE FROM t WHERE a = 3");
    (world, then)
}

#[test]
fn a_key_that_was_changed_behind_the_cursor_of_a_first_start() {
    for dialect in DIALECTS {
        let (world, then) = loaded(dialect, "between_cursor");
        let ebb = world.fetch(&["--cursor", &then]);
        world.wait_target(&ebb, "SELECT COUNT(*) FROM t WHERE v = 9", "1");
        world.wait_equal(&ebb, &["t"]);
        ebb.stop();
    }
}

/// A changefeed of somebody else does not say where it begins, but its rows do.
#[test]
fn a_key_that_was_changed_behind_the_cursor_of_somebody_elses_changefeed() {
    for dialect in DIALECTS {
        let (world, then) = loaded(dialect, "between_foreign");
        let (source, plugin) = (world.source_url(), if dialect == Dialect::Postgres { "postgres" } else { "mysql" });
        let flags = ["--sourceConn", &source, "--target-plugin", plugin, "--stagingSchema", "mine"];
        let ebb = world.start(&[&flags[..], &["--disableAuthentication"]].concat());
        let settings = std::fs::read_to_string(world.dir().join("changefeed-secure.json")).expect("the settings");
        let settings: serde_json::Value = serde_json::from_str(&settings).expect("JSON");
        let query = settings["sink_query_parameters"].as_str().expect("a text");
        let schema = if dialect == Dialect::Postgres { "/public" } else { "" };
        world.source(&format!(
            "CREATE CHANGEFEED FOR TABLE t INTO 'webhook-https://localhost:{}/{}{schema}?{query}'
             WITH updated, cursor = '{then}', resolved = '100ms', min_checkpoint_frequency = '100ms'",
            world.port(),
            world.database()
        ));
        world.wait_target(&ebb, "SELECT COUNT(*) FROM t WHERE v = 9", "1");
        world.wait_equal(&ebb, &["t"]);
        ebb.stop();
    }
}

/// The source is asked once for a time, whatever the number of tables is that changed.
#[test]
fn many_tables_are_searched_together() {
    let tables = |more: &str| (0..20).map(|at| format!("ALTER TABLE t{at} {more}")).collect::<Vec<_>>().join("; ");
    let create = (0..20).map(|at| format!("CREATE TABLE t{at} (id int8 PRIMARY KEY)")).collect::<Vec<_>>().join("; ");
    let world = World::new("between_many", &create);
    world.fetch(&[]).ready().stop();
    world.source(&tables("ADD COLUMN w int8"));
    world.target(&tables("ADD COLUMN w int8"));
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("using the running changefeed");
    let log = ebb.stop();
    assert_eq!(log.matches("20 tables were altered at the source: looking for when").count(), 1, "{log}");
}

/// A run whose source is cut off: rows of `u` were deleted, and what `delete` says of `t`, while its key was changed.
fn read_unseen(world: &World, delete: &str, change: &str) -> (Ebb, Cuttable, String) {
    let port = free_port();
    let (source, url) = (Cuttable::start(port, source_port(world)), dead_url(world, port));
    let mut ebb = world.fetch(&["--source", &url]).ready();
    world.source("INSERT INTO t VALUES (1, 2), (2, 1), (5, 6), (7, 8); INSERT INTO u VALUES (1), (2)");
    world.wait_equal(&ebb, &["t", "u"]);
    source.cut();
    world.source(change);
    world.source(&format!("{delete}; DELETE FROM u WHERE id = 1"));
    ebb.wait_line("the source's primary keys cannot be read");
    world.wait_target(&ebb, "SELECT COUNT(*) FROM u", "1");
    (ebb, source, url)
}

const UNSEEN: &str = "CREATE TABLE t (a int8, b int8, PRIMARY KEY (a, b)); CREATE TABLE u (id int8 PRIMARY KEY)";

/// The target is down when ebb starts again: what is not known of its progress is not taken for nothing.
#[test]
fn rows_that_were_read_unseen_are_known_while_the_target_is_down_and_told_once() {
    for dialect in DIALECTS {
        let world = World::with_own_target(dialect, "between_unseen", UNSEEN, &of(dialect, UNSEEN));
        let (ebb, source, url) = read_unseen(&world, "DELETE FROM t WHERE a = 1", SWAP);
        ebb.kill9();
        source.mend();
        world.server().kill9().expect("a signal");
        let again = world.fetch(&["--source", &url]);
        let line = again.failure();
        assert!(line.contains("EBB-K048") && line.contains("public.t"), "{dialect:?}: {line}");
        world.server().restart().expect("the target starts");
        // As the hint says: what differs is corrected, and ebb is started again.
        let rows = world.source("SELECT a, b FROM t").replace('|', ", ").replace('\n', "), (");
        world.target(&format!("DELETE FROM t; INSERT INTO t VALUES ({rows})"));
        let mut again = world.fetch(&["--source", &url]);
        again.wait_line("were applied without knowing it");
        world.source("DELETE FROM t WHERE a = 5");
        world.wait_equal(&again, &["t", "u"]);
        again.stop();
    }
}

#[test]
fn a_change_of_a_table_of_which_no_row_was_read_unseen_does_no_harm() {
    let world = World::new("between_harmless", UNSEEN);
    let (ebb, source, _) = read_unseen(&world, "SELECT 1", SWAP);
    source.mend();
    wait_for(
        "the change to be noticed",
        || ebb.log(),
        || {
            world.source("INSERT INTO u VALUES (9); DELETE FROM u WHERE id = 9");
            ebb.log().contains("the primary key of public.t changed at the source to (b, a)")
        },
    );
    world.source("DELETE FROM t WHERE a = 1");
    world.wait_equal(&ebb, &["t", "u"]);
    ebb.stop();
}
