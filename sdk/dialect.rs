//! The two traits that a plugin implements, and the log that it writes to.
//!
//! Owns: the contract between host and plugin in plain Rust. Does not own: how calls cross the ABI (`abi`, `export`).

use std::future::Future;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use crate::Operation;
use crate::{
    Advance, Block, Catalog, ColumnIndex, Compared, Error, ErrorKind, Fit, Frozen, Join, Key, KeyPage, LeaseRenewal,
    LeaseState, Progress, Result, Rounded, SavedTrigger, SequenceMoves, SourceType, Survey, Table,
};

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
    /// `--allow-rounding`: columns that may hold a value with fewer digits than it came with. See
    /// [`ConnectOptions::may_round`].
    #[serde(default)]
    pub allow_rounding: Vec<String>,
    /// The types of the source are known, so that [`Session::fits`] is asked about its columns before any row is written.
    /// Otherwise a value that may be meant in two ways has to be refused by itself.
    #[serde(default)]
    pub source_is_known: bool,
    /// `--log-values off`: no error and no log line may repeat a value of a row, also not in the database's own words. See
    /// [`shown_value`](crate::shown_value), which knows.
    #[serde(default)]
    pub hide_values: bool,
}

impl ConnectOptions {
    /// Every column, in `allow_rounding`.
    pub const EVERY_COLUMN: &'static str = "*";

    /// Whether digits of a value may be lost in this column. It is named as `column`, `table.column` or
    /// `schema.table.column`, in any case; [`ConnectOptions::EVERY_COLUMN`] means all of them. Never so for a column of the
    /// primary key: two rows could become one.
    pub fn may_round(&self, table: &Table, column: &str) -> bool {
        let is_key = table.primary_key.iter().any(|&at| table.columns[at].name == column);
        let names = [column.to_owned(), format!("{}.{column}", table.name), format!("{table}.{column}")];
        let is_it = |allowed: &String| {
            allowed == Self::EVERY_COLUMN || names.iter().any(|name| name.to_lowercase() == allowed.to_lowercase())
        };
        !is_key && self.allow_rounding.iter().any(is_it)
    }
}

