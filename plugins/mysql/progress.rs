//! The progress row: `ebb_progress` in the connection's own database, one row per feed.
//!
//! Owns: making the table, the fence, the commit, the sign of life beside it. Does not own: when to commit.

use ebb_sdk::{Advance, Error, ErrorKind, LeaseRenewal, LeaseState, Progress, Result, Timestamp, Topic};
use mysql_async::prelude::Queryable;
use mysql_async::{Error as Failure, TxOpts};

use crate::error::translate;
use crate::own::{self, PROGRESS};
use crate::{Session, answered, quoted};

const TABLE: &str = PROGRESS.name;

const NO_TABLE: u16 = 1146;
const NO_COLUMN: u16 = 1054;
/// No right to this table, to this column, or to make one.
const NO_RIGHT: [u16; 3] = [1142, 1143, 1044];

type Row = (i64, i32, i64, i64);

/// Raises the epoch of a feed, or begins it. Two at once are safe: the first statement locks the row.
pub(crate) async fn take_over(session: &mut Session, feed: &str, writer: i64) -> Result<Progress> {
    create_if_missing(session).await?;
    let raise = format!(
        "INSERT INTO {TABLE} (feed, wall, logical, epoch, writer) VALUES (?, 0, 0, 1, ?) \
         ON DUPLICATE KEY UPDATE epoch = epoch + 1, writer = VALUES(writer), updated_at = CURRENT_TIMESTAMP(6)"
    );
    let select = format!("SELECT wall, logical, epoch, writer FROM {TABLE} WHERE feed = ?");
    let wait = session.answer_wait;
    let taken = async {
        let mut transaction = session.conn.start_transaction(TxOpts::default()).await?;
        transaction.exec_drop(raise, (feed, writer)).await?;
        let row: Option<Row> = transaction.exec_first(select, (feed,)).await?;
        transaction.commit().await?;
        Ok(row)
    };
    let doing = format!("write the progress row of {feed}");
    let taken = answered(wait, &doing, async { Ok(taken.await) }).await?;
    let row = taken.map_err(|failure: Failure| refused(session, &failure, &doing))?;
    row.map(progress)
        .ok_or_else(|| Error::new(ErrorKind::Broken, format!("cannot {doing}: it is not there")).topic(Topic::Moved))
}

/// The row of a feed, if there is a table and a row.
pub(crate) async fn read(session: &mut Session, feed: &str) -> Result<Option<Progress>> {
    own::is_there(session, PROGRESS).await?;
    let sql = format!("SELECT wall, logical, epoch, writer FROM {TABLE} WHERE feed = ?");
    let (wait, doing) = (session.answer_wait, format!("read the progress row of {feed}"));
    let row = async { Ok(session.conn.exec_first::<Row, _, _>(sql, (feed,)).await) };
    match answered(wait, &doing, row).await? {
        Ok(row) => Ok(row.map(progress)),
        Err(Failure::Server(answer)) if answer.code == NO_TABLE => Ok(None),
        Err(failure) => Err(refused(session, &failure, &doing)),
    }
}

/// The row of a feed, locked until the end of the open transaction.
pub(crate) async fn lock(session: &mut Session, feed: &str) -> Result<Option<Progress>> {
    let sql = format!("SELECT wall, logical, epoch, writer FROM {TABLE} WHERE feed = ? FOR UPDATE");
    let (wait, doing) = (session.answer_wait, format!("lock the progress row of {feed}"));
    let row = async { Ok(session.conn.exec_first::<Row, _, _>(sql, (feed,)).await) };
    let row = answered(wait, &doing, row).await?.map_err(|failure| refused(session, &failure, &doing))?;
    Ok(row.map(progress))
}

/// Notes that the holder of the epoch is alive.
pub(crate) async fn renew(session: &mut Session, lease: &LeaseRenewal) -> Result<()> {
    own::is_there(session, PROGRESS).await?;
    let sql = format!(
        "UPDATE {TABLE} SET alive_until = TIMESTAMPADD(MICROSECOND, ?, CURRENT_TIMESTAMP(6)), note = COALESCE(?, note) \
         WHERE feed = ? AND epoch = ?"
    );
    let (wait, doing) = (session.answer_wait, "note that the feed is applied");
    let alive_us = lease.alive_ms.saturating_mul(1000);
    let renewed = async {
        session.conn.exec_drop(sql, (alive_us, &lease.note, &lease.feed, lease.epoch)).await?;
        Ok(session.conn.affected_rows())
    };
    let renewed = answered(wait, doing, async { Ok(renewed.await) }).await?;
    match renewed.map_err(|failure: Failure| refused(session, &failure, doing))? {
        0 => Err(match read(session, &lease.feed).await {
            Ok(found) => lease.lost(found),
            Err(error) => error,
        }),
        _ => Ok(()),
    }
}

