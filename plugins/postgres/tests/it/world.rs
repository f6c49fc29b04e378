//! One server for all tests, a database for each, and a session that writes rows given as JSON.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ebb_postgres::{Postgres, Session};
use ebb_sdk::{ConnectOptions, Dialect, Error, Result, SavedTrigger, Session as _};
use ebb_servers::PostgresOptions;

pub(crate) use crate::writer::{FEED, Writer, table_of};

pub(crate) const APPLY_TIMEOUT_MS: u64 = 20_000;

static SERVER: LazyLock<ebb_servers::Postgres> =
    LazyLock::new(|| ebb_servers::Postgres::start(&PostgresOptions::default()).expect("a PostgreSQL server"));

/// A database of its own.
pub(crate) struct World {
    pub database: String,
}

impl World {
    pub(crate) fn new(database: &str, schema: &str) -> World {
        SERVER.psql("postgres", &format!("CREATE DATABASE {database}")).expect("a database");
        let world = World { database: database.to_owned() };
        world.sql(schema);
        world
    }

    /// Runs statements as the superuser.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        SERVER.psql(&self.database, sql).unwrap_or_else(|error| panic!("{error}\n{sql}"))
    }

    /// Waits until no session of ebb is left in this database: only then its statistics are complete.
    #[track_caller]
    pub(crate) fn wait_for_no_session(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let sessions = "SELECT count(*) FROM pg_stat_activity
             WHERE application_name = 'ebb' AND datname = current_database()";
        while self.sql(sessions) != "0" {
            assert!(Instant::now() < deadline, "a session of ebb does not end");
        }
    }

    pub(crate) fn url(&self) -> String {
        SERVER.url(&self.database)
    }

    pub(crate) fn url_as(&self, user: &str, password: &str) -> String {
        SERVER.url_as(user, password, &self.database)
    }

    /// The folder of the server's socket and the port that names it.
    pub(crate) fn socket(&self) -> (String, u16) {
        (SERVER.dir().display().to_string(), SERVER.port())
    }

    pub(crate) fn options(&self) -> ConnectOptions {
        options(&self.url(), true, APPLY_TIMEOUT_MS)
    }

    pub(crate) async fn session(&self) -> Session {
        connect(&self.url()).await.expect("a session")
    }

    /// A writer whose columns of these names may lose digits.
    pub(crate) async fn rounding_writer(&self, allow_rounding: &[&str]) -> Writer<Session> {
        let allow_rounding = allow_rounding.iter().map(|&name| name.to_owned()).collect();
        let options = ConnectOptions { allow_rounding, ..self.options() };
        Writer::new(Postgres::connect(&options).await.expect("a session")).await
    }

    /// A session that has taken over the feed and knows the tables.
    pub(crate) async fn writer(&self) -> Writer<Session> {
        Writer::new(self.session().await).await
    }
}

/// As the host does it, which gives back what it knows as its own.
pub(crate) async fn restore(session: &mut Session) -> Result<Vec<SavedTrigger>> {
    let saved = session.saved_triggers("").await?;
    session.restore_triggers("", &saved).await
}

pub(crate) async fn connect(url: &str) -> Result<Session> {
    connect_with(url, true, APPLY_TIMEOUT_MS).await
}

pub(crate) async fn connect_with(url: &str, allow_insecure: bool, apply_timeout_ms: u64) -> Result<Session> {
    Postgres::connect(&options(url, allow_insecure, apply_timeout_ms)).await
}

fn options(url: &str, allow_insecure: bool, apply_timeout_ms: u64) -> ConnectOptions {
    let (allow_rounding, source_is_known, hide_values) = (Vec::new(), false, false);
    ConnectOptions {
        url: url.to_owned(),
        allow_insecure,
        apply_timeout_ms,
        allow_rounding,
        source_is_known,
        hide_values,
    }
}

/// The error of a connection that must not come about.
pub(crate) async fn refused(url: &str, allow_insecure: bool) -> Error {
    connect_with(url, allow_insecure, APPLY_TIMEOUT_MS).await.err().expect("an error")
}