/// One kind of database.
pub trait Dialect: Send + Sync + 'static {
    /// A connection to a target of this kind.
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

    /// Notes beside the progress row, in a transaction of its own, that the process which holds the epoch is alive. It is
    /// called every few seconds, on a session that is not used for writing.
    ///
    /// # Errors
    /// `Broken` when the row holds another epoch: another writer has taken over.
    fn renew(&mut self, lease: &LeaseRenewal) -> impl Future<Output = Result<()>> + Send {
        let _ = lease;
        async { Ok(()) }
    }

    /// What was noted last for `feed`; `None` when there is no row, or the dialect keeps no leases. Changes nothing in the
    /// database.
    fn lease_state(&mut self, feed: &str) -> impl Future<Output = Result<Option<LeaseState>>> + Send {
        let _ = feed;
        async { Ok(None) }
    }

    /// Starts a transaction. It may wait until the first `write`.
    fn begin(&mut self, checks: Checks) -> impl Future<Output = Result<()>> + Send;

    /// Writes the rows of one block inside the transaction, and makes sure of the effect: after an upsert of n rows those n
    /// rows are there with the values meant, after a delete no row of these keys is there, letter by letter and in the
    /// target's own terms. Rules, policies, triggers and loose comparisons must not turn a write into nothing or into
    /// another one.
    ///
    /// # Errors
    /// `Refused` with table, column and key for a value that the column cannot hold exactly, or, in a column of the
    /// primary key, for one that another value of the source would be equal to there. Digits that are lost are an error
    /// too, unless [`ConnectOptions::may_round`] allows it.
    fn write(&mut self, block: Block<'_>) -> impl Future<Output = Result<()>> + Send;

    /// Keeps a transaction from being taken for an idle one: the host reads long before it writes again.
    fn touch(&mut self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

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
    fn fits(&self, table: &Table, column: ColumnIndex, source: &SourceType) -> Fit {
        let _ = (table, column, source);
        Fit::Full
    }

    /// How many values lost digits in columns where they may ([`ConnectOptions::may_round`]), in transactions that were
    /// committed since the last call.
    fn rounded(&mut self) -> Vec<Rounded> {
        Vec::new()
    }

    /// Looks at what will matter to a run over these tables, of the catalog that was described last, and changes nothing: whether
    /// this user can write at all and may make the progress table, sequences and the room they have left, other writers, the
    /// planner's statistics. Each is asked for so that a large database answers in seconds; what this user may not see goes to
    /// [`Survey::unlooked`](crate::Survey::unlooked) and is no error.
    fn survey(&mut self, tables: &[&Table]) -> impl Future<Output = Result<Survey>> + Send {
        let _ = tables;
        let mut survey = Survey::default();
        survey.skip("the target's sequences, other writers and statistics", "the plugin does not look at them");
        async { Ok(survey) }
    }

    /// Notes the target as it is at this instant, for [`Session::join`] on other sessions, until [`Session::thaw`]. While it is
    /// frozen no other transaction may move the progress row of the feed, or what others see of it must not change: rows and
    /// progress row of every session that joins are those of one instant. It may keep a writer waiting, so the host thaws as
    /// soon as all have joined.
    ///
    /// # Errors
    /// `Config` when there is no progress row, or the dialect cannot compare.
    fn freeze(&mut self, feed: &str) -> impl Future<Output = Result<Frozen>> + Send {
        let _ = feed;
        async { Err(cannot_compare()) }
    }

    /// Begins a transaction that reads the target as it was when another session froze it, and changes nothing that others
    /// see. Returns the progress row that it reads. It ends with [`Session::rollback`].
    fn join(&mut self, join: &Join) -> impl Future<Output = Result<Progress>> + Send {
        let _ = join;
        async { Err(cannot_compare()) }
    }

    /// Ends what [`Session::freeze`] has begun. Sessions that have joined keep what they read.
    fn thaw(&mut self) -> impl Future<Output = Result<()>> + Send {
        async { Err(cannot_compare()) }
    }

    /// How many rows a table has, for a session that has joined.
    fn count(&mut self, table: &Table) -> impl Future<Output = Result<u64>> + Send {
        let _ = table;
        async { Err(cannot_compare()) }
    }

    /// Compares the rows of a block with those of the target, for a session that has joined: which of them are not there under
    /// their primary key, and which have other values than [`Session::write`] would give them. Values are taken through the
    /// same conversion, and told apart letter by letter, whatever the collation; JSON by the type's own rule, but for the
    /// spelling of numbers, which counts.
    ///
    /// The block looks like one of [`Operation::Upsert`](crate::Operation::Upsert) and has every column that is to be compared.
    ///
    /// # Errors
    /// None for a value that the column cannot hold: such a row is different, or missing.
    fn compare(&mut self, block: Block<'_>) -> impl Future<Output = Result<Compared>> + Send {
        let _ = block;
        async { Err(cannot_compare()) }
    }

    /// Primary keys of a table in its own order, page by page, for a session that has joined.
    fn keys(&mut self, table: &Table, page: &KeyPage) -> impl Future<Output = Result<Vec<Key>>> + Send {
        let _ = (table, page);
        async { Err(cannot_compare()) }
    }

    /// The statement that shows a person one row: `SELECT * FROM "s"."t" WHERE "id" = '7';`. The key is one of
    /// [`Session::keys`], or has the texts of a block. It is only shown, never run.
    fn look(&self, table: &Table, key: &[String]) -> String {
        let _ = (table, key);
        String::new()
    }

    /// Moves every sequence of these tables that would give out a value that is taken behind the farthest value of its columns,
    /// and none back. Without `act` nothing is moved, and the answer is the same. One that would have little room left is not
    /// moved, and says so. What cannot be compared, and what no column uses, is left to a person, in
    /// [`SequenceMoves::unlooked`](crate::SequenceMoves::unlooked).
    fn advance_sequences(
        &mut self,
        tables: &[&Table],
        act: bool,
    ) -> impl Future<Output = Result<SequenceMoves>> + Send {
        let _ = (tables, act);
        let mut survey = Survey::default();
        survey.skip("the target's sequences", "the plugin does not look at them");
        async { Ok(SequenceMoves { unlooked: survey.unlooked, ..SequenceMoves::default() }) }
    }

    /// A mark for each table that is another one once anybody has written to the table, as far as the database tells; `None`
    /// where it does not. It costs nothing that depends on the size of the table. The database may tell it some seconds late.
    fn written(&mut self, tables: &[&Table]) -> impl Future<Output = Result<Vec<Option<String>>>> + Send {
        let marks = vec![None; tables.len()];
        async { Ok(marks) }
    }

    /// Has the database look at the contents of a table, so that its planner knows them.
    ///
    /// # Errors
    /// Where this user may not: what the database skips with a warning is an error too.
    fn analyze(&mut self, table: &Table) -> impl Future<Output = Result<()>> + Send {
        let _ = table;
        async { Ok(()) }
    }

    /// Takes triggers away for the time of replication. The definitions are saved in the database first, durably and as they
    /// are given, in a table of the plugin's own, so that [`Session::saved_triggers`] finds them whatever happens in between.
    ///
    /// # Errors
    /// `Config` where the user may not; a dialect without triggers has nothing to drop.
    fn drop_triggers(&mut self, triggers: &[SavedTrigger]) -> impl Future<Output = Result<()>> + Send {
        let is_empty = triggers.is_empty();
        async move {
            match is_empty {
                true => Ok(()),
                false => Err(Error::new(ErrorKind::Config, "this dialect cannot drop triggers")),
            }
        }
    }

    /// What the database has saved for a feed, last first where one was saved twice. Others may write to that table: nothing
    /// of it is run but what the host gives back to [`Session::restore_triggers`].
    fn saved_triggers(&mut self, feed: &str) -> impl Future<Output = Result<Vec<SavedTrigger>>> + Send {
        let _ = feed;
        async { Ok(Vec::new()) }
    }

    /// Puts back every trigger that is given, and forgets what the database has saved of it then. Only statements that
    /// [`Session::describe`] can have made are run, each by itself. One that is there already stays as it is. It may be called
    /// again after a failure in the middle. Returns those that were put back.
    fn restore_triggers(
        &mut self,
        feed: &str,
        saved: &[SavedTrigger],
    ) -> impl Future<Output = Result<Vec<SavedTrigger>>> + Send {
        let _ = (feed, saved);
        async { Ok(Vec::new()) }
    }

    /// Ends the connection in an orderly way.
    fn close(self) -> impl Future<Output = ()> + Send;
}

fn cannot_compare() -> Error {
    Error::new(ErrorKind::Config, "the plugin cannot compare rows").hint("use a plugin of this dialect that can")
}

/// How much a log line matters; the same levels as `--logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// The run ends, or an operator has to act.
    Error = 1,
    /// Something may need a look.
    Warn = 2,
    /// What happens in a usual run, seldom.
    Info = 3,
    /// Details for finding a fault.
    Debug = 4,
    /// Everything, also per statement.
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
