//! The jobs of changefeeds: found, created, resumed, paused, cancelled, and looked at.
//!
//! Owns: what a job's state means. Does not own: when to do which. Columns are read by name: versions add some.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ebb_sdk::Timestamp;
use regex::Regex;

use super::faults::{ended, explain};
use super::spec::{ChangefeedSpec, sink_address};
use crate::code;
use crate::config::{Changefeed, STAGING_PARAMETER};
use crate::error::{Error, Result};
use crate::source::{AnswerRow, Cause, Source};

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
    /// The sink's URL without its query, which may hold secrets.
    pub(super) sink: String,
    /// The staging folder that it delivers to, where its URL says so.
    pub staging: Option<String>,
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

impl Job {
    /// Its last attempts failed, and it waits, up to minutes, before the next.
    pub fn is_backing_off(&self) -> bool {
        let failed = ["transient error", "retryable error"].iter().any(|text| self.running_status.starts_with(text));
        self.state == JobState::Running && failed
    }

    /// `on_error = 'pause'` has kept an error from ending it.
    pub fn is_paused_by_error(&self) -> bool {
        self.state == JobState::Paused && self.running_status.starts_with("job failed")
    }
}

impl Source {
    /// The live changefeed that sends the tables of the spec to its sink, whatever the sink's query. One that is on its
    /// way to another state is waited for; of several, one that runs comes first.
    pub async fn find_changefeed(&self, wanted: &ChangefeedSpec<'_>) -> Result<Option<Job>> {
        let deadline = Instant::now() + CHANGE_MAX;
        loop {
            let jobs = self.live_changefeeds(wanted).await?;
            if let Some(job) = jobs.iter().find(|job| job.state == JobState::Running) {
                return Ok(Some(job.clone()));
            }
            let Some(changing) = jobs.iter().find(|job| job.state == JobState::Changing) else {
                // The one that has sent least repeats most, and so leaves nothing out.
                return Ok(jobs.into_iter().min_by_key(|job| job.high_water));
            };
            if Instant::now() > deadline {
                return Err(overdue(changing.id, "settle"));
            }
            tokio::time::sleep(CHANGE_POLL).await;
        }
    }

    async fn live_changefeeds(&self, wanted: &ChangefeedSpec<'_>) -> Result<Vec<Job>> {
        let address = wanted.sink_address();
        let tables = normalized(wanted.tables.iter().map(|(schema, name)| {
            // CockroachDB lists them in full, with quotes where they are needed.
            format!("{}.{schema}.{name}", self.database())
        }));
        let is_it = |job: &Job| {
            job.sink == address && normalized(listed(&job.tables)) == tables && job.state != JobState::Ended
        };
        Ok(self.rows("SHOW CHANGEFEED JOBS").await?.iter().filter_map(job).filter(is_it).collect())
    }

    /// Another changefeed that sends to the same receiver, whatever its path and tables: the resolved timestamps of two
    /// say nothing about the rows of each other.
    pub async fn rival(&self, settings: &Changefeed, own: i64) -> Result<Option<Job>> {
        let receiver = sink_address(&settings.host, settings.port, &[]);
        let is_rival = |job: &Job| {
            let sends = matches!(job.state, JobState::Running | JobState::Changing);
            job.id != own && sends && job.sink.starts_with(&receiver)
        };
        Ok(self.rows("SHOW CHANGEFEED JOBS").await?.iter().filter_map(job).find(is_rival))
    }

    /// Every live changefeed that was created for a staging folder, whatever its tables and state.
    pub async fn changefeeds_into(&self, staging: &str) -> Result<Vec<Job>> {
        let is_it = |job: &Job| job.state != JobState::Ended && job.staging.as_deref() == Some(staging);
        Ok(self.rows("SHOW CHANGEFEED JOBS").await?.iter().filter_map(job).filter(is_it).collect())
    }

    /// A changefeed cannot begin where the history of its tables has been collected as garbage, or before they were made.
    /// Whether this user may read the tables does not matter.
    pub async fn refuse_cursor(&self, spec: &ChangefeedSpec<'_>) -> Result<()> {
        let cursor = spec.cursor;
        for table in spec.identifiers() {
            let sql = format!("SELECT 1 FROM {table} AS OF SYSTEM TIME '{cursor}' LIMIT 1");
            let Err(error) = self.rows(&sql).await else { continue };
            let (code, what, hint) = match Cause::of(&error) {
                Some(Cause::HistoryGone) => (
                    code::changefeed::HISTORY_GONE,
                    format!("the changefeed cannot begin at {cursor}, which is too old for {table}"),
                    "load the target anew, and begin a new run at the time of that load: a new --stagingSchema, with --cursor; \
                     gc.ttlseconds says how long history is kept",
                ),
                Some(Cause::Future) => (
                    code::changefeed::CURSOR_AHEAD,
                    format!("the changefeed cannot begin at {cursor}, which lies in the future"),
                    "give --cursor a time that SELECT cluster_logical_timestamp() returned on the source",
                ),
                Some(Cause::NoTable) => (
                    code::changefeed::CURSOR_BEFORE_TABLE,
                    format!("the changefeed cannot begin at {cursor}: {table} was made, or got its name, after that"),
                    "leave the table out with --table-exclusion-filter until the run has come past that; then load it, and take it \
                     in with --new-tables TIME",
                ),
                _ => continue,
            };
            return Err(Error::new(code, format!("{what}: {}", error.message)).hint(hint));
        }
        Ok(())
    }

