//! The PostgreSQL dialect of ebb: one connection, set-based statements whose text does not depend on the number of rows.
//!
//! Owns: everything that is PostgreSQL's. Does not own: planning, retries, ordering (the host's).
//! The modules stand in the order in which a session uses them.

mod connect;
mod describe;
mod progress;
mod write;

mod values;

mod error;

use std::collections::HashMap;

use ebb_sdk::{Advance, Block, Catalog, ConnectOptions, Dialect, DialectInfo, Operation, Progress, Result, Session};
use tokio_postgres::{Client, Statement};

use describe::ColumnType;

ebb_sdk::export_dialect!(Postgres);

/// PostgreSQL 11 and later.
pub struct Postgres;

impl Dialect for Postgres {
    type Session = Connection;

    fn info() -> DialectInfo {
        DialectInfo {
            name: "postgres".into(),
            url_schemes: ["postgres", "postgresql", "pg", "pgx"].map(String::from).into(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    async fn connect(options: &ConnectOptions) -> Result<Connection> {
        connect::connect(options).await
    }
}

/// One connection and what it has learned of its database.
pub struct Connection {
    client: Client,
    /// The schema that unqualified names mean; the progress table lives there.
    schema: String,
    /// Types of columns by schema, table and position, as described last.
    types: HashMap<(String, String), Vec<ColumnType>>,
    statements: HashMap<StatementKey, Statement>,
}

/// Schema and table, operation, positions of the columns.
type StatementKey = (String, String, Operation, Vec<u32>);

impl Session for Connection {
    async fn describe(&mut self) -> Result<Catalog> {
        let described = describe::describe(&self.client, &self.schema).await?;
        self.types = described.types;
        self.statements.clear();
        Ok(described.catalog)
    }

    async fn take_over(&mut self, feed: &str) -> Result<Progress> {
        progress::take_over(&self.client, &self.schema, feed).await
    }

    async fn progress(&mut self, feed: &str) -> Result<Option<Progress>> {
        progress::read(&self.client, &self.schema, feed).await
    }

    async fn begin(&mut self) -> Result<()> {
        self.client.batch_execute("BEGIN").await.map_err(|failure| error::translate(&failure, "begin a transaction"))
    }

    async fn write(&mut self, block: Block<'_>) -> Result<()> {
        write::write(self, block).await
    }

    async fn commit(&mut self, advance: &Advance) -> Result<()> {
        progress::commit(&self.client, &self.schema, advance).await
    }

    async fn rollback(&mut self) -> Result<()> {
        self.client.batch_execute("ROLLBACK").await.map_err(|failure| error::translate(&failure, "roll back"))
    }

    async fn close(self) {
        // Dropping the client ends the connection; its task finishes what was sent.
        drop(self.client);
        tokio::task::yield_now().await;
    }
}

/// An identifier in quotes, whatever it holds.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
