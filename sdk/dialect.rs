//! The two traits that a plugin implements, and the log that it writes to.
//!
//! Owns: the contract between host and plugin in plain Rust. Does not own: how calls cross the ABI (`abi`, `export`).

use std::future::Future;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use crate::Operation;
use crate::{Advance, Block, Catalog, Fit, Progress, Result, SourceType, Table};

/// What a dialect is called and which URLs it answers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialectInfo {
    /// The name of the plugin, as `--target-plugin` takes it.
    pub name: String,
    /// The schemes of the connection strings that choose it, `["postgres", "postgresql"]`.
    pub url_schemes: Vec<String>,
    /// The plugin's own version.
    pub version: String,
}

/// How to reach a target, and under which limits.
#[derive(Clone, Serialize, Deserialize)]
pub struct ConnectOptions {
    /// The connection string as the user gave it, password included: never to be logged or put into an error.
    pub url: String,
    /// `--allow-tls-mode-disable`: connections without TLS are admitted.
    pub allow_insecure: bool,
    /// `--applyTimeout` in milliseconds: a statement that runs longer is cancelled and fails as
    /// [`ErrorKind::Retry`](crate::ErrorKind::Retry).
    pub apply_timeout_ms: u64,
}

/// One kind of database.
pub trait Dialect: Send + Sync + 'static {
    type Session: Session;

    /// Constant for a given build of the plugin.
    fn info() -> DialectInfo;

    /// Opens one connection with the session settings that applying needs.
    ///
    /// # Errors
    /// `Config` for a wrong URL, password or missing right, `Retry` for a server that cannot be reached now.
    fn connect(options: &ConnectOptions) -> impl Future<Output = Result<Self::Session>> + Send;
}

/// Which checks of the target hold while a transaction is written. All of them hold at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checks {
    /// As the database has it.
    Immediate,
    /// Those that can be deferred are checked at COMMIT.
    Deferred,
    /// No foreign key is enforced and none cascades; triggers of users do not fire where
    /// [`Catalog::suspends_triggers`] says so. The host asks for it only where
    /// [`Catalog::suspends_checks`] is set, and before it commits it lets the session verify every row
    /// ([`Operation::Verify`]): foreign keys, and whatever else the database does not enforce meanwhile.
    Suspended,
}

/// One connection to a target. The host uses it from one thread, and every call waits for its end.
///
/// The host calls `begin`, then `write` any number of times, then `commit` or `rollback`. After an error the only
/// calls are `rollback` and `close`.
pub trait Session: Send + 'static {
    /// All tables of the database that this user may see, system tables left out.
    fn describe(&mut self) -> impl Future<Output = Result<Catalog>> + Send;

    /// Makes the caller the only writer of `feed`: creates the progress table and row when missing, raises the
    /// epoch, notes the writer's number, commits, and returns the row.
    fn take_over(&mut self, feed: &str, writer: i64) -> impl Future<Output = Result<Progress>> + Send;

    /// The progress row of `feed`, or `None` when there is none. Changes nothing in the database.
    fn progress(&mut self, feed: &str) -> impl Future<Output = Result<Option<Progress>>> + Send;

    /// Starts a transaction. It may wait until the first `write`.
    fn begin(&mut self, checks: Checks) -> impl Future<Output = Result<()>> + Send;

    /// Writes the rows of one block inside the transaction.
    ///
    /// # Errors
    /// `Refused` with table, column and key for a value that the column cannot hold exactly.
    fn write(&mut self, block: Block<'_>) -> impl Future<Output = Result<()>> + Send;

    /// Moves the progress row and commits. `Ok` means that the database has said so.
    ///
    /// # Errors
    /// `Broken` when the row does not hold the expected epoch and timestamp: another writer has taken over.
    /// `Retry` when the outcome is not known; the host then connects again and reads the progress row.
    fn commit(&mut self, advance: &Advance) -> impl Future<Output = Result<()>> + Send;

    /// Ends the transaction without effect.
    fn rollback(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Whether a column, of the catalog that was described last, takes values of a type of the source. It is asked once, at
    /// start, so that what cannot work is known before a row is received. Without an answer of its own a dialect finds
    /// out when the rows come.
    fn fits(&self, table: &Table, column: u32, source: &SourceType) -> Fit {
        let _ = (table, column, source);
        Fit::Whole
    }

    /// Ends the connection in an orderly way.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// How much a log line matters; the same levels as `--logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
    Trace = 5,
}

/// Writes one line to the host's log. Before the host has opened the plugin the line is dropped.
pub fn log(level: Level, message: &str) {
    if let Some(write) = LOG.get() {
        write(level, message);
    }
}

/// A plugin is a library of its own, with its own copy of this static: set once when the host opens it.
pub(crate) static LOG: OnceLock<Write> = OnceLock::new();

type Write = Box<dyn Fn(Level, &str) + Send + Sync>;
