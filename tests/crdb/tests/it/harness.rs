//! A PostgreSQL, a stand-in in front of it, and clients, all gone at the end of the test.

use std::process::Command;
use std::time::Duration;

use ebb_crdb::{Crdb, CrdbOptions};
use ebb_servers::{Certs, Postgres};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::receiver::Receiver;

pub(crate) const WAIT: Duration = Duration::from_secs(20);

/// What makes a feed quick enough for a test.
pub(crate) const QUICK: &str = "updated, resolved = '50ms', min_checkpoint_frequency = '50ms'";

pub(crate) struct Stage {
    pub(crate) crdb: Crdb,
    pub(crate) sql: Client,
    pub(crate) receiver: Receiver,
    pub(crate) certs: Certs,
    pub(crate) postgres: Postgres,
    _dir: TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Stage {
        Stage::with(CrdbOptions::default()).await
    }

    /// The options' backend is filled in.
    pub(crate) async fn with(options: CrdbOptions) -> Stage {
        let postgres = Postgres::start(&ebb_servers::PostgresOptions::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let certs = Certs::create(dir.path()).unwrap();
        let crdb = Crdb::start(CrdbOptions { backend: backend(&postgres), ..options }).await.unwrap();
        let sql = connect(&crdb.url("defaultdb", "root")).await;
        sql.batch_execute("SET CLUSTER SETTING kv.rangefeed.enabled = true").await.unwrap();
        let receiver = Receiver::start(&certs).await;
        Stage { crdb, sql, receiver, certs, postgres, _dir: dir }
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The first column of the first row, as text.
    pub(crate) async fn text(&self, sql: &str) -> String {
        text(&self.sql, sql).await
    }

    pub(crate) async fn refusal(&self, sql: &str) -> (String, String) {
        let error = self.sql.batch_execute(sql).await.expect_err(sql);
        let error = error.as_db_error().unwrap();
        (error.code().code().to_owned(), error.message().to_owned())
    }

    /// A feed of these tables to the receiver. Gives the job's id.
    pub(crate) async fn feed(&self, tables: &str, options: &str) -> i64 {
        let sink = self.receiver.url("/");
        let sql = format!("CREATE CHANGEFEED FOR TABLE {tables} INTO '{sink}' WITH {options}");
        self.sql.query_one(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get("job_id")
    }

    pub(crate) async fn status(&self, job: i64) -> String {
        self.text(&format!("SELECT status FROM [SHOW CHANGEFEED JOB {job}]")).await
    }

    pub(crate) async fn await_text(&self, sql: &str, expected: &str) {
        let deadline = tokio::time::Instant::now() + WAIT;
        loop {
            let found = self.text(sql).await;
            if found.contains(expected) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{sql}: {found:?} instead of {expected:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn await_status(&self, job: i64, status: &str) {
        self.await_text(&format!("SELECT status FROM [SHOW CHANGEFEED JOB {job}]"), status).await;
    }

    /// Waits until everything committed so far has been acknowledged and said to be so.
    pub(crate) async fn await_resolved(&self) {
        let now = self.text("SELECT cluster_logical_timestamp()").await;
        let now = crate::receiver::hlc(&now);
        self.receiver.until("a resolved timestamp", |seen| seen.last_resolved() > Some(now)).await;
    }
}

pub(crate) fn backend(postgres: &Postgres) -> String {
    postgres.url("postgres")
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) async fn text(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    row.unwrap_or_default()
}

/// Output and errors of psql, whatever its exit status.
pub(crate) fn psql(url: &str, sql: &str) -> (String, String) {
    let output = Command::new("psql").args(["-X", "-A", "-t", "-c", sql, url]).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    (text(output.stdout), text(output.stderr))
}
