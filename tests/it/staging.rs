//! What becomes of the staging folder while ebb runs and between runs.
//!
//! Owns: a folder that goes missing, where a folder may stand, and what gives way when it is full. Does not own: what
//! stands in its files (`promises`).

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::post::Post;
use crate::world::{World, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";

/// A body with one row of `t`, far ahead of what the changefeed sends.
fn row(id: u32) -> String {
    format!(
        r#"{{"payload":[{{"after":{{"id":{id},"v":1}},"key":[{id}],"topic":"t","updated":"9000000000000000000.0"}}],"length":1}}"#
    )
}

/// A world whose changefeed is there.
fn begun(name: &str) -> World {
    let world = World::new(name, TABLE);
    world.fetch(&[]).ready().stop();
    world
}

/// Something happens to the folder under a running ebb. The next request must not be answered with 200, and the run must
/// end with an error that says what has happened; then the same command must find all rows again.
fn vanish(world: &World, how: &str, happens: impl FnOnce(&Path), expected: &str, mend: impl FnOnce(&Path)) {
    let folder = world.dir().join("staging/_replicator_1");
    let mut ebb = world.fetch(&[]);
    world.source("INSERT INTO t SELECT coalesce(max(id), 0) + 1, 1 FROM t");
    world.wait_equal(&ebb, &["t"]);
    ebb.must_run();
    happens(&folder);
    let answer = Post::new(world).send(&row(1_000_000));
    assert_ne!(answer.status, 200, "{how}: a row was acknowledged");
    let line = ebb.failure();
    for text in [expected, "nothing is acknowledged from now on", "--staging-dir", "start again with the same command"]
    {
        assert!(line.contains(text), "{how}: {text:?} is not in {line}");
    }
    mend(&folder);
    world.source("INSERT INTO t SELECT max(id) + 1, 2 FROM t");
    let ebb = world.fetch(&[]);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

fn aside(folder: &Path) {
    fs::rename(folder, folder.with_extension("aside")).expect("the folder is there");
}

fn remove_aside(folder: &Path) {
    fs::remove_dir_all(folder.with_extension("aside")).expect("the folder is there");
}

/// The newest log.
fn log(folder: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder).expect("the staging folder").map(|entry| entry.expect("a file").path());
    let log = files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max();
    log.expect("a log")
}

#[test]
fn a_folder_that_goes_missing_under_a_running_ebb_ends_the_run() {
    let world = begun("staging_vanish");
    let remove = |folder: &Path| fs::remove_dir_all(folder).expect("the folder is there");
    vanish(&world, "removed", remove, "is gone: it was removed or renamed while ebb ran", |_| ());
    let back = |folder: &Path| fs::rename(folder.with_extension("aside"), folder).expect("the folder is there");
    vanish(&world, "renamed", aside, "is gone: it was removed or renamed while ebb ran", back);
    let anew = |folder: &Path| {
        remove(folder);
        fs::create_dir(folder).expect("a folder");
    };
    vanish(&world, "made anew", anew, "is another one now", |_| ());
}

#[test]
fn a_file_that_goes_missing_under_a_running_ebb_ends_the_run() {
    let world = begun("staging_files");
    let remove = |path: &Path| fs::remove_file(path).expect("the file is there");
    let gone = |folder: &Path| {
        aside(folder);
        remove_aside(folder);
    };
    vanish(&world, "log", |folder| remove(&log(folder)), ".log was removed or renamed while ebb ran", gone);
    let state = |folder: &Path| remove(&folder.join("state"));
    vanish(&world, "state", state, "lacks a file: state was removed or renamed while ebb ran", gone);
    // A file that is put back as it was is as good as one that never went.
    let name = OnceCell::new();
    let moved = |folder: &Path| {
        let log = name.get_or_init(|| log(folder));
        fs::rename(log, folder.join("moved")).expect("a log");
    };
    let back = |folder: &Path| fs::rename(folder.join("moved"), name.get().expect("it was moved")).expect("a log");
    vanish(&world, "moved", moved, ".log was removed or renamed while ebb ran", back);
}

/// It is noticed although nothing is sent.
#[test]
fn a_folder_that_goes_missing_is_noticed_without_a_request() {
    let world = World::new("staging_quiet", TABLE);
    let mut ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    let job = world.source("SELECT job_id FROM [SHOW CHANGEFEED JOBS]");
    world.source(&format!("PAUSE JOB {}", job.trim()));
    wait_for("the pause", || ebb.log(), || ebb.log().contains("was paused by somebody"));
    ebb.must_run();
    aside(&world.dir().join("staging/_replicator_1"));
    assert!(ebb.failure().contains("is gone: it was removed or renamed while ebb ran"));
}

/// On a machine without a tmpfs there, this test has nothing to stand on, and fails.
#[test]
fn a_folder_in_memory_is_refused_unless_it_is_admitted() {
    let world = World::new("staging_tmpfs", TABLE);
    let memory = TempDir::new_in("/dev/shm").expect("/dev/shm is a tmpfs");
    let dir = memory.path().join("ebb");
    let start = |more: &str| {
        let flags = format!("--stagingSchema _replicator_1 --staging-dir {} {more}", dir.display());
        world.fetch(&["--replicator-flags", &flags])
    };
    let line = start("--staging-unsafe-filesystem=false").failure();
    let folder = dir.join("_replicator_1");
    for text in [
        &format!("the staging folder {} is on tmpfs", folder.display()),
        "rows that were acknowledged would be gone after a reboot",
        &format!("--staging-dir (now: {})", folder.display()),
        "--staging-unsafe-filesystem",
    ] {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    assert!(!dir.exists(), "a start that is refused leaves nothing behind");
    let ebb = start("--staging-unsafe-filesystem").ready();
    assert!(ebb.log().contains("is on tmpfs: it is memory"), "{}", ebb.log());
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
    // The variable and the key of the file are those of every flag.
    let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
    command.args(["config", "show", "--json", "start", "--targetConn", "postgres://a@b/c", "--tlsSelfSigned"]);
    command.arg("--disableAuthentication").env("EBB_STAGING_UNSAFE_FILESYSTEM", "true");
    let shown: serde_json::Value = serde_json::from_slice(&command.output().expect("ebb starts").stdout).expect("JSON");
    assert_eq!(shown["staging-unsafe-filesystem"]["value"], true, "{shown}");
}
