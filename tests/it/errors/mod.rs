//! Errors and warnings that no other test comes upon: each is told with its code and with what mends it.
//!
//! Owns: one row for each of them, and how a row is compared with what ebb says. Does not own: what a fault does to
//! rows and changefeeds, which the tests of that area show.

mod access;
mod changefeed;
mod keys;
mod receiver;
mod rows;
mod settings;
mod source;
mod staging;
mod tables;
mod target;

use std::process::Command;

use crate::harness::codes;
use crate::harness::folders::TABLE;
use crate::harness::world::{Ebb, World};

const EBB: &str = env!("CARGO_BIN_EXE_ebb");
/// Whoever listens on it is nobody's concern: these settings are refused before a server is looked for.
const TARGET: &str = "postgres://a@localhost:1/b";

/// What is expected: the code, a part of the message, and a part of the hint.
type Told<'a> = (&'a str, &'a str, &'a str);

/// A command with these words.
fn command(world: &World, words: &str) -> Command {
    let mut command = world.bare(EBB);
    command.args(shlex::split(words).expect("words"));
    command
}

/// Runs a command that ends by itself, and compares its one error.
fn told(command: &mut Command, expected: Told<'_>) {
    let output = codes::output(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{command:?}: it did not fail: {said}");
    let line = said.lines().find(|line| line.starts_with("error["));
    let hint = said.lines().find_map(|line| line.strip_prefix("  hint: ")).unwrap_or_default();
    assert_eq!(said.matches("error[").count(), 1, "{command:?}: {said}");
    let (code, text, remedy) = expected;
    let line = line.unwrap_or_else(|| panic!("{command:?}: no line begins with the error: {said}"));
    assert!(line.starts_with(&format!("error[EBB-{code}]: ")), "EBB-{code} is not the code of {said}");
    assert!(line.contains(text), "{text:?} is not in {line}");
    assert!(hint.contains(remedy), "{remedy:?} is not in the hint of {said}");
}

/// Compares a line of the log.
fn logged(line: &str, (code, text, remedy): Told<'_>) {
    let line: serde_json::Value = serde_json::from_str(line).expect("a line of the log");
    let field = |name: &str| line[name].as_str().unwrap_or_default();
    assert_eq!(field("error_code"), format!("EBB-{code}"), "{line}");
    assert!(field("message").contains(text), "{text:?} is not in {line}");
    assert!(field("hint").contains(remedy), "{remedy:?} is not in the hint of {line}");
}

/// ebb must end with this error.
fn fails(ebb: Ebb, told: Told<'_>) {
    logged(&ebb.failure(), told);
}

/// ebb must say this, and may go on.
fn says(ebb: &mut Ebb, told: Told<'_>) {
    let line = ebb.wait_line(&format!("\"error_code\":\"EBB-{}\"", told.0));
    logged(&line, told);
}

/// The present job of the source.
fn job(world: &World) -> String {
    world.source("SELECT job_id FROM [SHOW CHANGEFEED JOBS] ORDER BY job_id DESC LIMIT 1")
}
