//! The MySQL dialect of ebb, for MySQL and MariaDB: one connection, prepared statements of many rows in few shapes.
//!
//! Owns: everything that is MySQL's. Does not own: planning, retries, ordering (the host's).
//! The modules stand in the order in which a session uses them.

mod connect;
mod rights;

mod describe;
mod checks;
mod not_writable;
mod triggers;
mod fit;
mod survey;
mod sequences;

mod own;
mod progress;

mod write;
mod statement;
mod values;
mod reinsert;
mod effect;

mod before;
mod constraints;
mod verify;
mod views;

mod snapshot;
mod compare;
mod row_keys;

mod locate;

mod names;
mod error;

use std::time::Duration;

use ebb_sdk::{
    Advance, Block, Catalog, Checks, ColumnIndex, Compared, ConnectOptions, Dialect, DialectInfo, Error, ErrorKind,
    Fit, Frozen, Join, Key, KeyPage, LeaseRenewal, LeaseState, Operation, Progress, Result, Rounded, Rounding,
    SavedTrigger, SequenceMoves, SourceType, Survey, Table, Topic,
};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::timeout;

use before::Before;
use connect::{Flavour, IDLE_IN_TRANSACTION_SECONDS, IDLE_SECONDS};
use describe::Tables;
use error::translate;

ebb_sdk::export_dialect!(MySql);

/// How long an orderly end may take before the socket is simply closed.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// MySQL 5.7 and later, MariaDB 10.6 and later.
pub struct MySql;

impl Dialect for MySql {
    type Session = Session;

