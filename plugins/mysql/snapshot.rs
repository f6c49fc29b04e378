//! A target that stands still for those who compare it: freezing, joining, thawing, and how many rows there are.
//!
//! Owns: the transactions. Does not own: what is read in them (`compare`, `row_keys`).
//!
//! MySQL cannot hand a snapshot from one session to another. Instead the progress row is locked while each session begins a
//! snapshot of its own: a transaction of the applier moves that row before it commits, so that none commits meanwhile, and all
//! snapshots hold the same progress. The host compares what they say of it.
//!
//! A snapshot takes no locks on rows and writes nothing. Once it has read a table, statements that alter the table wait for its
//! end, and whoever wants the table after them waits too. A table that was altered before its first reading cannot be read in
//! the snapshot any more (`ER_TABLE_DEF_CHANGED`): the comparison has to begin again.

use std::time::Duration;

use ebb_sdk::{Error, ErrorKind, Frozen, Join, Progress, Result, Table, Topic};
use mysql_async::prelude::Queryable;

use crate::connect::{self, Flavour, IDLE_IN_TRANSACTION_SECONDS};
use crate::error::translate;
use crate::own::{self, PROGRESS};
use crate::{Session, answered, progress, quoted};

/// The longest that one statement of a snapshot runs, and that nothing comes between two.
const SNAPSHOT_SECONDS: u64 = 3600;

/// Locks the progress row. A transaction that is about to commit ends first; how long that may take is a limit of the session.
pub(crate) async fn freeze(session: &mut Session, feed: &str) -> Result<Frozen> {
    if !own::is_there(session, PROGRESS).await? {
        return Err(nothing_applied(feed));
    }
    let begin = session.with_idle_limit("START TRANSACTION", IDLE_IN_TRANSACTION_SECONDS);
    session.command(&begin, "freeze the target").await?;
    match progress::lock(session, feed).await? {
        Some(progress) => Ok(Frozen { snapshot: String::new(), progress }),
        None => {
            thaw(session).await?;
            Err(nothing_applied(feed))
        }
    }
}

/// Also the end of a snapshot.
pub(crate) async fn thaw(session: &mut Session) -> Result<()> {
    let rollback = session.end("ROLLBACK");
    session.command(&rollback, "thaw the target").await
}

/// Begins a snapshot of this session. It is a transaction that may read only, so that the server sees to it.
pub(crate) async fn join(session: &mut Session, join: &Join) -> Result<Progress> {
    if !own::is_there(session, PROGRESS).await? {
        return Err(nothing_applied(&join.feed));
    }
    let doing = "begin a snapshot of the target";
    // A table may take long to count, and the host long to read the source in between.
    let limits = match session.server.flavour {
        Flavour::MySql => {
            format!("SET SESSION max_execution_time = {}, wait_timeout = {SNAPSHOT_SECONDS}", SNAPSHOT_SECONDS * 1000)
        }
        Flavour::MariaDb => format!(
            "SET SESSION max_statement_time = {SNAPSHOT_SECONDS}, idle_transaction_timeout = {SNAPSHOT_SECONDS}, \
             idle_readonly_transaction_timeout = {SNAPSHOT_SECONDS}"
        ),
    };
    session.in_snapshot = true;
    session.answer_wait = Duration::from_secs(SNAPSHOT_SECONDS) + connect::ANSWER_GRACE;
    for sql in [
        limits.as_str(),
        // Of the next transaction only.
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ] {
        session.command(sql, doing).await?;
    }
    progress::read(session, &join.feed).await?.ok_or_else(|| nothing_applied(&join.feed))
}

/// Gives a session that was in a snapshot its own limits again.
pub(crate) async fn leave(session: &mut Session) -> Result<()> {
    session.answer_wait = connect::answer_wait(session.options.apply_timeout_ms);
    if session.server.flavour == Flavour::MariaDb {
        session.command("SET SESSION idle_readonly_transaction_timeout = DEFAULT", "set the session up").await?;
    }
    connect::set_up(session).await?;
    session.in_snapshot = false;
    Ok(())
}

pub(crate) async fn count(session: &mut Session, table: &Table) -> Result<u64> {
    let (wait, doing) = (session.answer_wait, format!("count the rows of {table}"));
    let sql = format!("SELECT COUNT(*) FROM {}", quoted(&table.name));
    let found = async { session.conn.query_first::<u64, _>(sql).await.map_err(|failure| translate(&failure, &doing)) };
    let none = || Error::new(ErrorKind::Broken, format!("cannot {doing}: the target has given no number"));
    answered(wait, &doing, found).await?.ok_or_else(none)
}

fn nothing_applied(feed: &str) -> Error {
    let message = format!("cannot compare the target: nothing was ever applied to it for feed {feed}");
    Error::new(ErrorKind::Config, message).topic(Topic::Moved).hint(
        "see that the connection string names the database that ebb applies to, and that the feed is the one of its \
         changefeed; the rows of ebb_progress name those that were applied",
    )
}
