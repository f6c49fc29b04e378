//! The changefeed of a run that goes on: what becomes of it is noticed and said.
//!
//! Owns: looking at its job, and saying why nothing arrives. Does not own: when (`daemon`), which changefeed it is (`mod`).

use std::time::{Duration, Instant};

use super::faults::{answered, ended, said};
use super::jobs::{Job, JobState};
use super::rivalry;
use crate::code;
use crate::config::{Changefeed, OnExit};
use crate::error::{Error, Result};
use crate::lasting::{Lasting, for_so_long};
use crate::source::{Cause, Source};
use crate::status::ChangefeedState;

/// A silence, or a source that cannot be asked, is said after so long: a few attempts may fail.
const TOLD_AFTER: Duration = Duration::from_secs(15);

/// The changefeed of a run.
pub struct Feed {
    source: Source,
    job: i64,
    settings: Changefeed,
    /// When something could arrive first.
    since: Instant,
    /// It is paused.
    paused: Option<Lasting>,
    /// Nothing arrives, and its attempts fail.
    silent: Option<Lasting>,
    /// The source does not say what becomes of it.
    unseen: Option<Lasting>,
}

impl Feed {
    pub fn new(source: Source, job: i64, settings: &Changefeed) -> Self {
        let (since, settings) = (Instant::now(), settings.clone());
        Self { source, job, settings, since, paused: None, silent: None, unseen: None }
    }

    /// Its job on CockroachDB.
    pub fn job(&self) -> i64 {
        self.job
    }

    /// How old what it has not delivered may become before it fails.
    pub async fn protection_max(&self) -> Option<Duration> {
        self.source.protection_max().await
    }

    /// As it was seen last.
    pub fn state(&self) -> ChangefeedState {
        let is_unseen = self.unseen.as_ref().is_some_and(|unseen| unseen.lasted() >= TOLD_AFTER);
        match (is_unseen, &self.paused, &self.silent) {
            (true, _, _) => ChangefeedState::Unseen,
            (false, Some(_), _) => ChangefeedState::Paused,
            (false, None, Some(_)) => ChangefeedState::Fails,
            (false, None, None) => ChangefeedState::Runs,
        }
    }

    /// An error once the changefeed has ended, or another one sends here too. A source that cannot be asked is not an error:
    /// what it sends counts. `arrived`: when it last sent something; `is_held`: ebb lets requests wait, since staging is full.
    pub async fn look(&mut self, arrived: Option<Instant>, is_held: bool) -> Result<()> {
        let job = match self.source.job(self.job).await {
            Ok(Some(job)) if job.is_paused_by_error() => return Err(ended(self.job, Some(&job))),
            Ok(Some(job)) if job.state != JobState::Ended => job,
            Ok(job) => return Err(ended(self.job, job.as_ref())),
            Err(error) => {
                self.note_unseen(&error);
                return Ok(());
            }
        };
        self.note_pause(&job);
        if is_held {
            // The silence is ebb's own, and said by staging.
            self.since = Instant::now();
        }
        self.note_silence(&job, arrived);
        match self.source.rival(&self.settings, self.job).await {
            Ok(None) => self.note_seen(),
            Ok(Some(rival)) => return Err(rivalry(&self.settings, &rival)),
            Err(error) => self.note_unseen(&error),
        }
        Ok(())
    }

    /// There may be reasons to pause it; that nothing arrives should not be a riddle.
    fn note_pause(&mut self, job: &Job) {
        if job.state == JobState::Paused {
            if let Some(lasted) = self.paused.get_or_insert_with(Lasting::begun).due() {
                let ago = if lasted.as_secs() == 0 { String::new() } else { format!(" {} s ago", lasted.as_secs()) };
                tracing::warn!(
                    error_code = code::changefeed::PAUSED.text(),
                    hint = format!("RESUME JOB {}", job.id),
                    "the changefeed (job {}) was paused by somebody{ago}: it sends nothing until it is resumed",
                    job.id
                );
            }
        } else if let Some(paused) = self.paused.take() {
            self.since = Instant::now();
            tracing::info!("the changefeed (job {}) was resumed after {} s", job.id, paused.lasted().as_secs());
        }
    }

