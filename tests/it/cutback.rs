//! `ebb cutback`: GO only where both sides are equal, nothing is written any more and the target is ready.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::client::Client;
use crate::harness::codes;
use crate::harness::pages::status;
use crate::harness::target::MYSQLS;
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

const EBB: &str = env!("CARGO_BIN_EXE_ebb");
const DIALECTS: [Dialect; 3] = [Dialect::Postgres, MYSQLS[0], MYSQLS[1]];
pub(crate) const SOURCE: &str =
    "CREATE TABLE t (id int8 PRIMARY KEY, name text); CREATE TABLE u (id int8 PRIMARY KEY, v int8)";

pub(crate) fn target(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            "CREATE TABLE t (id bigserial PRIMARY KEY, name text); CREATE TABLE u (id int8 PRIMARY KEY, v int8)"
        }
        _ => {
            "CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40)); \
             CREATE TABLE u (id BIGINT PRIMARY KEY, v BIGINT)"
        }
    }
}

pub(crate) fn command(world: &World, more: &[&str]) -> Command {
    let server = world.certs().server();
    let (source, target) = (world.source_url(), world.target_url());
    let mut command = world.bare(EBB);
    command.args(["cutback", "--json", "--mode", "failback", "--source", &source, "--target", &target]);
    command.args([
        "--changefeeds-path",
        "changefeed-secure.json",
        "--replicator-flags",
        "--stagingSchema _replicator_1",
    ]);
    if !more.contains(&"--expect-quiet") {
        command.args(["--expect-quiet", "1s"]);
    }
    if !more.contains(&"--timeout") {
        command.args(["--timeout", "60s"]);
    }
    command.args(more).env("EBB_TLS_CERTIFICATE", server.cert).env("EBB_TLS_PRIVATE_KEY", server.key);
    command
}

/// The exit code, and the record.
pub(crate) fn cutback(world: &World, more: &[&str]) -> (Option<i32>, Value) {
    let output = codes::output(&mut command(world, more));
    let record = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), record)
}

/// A run that has applied rows, and the address of its pages.
pub(crate) fn start(world: &World) -> (Ebb, String) {
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    world.source("INSERT INTO t SELECT i, 'name ' || i FROM generate_series(1, 500) AS i; INSERT INTO u VALUES (1, 1)");
    world.wait_target(&ebb, "SELECT COUNT(*) FROM t", "500");
    world.wait_target(&ebb, "SELECT COUNT(*) FROM u", "1");
    wait_for(
        "a run that is well",
        || ebb.log(),
        || {
            let status = status(&pages);
            let reasons = status["reasons"].as_array().expect("a list");
            reasons.iter().all(|reason| ["not-verified", "sequences-not-checked"].iter().any(|id| reason["id"] == *id))
        },
    );
    (ebb, pages)
}

fn steps(record: &Value) -> Vec<(&str, &str)> {
    let steps = record["steps"].as_array().expect("a list");
    steps.iter().filter_map(|step| Some((step["step"].as_str()?, step["outcome"].as_str()?))).collect()
}

fn reasons(record: &Value) -> String {
    record["reasons"].to_string()
}

#[test]
fn the_target_is_ready_once_it_says_go() {
    for dialect in DIALECTS {
        let world = World::with_target(dialect, "cutback_go", SOURCE, target(dialect));
        let (ebb, pages) = start(&world);
        let (code, record) = cutback(&world, &["--dry-run"]);
        assert_eq!((code, record["verdict"].as_str()), (Some(0), Some("GO")), "{record:#}");
        let is_behind = dialect == Dialect::Postgres;
        let expected = if is_behind { "would do" } else { "passed" };
        assert!(steps(&record).contains(&("sequences", expected)), "{record:#}");
        if is_behind {
            // A dry run has moved nothing.
            assert_eq!(world.target("SELECT is_called FROM t_id_seq"), "f");
        }
        let (code, record) = cutback(&world, &[]);
        assert_eq!((code, record["verdict"].as_str()), (Some(0), Some("GO")), "{record:#}");
        assert!(record["verified_to"].is_string() && record["ended"].is_string(), "{record:#}");
        assert!(steps(&record).iter().all(|(_, outcome)| *outcome == "passed"), "{record:#}");
        // The application may write.
        world.target("INSERT INTO t (name) VALUES ('new')");
        assert_eq!(world.target("SELECT id FROM t WHERE name = 'new'"), "501");
        // Each round has its record.
        let kept: Value = serde_json::from_slice(
            &std::fs::read(world.dir().join("staging/_replicator_1.cutback")).expect("a record"),
        )
        .expect("JSON");
        assert_eq!(kept.as_array().map(Vec::len), Some(2), "{kept:#}");
        assert_eq!(status(&pages)["verification"]["differences"], 0);
        ebb.stop();
    }
}

