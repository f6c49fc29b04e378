//! The jobs of changefeeds: found, created, resumed, paused, cancelled, and looked at.
//!
//! Owns: what a job's state means. Does not own: when to do which. Columns are read by name: versions add some.

use std::time::{Duration, Instant};

use ebb_sdk::Timestamp;
use tokio_postgres::SimpleQueryRow;

use super::{Source, Statement};
use crate::error::{Error, Result};

/// Longest wait for a job to reach the state that was asked for.
const CHANGE_MAX: Duration = Duration::from_secs(60);
const CHANGE_POLL: Duration = Duration::from_millis(200);

/// A changefeed's job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: i64,
    pub state: JobState,
    /// What CockroachDB says about it, such as the error of its last attempt.
    pub running_status: String,
    pub error: String,
    /// Everything up to here was acknowledged.
    pub high_water: Option<Timestamp>,
    sink_uri: String,
    tables: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It sends, or tries to.
    Running,
    /// It can be resumed.
    Paused,
    /// It is on its way to another state.
    Changing,
    /// It will never send again.
    Ended,
}

impl JobState {
    fn of(status: &str) -> Self {
        match status {
            "running" | "pending" | "retry-running" => Self::Running,
            "paused" => Self::Paused,
            "pause-requested" | "reverting" | "cancel-requested" | "retry-reverting" => Self::Changing,
            _ => Self::Ended,
        }
    }
}

impl Source {
    /// The live changefeed that sends the statement's tables to its sink, whatever the sink's query.
    pub async fn find_changefeed(&self, wanted: &Statement<'_>) -> Result<Option<Job>> {
        let address = super::sink_address(wanted.settings, wanted.path);
        let tables = normalized(wanted.tables.iter().map(|(schema, name)| {
            // CockroachDB lists them in full, with quotes where they are needed.
            format!("{}.{schema}.{name}", self.database())
        }));
        let jobs: Vec<Job> = self.rows("SHOW CHANGEFEED JOBS").await?.iter().filter_map(job).collect();
        let is_it = |job: &Job| {
            let uri = job.sink_uri.split('?').next().unwrap_or_default();
            uri == address && normalized(listed(&job.tables)) == tables && job.state != JobState::Ended
        };
        Ok(jobs.into_iter().find(is_it))
    }

    /// Creates the changefeed and returns the id of its job.
    pub async fn create_changefeed(&self, statement: &Statement<'_>) -> Result<i64> {
        let rows = self.rows(statement.sql().reveal()).await.map_err(explain)?;
        let id = rows.first().and_then(|row| row.get(0)).and_then(|id| id.parse().ok());
        id.ok_or_else(|| Error::new("the source created the changefeed but did not say its job"))
    }

    /// The job as it is now; `None` when CockroachDB does not list it any more.
    pub async fn job(&self, id: i64) -> Result<Option<Job>> {
        Ok(self.rows(&format!("SHOW CHANGEFEED JOB {id}")).await?.first().and_then(job))
    }

    pub async fn resume(&self, id: i64) -> Result<()> {
        self.rows(&format!("RESUME JOB {id}")).await?;
        self.await_state(id, "resume", JobState::Running).await
    }

    pub async fn pause(&self, id: i64) -> Result<()> {
        self.rows(&format!("PAUSE JOB {id}")).await?;
        self.await_state(id, "pause", JobState::Paused).await
    }

    pub async fn cancel(&self, id: i64) -> Result<()> {
        self.rows(&format!("CANCEL JOB {id}")).await?;
        self.await_state(id, "cancel", JobState::Ended).await
    }

    /// Jobs change their state some time after they were asked to.
    async fn await_state(&self, id: i64, what: &str, wanted: JobState) -> Result<()> {
        let deadline = Instant::now() + CHANGE_MAX;
        loop {
            let state = self.job(id).await?.map_or(JobState::Ended, |job| job.state);
            if state == wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::new(format!("job {id} did not {what} within {} s", CHANGE_MAX.as_secs()))
                    .hint(format!("see SHOW CHANGEFEED JOB {id}")));
            }
            tokio::time::sleep(CHANGE_POLL).await;
        }
    }
}

fn job(row: &SimpleQueryRow) -> Option<Job> {
    let text = |name: &str| row.try_get(name).ok().flatten().unwrap_or_default().to_owned();
    Some(Job {
        id: text("job_id").parse().ok()?,
        state: JobState::of(&text("status")),
        running_status: text("running_status"),
        error: text("error"),
        high_water: text("high_water_timestamp").parse().ok(),
        sink_uri: text("sink_uri"),
        tables: text("full_table_names"),
    })
}

/// The elements of an array in PostgreSQL's text, `{a.b.c,"\"x\".y.z"}`.
fn listed(array: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut quoted = false;
    let mut characters = array.trim_start_matches('{').trim_end_matches('}').chars();
    while let Some(character) = characters.next() {
        let name = names.last_mut().expect("there is always one");
        match character {
            '"' => quoted = !quoted,
            '\\' => name.extend(characters.next()),
            ',' if !quoted => names.push(String::new()),
            other => name.push(other),
        }
    }
    names
}

/// Comparable whatever the order and the quotes.
fn normalized(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(|name| name.replace('"', "")).collect();
    names.sort();
    names
}

/// Adds what mends a refused CREATE CHANGEFEED.
fn explain(error: Error) -> Error {
    let text = error.message.clone();
    let hint = if text.contains("CHANGEFEED privilege") {
        "GRANT CHANGEFEED ON TABLE … TO the user of --source"
    } else if text.contains("must be after replica GC threshold") || text.contains("older than the GC threshold") {
        "changes since the target's progress are gone from the source (gc.ttlseconds): load the target anew, and start \
         with a new --stagingSchema"
    } else if text.contains("license") {
        "changefeeds of this version need a license: SET CLUSTER SETTING enterprise.license = '…'"
    } else {
        return error;
    };
    error.hint(hint)
}

/// Why a changefeed that has ended sends nothing more, and what to do.
pub(crate) fn ended(id: i64, job: Option<&Job>) -> Error {
    let Some(job) = job else {
        return Error::new(format!("the changefeed (job {id}) is not listed any more"))
            .hint("start ebb again: it creates a new one at the target's progress");
    };
    let why = [&job.error, &job.running_status].into_iter().find(|text| !text.is_empty());
    let message = match why {
        Some(why) => format!("the changefeed (job {id}) has ended: {why}"),
        None => format!("the changefeed (job {id}) was cancelled"),
    };
    let hint = if message.contains("was truncated") || message.contains("was dropped") {
        "TRUNCATE and DROP are not sent by changefeeds: do the same on the target, then start ebb again"
    } else if message.contains("famil") {
        "tables with several column families cannot be watched; leave the table out with --table-exclusion-filter"
    } else {
        "start ebb again: it creates a new one at the target's progress"
    };
    Error::new(message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tables_compare_in_any_order_and_quoting() {
        let tables = normalized(listed(r#"{db.public.b,"db.public.\"My, T\"",db.public.a}"#));
        assert_eq!(tables, ["db.public.My, T", "db.public.a", "db.public.b"]);
    }
}
