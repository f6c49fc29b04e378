//! One server for all tests, a database for each, and a session that writes rows given as JSON.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ebb_postgres::{Postgres, Session};
use ebb_sdk::{
    Advance, Block, Catalog, Checks, ConnectOptions, Dialect, Error, Operation, Progress, Result, RowBuffer,
    Session as _, Table, Timestamp, Value,
};
use ebb_servers::Options;

pub const FEED: &str = "/db/public";
pub const APPLY_TIMEOUT_MS: u64 = 20_000;

static SERVER: LazyLock<ebb_servers::Postgres> =
    LazyLock::new(|| ebb_servers::Postgres::start(&Options::default()).expect("a PostgreSQL server"));

/// A database of its own.
pub struct World {
    pub database: String,
}

impl World {
    pub fn new(database: &str, schema: &str) -> World {
        SERVER.psql("postgres", &format!("CREATE DATABASE {database}")).expect("a database");
        let world = World { database: database.to_owned() };
        world.sql(schema);
        world
    }

    /// Runs statements as the superuser.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        SERVER.psql(&self.database, sql).unwrap_or_else(|error| panic!("{error}\n{sql}"))
    }

    /// Waits until no session of ebb is left in this database: only then its statistics are complete.
    #[track_caller]
    pub fn wait_for_no_session(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let sessions = "SELECT count(*) FROM pg_stat_activity
             WHERE application_name = 'ebb' AND datname = current_database()";
        while self.sql(sessions) != "0" {
            assert!(Instant::now() < deadline, "a session of ebb does not end");
        }
    }

    pub fn url(&self) -> String {
        SERVER.url(&self.database)
    }

    pub fn url_as(&self, user: &str, password: &str) -> String {
        SERVER.url_as(user, password, &self.database)
    }

    /// The folder of the server's socket and the port that names it.
    pub fn socket(&self) -> (String, u16) {
        (SERVER.dir().display().to_string(), SERVER.port())
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
    Postgres::connect(&ConnectOptions { url: url.to_owned(), allow_insecure, apply_timeout_ms }).await
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

/// A table by its name, or by schema and name.
#[track_caller]
pub fn table_of<'a>(catalog: &'a Catalog, name: &str) -> &'a Table {
    let is_it = |table: &&Table| table.name == name || table.to_string() == name;
    catalog.tables.iter().find(is_it).unwrap_or_else(|| panic!("no table {name}"))
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
