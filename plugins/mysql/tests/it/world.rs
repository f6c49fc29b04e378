//! One server of each flavour for all tests, a database for each, and a session that writes rows given as JSON.

use std::sync::LazyLock;

use ebb_mysql::{MySql, Session};
use ebb_sdk::{
    Advance, Block, Catalog, Checks, ConnectOptions, Dialect, Error, Operation, Progress, Result, RowBuffer,
    Session as _, Table, Timestamp, Value,
};
use ebb_servers::{Flavour, MySqlOptions};

pub const FEED: &str = "/db";
pub const APPLY_TIMEOUT_MS: u64 = 20_000;

type Server = ebb_servers::MySql;

static MARIADB: LazyLock<Server> = LazyLock::new(|| start(Flavour::MariaDb));
static MYSQL: LazyLock<Server> = LazyLock::new(|| start(Flavour::MySql));

fn start(flavour: Flavour) -> Server {
    // Another time zone than UTC, and a mode that lets everything pass: the session must not depend on either.
    let settings = ["default-time-zone=+09:00", "sql-mode=", "character-set-server=latin1"].map(String::from).into();
    Server::start(flavour, &MySqlOptions { settings, ..Default::default() }).expect("a server")
}

/// A database of its own.
pub struct World {
    pub database: String,
    pub flavour: Flavour,
    server: &'static Server,
}

impl World {
    /// The same on both servers.
    pub fn both(database: &str, schema: &str) -> [World; 2] {
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
    pub fn sql(&self, sql: &str) -> String {
        let found = self.server.sql(&self.database, sql);
        found.unwrap_or_else(|error| panic!("{:?}: {error}\n{sql}", self.flavour)).trim_end().to_owned()
    }

    pub fn url(&self) -> String {
        self.server.url(&self.database)
    }

    pub fn url_as(&self, user: &str, password: &str) -> String {
        self.server.url_as(user, password, &self.database)
    }

    pub async fn session(&self) -> Session {
        connect(&self.url()).await.expect("a session")
    }

    /// A session that has taken over the feed and knows the tables.
    pub async fn writer(&self) -> Writer {
        Writer::new(self.session().await).await
    }
}

pub async fn connect(url: &str) -> Result<Session> {
    connect_with(url, true, APPLY_TIMEOUT_MS).await
}

pub async fn connect_with(url: &str, allow_insecure: bool, apply_timeout_ms: u64) -> Result<Session> {
    MySql::connect(&ConnectOptions { url: url.to_owned(), allow_insecure, apply_timeout_ms }).await
}

/// The error of a connection that must not come about.
pub async fn refused(url: &str, allow_insecure: bool) -> Error {
    connect_with(url, allow_insecure, APPLY_TIMEOUT_MS).await.err().expect("an error")
}

pub struct Writer {
    pub session: Session,
    pub catalog: Catalog,
    pub progress: Progress,
}

impl Writer {
    pub async fn new(mut session: Session) -> Writer {
        let progress = session.take_over(FEED, 1).await.expect("the feed");
        let catalog = session.describe().await.expect("a catalog");
        Writer { session, catalog, progress }
    }

    /// Writes rows of JSON values, in one block and inside the open transaction.
    pub async fn write(&mut self, table: &str, operation: Operation, columns: &[&str], rows: &[&[&str]]) -> Result<()> {
        let table = table_of(&self.catalog, table);
        let columns: Vec<u32> = columns.iter().map(|name| table.column(name).expect("a column")).collect();
        let mut buffer = RowBuffer::new(columns.len());
        rows.iter().copied().flatten().for_each(|json| push(&mut buffer, json));
        let block = Block::new(table, operation, &columns, buffer.cells(), buffer.text());
        self.session.write(block).await
    }

    /// Moves the progress by one step and commits.
    pub async fn commit(&mut self) -> Result<()> {
        let to = Timestamp { wall: self.progress.applied.wall + 1, logical: 7 };
        let advance = Advance { feed: FEED.into(), epoch: self.progress.epoch, from: self.progress.applied, to };
        self.session.commit(&advance).await?;
        self.progress.applied = to;
        Ok(())
    }

    async fn apply(&mut self, table: &str, operation: Operation, columns: &[&str], rows: &[&[&str]]) -> Result<()> {
        self.session.begin(Checks::Immediate).await?;
        match self.write(table, operation, columns, rows).await {
            Ok(()) => self.commit().await,
            Err(error) => {
                self.session.rollback().await?;
                Err(error)
            }
        }
    }

    /// One transaction of one block.
    pub async fn upsert(&mut self, table: &str, columns: &[&str], rows: &[&[&str]]) -> Result<()> {
        self.apply(table, Operation::Upsert, columns, rows).await
    }

    /// One transaction of one block; the columns are those of the key.
    pub async fn delete(&mut self, table: &str, columns: &[&str], rows: &[&[&str]]) -> Result<()> {
        self.apply(table, Operation::Delete, columns, rows).await
    }
}

/// A table by its name.
#[track_caller]
pub fn table_of<'a>(catalog: &'a Catalog, name: &str) -> &'a Table {
    catalog.tables.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("no table {name}"))
}

/// A value as the host takes it out of a changefeed's JSON.
fn push(rows: &mut RowBuffer, json: &str) {
    match json.as_bytes().first() {
        Some(b'n') | None => rows.push(Value::Null),
        Some(b't') => rows.push(Value::Bool(true)),
        Some(b'f') => rows.push(Value::Bool(false)),
        Some(b'"') => {
            let text: String = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
            rows.push(Value::String(&text));
        }
        Some(b'{') if json.contains("__crdb_json_null__") => rows.push(Value::Json("null")),
        Some(b'{' | b'[') => rows.push(Value::Json(json)),
        Some(_) => rows.push(Value::Number(json)),
    }
}
