//! Clients through the proxy: what drivers and psql need passes, log-in is CockroachDB's.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use ebb_crdb::{Crdb, CrdbOptions, Tls};
use ebb_servers::{Certs, Postgres};
use tokio_postgres::types::Type;

use crate::harness::{Stage, backend, psql};

#[tokio::test(flavor = "multi_thread")]
async fn psql_works_plain() {
    let stage = Stage::new().await;
    let url = stage.crdb.url("defaultdb", "root");
    let (version, _) = psql(&url, "SELECT version()");
    assert!(version.starts_with("CockroachDB CCL v25.2.1 ("), "{version}");
    assert_eq!(psql(&url, "SHOW crdb_version").0, version);
    assert_eq!(psql(&url, "SELECT session_user; SELECT 'SHOW CHANGEFEED JOBS'").0, "root\nSHOW CHANGEFEED JOBS");
    let (_, error) = psql(&stage.crdb.url("defaultdb", "nobody"), "SELECT 1");
    assert!(error.contains("password authentication failed for user nobody"), "{error}");
    let (_, error) = psql(&stage.crdb.url("nowhere", "root"), "SELECT 1");
    assert!(error.contains("database \"nowhere\" does not exist"), "{error}");
    stage.run("CREATE DATABASE other").await;
    assert_eq!(psql(&stage.crdb.url("other", "root"), "SELECT 1 FROM [SHOW CHANGEFEED JOBS]").0, "");
    assert_eq!(psql(&stage.crdb.url("other", "root"), "SHOW CLUSTER SETTING kv.rangefeed.enabled").0, "t");
    assert_eq!(psql(&url, "DROP DATABASE other").0, "DROP DATABASE");
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_works_over_tls_with_passwords_and_certificates() {
    let postgres = Postgres::start(&ebb_servers::PostgresOptions::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let certs = Certs::create(dir.path()).unwrap();
    let start = |require_client_cert| {
        let pair = certs.server();
        let tls = Tls { cert: pair.cert, key: pair.key, ca: certs.ca(), require_client_cert };
        let passwords = BTreeMap::from([("root".to_owned(), "secret".to_owned())]);
        Crdb::start(CrdbOptions { backend: backend(&postgres), tls: Some(tls), passwords, ..CrdbOptions::default() })
    };
    let crdb = start(false).await.unwrap();
    let url = crdb.url("defaultdb", "root");
    assert_eq!(psql(&url, "SELECT 1").0, "1");
    let (_, error) = psql(&url.replace("secret", "wrong"), "SELECT 1");
    assert!(error.contains("password authentication failed for user root"), "{error}");
    let (_, error) = psql(&url.replace("verify-full", "disable"), "SELECT 1");
    assert!(error.contains("node is running secure mode, SSL connection required"), "{error}");
    crdb.stop().await;

    let crdb = start(true).await.unwrap();
    let url = crdb.url("defaultdb", "root");
    assert!(!psql(&url, "SELECT 1").1.is_empty());
    let client = certs.client("root").unwrap();
    let url = format!("{url}&sslcert={}&sslkey={}", client.cert.display(), client.key.display());
    assert_eq!(psql(&url, "SELECT 1"), ("1".to_owned(), String::new()));
    crdb.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extended_protocol_copy_and_large_values_pass() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY, body text, day date)").await;
    let insert =
        stage.sql.prepare_typed("INSERT INTO t VALUES ($1, $2, '2024-01-31')", &[Type::INT8, Type::TEXT]).await;
    let insert = insert.unwrap();
    let large = "x".repeat(3 << 20);
    assert_eq!(stage.sql.execute(&insert, &[&1_i64, &large]).await.unwrap(), 1);
    let row = stage.sql.query_one("SELECT id, body FROM t WHERE id = $1", &[&1_i64]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, String>(1)), (1, large));

    let url = stage.crdb.url("defaultdb", "root");
    let rows: String = (2..5000).map(|id| format!("{id}\ttext {id}\t2024-02-01\n")).collect();
    assert_eq!(copy(&url, "COPY t FROM STDIN", &rows), "COPY 4998");
    assert_eq!(copy(&url, "COPY t (id) TO STDOUT", "").lines().count(), 4999);
    // The history has them all, from the one statement.
    assert_eq!(stage.text("SELECT count(DISTINCT tick) || ' ' || count(*) FROM crdb_internal.history").await, "2 4999");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_statement_is_cancelled() {
    let stage = Stage::new().await;
    let token = stage.sql.cancel_token();
    let (slept, cancelled) = tokio::join!(stage.sql.batch_execute("SELECT pg_sleep(60)"), async {
        let active = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'";
        let other = crate::harness::connect(&stage.crdb.url("defaultdb", "root")).await;
        while crate::harness::text(&other, active).await != "1" {}
        token.cancel_query(tokio_postgres::NoTls).await
    });
    cancelled.unwrap();
    assert_eq!(slept.unwrap_err().code().unwrap().code(), "57014");
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_those_of_cockroachdb() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY)").await;
    let url = stage.crdb.url("defaultdb", "root");
    assert_eq!(psql(&url, "SET CLUSTER SETTING kv.rangefeed.enabled TO 'true'").0, "SET CLUSTER SETTING");
    let sink = stage.receiver.url("/");
    let (out, notices) = psql(&url, &format!("CREATE CHANGEFEED FOR t INTO '{sink}' WITH resolved='10s'"));
    let job: i64 = out.parse().unwrap();
    assert!(job > 1 << 58, "{out}");
    assert!(notices.contains("resolved (10s) messages will not be emitted more frequently"), "{notices}");
    assert_eq!(psql(&url, &format!("PAUSE JOB {job}")).0, "PAUSE JOBS 1");
    assert_eq!(
        psql(&url, "RESUME JOBS (SELECT job_id FROM [SHOW CHANGEFEED JOBS] WHERE status = 'none')").0,
        "RESUME JOBS 0"
    );
    assert_eq!(psql(&url, "CANCEL ALL CHANGEFEED JOBS").0, "CANCEL ALL CHANGEFEED JOBS 1");
}

fn copy(url: &str, sql: &str, input: &str) -> String {
    let mut psql = Command::new("psql");
    let mut psql = psql.args(["-X", "-c", sql, url]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    psql.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    String::from_utf8(psql.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}
