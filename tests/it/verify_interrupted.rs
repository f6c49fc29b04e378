//! `ebb verify` that does not come to its end at once: it was ended, killed, or has lost a server. It goes on where it was, and
//! leaves nothing behind on either side.

use std::fs;
use std::path::PathBuf;

use ebb_servers::Signal;
use serde_json::Value;

use crate::harness::comparison::{begin, counts, must_be_equal, refused, result, table, verify};
use crate::harness::forward::{dead_url, forward, source_port};
use crate::harness::target::MYSQLS;
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40))";
const ROWS: u64 = 2_000;
/// Slow enough for something to happen meanwhile.
const SLOWLY: [&str; 5] = ["--json", "--rate", "1000", "--max-snapshot-age", "300ms"];

fn state(world: &World) -> PathBuf {
    world.dir().join("staging/_replicator_1.verify")
}

/// Rows that were compared, as the file has it.
fn kept(world: &World) -> u64 {
    let text = fs::read_to_string(state(world)).unwrap_or_default();
    let saved: Value = serde_json::from_str(&text).unwrap_or_default();
    let tables = saved["tables"].as_object().map(|tables| tables.values().cloned().collect::<Vec<_>>());
    tables.unwrap_or_default().iter().filter_map(|table| table["compared"].as_u64()).sum()
}

/// A table whose rows are on both sides.
fn filled(world: &World) -> Ebb {
    let ebb = world.fetch(&[]).ready();
    world.source(&format!("INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, {ROWS}) AS i"));
    world.wait_target(&ebb, "SELECT COUNT(*) FROM t", &ROWS.to_string());
    ebb
}

/// One that has compared a part.
fn begun(world: &World, more: &[&str]) -> Ebb {
    let comparison = begin(world, &[&SLOWLY, more].concat());
    wait_for("a part that is compared", || comparison.log(), || (1..ROWS).contains(&kept(world)));
    comparison
}

/// Nothing holds the history of the source, and no transaction of the target is left open.
fn must_be_left_alone(world: &World) {
    let held = "SELECT count(*) FROM [SHOW JOBS] WHERE job_type = 'HISTORY RETENTION' AND status = 'running'";
    assert_eq!(world.source(held), "0");
    let is_idle = || {
        world.target("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()") == "0"
    };
    wait_for("no transaction on the target", String::new, is_idle);
}

#[test]
fn it_goes_on_where_it_was_ended() {
    let world = World::new("verify_ended", TABLE);
    let ebb = filled(&world);
    for (signal, more) in [(Signal::INT, "INT"), (Signal::TERM, "TERM")] {
        let mut comparison = begun(&world, &[]);
        comparison.signal(signal);
        assert_eq!(comparison.wait().code(), Some(4), "{more}: {}", comparison.log());
        let found = result(&comparison);
        assert_eq!((found["verdict"].as_str(), found["finished"].as_bool()), (Some("unfinished"), Some(false)));
        let before = kept(&world);
        assert_eq!(table(&found, "t")["compared"], before, "{found:#}");
        must_be_left_alone(&world);
        assert!(refused(&world, &["--resume", "--only-keys"]).contains("EBB-V014"));
        // It does not begin again.
        let found = must_be_equal(&world, &["--resume"]);
        assert_eq!(found["rows"], ROWS - before, "{found:#}");
        assert_eq!(counts(&found, "t"), [ROWS, 0, 0, 0].map(Some), "{found:#}");
        fs::remove_file(state(&world)).expect("a file");
    }
    // What has come to its end is compared again.
    must_be_equal(&world, &[]);
    assert_eq!(must_be_equal(&world, &["--resume"])["rows"], ROWS);
    ebb.stop();
}

#[test]
fn it_goes_on_where_it_was_killed() {
    for dialect in [Dialect::Postgres, MYSQLS[0], MYSQLS[1]] {
        let world = World::with_target(dialect, "verify_killed", TABLE, TABLE);
        let ebb = filled(&world);
        world.target("UPDATE t SET v = 'other' WHERE id = 5");
        world.target("DELETE FROM t WHERE id = 1999");
        begun(&world, &[]).kill9();
        let before = kept(&world);
        // What was found before is not lost, and not found twice.
        world.target("UPDATE t SET v = 'row 5' WHERE id = 5");
        let (code, found) = verify(&world, &["--resume"]);
        assert_eq!((code, found["rows"].as_u64()), (Some(3), Some(ROWS - before)), "{dialect:?} {found:#}");
        assert_eq!(counts(&found, "t"), [ROWS, 1, 0, 1].map(Some), "{dialect:?} {found:#}");
        assert_eq!(found["shown"].as_array().map(Vec::len), Some(2), "{found:#}");
        ebb.stop();
    }
}

#[test]
fn a_file_that_says_nothing_is_refused() {
    let world = World::new("verify_damaged", TABLE);
    let ebb = filled(&world);
    must_be_equal(&world, &[]);
    let text = fs::read(state(&world)).expect("a file");
    fs::write(state(&world), &text[..text.len() / 2]).expect("a file");
    let error = refused(&world, &["--resume"]);
    assert!(error.contains("EBB-V013") && error.contains("without --resume"), "{error}");
    must_be_equal(&world, &[]);
    ebb.stop();
    // It needs no running ebb.
    let found = must_be_equal(&world, &[]);
    assert_eq!(counts(&found, "t"), [ROWS, 0, 0, 0].map(Some), "{found:#}");
}

#[test]
fn a_lost_target_is_found_again() {
    for dialect in [Dialect::Postgres, MYSQLS[0], MYSQLS[1]] {
        let world = World::with_own_target(dialect, "verify_target_cut", TABLE, TABLE);
        let ebb = filled(&world);
        // In one snapshot, so that the session is lost in it.
        let mut comparison = begin(&world, &["--json", "--rate", "1000"]);
        wait_for(
            "a snapshot",
            || comparison.log(),
            || {
                world.source(
                    "SELECT count(*) FROM [SHOW JOBS] WHERE job_type = 'HISTORY RETENTION' AND status = 'running'",
                ) == "1"
            },
        );
        world.proxy().cut_all();
        assert_eq!(comparison.wait().code(), Some(0), "{dialect:?} {}", comparison.log());
        assert_eq!(counts(&result(&comparison), "t"), [ROWS, 0, 0, 0].map(Some));
        ebb.stop();
        world.server().kill9().expect("the target can be killed");
        let error = refused(&world, &[]);
        assert_eq!(error.matches("error[").count(), 1, "{error}");
        world.server().restart().expect("the target starts again");
    }
}

#[test]
fn a_lost_source_is_found_again() {
    let world = World::new("verify_source_cut", TABLE);
    let ebb = filled(&world);
    let port = free_port();
    let source = forward(port, source_port(&world));
    let url = dead_url(&world, port);
    let mut comparison = begun(&world, &["--source", &url]);
    source.cut();
    source.mend();
    assert_eq!(comparison.wait().code(), Some(0), "{}", comparison.log());
    assert_eq!(counts(&result(&comparison), "t"), [ROWS, 0, 0, 0].map(Some));
    source.cut();
    let error = refused(&world, &["--source", &url]);
    assert_eq!(error.matches("error[").count(), 1, "{error}");
    ebb.stop();
}
