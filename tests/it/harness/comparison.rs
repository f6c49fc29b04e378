//! `ebb verify` as a child process, and what it has found.
//!
//! Owns: its flags, and reading its result. Does not own: what a test expects.

use std::process::Command;

use serde_json::Value;

use super::codes;
use super::like_fetch::like_fetch;
use super::target::MYSQLS;
use super::world::{Dialect, Ebb, World};

/// Each kind of database that rows are compared on.
pub(crate) const DIALECTS: [Dialect; 3] = [Dialect::Postgres, MYSQLS[0], MYSQLS[1]];

/// The command with the flags of a world's `fetch`. A flag that is given takes the place of the usual.
fn command(world: &World, more: &[&str]) -> Command {
    let mut command = like_fetch(world, "verify", more);
    if world.has_own_target() {
        command.arg("--allow-tls-mode-disable");
    }
    command
}

/// The exit code, and the result.
pub(crate) fn verify(world: &World, more: &[&str]) -> (Option<i32>, Value) {
    let output = codes::output(command(world, more).arg("--json"));
    let result = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), result)
}

/// The exit code, and what a person reads.
pub(crate) fn verify_text(world: &World, more: &[&str]) -> (Option<i32>, String) {
    let output = codes::output(&mut command(world, more));
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

/// A comparison that must fail: its error.
pub(crate) fn refused(world: &World, more: &[&str]) -> String {
    let output = codes::output(&mut command(world, more));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// One that goes on while the test does something.
pub(crate) fn begin(world: &World, more: &[&str]) -> Ebb {
    Ebb::spawn(command(world, more))
}

/// What a comparison that has ended has printed as JSON.
pub(crate) fn result(ebb: &Ebb) -> Value {
    let log = ebb.log();
    let begin = log.find("{\n").unwrap_or_else(|| panic!("no result in {log}"));
    let end = log.rfind("\n}").unwrap_or_else(|| panic!("no result in {log}"));
    serde_json::from_str(&log[begin..end + 2]).unwrap_or_else(|error| panic!("{error}: {log}"))
}

/// Both sides are equal, and this says so.
pub(crate) fn must_be_equal(world: &World, more: &[&str]) -> Value {
    let (code, result) = verify(world, more);
    assert_eq!((code, result["verdict"].as_str()), (Some(0), Some("equal")), "{result:#}");
    result
}

/// Some rows differ, which are found.
pub(crate) fn must_differ(world: &World, more: &[&str]) -> Value {
    let (code, result) = verify(world, more);
    assert_eq!((code, result["verdict"].as_str()), (Some(3), Some("different")), "{result:#}");
    result
}

/// What was found of a table.
pub(crate) fn table<'a>(result: &'a Value, name: &str) -> &'a Value {
    let tables = result["tables"].as_array().expect("a list");
    let is_it = |found: &&Value| found["table"].as_str().is_some_and(|found| found.ends_with(&format!(".{name}")));
    tables.iter().find(is_it).unwrap_or_else(|| panic!("no {name} in {result:#}"))
}

/// Rows that were compared, are missing, too many, and differ.
pub(crate) fn counts(result: &Value, name: &str) -> [Option<u64>; 4] {
    ["compared", "missing", "extra", "different"].map(|field| table(result, name)[field].as_u64())
}
