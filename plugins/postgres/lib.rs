//! The PostgreSQL dialect of ebb: one connection, set-based statements whose text does not depend on the number of
//! rows.
//!
//! Owns: everything that is PostgreSQL's. Does not own: planning, retries, ordering (the host's).
//! The modules stand in the order in which a session uses them.

mod connect;

mod describe;
mod column;
mod keys;
mod not_writable;
mod triggers;
mod rights;
mod saved;
mod sequences;
mod fit;
mod survey;
mod advance;
mod analyze;
mod by_hand;

mod own;
mod progress;

mod write;
mod statement;
mod values;
mod digits;
mod effect;

mod before;
mod constraints;
mod verify;

mod locate;

mod snapshot;
mod comparison;
mod compare;
mod row_keys;

mod names;
mod error;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ebb_sdk::{
    Advance, Block, Catalog, Checks, ColumnIndex, Compared, ConnectOptions, Dialect, DialectInfo, Error, ErrorKind,
    Fit, Frozen, Join, Key, KeyPage, LeaseRenewal, LeaseState, Operation, Progress, Result, Rounded, Rounding,
    SavedTrigger, SequenceMoves, SourceType, Survey, Table, Topic,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Statement};

use before::Before;
use constraints::{Name, Question};
use describe::DetailsByTable;
use error::translate;
use names::Names;
use write::{Prepared, StatementKey};

ebb_sdk::export_dialect!(Postgres);

/// How long an orderly end may take before the socket is simply closed.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// PostgreSQL 11 and later.
pub struct Postgres;

impl Dialect for Postgres {
    type Session = Session;