    /// Nothing of its attempts may be seen here: a name that CockroachDB cannot resolve, a port that is closed.
    fn note_silence(&mut self, job: &Job, arrived: Option<Instant>) {
        let last = arrived.map_or(self.since, |arrived| arrived.max(self.since));
        if job.state == JobState::Paused || last.elapsed() < TOLD_AFTER {
            if let Some(silent) = self.silent.take()
                && arrived == Some(last)
            {
                tracing::info!(
                    "the changefeed (job {}) gets through again after {} s",
                    job.id,
                    silent.lasted().as_secs()
                );
            }
        } else if job.is_backing_off() || job.state != JobState::Running {
            let Some(lasted) = self.silent.get_or_insert_with(|| Lasting::since(last)).due() else { return };
            let (code, hint) = mended(&job.running_status, &self.settings);
            tracing::warn!(
                error_code = code.text(),
                hint,
                "nothing has arrived for {} s: CockroachDB reports for job {}: {}",
                lasted.as_secs(),
                job.id,
                said(&job.running_status)
            );
        }
    }

    fn note_unseen(&mut self, error: &Error) {
        let unseen = self.unseen.get_or_insert_with(Lasting::begun);
        if unseen.lasted() >= TOLD_AFTER
            && let Some(lasted) = unseen.due()
        {
            tracing::warn!(
                error_code = error.code.text(),
                hint = error.hint,
                "the changefeed (job {}) cannot be looked at{}: {error}; what arrives is received and applied",
                self.job,
                for_so_long(lasted)
            );
        }
    }

    fn note_seen(&mut self) {
        if let Some(unseen) = self.unseen.take().filter(Lasting::was_told) {
            tracing::info!("the source answers again after {} s", unseen.lasted().as_secs());
        }
    }

    /// What `--on-exit` asks for.
    pub async fn end(&self, on_exit: OnExit) -> Result<()> {
        match on_exit {
            OnExit::Leave => Ok(()),
            OnExit::Pause => self.source.pause(self.job).await,
            OnExit::Cancel => self.source.cancel(self.job).await,
        }
    }
}

/// What mends that CockroachDB does not get through, by what it says of its last attempt.
fn mended(status: &str, settings: &Changefeed) -> (code::Code, String) {
    let Changefeed { host, port, .. } = settings;
    if answered(status).is_some() {
        let hint = "ebb, or a proxy in front of it, refuses its requests: see `a request was refused` in ebb's log";
        return (code::changefeed::NOTHING_ARRIVES, hint.to_owned());
    }
    if Cause::told(status) == Some(Cause::Certificate) {
        let hint = format!(
            "the receiver's certificate (--tlsCertificate) must be valid, be for \"{host}\" and be issued by the ca_cert in \
             the changefeeds file: ebb certs --renew --host {host}, then start ebb again"
        );
        return (code::changefeed::RECEIVER_NOT_TRUSTED, hint);
    }
    let hint = format!(
        "\"host\" in the changefeeds file is {host}, \"port\" is {port}: it must be the name by which every CockroachDB node \
         reaches this machine"
    );
    (code::changefeed::NOTHING_ARRIVES, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{InitialScan, NewTables};

    #[test]
    fn what_cockroachdb_reports_tells_what_to_mend() {
        let settings = Changefeed {
            table_filter: regex::Regex::new("").unwrap(),
            table_exclusion_filter: None,
            schema_filter: regex::Regex::new("").unwrap(),
            host: "ebb.nosuch.invalid".into(),
            port: 30004,
            sink_query_parameters: ebb_sdk::Secret::new(""),
            options: Vec::new(),
            cursor: None,
            new_tables: NewTables::Refuse,
            initial_scan: InitialScan::No,
            on_exit: OnExit::Leave,
        };
        let check = |status: &str, code, part: &str| {
            let (found, hint) = mended(status, &settings);
            assert_eq!(found, code, "{status}");
            assert!(hint.contains(part), "{hint}");
            assert_eq!(hint.contains("ebb.nosuch.invalid"), !part.contains("refused"), "{hint}");
        };
        let unreachable = code::changefeed::NOTHING_ARRIVES;
        check("transient error: lookup ebb.nosuch.invalid: no such host", unreachable, "every CockroachDB node");
        check("transient error: dial tcp: connect: connection refused", unreachable, "30004");
        check("transient error: 401 Unauthorized: the certificate is not known", unreachable, "a request was refused");
        check("transient error: 404 Not Found: this path is not a schema", unreachable, "a request was refused");
        let untrusted = code::changefeed::RECEIVER_NOT_TRUSTED;
        check("retryable error: x509: certificate signed by unknown authority", untrusted, "--tlsCertificate");
        check("transient error: remote error: tls: bad certificate", untrusted, "ca_cert");
    }
}
