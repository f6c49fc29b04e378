//! The changefeed of a run that goes on: what becomes of it is noticed and said.
//!
//! Owns: looking at its job. Does not own: when (`daemon`), which changefeed it is (`mod`).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::jobs::{Job, JobState, ended};
use super::rivalry;
use crate::config::{Changefeed, OnExit};
use crate::error::{Error, Result};
use crate::source::Source;

/// The changefeed of a run.
pub struct Feed {
    source: Source,
    job: i64,
    settings: Changefeed,
    /// It was seen paused.
    paused: AtomicBool,
    /// So many looks in a row have seen that its attempts fail.
    failing: AtomicU32,
}

/// After so many looks, half a minute, it is said.
const FAILING_TOLD: u32 = 6;

impl Feed {
    pub fn new(source: Source, job: i64, settings: &Changefeed) -> Self {
        Self { source, job, settings: settings.clone(), paused: AtomicBool::new(false), failing: AtomicU32::new(0) }
    }

    /// Its job on CockroachDB.
    pub fn job(&self) -> i64 {
        self.job
    }

    /// An error once the changefeed has ended, or another one sends here too. A source that cannot be asked is not an error: what it sends counts.
    pub async fn look(&self) -> Result<()> {
        let unseen = |error: Error| tracing::debug!("the changefeed cannot be looked at: {error}");
        match self.source.job(self.job).await {
            Ok(Some(job)) if job.is_paused_by_error() => return Err(ended(self.job, Some(&job))),
            Ok(Some(job)) if job.state != JobState::Ended => {
                self.note_pause(&job);
                self.note_failures(&job);
            }
            Ok(job) => return Err(ended(self.job, job.as_ref())),
            Err(error) => {
                unseen(error);
                return Ok(());
            }
        }
        match self.source.rival(&self.settings, self.job).await {
            Ok(None) => Ok(()),
            Ok(Some(rival)) => Err(rivalry(&self.settings, &rival)),
            Err(error) => {
                unseen(error);
                Ok(())
            }
        }
    }

    /// There may be reasons to pause it; that nothing comes should not be a riddle.
    fn note_pause(&self, job: &Job) {
        let is_paused = job.state == JobState::Paused;
        if is_paused && !self.paused.swap(is_paused, Ordering::Relaxed) {
            tracing::warn!(
                hint = format!("RESUME JOB {}", job.id),
                "the changefeed (job {}) was paused by somebody: nothing is sent until it is resumed",
                job.id
            );
        } else if !is_paused && self.paused.swap(false, Ordering::Relaxed) {
            tracing::info!("the changefeed (job {}) was resumed", job.id);
        }
    }

    /// Nothing comes while its attempts fail, and here nothing may be seen of them.
    fn note_failures(&self, job: &Job) {
        if !job.is_backing_off() {
            if self.failing.swap(0, Ordering::Relaxed) >= FAILING_TOLD {
                tracing::info!("the changefeed (job {}) gets through again", job.id);
            }
        } else if self.failing.fetch_add(1, Ordering::Relaxed) + 1 == FAILING_TOLD {
            tracing::warn!(
                hint = format!(
                    "see that every node of CockroachDB reaches {}:{}, and trusts its certificate",
                    self.settings.host, self.settings.port
                ),
                "nothing comes: the changefeed (job {}) has failed for half a minute: {}",
                job.id,
                job.running_status
            );
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
