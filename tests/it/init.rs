//! A first run from nothing: `ebb init`, and the run that its files start.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::harness::codes;
use crate::harness::ebb::Ebb;
use crate::harness::world::{World, free_port};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";
const EBB: &str = env!("CARGO_BIN_EXE_ebb");

#[test]
fn the_files_of_init_start_a_run_and_resume_it() {
    let world = World::new("init_run", TABLE);
    let (source, target, port) = (world.source_url(), world.target_url(), free_port().to_string());
    let flags = ["init", "--yes", "--source", &source, "--target", &target, "--tables", "^t$", "--port", &port];
    let said = world.run(&[&flags[..], &["--out", "run"]].concat());
    assert!(said.contains("now: ebb fetch --config run/ebb.toml"), "{said}");
    let file = world.dir().join("run/ebb.toml");
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
    let fetch = || {
        let mut command = world.bare(EBB);
        command.args(["fetch", "--config", "run/ebb.toml", "--non-interactive"]);
        Ebb::spawn(command)
    };
    let ebb = fetch().ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    let log = ebb.stop();
    for text in
        ["0 rows staged, changefeed ", " keeps running; resume with --stagingSchema _replicator_", "applied to "]
    {
        assert!(log.contains(text), "{text} is not in {log}");
    }
    let mut ebb = fetch();
    ebb.wait_line("resuming: the target has everything up to ");
    ebb.wait_line("using the running changefeed");
    ebb.stop();
    // Nothing is written over.
    let again = codes::output(world.bare(EBB).args(flags).args(["--out", "run"]));
    let error = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && error.contains("is there already, and is not written over"), "{error}");
}

#[test]
fn a_connection_that_fails_is_asked_for_again() {
    let world = World::new("init_asks", TABLE);
    let wrong = "postgres://root:geheim@localhost:1/nowhere?sslmode=verify-full";
    let answers = format!("{wrong}\n{}\n{}\n^t$\n\n", world.source_url(), world.target_url());
    let mut command = world.bare(EBB);
    let mut child = command
        .args(["init", "--out", "run"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ebb starts");
    child.stdin.take().expect("piped").write_all(answers.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let asked = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{asked}");
    for text in
        ["localhost:1", "connected to the source: CockroachDB", "connected to the target: PostgreSQL", "match: t"]
    {
        assert!(asked.contains(text) && !asked.contains("geheim"), "{text} is not in {asked}");
    }
    assert_eq!(asked.matches("CockroachDB, the source of changes (URL)").count(), 2, "{asked}");
    assert!(
        world.dir().join("run/changefeed-secure.json").exists() && world.dir().join("run/certs/server.crt").exists()
    );
}

#[test]
fn a_start_says_where_its_changefeed_sends_to() {
    let world = World::new("init_sink", TABLE);
    let ebb = world.start(&["--disableAuthentication", "--sourceConn", &world.source_url()]);
    let log = ebb.stop();
    for text in ["webhook-https://HOST:", "/init_sink/public", "CREATE CHANGEFEED FOR TABLE", "cursor = 'TIME'"] {
        assert!(log.contains(text), "{text} is not in {log}");
    }
}
