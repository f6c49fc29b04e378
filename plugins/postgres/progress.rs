//! The progress row: `ebb_progress` in the connection's own schema, one row per feed.
//!
//! Owns: making the table, the fence, the commit. Does not own: when to commit.

use ebb_sdk::{Advance, Error, ErrorKind, Progress, Result, Timestamp};
use tokio_postgres::{Client, Row};

use crate::error::translate;
use crate::quoted;

/// The table's name; it is left out of descriptions.
pub(crate) const TABLE: &str = "ebb_progress";

/// Raises the epoch of a feed, or begins it. Two at once are safe: one row, one statement.
pub(crate) async fn take_over(client: &Client, schema: &str, feed: &str) -> Result<Progress> {
    create_if_missing(client, schema).await?;
    let table = qualified(schema);
    let sql = format!(
        "INSERT INTO {table} (feed, wall, logical, epoch) VALUES ($1, 0, 0, 1) \
         ON CONFLICT (feed) DO UPDATE SET epoch = {TABLE}.epoch + 1, updated_at = now() RETURNING wall, logical, epoch"
    );
    let row = client.query_one(&sql, &[&feed]).await.map_err(|failure| {
        translate(&failure, &format!("write the progress row of {feed}"))
            .hint(format!("GRANT SELECT, INSERT, UPDATE ON {table} TO the user of the connection string"))
    })?;
    progress(&row)
}

/// The row of a feed, if there is a table and a row.
pub(crate) async fn read(client: &Client, schema: &str, feed: &str) -> Result<Option<Progress>> {
    if !exists(client, schema).await? {
        return Ok(None);
    }
    let sql = format!("SELECT wall, logical, epoch FROM {} WHERE feed = $1", qualified(schema));
    let row = client.query_opt(&sql, &[&feed]).await;
    let row = row.map_err(|failure| translate(&failure, &format!("read the progress row of {feed}")))?;
    row.as_ref().map(progress).transpose()
}

/// Moves the row and commits, in one flight. When the row is not where the writer left it, the division by the number of
/// moved rows fails, and with it the transaction: the COMMIT that is already on its way then rolls back.
pub(crate) async fn commit(client: &Client, schema: &str, advance: &Advance) -> Result<()> {
    let sql = format!(
        "WITH moved AS (UPDATE {} SET wall = $3, logical = $4, updated_at = now() \
         WHERE feed = $1 AND epoch = $2 AND wall = $5 AND logical = $6 RETURNING 1) SELECT 1 / count(*) FROM moved",
        qualified(schema)
    );
    let statement = client.prepare(&sql).await.map_err(|failure| translate(&failure, "prepare the progress row"))?;
    let Advance { feed, epoch, from, to } = advance;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [feed, epoch, &to.wall, &to.logical, &from.wall, &from.logical];
    let (moved, committed) = tokio::join!(client.query_one(&statement, &parameters), client.batch_execute("COMMIT"));
    if let Err(failure) = &moved {
        if failure.code().is_some_and(|code| code.code() == "22012") {
            return Err(fenced(client, schema, advance).await);
        }
        return Err(translate(failure, "move the progress row"));
    }
    committed.map_err(|failure| translate(&failure, "commit"))
}

/// Says who moved the row.
async fn fenced(client: &Client, schema: &str, advance: &Advance) -> Error {
    let found = match read(client, schema, &advance.feed).await {
        Ok(Some(row)) if row.epoch != advance.epoch => {
            return Error::new(ErrorKind::Broken, format!("another ebb has taken over {}", advance.feed))
                .hint("one process applies a feed; end one of the two");
        }
        Ok(Some(row)) => format!("stands at {}", row.applied),
        Ok(None) => "is gone".into(),
        Err(error) => format!("cannot be read ({error})"),
    };
    let message = format!("the progress row of {} {found}, and was left at {}", advance.feed, advance.from);
    Error::new(ErrorKind::Broken, message).hint("it was changed by hand, or the target was restored from a backup")
}

async fn create_if_missing(client: &Client, schema: &str) -> Result<()> {
    if exists(client, schema).await? {
        return Ok(());
    }
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {} (feed text PRIMARY KEY, wall bigint NOT NULL, logical integer NOT NULL, \
         epoch bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now())",
        qualified(schema)
    );
    match client.batch_execute(&create).await {
        // Two at once may both create the table; one of them then meets it in the catalog.
        Err(failure) if failure.code().is_some_and(|code| code.code() == "23505") => Ok(()),
        created => created.map_err(|failure| {
            translate(&failure, "create the progress table").hint(format!(
                "as an administrator of the target: {create}; GRANT SELECT, INSERT, UPDATE ON {} TO the user of the \
                 connection string",
                qualified(schema)
            ))
        }),
    }
}

async fn exists(client: &Client, schema: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relname = $2)";
    let row = client.query_one(sql, &[&schema, &TABLE]).await;
    row.and_then(|row| row.try_get(0)).map_err(|failure| translate(&failure, "look for the progress table"))
}

fn qualified(schema: &str) -> String {
    format!("{}.{TABLE}", quoted(schema))
}

fn progress(row: &Row) -> Result<Progress> {
    let read = || -> Result<Progress, tokio_postgres::Error> {
        let applied = Timestamp { wall: row.try_get(0)?, logical: row.try_get(1)? };
        Ok(Progress { applied, epoch: row.try_get(2)? })
    };
    read().map_err(|failure| translate(&failure, "read the progress row").hint("ebb_progress is not a table of ebb's"))
}