    /// Creates the changefeed and returns the id of its job.
    pub async fn create_changefeed(&self, spec: &ChangefeedSpec<'_>) -> Result<i64> {
        let created = self.rows(spec.sql().reveal()).await;
        let rows = created.map_err(|error| explain(error, spec, self.user()))?;
        let id = rows.first().and_then(|row| row.get(0)).and_then(|id| id.parse().ok());
        id.ok_or_else(|| {
            Error::new(code::source::UNEXPECTED_ANSWER, "the source created the changefeed but did not say its job")
        })
    }

    /// Gives a paused changefeed the spec's sink and options, and takes these others from it.
    pub async fn alter_changefeed(&self, id: i64, spec: &ChangefeedSpec<'_>, dropped: &[&str]) -> Result<()> {
        let altered = self.rows(spec.alteration(id, dropped).reveal()).await;
        altered.map(drop).map_err(|error| {
            explain(error, spec, self.user()).hint(format!(
                "the changefeed (job {id}) has other settings than this run and could not be altered: CANCEL JOB {id}, and \
                 start ebb again: it creates a new one where staging is complete"
            ))
        })
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

    /// Has a changefeed that backs off try again at once.
    pub async fn wake(&self, id: i64) -> Result<()> {
        self.pause(id).await?;
        self.resume(id).await
    }

    pub async fn cancel(&self, id: i64) -> Result<()> {
        self.rows(&format!("CANCEL JOB {id}")).await?;
        self.await_state(id, "cancel", JobState::Ended).await
    }

    /// Jobs change their state some time after they were asked to.
    async fn await_state(&self, id: i64, what: &str, wanted: JobState) -> Result<()> {
        let deadline = Instant::now() + CHANGE_MAX;
        loop {
            let job = self.job(id).await?;
            match job.as_ref().map_or(JobState::Ended, |job| job.state) {
                state if state == wanted => return Ok(()),
                JobState::Ended => return Err(ended(id, job.as_ref())),
                _ if Instant::now() > deadline => return Err(overdue(id, what)),
                _ => tokio::time::sleep(CHANGE_POLL).await,
            }
        }
    }
}

fn overdue(id: i64, what: &str) -> Error {
    Error::new(
        code::changefeed::JOB_SLOW,
        format!("the changefeed (job {id}) did not {what} within {} s", CHANGE_MAX.as_secs()),
    )
    .hint(format!("look at SHOW CHANGEFEED JOB {id} on CockroachDB, then start ebb again"))
}

fn job(row: &AnswerRow) -> Option<Job> {
    let text = |name: &str| row.try_get(name).ok().flatten().unwrap_or_default().to_owned();
    Some(Job {
        id: text("job_id").parse().ok()?,
        state: JobState::of(&text("status")),
        running_status: without_queries(&text("running_status")),
        error: without_queries(&text("error")),
        high_water: text("high_water_timestamp").parse().ok(),
        sink: without_queries(&text("sink_uri")),
        staging: staging_of(&text("sink_uri")),
        tables: text("full_table_names"),
    })
}

fn staging_of(url: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let value = |pair: &str| {
        pair.split_once('=').filter(|(name, _)| *name == STAGING_PARAMETER).map(|(_, value)| value.to_owned())
    };
    query.split('&').find_map(value)
}

/// URLs of sinks, which CockroachDB's errors repeat, may hold a token in their query.
fn without_queries(text: &str) -> String {
    static QUERY: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"(://[^\s?"]*)\?[^\s"]*"#).expect("the pattern never changes"));
    QUERY.replace_all(text, "$1").into_owned()
}

/// The elements of an array as text, `{a.b.c,"\"x\".y.z"}`.
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

#[cfg(test)]
impl Job {
    pub(super) fn with_status(state: JobState, running_status: &str, error: &str) -> Self {
        Self {
            id: 7,
            state,
            running_status: running_status.into(),
            error: error.into(),
            high_water: None,
            sink: String::new(),
            staging: None,
            tables: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tables_compare_in_any_order_and_quoting() {
        let tables = normalized(listed(r#"{db.public.b,"db.public.\"My, T\"",db.public.a}"#));
        assert_eq!(tables, ["db.public.My, T", "db.public.a", "db.public.b"]);
    }

    #[test]
    fn queries_of_urls_are_left_out() {
        let check = |text: &str, expected: &str| assert_eq!(without_queries(text), expected);
        check(
            r#"transient error: Post "https://localhost:30004/molt/public?access_token=geheim": EOF"#,
            r#"transient error: Post "https://localhost:30004/molt/public": EOF"#,
        );
        check("running: resolved=17.5,0", "running: resolved=17.5,0");
        check("is that so? yes: https://a/b", "is that so? yes: https://a/b");
    }

    #[test]
    fn only_a_running_job_backs_off() {
        let check = |state: JobState, text: &str| Job::with_status(state, text, "").is_backing_off();
        assert!(check(JobState::Running, "transient error: connection refused"));
        assert!(check(JobState::Running, "retryable error: connection refused"));
        assert!(!check(JobState::Paused, "transient error: connection refused"));
        assert!(!check(JobState::Running, "running: resolved=1,0"));
    }
}
