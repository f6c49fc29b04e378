//! Reading the source as it was at one time, in the JSON that a changefeed would send.
//!
//! Owns: a connection of its own with the settings that the JSON depends on, rows as they stream, and holding the history of the
//! source for as long as it is read. Does not own: which statements (`verify`).
//!
//! A changefeed and `row_to_json` write a value with the same function of CockroachDB, which takes its forms from the session.

use std::pin::Pin;
use std::time::Duration;

use ebb_sdk::Timestamp;
use futures_util::TryStreamExt;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow, SimpleQueryStream};

use super::Source;
use crate::error::{Error, Result};

/// The forms of a changefeed; behind every other reader of the cluster; and nothing is written.
const SETTINGS: &str = "SET TimeZone = 'UTC'; SET bytea_output = 'hex'; SET extra_float_digits = 0; \
     SET IntervalStyle = 'postgres'; SET default_transaction_quality_of_service = 'background'; \
     SET default_transaction_read_only = on; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";
/// How long the next row may take: the first one comes once CockroachDB has sorted, where it has to.
const ROW_WAIT: Duration = Duration::from_secs(300);
/// A count reads the whole of a table.
const COUNT_WAIT: Duration = Duration::from_secs(4 * 3600);
/// The history is held for so long after the last sign of life, so that a process that was killed leaves nothing for good.
const HOLD_WINDOW: &str = "1 hour";
/// From this release on the functions below are admitted by a setting of the session only.
const UNSAFE_INTERNALS: &str = "SET allow_unsafe_internals = on";

/// One connection that reads.
pub struct Past<'a> {
    source: &'a Source,
    client: Client,
}

/// Rows of a statement, one text each, as they come.
pub struct Lines<'a> {
    source: &'a Source,
    stream: Pin<Box<SimpleQueryStream>>,
}

/// The history of the source from one time on, held until it is released or the process has been gone for an hour.
#[derive(Debug)]
pub struct Hold {
    job: String,
}

impl Source {
    /// A further connection.
    pub async fn past(&self) -> Result<Past<'_>> {
        let client = self.connection().await?;
        client.batch_execute(SETTINGS).await.map_err(|failure| self.failed(&failure))?;
        Ok(Past { source: self, client })
    }

    /// Keeps CockroachDB from collecting what the source was since `at`.
    ///
    /// # Errors
    /// Where the user or the release does not allow it.
    pub async fn hold(&self, at: Timestamp, what: &str) -> Result<Hold> {
        let what = what.replace('\'', "''");
        let sql = format!("SELECT crdb_internal.protect_mvcc_history({at}, '{HOLD_WINDOW}', '{what}')");
        Ok(Hold { job: self.internal(&sql).await? })
    }

    /// The history stays for another hour.
    pub async fn extend(&self, hold: &Hold) -> Result<()> {
        self.internal(&format!("SELECT crdb_internal.extend_mvcc_history_protection({})", hold.job)).await.map(drop)
    }

    /// Lets CockroachDB collect it again.
    pub async fn release(&self, hold: &Hold) -> Result<()> {
        self.rows(&format!("CANCEL JOB {}", hold.job)).await.map(drop)
    }

    async fn internal(&self, sql: &str) -> Result<String> {
        // Releases that do not know the setting need none.
        if self.rows(UNSAFE_INTERNALS).await.is_err() {
            return self.value(sql).await;
        }
        self.value(sql).await
    }
}

impl<'a> Past<'a> {
    /// The first column of each row of a statement, while they come.
    pub async fn lines(&self, sql: &str) -> Result<Lines<'a>> {
        let stream = self.client.simple_query_raw(sql).await.map_err(|failure| self.source.failed(&failure))?;
        Ok(Lines { source: self.source, stream: Box::pin(stream) })
    }

    /// Every row of a short answer.
    pub async fn rows(&self, sql: &str) -> Result<Vec<SimpleQueryRow>> {
        self.rows_within(sql, ROW_WAIT).await
    }

    /// The number that a count of a whole table comes to.
    pub async fn count(&self, sql: &str) -> Result<Option<u64>> {
        let rows = self.rows_within(sql, COUNT_WAIT).await?;
        Ok(rows.first().and_then(|row| row.get(0)?.parse().ok()))
    }

    async fn rows_within(&self, sql: &str, limit: Duration) -> Result<Vec<SimpleQueryRow>> {
        let answer = tokio::time::timeout(limit, self.client.simple_query(sql)).await;
        let messages =
            answer.map_err(|_| self.source.silent(limit))?.map_err(|failure| self.source.failed(&failure))?;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }
}

impl Lines<'_> {
    /// `None` behind the last one.
    pub async fn next(&mut self) -> Result<Option<SimpleQueryRow>> {
        loop {
            let next = tokio::time::timeout(ROW_WAIT, self.stream.try_next()).await;
            match next.map_err(|_| self.source.silent(ROW_WAIT))?.map_err(|failure| self.source.failed(&failure))? {
                None => return Ok(None),
                Some(SimpleQueryMessage::Row(row)) => return Ok(Some(row)),
                Some(_) => {}
            }
        }
    }
}

/// Whether an error says that a value is none of its type, so that no row can have it.
pub fn is_no_value(error: &Error) -> bool {
    error.sqlstate.is_some_and(|state| state.class() == *b"22")
}

/// Whether an error says that the source has forgotten what it was at this time.
pub fn is_collected(error: &Error) -> bool {
    error.message.contains("must be after replica GC threshold")
}
