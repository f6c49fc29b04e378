//! The progress row: `ebb_progress` in the connection's own schema, one row per feed.
//!
//! Owns: making the table, the fence, the commit, the sign of life beside it. Does not own: when to commit.

use ebb_sdk::{Advance, Error, ErrorKind, Held, Lease, Progress, Result, Timestamp};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use crate::error::translate;
use crate::{Session, quoted};

/// The table's name; it is left out of descriptions.
pub(crate) const TABLE: &str = "ebb_progress";

const DIVISION_BY_ZERO: &str = "22012";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Raises the epoch of a feed, or begins it. Two at once are safe: one row, one statement.
pub(crate) async fn take_over(session: &Session, feed: &str, writer: i64) -> Result<Progress> {
    create_if_missing(session).await?;
    let table = qualified(session);
    let sql = format!(
        "INSERT INTO {table} (feed, wall, logical, epoch, writer) VALUES ($1, 0, 0, 1, $2) \
         ON CONFLICT (feed) DO UPDATE SET epoch = {TABLE}.epoch + 1, writer = $2, updated_at = pg_catalog.now() \
         RETURNING wall, logical, epoch, writer"
    );
    let row = session.client.query_one(&sql, &[&feed, &writer]).await;
    progress(&row.map_err(|failure| refused(session, &failure, &format!("write the progress row of {feed}")))?)
}

/// The row of a feed, if there is a table and a row.
pub(crate) async fn read(session: &Session, feed: &str) -> Result<Option<Progress>> {
    if !exists(session).await? {
        return Ok(None);
    }
    let sql = format!("SELECT wall, logical, epoch, writer FROM {} WHERE feed = $1", qualified(session));
    let row = session.client.query_opt(&sql, &[&feed]).await;
    let row = row.map_err(|failure| refused(session, &failure, &format!("read the progress row of {feed}")))?;
    row.as_ref().map(progress).transpose()
}

/// Notes that the holder of the epoch is alive. The row is locked for the moment of the statement only.
pub(crate) async fn renew(session: &Session, lease: &Lease) -> Result<()> {
    let sql = format!(
        "UPDATE {} SET alive_until = pg_catalog.now() + $3 * interval '1 millisecond', note = coalesce($4, note) \
         WHERE feed = $1 AND epoch = $2",
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

async fn overtaken(session: &Session, lease: &Lease) -> Error {
    match read(session, &lease.feed).await {
        Ok(found) => lease.lost(found),
        Err(error) => error,
    }
}

/// What was noted last, if there is a table and a row.
pub(crate) async fn held(session: &Session, feed: &str) -> Result<Option<Held>> {
    if !exists(session).await? || !has_leases(session).await? {
        return Ok(None);
    }
    let sql = format!(
        "SELECT greatest(0, extract(epoch FROM alive_until - pg_catalog.now()) * 1000)::bigint, note FROM {} \
         WHERE feed = $1",
        qualified(session)
    );
    let row = session.client.query_opt(&sql, &[&feed]).await;
    let row = row.map_err(|failure| refused(session, &failure, &format!("read the progress row of {feed}")))?;
    let held = |row: Row| -> Result<Held, tokio_postgres::Error> {
        let alive_ms: Option<i64> = row.try_get(0)?;
        Ok(Held { alive_ms: alive_ms.unwrap_or(0).cast_unsigned(), note: row.try_get(1)? })
    };
    row.map(held).transpose().map_err(|failure| foreign(&failure))
}

/// The statement that moves the row. When the row is not where the writer left it, the division by the number of moved
/// rows fails, and with it the transaction.
pub(crate) async fn prepare(session: &Session) -> Result<Statement> {
    let sql = format!(
        "WITH moved AS (UPDATE {} SET wall = $3, logical = $4, updated_at = pg_catalog.now() \
         WHERE feed = $1 AND epoch = $2 AND wall = $5 AND logical = $6 RETURNING 1) \
         SELECT 1 / pg_catalog.count(*) FROM moved",
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
        Ok(_) => committed.map_err(|failure| translate(&failure, "commit")),
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
    if exists(session).await? {
        refuse_other_owner(session, TABLE).await?;
        return add_leases(session).await;
    }
    let create = create(session);
    match session.client.batch_execute(&create).await {
        // Two at once may both create the table; to one of them PostgreSQL then says, in one of several ways, that it
        // exists.
        Err(_) if exists(session).await? => Ok(()),
        created => created.map_err(|failure| refused(session, &failure, "create the progress table")),
    }
}

/// A table of an earlier version knows of no signs of life.
async fn add_leases(session: &Session) -> Result<()> {
    if has_leases(session).await? {
        return Ok(());
    }
    let sql = format!(
        "ALTER TABLE {} ADD COLUMN IF NOT EXISTS alive_until timestamptz, ADD COLUMN IF NOT EXISTS note text",
        qualified(session)
    );
    let added = session.client.batch_execute(&sql).await;
    added.map_err(|failure| {
        let error = translate(&failure, "add the columns of a newer version to the progress table");
        if is(&failure, INSUFFICIENT_PRIVILEGE) { error.hint(format!("as its owner: {sql};")) } else { error }
    })
}

async fn has_leases(session: &Session) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a \
               JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = 'note' AND NOT a.attisdropped)";
    let row = session.client.query_one(sql, &[&session.server.schema, &TABLE]).await;
    row.and_then(|row| row.try_get(0)).map_err(|failure| translate(&failure, "look at the progress table"))
}

fn create(session: &Session) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (feed text PRIMARY KEY, wall bigint NOT NULL, logical integer NOT NULL, \
         epoch bigint NOT NULL, writer bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(), \
         alive_until timestamptz, note text)",
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

async fn exists(session: &Session) -> Result<bool> {
    is_there(session, TABLE).await
}

/// Whoever owns a table may give it triggers, which run with the rights of those who write to it. Whoever may make tables
/// could have made this one beforehand.
pub(crate) async fn refuse_other_owner(session: &Session, table: &str) -> Result<()> {
    let sql = "SELECT pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles r ON r.oid = c.relowner \
               JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database() \
               WHERE n.nspname = $1::pg_catalog.name AND c.relname = $2::pg_catalog.name AND NOT (c.relkind = 'r' \
               AND (r.rolsuper OR r.oid = d.datdba OR r.rolname = current_user))";
    let row = session.client.query_opt(sql, &[&session.server.schema, &table]).await;
    let owner = row.and_then(|row| row.map(|row| row.try_get::<_, String>(0)).transpose());
    let Some(owner) = owner.map_err(|failure| translate(&failure, "look at the tables of ebb"))? else { return Ok(()) };
    let (name, user) = (format!("{}.{table}", quoted(&session.server.schema)), quoted(&session.server.user));
    let message = format!(
        "{name} is no table of ebb's: it belongs to {owner}, who could have statements of his own run with the rights of {user}"
    );
    Err(Error::new(ErrorKind::Config, message).hint(format!(
        "ask {owner} what it is for, and rename it; if it is ebb's after all: ALTER TABLE {name} OWNER TO {user};"
    )))
}

/// Whether the connection's own schema has a table of this name.
pub(crate) async fn is_there(session: &Session, table: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2)";
    let row = session.client.query_one(sql, &[&session.server.schema, &table]).await;
    row.and_then(|row| row.try_get(0)).map_err(|failure| translate(&failure, "look for the tables of ebb"))
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
        .hint("the table ebb_progress is not one of ebb's: rename it")
}
