//! What becomes of the staging folder while ebb runs and between runs.
//!
//! Owns: a folder that goes missing or is damaged, where a folder may stand, and what gives way when it is full. Does not
//! own: what stands in its files (`host/stage`).

use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;

use crate::harness::client::hold;
use crate::harness::codes;
use crate::harness::pages::http_get;
use crate::harness::post::{Post, a_moment_from_now, an_hour_from_now, one_row};
use crate::harness::world::{World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";

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
    let answer = Post::new(world).send(&one_row(1_000_000, &an_hour_from_now()));
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
        fs::DirBuilder::new().mode(0o700).create(folder).expect("a folder");
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
    let shown: serde_json::Value = serde_json::from_slice(&codes::output(&mut command).stdout).expect("JSON");
    assert_eq!(shown["staging-unsafe-filesystem"]["value"], true, "{shown}");
}

#[test]
fn applied_rows_are_forgotten_before_requests_are_held() {
    const ROUNDS: u32 = 24;
    const ROWS: u32 = 2500;
    let world = World::new("staging_forget", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    // The fingerprints of all rows would take 1,200,000 bytes.
    let flags = "--stagingSchema _replicator_1 --staging-max-bytes 1000000";
    let ebb = world.fetch(&["--replicator-flags", flags, "--metrics-listen-addr", &pages]).ready();
    let status = || -> serde_json::Value {
        let answer = http_get(&pages, "/_/status");
        serde_json::from_str(answer.split("\r\n\r\n").last().expect("a body")).expect("JSON")
    };
    world.source("INSERT INTO t VALUES (1, 1)");
    let time = a_moment_from_now();
    assert_eq!(Post::new(&world).send(&one_row(1, &time)).status, 200);
    for round in 1..=ROUNDS {
        let (first, last) = (round * ROWS, (round + 1) * ROWS - 1);
        world.source(&format!("INSERT INTO t SELECT i, 1 FROM generate_series({first}, {last}) AS i"));
        world.wait_target(&ebb, "SELECT count(*) FROM t", &(round * ROWS + 1).to_string());
    }
    wait_for(
        "rows to be forgotten",
        || ebb.log(),
        || status()["staging_forgotten"].as_str().is_some_and(|to| to > &*time),
    );
    let shown = status();
    let bytes = |name: &str| shown[name].as_u64().unwrap_or_else(|| panic!("{name} is not in {shown}"));
    let (disk, fingerprints) = (bytes("staging_disk_bytes"), bytes("staging_fingerprint_bytes"));
    assert!(disk <= 1_000_000 && fingerprints > 0 && fingerprints < disk, "{shown}");
    assert_eq!(bytes("staging_room_bytes"), 1_000_000 - (disk - fingerprints), "{shown}");
    assert_eq!(shown["staging_full"], false);
    let varz = http_get(&pages, "/_/varz");
    assert!(varz.contains("ebb_staging_fingerprint_bytes ") && varz.contains("ebb_staging_full 0\n"), "{varz}");
    assert_eq!(shown["requests_refused"], 0, "{shown}");
    let log = ebb.log();
    assert!(
        !log.contains("staging is full") && log.contains("applied rows are forgotten before --retireOffset"),
        "{log}"
    );
    // A repeat of a row that is forgotten could be a row that never came.
    assert_ne!(Post::new(&world).send(&one_row(1, &time)).status, 200);
    let line = ebb.failure();
    for text in [
        "\"key\":\"[1]\"",
        "cannot be told whether it was applied",
        "--staging-max-bytes (now 1000000)",
        "(now 86400s)",
    ] {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    // The hint is the way out.
    aside(&world.dir().join("staging/_replicator_1"));
    world.source("INSERT INTO t VALUES (2, 2)");
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("replacing the changefeed");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

/// Who may write there plants what is run on the target with the rights of ebb.
#[test]
fn a_folder_that_others_may_enter_is_not_used() {
    let world = World::new("staging_open", TABLE);
    let folder = world.dir().join("staging/_replicator_1");
    fs::create_dir_all(&folder).expect("a folder");
    let open = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("one's own folder");
    open(0o777);
    let line = world.fetch(&[]).failure();
    assert!(line.contains("other users may enter the staging folder") && line.contains("chmod 0700"), "{line}");
    let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
    command.args(["triggers", "restore", "--target", &world.target_url(), "--stagingSchema", "_replicator_1"]);
    let output = codes::output(&mut command);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("other users may enter"), "{output:?}");
    open(0o700);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
    for file in fs::read_dir(&folder).expect("the folder") {
        let file = file.expect("a file");
        let mode = file.metadata().expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
}

fn staged_files(world: &World, extension: &str) -> Vec<std::path::PathBuf> {
    let folder = world.dir().join("staging/_replicator_1");
    let files = fs::read_dir(folder).expect("the staging folder").map(|entry| entry.expect("a file").path());
    files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn damaged_staging_is_named_and_not_applied() {
    let world = World::new("promise_damage", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO t SELECT i, 1 FROM generate_series(1, 500) AS i");
    wait_for(
        "rows to be received",
        || ebb.log(),
        || http_get(&pages, "/_/varz").contains("ebb_rows_received_total 500\n"),
    );
    ebb.kill9();
    drop(gate);
    let logs = staged_files(&world, "log");
    let log = logs.iter().max_by_key(|path| fs::metadata(path).expect("a file").len()).expect("a log");
    let mut bytes = fs::read(log).expect("the log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(log, &bytes).expect("the damaged log");
    let line = world.fetch(&[]).failure();
    let name = log.file_name().expect("a name").to_string_lossy();
    assert!(line.contains(&*name) && line.contains("is damaged: its checksum does not fit at byte"), "{line}");
    assert_eq!(world.target("SELECT count(*) FROM t"), "0");
    // The hint is the way out: without the folder the rows come again.
    fs::remove_dir_all(world.dir().join("staging")).expect("the folder");
    let mut ebb = world.fetch(&["--replicator-flags", "--stagingSchema _replicator_1 --take-over"]);
    ebb.wait_line("the staging folder is gone; replacing the changefeed");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn a_full_staging_holds_requests_and_loses_nothing() {
    let world = World::new("promise_full", "CREATE TABLE t (id int PRIMARY KEY, v text)");
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = "--stagingSchema _replicator_1 --staging-max-bytes 4000000 --httpResponseTimeout 2s";
    let mut ebb = world.fetch(&["--replicator-flags", flags, "--metrics-listen-addr", &pages]).ready();
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    for round in 0..60 {
        world.source(&format!(
            "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series({}, {}) AS i",
            round * 100,
            round * 100 + 99
        ));
    }
    let line = ebb.wait_line("staging is full");
    assert!(line.contains("error_code\":\"EBB-D019\""), "{line}");
    let varz = http_get(&pages, "/_/varz");
    assert!(varz.contains("ebb_staging_full 1\n") && varz.contains("ebb_staging_left_seconds 0\n"), "{varz}");
    // Held first, then told to come again; never taken.
    wait_for("a refusal", || ebb.log(), || ebb.log().contains("staging is behind"));
    drop(gate);
    ebb.wait_line("staging has room again after");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}