    fn info() -> DialectInfo {
        DialectInfo {
            name: "mysql".into(),
            url_schemes: ["mysql", "mariadb"].map(String::from).into(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    async fn connect(options: &ConnectOptions) -> Result<Session> {
        connect::connect(options).await
    }
}

/// One connection and what it has learned of its database.
pub struct Session {
    conn: Conn,
    server: connect::Server,
    /// Without the connection string.
    options: ConnectOptions,
    /// The statements that set the session up.
    settings: Vec<String>,
    /// The server may end a statement by itself; this ends the waiting for a server that does not answer at all.
    answer_wait: Duration,
    /// As described last.
    tables: Tables,
    /// Whether foreign keys are checked at this moment.
    enforces: bool,
    /// What rows were before the open transaction changed them, where checks are suspended.
    before: Before,
    rounding: Rounding,
    /// Tables of ebb's that were looked at.
    owned: Vec<&'static str>,
    /// It has other limits than those of `settings`.
    in_snapshot: bool,
}

impl ebb_sdk::Session for Session {
    async fn describe(&mut self) -> Result<Catalog> {
        let described = describe::describe(self).await?;
        self.tables = described.tables;
        Ok(described.catalog)
    }

    async fn take_over(&mut self, feed: &str, writer: i64) -> Result<Progress> {
        progress::take_over(self, feed, writer).await
    }

    async fn progress(&mut self, feed: &str) -> Result<Option<Progress>> {
        progress::read(self, feed).await
    }

    async fn touch(&mut self) -> Result<()> {
        self.command("DO 1", "keep the transaction open").await
    }

    async fn renew(&mut self, lease: &LeaseRenewal) -> Result<()> {
        progress::renew(self, lease).await
    }

    async fn lease_state(&mut self, feed: &str) -> Result<Option<LeaseState>> {
        progress::lease_state(self, feed).await
    }

    /// No constraint of MySQL waits for COMMIT. Without checks its foreign keys do not act either; triggers always do.
    async fn begin(&mut self, checks: Checks) -> Result<()> {
        own::is_there(self, own::PROGRESS).await?;
        let enforces = checks != Checks::Suspended;
        if self.enforces != enforces {
            let setting = format!("SET foreign_key_checks = {}", u8::from(enforces));
            self.command(&setting, "begin a transaction").await?;
            self.enforces = enforces;
        }
        self.before.forget();
        self.rounding.forget();
        let begin = self.with_idle_limit("START TRANSACTION", IDLE_IN_TRANSACTION_SECONDS);
        self.command(&begin, "begin a transaction").await
    }

    async fn write(&mut self, block: Block<'_>) -> Result<()> {
        match block.operation() {
            Operation::Verify => verify::verify(self, &block).await,
            _ => write::write(self, &block).await,
        }
    }

    async fn commit(&mut self, advance: &Advance) -> Result<()> {
        progress::commit(self, advance).await?;
        self.rounding.commit();
        Ok(())
    }

    async fn rollback(&mut self) -> Result<()> {
        let rollback = self.end("ROLLBACK");
        self.command(&rollback, "roll back").await?;
        if self.in_snapshot { snapshot::leave(self).await } else { Ok(()) }
    }

    fn fits(&self, table: &Table, column: ColumnIndex, source: &SourceType) -> Fit {
        let columns = self.tables.details.get(&table.name).map(|details| &details.columns);
        columns
            .and_then(|columns| columns.get(column.place()))
            .map_or(Fit::Full, |found| found.fit(source, table.primary_key.contains(&column)))
    }

    fn rounded(&mut self) -> Vec<Rounded> {
        self.rounding.take()
    }

    async fn survey(&mut self, tables: &[&Table]) -> Result<Survey> {
        survey::survey(self, tables).await
    }

    async fn freeze(&mut self, feed: &str) -> Result<Frozen> {
        snapshot::freeze(self, feed).await
    }

    async fn join(&mut self, join: &Join) -> Result<Progress> {
        snapshot::join(self, join).await
    }

    async fn thaw(&mut self) -> Result<()> {
        snapshot::thaw(self).await
    }

    async fn count(&mut self, table: &Table) -> Result<u64> {
        snapshot::count(self, table).await
    }

    async fn compare(&mut self, block: Block<'_>) -> Result<Compared> {
        compare::compare(self, &block).await
    }

    async fn keys(&mut self, table: &Table, page: &KeyPage) -> Result<Vec<Key>> {
        row_keys::keys(self, table, page).await
    }

    fn look(&self, table: &Table, key: &[String]) -> String {
        row_keys::look(&self.tables, table, key)
    }

    /// InnoDB's time of the last commit that has changed a table, in seconds; none since the server was started.
    async fn advance_sequences(&mut self, tables: &[&Table], act: bool) -> Result<SequenceMoves> {
        sequences::advance(self, tables, act).await
    }

    async fn written(&mut self, tables: &[&Table]) -> Result<Vec<Option<String>>> {
        let wait = self.answer_wait;
        answered(wait, "see what was written", survey::written(self, tables)).await
    }

    /// The statistics stay on this server: no replica is asked to do the same.
    async fn analyze(&mut self, table: &Table) -> Result<()> {
        let sql = format!("ANALYZE NO_WRITE_TO_BINLOG TABLE {}", quoted(&table.name));
        let rows: Vec<mysql_async::Row> = Queryable::query(&mut self.conn, sql)
            .await
            .map_err(|failure| translate(&failure, &format!("analyze {table}")))?;
        let said = |row: &mysql_async::Row| {
            let text = |at| row.get_opt::<String, _>(at).and_then(std::result::Result::ok);
            text(2).filter(|kind| kind.eq_ignore_ascii_case("error")).map(|_| text(3).unwrap_or_default())
        };
        match rows.iter().find_map(said) {
            None => Ok(()),
            Some(why) => Err(Error::new(ErrorKind::Config, format!("cannot analyze {table}: {why}"))),
        }
    }

    async fn drop_triggers(&mut self, triggers: &[SavedTrigger]) -> Result<()> {
        triggers::drop_all(self, triggers).await
    }

    async fn saved_triggers(&mut self, feed: &str) -> Result<Vec<SavedTrigger>> {
        triggers::of_feed(self, feed).await
    }

    async fn restore_triggers(&mut self, _: &str, saved: &[SavedTrigger]) -> Result<Vec<SavedTrigger>> {
        triggers::restore(self, saved).await
    }

    async fn close(self) {
        let _ = timeout(CLOSE_WAIT, self.conn.disconnect()).await;
    }
}

impl Session {
    /// COMMIT or ROLLBACK, and the time that an idle session may have again.
    fn end(&self, sql: &str) -> String {
        self.with_idle_limit(sql, IDLE_SECONDS)
    }

    /// MariaDB has a limit of its own for transactions.
    fn with_idle_limit(&self, sql: &str, seconds: u64) -> String {
        match self.server.flavour {
            Flavour::MariaDb => sql.to_owned(),
            Flavour::MySql => format!("{sql}; SET SESSION wait_timeout = {seconds}"),
        }
    }

    async fn command(&mut self, sql: &str, doing: &str) -> Result<()> {
        let wait = self.answer_wait;
        let done = async { self.conn.query_drop(sql).await.map_err(|failure| translate(&failure, doing)) };
        answered(wait, doing, done).await
    }
}

/// Waits for an answer, but not for ever.
async fn answered<T>(wait: Duration, doing: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| {
        let message = format!("cannot {doing}: the target has not answered for {} s", wait.as_secs());
        Error::new(ErrorKind::Retry, message)
            .topic(Topic::TooSlow)
            .hint("see whether the target hangs; --applyTimeout sets the limit")
    };
    timeout(wait, work).await.map_err(late)?
}

/// An identifier in quotes, whatever it holds.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
