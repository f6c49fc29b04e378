//! The progress row: `ebb_progress` in the connection's own schema, one row per feed.
//!
//! Owns: making the table, the fence, the commit, the sign of life beside it. Does not own: when to commit.

use ebb_sdk::{Advance, Error, ErrorKind, LeaseRenewal, LeaseState, Progress, Result, Timestamp, Topic};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use crate::error::translate;
use crate::own::{self, PROGRESS};
use crate::triggers::QUALIFIED;
use crate::{Session, quoted};

const TABLE: &str = PROGRESS.name;

const DIVISION_BY_ZERO: &str = "22012";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Raises the epoch of a feed, or begins it. Two at once are safe: one row, one statement.
pub(crate) async fn take_over(session: &Session, feed: &str, writer: i64) -> Result<Progress> {
    create_if_missing(session).await?;
    let table = qualified(session);
    let sql = format!(
        "INSERT INTO {table} (feed, wall, logical, epoch, writer) VALUES ($1, 0, 0, 1, $2) \
         ON CONFLICT (feed) DO UPDATE SET epoch = {TABLE}.epoch OPERATOR(pg_catalog.+) 1, writer = $2, updated_at = pg_catalog.now() \
         RETURNING wall, logical, epoch, writer"
    );
    let row = session.client.query_one(&sql, &[&feed, &writer]).await;
    progress(&row.map_err(|failure| refused(session, &failure, &format!("write the progress row of {feed}")))?)
}

/// The row of a feed, if there is a table and a row.
pub(crate) async fn read(session: &Session, feed: &str) -> Result<Option<Progress>> {
    if !own::is_there(session, PROGRESS).await? {
        return Ok(None);
    }
    let sql =
        format!("SELECT wall, logical, epoch, writer FROM {} WHERE feed OPERATOR(pg_catalog.=) $1", qualified(session));
    let row = session.client.query_opt(&sql, &[&feed]).await;
    let row = row.map_err(|failure| refused(session, &failure, &format!("read the progress row of {feed}")))?;
    row.as_ref().map(progress).transpose()
}

/// Notes that the holder of the epoch is alive. The row is locked for the moment of the statement only.
pub(crate) async fn renew(session: &Session, lease: &LeaseRenewal) -> Result<()> {
    own::is_there(session, PROGRESS).await?;
    let sql = format!(
        "UPDATE {} SET alive_until = pg_catalog.now() OPERATOR(pg_catalog.+) \
             ($3 OPERATOR(pg_catalog.*) interval '1 millisecond'), note = coalesce($4, note) \
         WHERE feed OPERATOR(pg_catalog.=) $1 AND epoch OPERATOR(pg_catalog.=) $2",
        qualified(session)
    );
    // Zero is the past at once.
    let alive_ms = lease.alive_ms as f64;
    let moved = session.client.execute(&sql, &[&lease.feed, &lease.epoch, &alive_ms, &lease.note]).await;
    match moved.map_err(|failure| refused(session, &failure, "note that the feed is applied"))? {
        0 => Err(overtaken(session, lease).await),
        _ => Ok(()),
    }
}

async fn overtaken(session: &Session, lease: &LeaseRenewal) -> Error {
    match read(session, &lease.feed).await {
        Ok(found) => lease.lost(found),
        Err(error) => error,
    }
}

/// What was noted last, if there is a table and a row.
pub(crate) async fn lease_state(session: &Session, feed: &str) -> Result<Option<LeaseState>> {
    if !own::is_there(session, PROGRESS).await? || !has_leases(session).await? {
        return Ok(None);
    }
    let sql = format!(
        "SELECT greatest(0, extract(epoch FROM alive_until OPERATOR(pg_catalog.-) pg_catalog.now()) \
             OPERATOR(pg_catalog.*) 1000)::bigint, note FROM {} WHERE feed OPERATOR(pg_catalog.=) $1",
        qualified(session)
    );
    let row = session.client.query_opt(&sql, &[&feed]).await;
    let row = row.map_err(|failure| refused(session, &failure, &format!("read the progress row of {feed}")))?;
    let state = |row: Row| -> Result<LeaseState, tokio_postgres::Error> {
        let alive_ms: Option<i64> = row.try_get(0)?;
        Ok(LeaseState { alive_ms: alive_ms.unwrap_or(0).cast_unsigned(), note: row.try_get(1)? })
    };
    row.map(state).transpose().map_err(|failure| foreign(&failure))
}

/// The statement that moves the row. When the row is not where the writer left it, the division by the number of moved
/// rows fails, and with it the transaction.
pub(crate) async fn prepare(session: &Session) -> Result<Statement> {
    let sql = format!(
        "WITH moved AS (UPDATE {} SET wall = $3, logical = $4, updated_at = pg_catalog.now() \
         WHERE feed OPERATOR(pg_catalog.=) $1 AND epoch OPERATOR(pg_catalog.=) $2 \
         AND wall OPERATOR(pg_catalog.=) $5 AND logical OPERATOR(pg_catalog.=) $6 RETURNING 1) \
         SELECT 1 OPERATOR(pg_catalog./) pg_catalog.count(*) FROM moved",
        qualified(session)
    );
    session.client.prepare(&sql).await.map_err(|failure| refused(session, &failure, "prepare the progress row"))
}

