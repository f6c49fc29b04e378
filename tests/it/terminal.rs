//! ebb on a terminal: lines for people, and one below them that says where the run stands.

use std::process::Command;

use crate::harness::ebb::Ebb;
use crate::harness::world::{World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";
const EBB: &str = env!("CARGO_BIN_EXE_ebb");

/// `script` gives the program a terminal of its own and copies what it shows.
fn on_a_terminal(world: &World, args: &str, term: &str) -> Command {
    let mut command = world.bare("script");
    command.args(["-qefc", &format!("{EBB} {args}"), "/dev/null"]).env("TERM", term).env_remove("NO_COLOR");
    command
}

#[test]
fn a_terminal_shows_where_the_run_stands() {
    let world = World::new("terminal", TABLE);
    let (source, target, port) = (world.source_url(), world.target_url(), free_port().to_string());
    world.run(&[
        "init", "--yes", "--source", &source, "--target", &target, "--tables", "^t$", "--port", &port, "--out", "run",
    ]);
    let fetch = "fetch --config run/ebb.toml --non-interactive --on-exit cancel";
    let ebb = Ebb::spawn(on_a_terminal(&world, fetch, "xterm"));
    wait_for("the changefeed", || ebb.log(), || ebb.log().contains("changefeed created"));
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    // The line has no end of its own: the next line of the log brings it along.
    let is_drawn =
        || ebb.log().contains("\r\u{1b}[K") && ebb.log().contains("behind ") && ebb.log().contains(" MiB staged");
    wait_for("a line that says where the run stands", || ebb.log(), is_drawn);
    let log = ebb.log();
    assert!(!log.contains("{\"level\"") && log.contains(" info  changefeed created"), "{log}");
    ebb.kill9();
    // Other terminals get lines alone, and nothing that is no terminal gets anything but JSON.
    let plain = on_a_terminal(
        &world,
        "fetch --config run/ebb.toml --target postgres://nobody@127.0.0.1:1/x --target-wait 1s",
        "dumb",
    );
    let said = String::from_utf8_lossy(&{ plain }.output().expect("script").stdout).into_owned();
    assert!(said.contains(" error ") && !said.contains('\u{1b}'), "{said}");
}
