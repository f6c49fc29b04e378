//! Connecting to a target that was lost or was not there, and finding out what it holds.
//!
//! Owns: the meaning of an unknown outcome: the progress row tells. Does not own: what is tried again afterwards.

use std::time::{SystemTime, UNIX_EPOCH};

use ebb_sdk::{ErrorKind, Progress, Timestamp, Topic};

use super::retry::Backoff;
use super::same_tables;
use super::{Applier, Pause};
use crate::code;
use crate::error::{Error, Result};
use crate::order::Interval;
use crate::plugin::{Applied, Session};
use crate::target::refuse_restored_target;
use crate::target::{FeedState, Lease};

/// What became of a transaction whose connection was lost.
pub(super) enum CommitOutcome {
    Committed(Applied),
    NotCommitted,
    /// A stop was asked for before it could be found out.
    Stopped,
}

impl Applier {
    /// Drops the session, waits, connects anew until it succeeds or a stop is asked for, and reads the progress row.
    pub(super) fn reconnect(
        &mut self,
        lease: &mut Lease,
        failure: &ebb_sdk::Error,
        backoff: &mut Backoff,
        interval: Interval,
    ) -> Result<CommitOutcome> {
        lease.session.close();
        let opened = self.retried(failure.clone(), backoff, |applier| {
            let mut session = applier.open()?;
            let progress = session.progress(applier.holder.feed())?;
            Ok((session, progress))
        })?;
        let Some((opened, progress)) = opened else { return Ok(CommitOutcome::Stopped) };
        lease.session = opened;
        self.outcome(progress, lease.progress().epoch, interval)
    }

    /// Takes over a feed whose target was down at start, unless another process has since. `None` when a stop is asked for
    /// meanwhile.
    pub fn take_over(&mut self) -> Result<Option<Lease>> {
        let mut backoff = self.backoff();
        let mut failure =
            ebb_sdk::Error::new(ErrorKind::Retry, "the target was down at start").topic(Topic::Unreachable);
        let mut last = None;
        loop {
            let looked = self.retried(failure, &mut backoff, |applier| {
                let mut session = applier.open()?;
                let found = FeedState::of(&mut session, applier.holder.feed())?;
                Ok((session, found))
            })?;
            let Some((session, found)) = looked else { return Ok(None) };
            if !self.holder.still_alive(&found, &mut last)?.is_zero() {
                failure = ebb_sdk::Error::new(ErrorKind::Retry, "another ebb was alive less than a minute ago")
                    .topic(Topic::Fenced);
                continue;
            }
            self.holder.admit(&found)?;
            self.holder.refuse_unknown_tables(&found)?;
            found.progress.map_or(Ok(()), |progress| refuse_restored_target(self.backlog.released(), progress))?;
            let is_continued = self.holder.is_continued()?;
            let writer = self.holder.begin(&found)?;
            match self.holder.take(session, writer) {
                Ok(mut lease) => {
                    let progress = lease.progress();
                    self.holder.confirm(progress)?;
                    match self.holder.mark_established(&mut lease.session, progress)? {
                        Ok(()) => self.holder.note_established(is_continued)?,
                        Err(error) if error.kind == ErrorKind::Retry => {
                            failure = error;
                            continue;
                        }
                        Err(error) => return Err(error.into()),
                    }
                    let seconds = self.pace.outage.end().unwrap_or_default();
                    self.status.target_answers();
                    tracing::info!(applied = %progress.applied, "the target is there after {seconds} s; rows are applied from now on");
                    return Ok(Some(lease));
                }
                Err(error) if error.kind == ErrorKind::Retry => failure = error,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Tries until it succeeds, fails for good, or a stop is asked for (`None`).
    fn retried<T>(
        &mut self,
        mut failure: ebb_sdk::Error,
        backoff: &mut Backoff,
        mut attempt: impl FnMut(&mut Self) -> ebb_sdk::Result<T>,
    ) -> Result<Option<T>> {
        loop {
            let delay = backoff.next(jitter());
            self.status.retried(code::topics::of(&failure));
            self.pace.outage.failed(&failure, delay, self.backlog.forecast());
            if matches!(self.pause(delay), Pause::Stop) {
                return Ok(None);
            }
            match attempt(self) {
                Ok(value) => return Ok(Some(value)),
                Err(error) if error.kind == ErrorKind::Retry => {
                    self.status.tables.failed(None);
                    failure = error;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) fn open(&self) -> ebb_sdk::Result<Session> {
        self.heartbeat().beat();
        let mut session = self.target.plugin.connect(&self.target.connect)?;
        self.heartbeat().beat();
        let now = session.describe()?;
        // Tables and columns were matched at start: one that is written and has changed since needs a new start.
        let written = self.tables.list().iter().map(|table| table.position);
        let positions = same_tables::positions(&self.catalog, &now, written).map_err(|table| {
            ebb_sdk::Error::new(ErrorKind::Config, format!("the target's table {table} has changed while ebb ran"))
                .topic(Topic::Changed)
                .hint("start ebb again with the same command: it goes on where it stopped")
                .table(table)
        })?;
        session.place_tables(positions);
        self.heartbeat().beat();
        Ok(session)
    }

    /// Nobody else has written while nothing was.
    pub(super) fn unmoved(&self, progress: Option<Progress>, known: Progress) -> Result<()> {
        let interval = Interval { from: known.applied, to: Timestamp { wall: i64::MAX, logical: 0 } };
        self.outcome(progress, known.epoch, interval).map(drop)
    }

    /// The progress row tells whether a commit of unknown outcome took place.
    pub(super) fn outcome(&self, progress: Option<Progress>, epoch: i64, interval: Interval) -> Result<CommitOutcome> {
        let Some(progress) = progress else {
            return Err(Error::new(
                code::target::PROGRESS_LOST,
                format!("the progress row of {} has vanished from the target", self.holder.feed()),
            )
            .hint("somebody removed it, or the target was restored from a backup; see what the target holds"));
        };
        if progress.epoch != epoch {
            return Err(ebb_sdk::overtaken(self.holder.feed()).into());
        }
        match progress.applied {
            applied if applied == interval.to => {
                tracing::info!(to = %applied, "the transaction whose answer was lost had been committed");
                Ok(CommitOutcome::Committed(Applied::shown(Some(progress))))
            }
            applied if applied == interval.from => Ok(CommitOutcome::NotCommitted),
            applied => Err(Error::new(
                code::target::PROGRESS_MOVED,
                format!(
                    "the target stands at {applied}, and not at {}, where it stood before the transaction in hand",
                    interval.from
                ),
            )
            .hint("the target was restored or changed by hand; start ebb again, which checks what is missing")),
        }
    }
}

/// Not for secrets: only to keep two writers out of step.
fn jitter() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_micros())
}
