//! The scripts that the Makefile runs its steps with.
//!
//! Owns: what a person is told when a step fails or is interrupted, and that nothing of it is left. Does not own: a machine that
//! has nothing, which is `make fresh`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ebb_servers::{Signal, signal};
use tempfile::TempDir;

use crate::harness::world::wait_for;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A zombie has ended: whether its parent has asked for it does not matter.
fn has_ended(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// SIGTERM only: who runs the tests in the background of a script lets all of them ignore SIGINT.
#[test]
fn a_signal_ends_all_of_a_step() {
    let dir = TempDir::new().expect("a folder");
    let step = Command::new(script("step.sh"))
        .args(["step.log", "sleep", "sh", "-c", "sleep 1000 & echo $! $$ > pids; wait"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let pids = || fs::read_to_string(dir.path().join("pids")).unwrap_or_default();
    wait_for("the step to begin", pids, || pids().ends_with('\n'));
    signal(step.id(), Signal::TERM).expect("it runs");
    let output = step.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(143));
    let last = "FAIL: interrupted in the step: sleep; its log is step.log\n";
    assert!(text(&output).ends_with(last), "{}", text(&output));
    assert!(pids().split_whitespace().all(has_ended), "{}", pids());
}

#[test]
fn the_last_line_of_a_failure_says_which_step_and_where_its_log_is() {
    let dir = TempDir::new().expect("a folder");
    let output = Command::new(script("step.sh"))
        .args(["logs/step.log", "say why", "sh", "-c", "echo out; echo err >&2; exit 7"])
        .current_dir(dir.path())
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(7));
    let last = "FAIL in the step: say why; its log is logs/step.log\n";
    assert!(text(&output).ends_with(last), "{}", text(&output));
    assert_eq!(fs::read_to_string(dir.path().join("logs/step.log")).expect("the log"), "out\nerr\n");
}

#[test]
fn a_code_that_no_test_provokes_fails_the_tests() {
    let dir = TempDir::new().expect("a folder");
    let page = "# Errors\n\n## EBB-A010: one\n\nText.\n\n## EBB-B010: two\n\n<!-- not provoked: a defect -->\n";
    fs::write(dir.path().join("page.md"), page).expect("a file");
    fs::create_dir(dir.path().join("provoked")).expect("a folder");
    let compare = || {
        let output = Command::new(script("provoked.sh")).args(["page.md", "provoked"]).current_dir(dir.path()).output();
        let output = output.expect("it starts");
        (output.status.code(), text(&output))
    };
    assert_eq!(compare(), (Some(1), "no test provokes EBB-A010\n".into()));
    fs::write(dir.path().join("provoked/EBB-A010"), "").expect("a file");
    assert_eq!(compare(), (Some(0), "1 codes were provoked, 1 cannot be\n".into()));
    fs::write(dir.path().join("provoked/EBB-B010"), "").expect("a file");
    fs::write(dir.path().join("page.md"), page.replace("not provoked", "not provoked everywhere")).expect("a file");
    assert_eq!(compare(), (Some(0), "2 codes were provoked, 0 cannot be\n".into()));
    fs::write(dir.path().join("page.md"), page).expect("a file");
    assert_eq!(compare(), (Some(1), "EBB-B010 is provoked, and page.md says that it is not\n".into()));
}

/// On a machine of which only this is known: who the user is, that no package is installed, and no Rust.
fn on_a_bare_machine(uid: &str) -> String {
    let dir = TempDir::new().expect("a folder");
    for (program, script) in [("id", format!("#!/bin/sh\necho {uid}\n")), ("dpkg-query", "#!/bin/sh\nexit 1\n".into())]
    {
        let path = dir.path().join(program);
        fs::write(&path, script).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    }
    let output = Command::new(script("packages.sh"))
        .args(["gcc", "curl"])
        .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
        .env("CARGO", "no-such-cargo")
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    text(&output)
}

#[test]
fn what_is_missing_is_one_command_to_paste() {
    for (uid, sudo) in [("1000", "sudo "), ("0", "")] {
        let said = on_a_bare_machine(uid);
        let command = said.lines().last().expect("a command");
        let wanted = format!("{sudo}apt-get update && {sudo}apt-get install --yes --no-install-recommends gcc curl");
        assert!(command.starts_with(&wanted), "{said}");
        assert!(command.contains(" && curl ") && command.contains("sh.rustup.rs"), "{said}");
        assert_eq!(said.lines().count(), 2, "{said}");
    }
}