/// What was noted last, if there is a table and a row.
pub(crate) async fn lease_state(session: &mut Session, feed: &str) -> Result<Option<LeaseState>> {
    own::is_there(session, PROGRESS).await?;
    let sql = format!(
        "SELECT CAST(GREATEST(0, TIMESTAMPDIFF(MICROSECOND, CURRENT_TIMESTAMP(6), alive_until) DIV 1000) AS SIGNED), note \
         FROM {TABLE} WHERE feed = ?"
    );
    let (wait, doing) = (session.answer_wait, format!("read the progress row of {feed}"));
    let row = async { Ok(session.conn.exec_first::<(Option<u64>, Option<String>), _, _>(sql, (feed,)).await) };
    match answered(wait, &doing, row).await? {
        Ok(row) => Ok(row.map(|(alive_ms, note)| LeaseState { alive_ms: alive_ms.unwrap_or(0), note })),
        // The table of an earlier version knows of no signs of life.
        Err(Failure::Server(answer)) if [NO_TABLE, NO_COLUMN].contains(&answer.code) => Ok(None),
        Err(failure) => Err(refused(session, &failure, &doing)),
    }
}

/// Moves the row from where the writer left it and commits.
pub(crate) async fn commit(session: &mut Session, advance: &Advance) -> Result<()> {
    let Advance { feed, epoch, from, to } = advance;
    let sql = format!(
        "UPDATE {TABLE} SET wall = ?, logical = ?, updated_at = CURRENT_TIMESTAMP(6) \
         WHERE feed = ? AND epoch = ? AND wall = ? AND logical = ?"
    );
    let wait = session.answer_wait;
    let parameters = (to.wall, to.logical, feed, epoch, from.wall, from.logical);
    let moved = async {
        session.conn.exec_drop(sql, parameters).await?;
        Ok(session.conn.affected_rows())
    };
    let moved = answered(wait, "move the progress row", async { Ok(moved.await) }).await?;
    match moved.map_err(|failure: Failure| refused(session, &failure, "move the progress row"))? {
        0 => {
            let rollback = session.end("ROLLBACK");
            session.command(&rollback, "roll back").await?;
            Err(fenced(session, advance).await)
        }
        _ => {
            let commit = session.end("COMMIT");
            session.command(&commit, "commit").await
        }
    }
}

/// Says who moved the row.
async fn fenced(session: &mut Session, advance: &Advance) -> Error {
    match read(session, &advance.feed).await {
        Ok(found) => advance.fenced(found),
        Err(error) => error,
    }
}

/// CREATE TABLE commits what is open, and needs a right also where the table is there: it is asked for first.
async fn create_if_missing(session: &mut Session) -> Result<()> {
    if own::is_there(session, PROGRESS).await? {
        return add_leases(session).await;
    }
    let wait = session.answer_wait;
    let (create, doing) = (create(session), "create the progress table");
    let created = answered(wait, doing, async { Ok(session.conn.query_drop(create).await) }).await?;
    created.map_err(|failure| refused(session, &failure, doing))?;
    own::is_there(session, PROGRESS).await.map(drop)
}

/// A table of an earlier version knows of no signs of life.
async fn add_leases(session: &mut Session) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? \
               AND column_name = 'note'";
    let (wait, doing) = (session.answer_wait, "look at the progress table");
    let found = async {
        session.conn.exec_first::<u64, _, _>(sql, (TABLE,)).await.map_err(|failure| translate(&failure, doing))
    };
    if answered(wait, doing, found).await? != Some(0) {
        return Ok(());
    }
    let sql = format!("ALTER TABLE {TABLE} ADD COLUMN alive_until DATETIME(6) NULL, ADD COLUMN note LONGTEXT NULL");
    let doing = "add the columns of a newer version to the progress table";
    let added = answered(wait, doing, async { Ok(session.conn.query_drop(&sql).await) }).await?;
    added.map_err(|failure| match &failure {
        Failure::Server(answer) if NO_RIGHT.contains(&answer.code) => {
            translate(&failure, doing).hint(format!("as an administrator of the target: {sql};"))
        }
        _ => translate(&failure, doing),
    })
}

fn create(session: &Session) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{TABLE} (feed VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, \
         wall BIGINT NOT NULL, logical INT NOT NULL, epoch BIGINT NOT NULL, writer BIGINT NOT NULL, \
         updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), \
         alive_until DATETIME(6) NULL, note LONGTEXT CHARACTER SET utf8mb4 NULL) ENGINE = InnoDB",
        quoted(&session.server.database)
    )
}

/// A missing right is mended by an administrator, in these words.
fn refused(session: &Session, failure: &Failure, doing: &str) -> Error {
    let error = translate(failure, doing);
    match failure {
        Failure::Server(answer) if NO_RIGHT.contains(&answer.code) => {
            let (database, user) = (quoted(&session.server.database), &session.server.user);
            error.hint(format!(
                "as an administrator of the target: {}; GRANT SELECT, INSERT, UPDATE ON {database}.{TABLE} TO {user};",
                create(session)
            ))
        }
        _ => error,
    }
}

fn progress((wall, logical, epoch, writer): Row) -> Progress {
    Progress { applied: Timestamp { wall, logical }, epoch, writer }
}
