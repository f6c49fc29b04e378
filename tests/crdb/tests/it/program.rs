//! The stand-in as a program.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use ebb_servers::Postgres;

use crate::harness::{backend, psql};

#[test]
fn it_says_where_it_listens_and_ends_on_sigterm() {
    let postgres = Postgres::start(&ebb_servers::PostgresOptions::default()).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_ebb-crdb"))
        .args(["--backend", &backend(&postgres), "--version-string", "24.1.0", "--password", "root=secret"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = ready["url"].as_str().unwrap();
    assert!(url.contains(ready["addr"].as_str().unwrap()));
    let banner = psql(url, "SELECT version()").0;
    assert!(banner.starts_with("CockroachDB CCL v24.1.0 "), "{banner}");
    ebb_servers::signal(program.id(), ebb_servers::Signal::TERM).unwrap();
    assert!(program.wait().unwrap().success());
}

#[test]
fn a_start_that_fails_says_why() {
    let output = Command::new(env!("CARGO_BIN_EXE_ebb-crdb"))
        .args(["--backend", "postgres://postgres:secret@127.0.0.1:1/x"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        text.contains("cannot use the backend (--backend, now postgres://postgres:redacted@127.0.0.1:1/x)"),
        "{text}"
    );
}