    fn info() -> DialectInfo {
        DialectInfo {
            name: "postgres".into(),
            url_schemes: ["postgres", "postgresql", "pg", "pgx"].map(String::from).into(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    async fn connect(options: &ConnectOptions) -> Result<Session> {
        connect::connect(options).await
    }
}

/// One connection and what it has learned of its database.
pub struct Session {
    client: Client,
    /// Moves bytes between the client and the socket; ends when the client is dropped.
    driver: JoinHandle<()>,
    server: connect::Server,
    /// The server ends a statement by itself; this ends the waiting for a server that does not answer at all.
    answer_wait: Duration,
    /// Without the URL.
    options: ConnectOptions,
    rounded: Rounding,
    /// As described last.
    details: DetailsByTable,
    names: Names,
    /// Of the transaction that was begun last.
    checks: Checks,
    /// What the rows of the open transaction were, where checks are suspended.
    before: Before,
    /// What is to be verified of a table where checks were suspended.
    questions: HashMap<Name, Arc<[Question]>>,
    statements: HashMap<StatementKey, Arc<Prepared>>,
    /// Tables of ebb's that were looked at.
    owned: own::Owned,
    /// The statement that moves the progress row, once it has been used.
    advance: Option<Statement>,
}

impl ebb_sdk::Session for Session {
    async fn describe(&mut self) -> Result<Catalog> {
        let work = describe::describe(&self.client, &self.server);
        let described = self.answered("describe the target's tables", work).await?;
        self.details = described.details;
        self.names = described.names;
        self.questions.clear();
        self.statements.clear();
        Ok(described.catalog)
    }

    async fn take_over(&mut self, feed: &str, writer: i64) -> Result<Progress> {
        self.answered("take over the feed", progress::take_over(self, feed, writer)).await
    }

    async fn progress(&mut self, feed: &str) -> Result<Option<Progress>> {
        self.answered("read the progress row", progress::read(self, feed)).await
    }

    async fn touch(&mut self) -> Result<()> {
        let touched = async {
            let touched = self.client.batch_execute("SELECT").await;
            touched.map_err(|failure| translate(&failure, "keep the transaction open"))
        };
        self.answered("keep the transaction open", touched).await
    }

    async fn renew(&mut self, lease: &LeaseRenewal) -> Result<()> {
        self.answered("note that the feed is applied", progress::renew(self, lease)).await
    }

    async fn lease_state(&mut self, feed: &str) -> Result<Option<LeaseState>> {
        self.answered("read the progress row", progress::lease_state(self, feed)).await
    }

    /// Waits for the answer, and sends no write along: behind a BEGIN that failed, it would commit by itself.
    async fn begin(&mut self, checks: Checks) -> Result<()> {
        let sql = match checks {
            Checks::Immediate => "BEGIN",
            Checks::Deferred => "BEGIN; SET CONSTRAINTS ALL DEFERRED",
            // Foreign keys and DEFERRABLE keys are enforced by triggers, which do not fire on a replica.
            Checks::Suspended => "BEGIN; SET LOCAL session_replication_role = replica",
        };
        self.answered("look at the progress table", own::is_there(self, own::PROGRESS)).await?;
        self.checks = checks;
        self.rounded.forget();
        self.before.forget();
        self.command(sql, "begin a transaction").await
    }

    async fn write(&mut self, block: Block<'_>) -> Result<()> {
        match block.operation() {
            Operation::Verify => verify::verify(self, &block).await,
            _ => write::write(self, &block).await,
        }
    }

    async fn commit(&mut self, advance: &Advance) -> Result<()> {
        if self.advance.is_none() {
            self.advance = Some(self.answered("commit", progress::prepare(self)).await?);
        }
        let statement = self.advance.as_ref().expect("it was prepared just now");
        self.answered("commit", progress::commit(self, statement, advance)).await?;
        self.rounded.commit();
        Ok(())
    }

    async fn rollback(&mut self) -> Result<()> {
        self.command("ROLLBACK", "roll back").await
    }

    fn fits(&self, table: &Table, column: ColumnIndex, source: &SourceType) -> Fit {
        let schema = table.namespace.last().cloned().unwrap_or_default();
        let details = self.details.get(&(schema, table.name.clone()));
        let is_key = table.primary_key.contains(&column);
        let column = details.and_then(|details| details.types.get(column.place()));
        column.map_or(Fit::Full, |column| column.base.fit(source, is_key))
    }

    fn rounded(&mut self) -> Vec<Rounded> {
        self.rounded.take()
    }

    async fn survey(&mut self, tables: &[&Table]) -> Result<Survey> {
        self.answered("look at the target", survey::survey(self, tables)).await
    }

    async fn freeze(&mut self, feed: &str) -> Result<Frozen> {
        self.answered("take a snapshot of the target", snapshot::freeze(self, feed)).await
    }

    async fn join(&mut self, join: &Join) -> Result<Progress> {
        self.answered("read a snapshot of the target", snapshot::join(self, join)).await
    }

    async fn thaw(&mut self) -> Result<()> {
        self.command("COMMIT", "end a snapshot of the target").await
    }

    async fn count(&mut self, table: &Table) -> Result<u64> {
        snapshot::count(self, table).await
    }

    async fn compare(&mut self, block: Block<'_>) -> Result<Compared> {
        compare::compare(self, &block).await
    }

    async fn keys(&mut self, table: &Table, page: &KeyPage) -> Result<Vec<Key>> {
        row_keys::page(self, table, page).await
    }

    fn look(&self, table: &Table, key: &[String]) -> String {
        row_keys::look(self, table, key)
    }

    async fn advance_sequences(&mut self, tables: &[&Table], act: bool) -> Result<SequenceMoves> {
        // Columns without an index take longer than any other answer.
        let wait = self.answer_wait + advance::TIME_MAX;
        self.answered_in(wait, "advance the target's sequences", advance::advance(self, tables, act)).await
    }

    async fn written(&mut self, tables: &[&Table]) -> Result<Vec<Option<String>>> {
        let marks = async {
            advance::written(&self.client, tables).await.map_err(|failure| translate(&failure, "see what was written"))
        };
        self.answered("see what was written", marks).await
    }

    /// It takes as long as the table is large, so that no limit of a statement holds.
    async fn analyze(&mut self, table: &Table) -> Result<()> {
        analyze::analyze(self, table).await
    }

    async fn drop_triggers(&mut self, triggers: &[SavedTrigger]) -> Result<()> {
        saved::drop_all(self, triggers).await
    }

    async fn saved_triggers(&mut self, feed: &str) -> Result<Vec<SavedTrigger>> {
        saved::of_feed(self, feed).await
    }

    async fn restore_triggers(&mut self, _: &str, saved: &[SavedTrigger]) -> Result<Vec<SavedTrigger>> {
        saved::restore_all(self, saved).await
    }

    async fn close(self) {
        drop(self.client);
        let mut driver = self.driver;
        if timeout(CLOSE_WAIT, &mut driver).await.is_err() {
            driver.abort();
        }
    }
}

impl Session {
    async fn command(&self, sql: &str, doing: &str) -> Result<()> {
        let done = async { self.client.batch_execute(sql).await.map_err(|failure| translate(&failure, doing)) };
        self.answered(doing, done).await
    }

    /// Waits for an answer, but not for ever.
    async fn answered<T>(&self, doing: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.answered_in(self.answer_wait, doing, work).await
    }

    async fn answered_in<T>(&self, wait: Duration, doing: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let late = |_| {
            let message = format!("cannot {doing}: the target has not answered for {} s", wait.as_secs());
            Error::new(ErrorKind::Retry, message)
                .topic(Topic::TooSlow)
                .hint("see whether the target hangs; --applyTimeout sets the limit")
        };
        timeout(wait, work).await.map_err(late)?
    }
}

/// An identifier in quotes, whatever it holds.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
