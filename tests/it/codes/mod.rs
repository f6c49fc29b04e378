//! Errors and warnings that need a situation of their own: each is provoked, and its code and its remedy are compared.
//!
//! Owns: a table of situations for each area, and how a line is compared. Does not own: what each code means
//! (`docs/errors.md`), and codes that a test of another subject provokes.

mod changefeed;
mod keys;
mod rows;
mod source;
mod staging;
mod tables;
mod target;

use crate::harness::world::{Ebb, World};

/// A table that both sides have.
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";

/// What ebb must say: the code without `EBB-`, a part of the message, and a part of the hint.
type Told<'a> = (&'a str, &'a str, &'a str);

/// Compares a line of the log.
fn check(line: &str, (code, message, hint): Told<'_>) {
    let fields: serde_json::Value = serde_json::from_str(line).expect("a line of the log");
    let field = |name: &str| fields[name].as_str().unwrap_or_default();
    assert_eq!(field("error_code"), format!("EBB-{code}"), "{line}");
    assert!(field("message").contains(message), "{message:?} is not in the message of {line}");
    assert!(field("hint").contains(hint), "{hint:?} is not in the hint of {line}");
}

/// ebb must end with this error.
fn fails(ebb: Ebb, told: Told<'_>) {
    check(&ebb.failure(), told);
}

/// ebb must say this, and may go on.
fn says(ebb: &mut Ebb, told: Told<'_>) {
    let line = ebb.wait_line(&format!("\"error_code\":\"EBB-{}\"", told.0));
    check(&line, told);
}

/// The present job of the source.
fn job(world: &World) -> String {
    world.source("SELECT job_id FROM [SHOW CHANGEFEED JOBS] ORDER BY job_id DESC LIMIT 1")
}