#[test]
fn a_row_that_differs_is_a_no_go_that_names_it() {
    for dialect in DIALECTS {
        let world = World::with_target(dialect, "cutback_differs", SOURCE, target(dialect));
        let (ebb, _) = start(&world);
        world.target("UPDATE t SET name = 'Name 77' WHERE id = 77");
        let (code, record) = cutback(&world, &[]);
        assert_eq!((code, record["verdict"].as_str()), (Some(3), Some("NO-GO")), "{record:#}");
        assert!(reasons(&record).contains("id=77"), "{record:#}");
        // Nothing behind the proof was done.
        assert_eq!(steps(&record).last(), Some(&("proof", "failed")), "{record:#}");
        if dialect == Dialect::Postgres {
            assert_eq!(world.target("SELECT is_called FROM t_id_seq"), "f");
        }
        // Once it is mended, the same command says GO.
        world.target("UPDATE t SET name = 'name 77' WHERE id = 77");
        let (code, record) = cutback(&world, &[]);
        assert_eq!((code, record["verdict"].as_str()), (Some(0), Some("GO")), "{record:#}");
        ebb.stop();
    }
}

#[test]
fn who_still_writes_is_a_no_go() {
    let world = World::with_target(Dialect::Postgres, "cutback_writers", SOURCE, target(Dialect::Postgres));
    let (ebb, _) = start(&world);
    // On the target: a session that has not committed.
    let mut writer = Client::connect(Dialect::Postgres, &world.target_url());
    writer.ask("SET application_name = 'the other one'; BEGIN; INSERT INTO u VALUES (99, 99)").expect("a row");
    let (code, record) = cutback(&world, &[]);
    assert_eq!((code, record["verdict"].as_str()), (Some(3), Some("NO-GO")), "{record:#}");
    assert!(reasons(&record).contains("the other one"), "{record:#}");
    writer.ask("ROLLBACK").expect("no row");
    // On the source: it is never quiet.
    let is_ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut id = 1000;
            while !is_ended.load(std::sync::atomic::Ordering::Relaxed) {
                world.source(&format!("INSERT INTO u VALUES ({id}, 1)"));
                id += 1;
            }
        });
        let (code, record) = cutback(&world, &["--expect-quiet", "5s", "--timeout", "8s"]);
        is_ended.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!((code, record["verdict"].as_str()), (Some(3), Some("NO-GO")), "{record:#}");
        assert!(reasons(&record).contains("time limit") && reasons(&record).contains("public.u"), "{record:#}");
    });
    ebb.stop();
}

#[test]
fn a_round_that_was_killed_is_done_again() {
    let world = World::with_target(Dialect::Postgres, "cutback_killed", SOURCE, target(Dialect::Postgres));
    let (ebb, _) = start(&world);
    for step in ["quiet", "proof", "sequences", "late writers"] {
        let spawned = command(&world, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = std::cell::RefCell::new(spawned.expect("ebb starts"));
        let kept = || std::fs::read_to_string(world.dir().join("staging/_replicator_1.cutback")).unwrap_or_default();
        let has_step = || {
            let rounds: Value = serde_json::from_str(&kept()).unwrap_or_default();
            let last = rounds.as_array().and_then(|rounds| rounds.last().cloned()).unwrap_or_default();
            last["ended"].is_null() && steps_of(&last).iter().any(|known| known == step)
        };
        wait_for(step, kept, || has_step() || child.borrow_mut().try_wait().expect("a child").is_some());
        let _ = child.borrow_mut().kill();
        child.borrow_mut().wait().expect("it has ended");
    }
    let (code, record) = cutback(&world, &[]);
    assert_eq!((code, record["verdict"].as_str()), (Some(0), Some("GO")), "{record:#}");
    world.target("INSERT INTO t (name) VALUES ('new')");
    assert_eq!(world.target("SELECT id FROM t WHERE name = 'new'"), "501");
    ebb.stop();
}

fn steps_of(record: &Value) -> Vec<String> {
    let steps = record["steps"].as_array().map_or(&[][..], Vec::as_slice);
    steps.iter().filter_map(|step| step["step"].as_str()).map(str::to_owned).collect()
}

#[test]
fn what_it_cannot_work_with_is_said() {
    let world = World::with_target(Dialect::Postgres, "cutback_refused", SOURCE, target(Dialect::Postgres));
    let refused = |more: &[&str], code: &str| {
        let output = codes::output(&mut command(&world, more));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(code) && output.status.code().is_some_and(|code| code == 1 || code == 2), "{output:?}");
    };
    refused(&[], "EBB-G010");
    std::fs::write(world.dir().join("night.toml"), "quiet = 3").expect("a file");
    refused(&["--criteria", "night.toml"], "EBB-G011");
    std::fs::create_dir_all(world.dir().join("staging")).expect("a folder");
    std::fs::write(world.dir().join("staging/_replicator_1.cutback"), "no record").expect("a file");
    refused(&[], "EBB-G012");
}