/// Moves the row and commits, in one flight. A COMMIT that follows a statement that failed rolls back, and says so only
/// in a tag that the driver keeps to itself; the answer to the statement before it tells as much.
pub(crate) async fn commit(session: &Session, statement: &Statement, advance: &Advance) -> Result<()> {
    let Advance { feed, epoch, from, to } = advance;
    let parameters: [&(dyn ToSql + Sync); 6] = [feed, epoch, &to.wall, &to.logical, &from.wall, &from.logical];
    // Polled in this order, and sent in it.
    let (moved, committed) =
        tokio::join!(biased; session.client.query_one(statement, &parameters), session.client.batch_execute("COMMIT"));
    match moved {
        Ok(_) => committed.map_err(|failure| session.names.placed(translate(&failure, "commit"), &failure)),
        Err(failure) if is(&failure, DIVISION_BY_ZERO) => Err(fenced(session, advance).await),
        Err(failure) => Err(refused(session, &failure, "move the progress row")),
    }
}

/// Says who moved the row.
async fn fenced(session: &Session, advance: &Advance) -> Error {
    match read(session, &advance.feed).await {
        Ok(found) => advance.fenced(found),
        Err(error) => error,
    }
}

async fn create_if_missing(session: &Session) -> Result<()> {
    if own::is_there(session, PROGRESS).await? {
        return add_leases(session).await;
    }
    let created = session.client.batch_execute(&format!("BEGIN; {QUALIFIED}; {}", create(session))).await;
    let taken_back = match &created {
        Ok(()) => own::take_back(session, PROGRESS).await,
        Err(_) => Ok(()),
    };
    let end = if created.is_ok() && taken_back.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = session.client.batch_execute(end).await;
    taken_back?;
    let created = created.and(ended);
    // Two at once may both create the table; to one of them PostgreSQL then says, in one of several ways, that it exists.
    match (own::is_there(session, PROGRESS).await?, created) {
        (false, Err(failure)) => Err(refused(session, &failure, "create the progress table")),
        _ => Ok(()),
    }
}

/// A table of an earlier version knows of no signs of life.
async fn add_leases(session: &Session) -> Result<()> {
    if has_leases(session).await? {
        return Ok(());
    }
    let sql = format!(
        "ALTER TABLE {} ADD COLUMN IF NOT EXISTS alive_until timestamp with time zone, \
         ADD COLUMN IF NOT EXISTS note pg_catalog.text",
        qualified(session)
    );
    let added = session.client.batch_execute(&sql).await;
    added.map_err(|failure| {
        let error = translate(&failure, "add the columns of a newer version to the progress table");
        if is(&failure, INSUFFICIENT_PRIVILEGE) { error.hint(format!("as its owner: {sql};")) } else { error }
    })
}

async fn has_leases(session: &Session) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid \
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
               WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.name AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.name \
               AND a.attname OPERATOR(pg_catalog.=) 'note'::pg_catalog.name AND NOT a.attisdropped)";
    let row = session.client.query_one(sql, &[&session.server.schema, &TABLE]).await;
    row.and_then(|row| row.try_get(0)).map_err(|failure| translate(&failure, "look at the progress table"))
}

fn create(session: &Session) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (feed pg_catalog.text PRIMARY KEY, wall bigint NOT NULL, logical integer NOT NULL, \
         epoch bigint NOT NULL, writer bigint NOT NULL, updated_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now(), \
         alive_until timestamp with time zone, note pg_catalog.text)",
        qualified(session)
    )
}

/// A missing right is mended by an administrator, in these words.
fn refused(session: &Session, failure: &tokio_postgres::Error, doing: &str) -> Error {
    let error = translate(failure, doing);
    if !is(failure, INSUFFICIENT_PRIVILEGE) {
        return error;
    }
    let (schema, user) = (quoted(&session.server.schema), quoted(&session.server.user));
    error.hint(format!(
        "as an administrator of the target: {}; GRANT USAGE ON SCHEMA {schema} TO {user}; \
         GRANT SELECT, INSERT, UPDATE ON {} TO {user};",
        create(session),
        qualified(session)
    ))
}

fn qualified(session: &Session) -> String {
    format!("{}.{TABLE}", quoted(&session.server.schema))
}

fn is(failure: &tokio_postgres::Error, code: &str) -> bool {
    failure.code().is_some_and(|found| found.code() == code)
}

fn progress(row: &Row) -> Result<Progress> {
    let read = || -> Result<Progress, tokio_postgres::Error> {
        let applied = Timestamp { wall: row.try_get(0)?, logical: row.try_get(1)? };
        Ok(Progress { applied, epoch: row.try_get(2)?, writer: row.try_get(3)? })
    };
    read().map_err(|failure| foreign(&failure))
}

fn foreign(failure: &tokio_postgres::Error) -> Error {
    Error::new(ErrorKind::Config, format!("cannot read the progress row: {failure}"))
        .topic(Topic::OwnTables)
        .hint("the table ebb_progress is not one of ebb's: rename it")
}
