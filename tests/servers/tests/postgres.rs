//! The promises of `Postgres` against a real server: what it accepts, what survives a kill, and that it ends.
#![expect(clippy::unwrap_used, reason = "functions of tests that are no tests themselves")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ebb_servers::{Authentication, Certs, Postgres, PostgresOptions};

#[test]
fn data_survives_stop_and_kill_on_the_same_port() {
    let mut server = Postgres::start(&PostgresOptions::default()).unwrap();
    let port = server.port();
    server.psql("postgres", "CREATE TABLE t (a int); INSERT INTO t VALUES (1)").unwrap();
    server.restart().unwrap();
    server.psql("postgres", "INSERT INTO t VALUES (2)").unwrap();
    server.kill9().unwrap();
    assert!(server.psql("postgres", "SELECT 1").is_err());
    server.restart().unwrap();
    assert_eq!(server.psql("postgres", "SELECT sum(a) FROM t").unwrap(), "3");
    assert_eq!(server.port(), port);
}

#[test]
fn scram_wants_the_password() {
    let server = Postgres::start(&PostgresOptions::default()).unwrap();
    assert_eq!(query(&server.url("postgres")).unwrap(), "1");
    let refusal = query(&server.url_as("postgres", "wrong", "postgres")).unwrap_err();
    assert!(refusal.contains("password authentication failed"), "{refusal}");
}

#[test]
fn with_certificates_tcp_is_tls_only() {
    let dir = tempfile::tempdir().unwrap();
    let certs = Certs::create(dir.path()).unwrap();
    let options =
        PostgresOptions { certs: Some(&certs), authentication: Authentication::Trust, ..PostgresOptions::default() };
    let server = Postgres::start(&options).unwrap();
    assert_eq!(query(&server.url("postgres")).unwrap(), "1");
    let refusal = query(&server.url("postgres").replace("verify-full", "disable")).unwrap_err();
    assert!(refusal.contains("no encryption"), "{refusal}");
}

#[test]
fn a_client_certificate_names_its_role() {
    let dir = tempfile::tempdir().unwrap();
    let certs = Certs::create(dir.path()).unwrap();
    let options = PostgresOptions {
        certs: Some(&certs),
        authentication: Authentication::Certificate,
        ..PostgresOptions::default()
    };
    let server = Postgres::start(&options).unwrap();
    let with = |name: &str| {
        let pair = certs.client(name).unwrap();
        format!("{}&sslcert={}&sslkey={}", server.url("postgres"), pair.cert.display(), pair.key.display())
    };
    assert_eq!(query(&with("postgres")).unwrap(), "1");
    assert!(query(&with("other")).unwrap_err().contains("certificate authentication failed"));
}

#[test]
fn a_start_that_fails_shows_the_log() {
    let settings = vec![("shared_buffers".to_owned(), "nonsense".to_owned())];
    let error = Postgres::start(&PostgresOptions { settings, ..PostgresOptions::default() }).err().unwrap().to_string();
    assert!(error.contains("shared_buffers"), "{error}");
}

#[test]
fn dropping_ends_the_process_and_removes_the_folder() {
    let server = Postgres::start(&PostgresOptions::default()).unwrap();
    let (pid, dir) = (server.pid().unwrap(), server.dir().to_owned());
    drop(server);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!dir.exists());
}

/// A `static` is never dropped, and a killed test drops nothing. This test runs itself again to be such a process.
#[test]
fn a_forgotten_server_ends_with_its_process() {
    if std::env::var_os("EBB_TEST_FORGET").is_some() {
        let server = Postgres::start(&PostgresOptions::default()).unwrap();
        println!("server {} {}", server.pid().unwrap(), server.dir().display());
        std::mem::forget(server);
        return;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "a_forgotten_server_ends_with_its_process", "--nocapture"]).env("EBB_TEST_FORGET", "1");
    let output = String::from_utf8(again.output().unwrap().stdout).unwrap();
    let line = output.lines().find_map(|line| line.split_once("server ")).unwrap().1;
    let (pid, dir) = line.split_once(' ').unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while Path::new(dir).exists() || Path::new(&format!("/proc/{pid}")).exists() {
        assert!(Instant::now() < deadline, "process {pid} or {dir} is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn query(url: &str) -> Result<String, String> {
    let output = Command::new("psql").args(["-X", "-A", "-t", "-c", "SELECT 1", url]).output().unwrap();
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned());
    }
    Err(String::from_utf8(output.stderr).unwrap())
}
