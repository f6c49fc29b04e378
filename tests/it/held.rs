//! Transactions that a test keeps open on the target, to stand in the way of ebb's.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::world::World;

/// A transaction that stays open.
pub struct Held {
    child: Child,
    /// psql ends, and rolls back, with its input.
    _input: std::process::ChildStdin,
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Begins a transaction on the target, and keeps it open until what this returns is dropped.
pub fn hold(world: &World, sql: &str) -> Held {
    let mut child = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &world.target_url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("psql is installed");
    let mut input = child.stdin.take().expect("piped");
    writeln!(input, "BEGIN; {sql}; SELECT 'held';").expect("psql takes a statement");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    while line.trim() != "held" {
        line.clear();
        assert!(output.read_line(&mut line).expect("psql answers") > 0, "the target refuses: {sql}");
    }
    Held { child, _input: input }
}
