//! One instant of the target that several sessions read: a snapshot of PostgreSQL's, which has rows and progress row of one
//! moment while writers go on.
//!
//! Owns: the transactions that take, join and leave a snapshot, their limits, counting rows. Does not own: comparing them
//! (`compare`), reading their keys (`row_keys`).

use std::time::Duration;

use ebb_sdk::{Error, ErrorKind, Frozen, Join, Progress, Result, Table, Topic};
use tokio::time::timeout;

use crate::error::translate;
use crate::own::{self, PROGRESS};
use crate::statement::qualified;
use crate::{Session, progress, quoted};

/// A snapshot is held while the source is read, and that takes as long as it takes. What was joined and forgotten ends by itself
/// after so long without a statement.
const IDLE_MS: u64 = 3_600_000;

/// Counting a large table takes longer than a statement that writes may.
const COUNT_MS: u64 = 3_600_000;

/// Longer than [`COUNT_MS`], so that the server is the one to give up.
const COUNT_WAIT: Duration = Duration::from_secs(3_630);

/// A statement that fails is taken back to here, so that the snapshot outlives it.
pub(crate) const SAVEPOINT: &str = "ebb_joined";

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// No snapshot of this name: the transaction that took it is over.
const NO_SNAPSHOT: [&str; 3] = ["22023", "42704", "58P01"];

/// Takes a snapshot and keeps it for others until the transaction ends.
pub(crate) async fn freeze(session: &Session, feed: &str) -> Result<Frozen> {
    const DOING: &str = "take a snapshot of the target";
    look(session, feed).await?;
    let failed = |failure: tokio_postgres::Error| translate(&failure, DOING);
    session.client.batch_execute(&format!("{BEGIN}; {}", settings())).await.map_err(failed)?;
    let sql = "SELECT pg_catalog.pg_export_snapshot()";
    let row = session.client.query_one(sql, &[]).await.map_err(failed)?;
    Ok(Frozen { snapshot: row.try_get(0).map_err(failed)?, progress: read(session, feed).await? })
}

/// Begins to read a snapshot that another session keeps.
pub(crate) async fn join(session: &Session, join: &Join) -> Result<Progress> {
    look(session, &join.feed).await?;
    let snapshot = join.snapshot.replace('\'', "''");
    let sql = format!("{BEGIN}; SET TRANSACTION SNAPSHOT '{snapshot}'; {}; SAVEPOINT {SAVEPOINT}", settings());
    session.client.batch_execute(&sql).await.map_err(|failure| {
        let error = translate(&failure, "read a snapshot of the target");
        match failure.code().is_some_and(|code| NO_SNAPSHOT.contains(&code.code())) {
            true => Error { kind: ErrorKind::Retry, ..error }
                .hint("the session that took the snapshot has ended: take another one"),
            false => error,
        }
    })?;
    read(session, &join.feed).await
}

/// Limits for a transaction that waits for the source, and texts of floats with every digit before version 12 too. Each row of a
/// block is looked up by its key: to merge the two, or to hash the table, the server would read all that is before the block.
fn settings() -> String {
    format!(
        "SET LOCAL idle_in_transaction_session_timeout = {IDLE_MS}; SET LOCAL extra_float_digits = 3; \
         SET LOCAL enable_mergejoin = off; SET LOCAL enable_hashjoin = off"
    )
}

/// Outside of transactions only, as whose table it is cannot be looked at within.
async fn look(session: &Session, feed: &str) -> Result<()> {
    match own::is_there(session, PROGRESS).await? {
        true => Ok(()),
        false => Err(never_applied(session, feed)),
    }
}

async fn read(session: &Session, feed: &str) -> Result<Progress> {
    progress::read(session, feed).await?.ok_or_else(|| never_applied(session, feed))
}

fn never_applied(session: &Session, feed: &str) -> Error {
    let table = format!("{}.{}", quoted(&session.server.schema), PROGRESS.name);
    let message = format!(
        "cannot compare with the target: {table} has no progress row of {feed}, so nothing was ever applied for it, and no time \
         of the source is known to which the target's rows belong"
    );
    Error::new(ErrorKind::Config, message).topic(Topic::OwnTables).hint(format!(
        "run ebb start with this --target first; if it has been, name its feed as it did: SELECT feed FROM {table};"
    ))
}

/// How many rows the table has. Here the whole of it is read, and best in its own order.
pub(crate) async fn count(session: &Session, table: &Table) -> Result<u64> {
    let doing = format!("count the rows of {table}");
    let failed = |failure: tokio_postgres::Error| not_readable(session, table, &failure, &doing);
    let counted = async {
        let settings = format!("SET LOCAL enable_seqscan = on; SET LOCAL statement_timeout = {COUNT_MS}");
        session.client.batch_execute(&settings).await.map_err(failed)?;
        let sql = format!("SELECT pg_catalog.count(*) FROM {}", qualified(table));
        let row = session.client.query_typed(&sql, &[]).await.map_err(failed)?.into_iter().next();
        let rows: i64 = row.map_or(Ok(0), |row| row.try_get(0)).map_err(failed)?;
        session.client.batch_execute(&format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}")).await.map_err(failed)?;
        Ok(rows.cast_unsigned())
    };
    let late = |_| {
        let message = format!("cannot {doing}: the target has not answered for {} s", COUNT_WAIT.as_secs());
        Error::new(ErrorKind::Retry, message).topic(Topic::TooSlow).hint("see whether the target hangs")
    };
    timeout(COUNT_WAIT, counted).await.map_err(late)?
}

/// The error of a statement that reads rows. Rows that a policy hides would look as if they were missing, so that a session has
/// the server refuse to read them at all (`row_security = off`).
pub(crate) fn not_readable(session: &Session, table: &Table, failure: &tokio_postgres::Error, doing: &str) -> Error {
    let error = translate(failure, doing);
    if error.code.as_deref() != Some(INSUFFICIENT_PRIVILEGE) {
        return error;
    }
    let (table, user) = (qualified(table), quoted(&session.server.user));
    let is_secured = failure.as_db_error().is_some_and(|answer| answer.routine() == Some("check_enable_rls"));
    error.hint(match is_secured || failure.to_string().contains("row-level security") {
        true => format!(
            "row security hides rows of {table} from this user: ALTER ROLE {user} BYPASSRLS; or, if it owns the table, \
             ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;"
        ),
        false => format!("GRANT SELECT ON {table} TO {user}; with USAGE ON its SCHEMA"),
    })
}
