//! One server of each flavour for all tests, a database for each, and a session that writes rows given as JSON.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ebb_mysql::{MySql, Session};
use ebb_sdk::{ConnectOptions, Dialect, Error, Result, SavedTrigger, Session as _};
use ebb_servers::{Flavour, MySqlOptions};

use tokio::task::JoinHandle;

pub(crate) use crate::writer::{FEED, Writer, table_of};

pub(crate) const APPLY_TIMEOUT_MS: u64 = 20_000;
const KILL_WAIT: Duration = Duration::from_secs(60);

type Server = ebb_servers::MySql;

static MARIADB: LazyLock<Server> = LazyLock::new(|| start(Flavour::MariaDb));
static MYSQL: LazyLock<Server> = LazyLock::new(|| start(Flavour::MySql));

fn start(flavour: Flavour) -> Server {
    // Another time zone than UTC, and a mode that lets everything pass: the session must not depend on either.
    let settings = ["default-time-zone=+09:00", "sql-mode=", "character-set-server=latin1"].map(String::from).into();
    Server::start(flavour, &MySqlOptions { settings, ..Default::default() }).expect("a server")
}

/// A database of its own.
pub(crate) struct World {
    pub database: String,
    pub flavour: Flavour,
    server: &'static Server,
}

impl World {
    /// The same on both servers.
    pub(crate) fn both(database: &str, schema: &str) -> [World; 2] {
        [(Flavour::MariaDb, &MARIADB), (Flavour::MySql, &MYSQL)].map(|(flavour, server)| {
            server.sql("mysql", &format!("CREATE DATABASE `{database}` CHARACTER SET utf8mb4")).expect("a database");
            let world = World { database: database.to_owned(), flavour, server };
            if !schema.is_empty() {
                world.sql(schema);
            }
            world
        })
    }

    /// Runs statements as `root`.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        let found = self.server.sql(&self.database, sql);
        found.unwrap_or_else(|error| panic!("{:?}: {error}\n{sql}", self.flavour)).trim_end().to_owned()
    }

    /// Runs statements that end with `;;`, since the body of a trigger may hold semicolons.
    #[track_caller]
    pub(crate) fn sql_bodies(&self, sql: &str) {
        self.sql(&format!("DELIMITER ;;\n{sql};;"));
    }

    /// Ends every other connection to the database once a question has this answer, in another thread.
    pub(crate) fn kill_when(&self, question: &'static str, answer: &'static str) -> JoinHandle<()> {
        let (server, database) = (self.server, self.database.clone());
        tokio::task::spawn_blocking(move || {
            let is_so = || server.sql(&database, question).is_ok_and(|found| found.trim_end() == answer);
            let start = Instant::now();
            while !is_so() {
                assert!(start.elapsed() < KILL_WAIT, "{question} has never been {answer}");
            }
            let ids = format!(
                "SELECT id FROM information_schema.processlist WHERE db = '{database}' AND id <> CONNECTION_ID()"
            );
            for id in server.sql(&database, &ids).expect("the connections").lines() {
                // One that has ended meanwhile is as good.
                let _ = server.sql(&database, &format!("KILL {id}"));
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        self.server.url(&self.database)
    }

    pub(crate) fn url_as(&self, user: &str, password: &str) -> String {
        self.server.url_as(user, password, &self.database)
    }

    pub(crate) async fn session(&self) -> Session {
        connect(&self.url()).await.expect("a session")
    }

    /// A session that has taken over the feed and knows the tables.
    pub(crate) async fn writer(&self) -> Writer<Session> {
        Writer::new(self.session().await).await
    }
}

pub(crate) async fn connect(url: &str) -> Result<Session> {
    connect_with(url, true, APPLY_TIMEOUT_MS).await
}

pub(crate) async fn connect_with(url: &str, allow_insecure: bool, apply_timeout_ms: u64) -> Result<Session> {
    MySql::connect(&ConnectOptions {
        url: url.to_owned(),
        allow_insecure,
        apply_timeout_ms,
        allow_rounding: Vec::new(),
        source_is_known: false,
        hide_values: false,
    })
    .await
}

/// As the host does it, which gives back what it knows as its own.
pub(crate) async fn restore(session: &mut Session) -> Result<Vec<SavedTrigger>> {
    let saved = session.saved_triggers("").await?;
    session.restore_triggers("", &saved).await
}

/// A session that may round in these columns.
pub(crate) async fn connect_rounding(url: &str, columns: &[&str]) -> Session {
    let options = ConnectOptions {
        url: url.to_owned(),
        allow_insecure: true,
        apply_timeout_ms: APPLY_TIMEOUT_MS,
        allow_rounding: columns.iter().map(ToString::to_string).collect(),
        source_is_known: false,
        hide_values: false,
    };
    MySql::connect(&options).await.expect("a session")
}

/// The error of a connection that must not come about.
pub(crate) async fn refused(url: &str, allow_insecure: bool) -> Error {
    connect_with(url, allow_insecure, APPLY_TIMEOUT_MS).await.err().expect("an error")
}
