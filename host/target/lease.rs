//! Who may apply a feed: one process, with the folder that was used last.
//!
//! Owns: taking the feed over, and the sign of life that keeps other processes away. Does not own: whether folder and target
//! belong together (`refusals`), and the fence, which holds whatever happens here (`sdk::progress`).
//!
//! Every start gives itself a number, which the folder notes before the target does. A folder whose number the target does
//! not have is a copy, or was replaced: rows that were acknowledged since are not in it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ebb_sdk::{ErrorKind, LeaseRenewal, Progress, Topic};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::feed_state::{LeaseNote, SourceName};
use super::starts::{ESTABLISHED_MAX, Starts, boot};
use super::{FeedState, Lease, Target};
use crate::code;
use crate::error::{Error, Result};
use crate::history::{Entry, Event};
use crate::plugin::Session;
use crate::stage::{MetadataFile, RunState, disk, new_number};
use crate::threads;

/// How long a process counts as alive after a sign of life, and how often it gives one.
const ALIVE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(10);
/// How long the end of a run waits until the feed is given free.
const END_WAIT: Duration = Duration::from_secs(2);

/// The folder and feed of a run. Clones are the same.
#[derive(Clone)]
pub struct Holder {
    pub(super) run_state: RunState,
    feed: String,
    place: String,
    is_forced: bool,
    /// What the changefeed of this run sends; `None` where it is somebody else's.
    pub(super) tables: Option<Vec<SourceName>>,
    pub(super) taken_in: Vec<SourceName>,
    /// The number of this start, once it is established; before, the target keeps the note that it has.
    established: Arc<Mutex<Option<i64>>>,
    /// Whether what is taken over was another process's, or of this folder somewhere else.
    is_others: Arc<AtomicBool>,
    /// Set once the feed is not this process's any more, or it cannot be said that it is.
    lost: watch::Sender<Option<Error>>,
}

impl Holder {
    /// `is_forced`: `--take-over`.
    pub fn new(run_state: RunState, feed: &str, folder: &Path, is_forced: bool) -> Self {
        Self {
            run_state,
            feed: feed.to_owned(),
            place: disk::identity(folder),
            is_forced,
            tables: None,
            taken_in: Vec::new(),
            established: Arc::default(),
            is_others: Arc::default(),
            lost: watch::Sender::default(),
        }
    }

    pub fn feed(&self) -> &str {
        &self.feed
    }

    /// Keeps for the next start which tables the changefeed sends; those that are taken in by this one need not have been known
    /// to the target.
    pub fn keep_tables(&mut self, tables: Vec<SourceName>, taken_in: &[SourceName]) {
        self.tables = Some(tables);
        self.taken_in = taken_in.to_vec();
    }

    /// Whether the folder is certainly the one that the last run has ended with: neither was it put back from a backup, nor
    /// was the machine. Only to be asked before the start is established.
    pub fn is_continued(&self) -> Result<bool> {
        let starts = self.run_state.load::<Starts>(MetadataFile::Starts)?;
        // A version that did not note it is believed.
        Ok(starts
            .is_none_or(|starts| starts.place == self.place && starts.boot == boot() && !self.run_state.is_put_back()))
    }

    /// How long another process may still be alive; zero when there is none that this one must not end.
    fn other_alive(&self, found: &FeedState) -> Result<Duration> {
        let Some(progress) = found.progress.filter(|_| !self.is_forced) else { return Ok(Duration::ZERO) };
        let starts = self.run_state.load::<Starts>(MetadataFile::Starts)?;
        // The folder is locked: its own last process has ended.
        let is_here = self.is_own(starts.as_ref(), progress.writer)
            && starts.as_ref().is_none_or(|starts| starts.place == self.place);
        Ok(if is_here { Duration::ZERO } else { found.alive })
    }

    /// The same, asked again and again with what was answered last.
    ///
    /// # Errors
    /// When it has given another sign of life since.
    pub fn still_alive(&self, found: &FeedState, last: &mut Option<Duration>) -> Result<Duration> {
        let alive = self.other_alive(found)?;
        match last.replace(alive).is_some_and(|last| alive > last) {
            true => Err(self.somebody_is_alive()),
            false => Ok(alive),
        }
    }

    /// Notes in the folder that this process is about to take over. Returns the number it does so by.
    pub fn begin(&self, found: &FeedState) -> Result<i64> {
        let known = self.run_state.load::<Starts>(MetadataFile::Starts)?.unwrap_or_default();
        let previous = found.progress.map_or(0, |progress| found.established(progress));
        let is_here = known.place.is_empty() || known.place == self.place;
        let is_others = found.progress.is_some_and(|progress| !is_here || !self.is_own(Some(&known), progress.writer));
        self.is_others.store(is_others, Ordering::Relaxed);
        let starts = known.begun(new_number(), previous);
        self.run_state.save(MetadataFile::Starts, &starts)?;
        Ok(starts.current)
    }

    /// Takes the feed over, by the number of [`Holder::begin`].
    pub fn take(&self, mut session: Session, writer: i64) -> ebb_sdk::Result<Lease> {
        let progress = session.take_over(&self.feed, writer)?;
        session.renew(&self.renewal(progress.epoch, ALIVE))?;
        Ok(Lease { session, progress })
    }

    /// Notes in the folder that it was taken over.
    pub fn confirm(&self, progress: Progress) -> Result<()> {
        let starts = self.run_state.load::<Starts>(MetadataFile::Starts)?.unwrap_or_default();
        self.run_state.save(MetadataFile::Starts, &starts.confirmed(progress.epoch))?;
        // An ordinary start goes on with what is its own.
        if !self.is_others.load(Ordering::Relaxed) {
            return Ok(());
        }
        let how = if self.is_forced { ", as --take-over asks for" } else { "" };
        let text = format!(
            "this run writes to the target from now on{how}; the feed was another process's, or this folder on another \
             machine: epoch {}",
            progress.epoch
        );
        self.run_state.history().note(Entry::new(Event::TookOver, text).fact("epoch", progress.epoch));
        Ok(())
    }

    /// Notes on the target that rows are staged in this folder from now on. To be called before the first one is acknowledged;
    /// then [`Holder::note_established`].
    pub fn mark_established(&self, session: &mut Session, progress: Progress) -> Result<ebb_sdk::Result<()>> {
        let starts = self.run_state.load::<Starts>(MetadataFile::Starts)?.unwrap_or_default();
        *self.established.lock() = Some(starts.current);
        Ok(session.renew(&self.renewal(progress.epoch, ALIVE)))
    }

    /// Notes in the folder where it stands now. `is_compared`: that it holds all the rows that it must was made sure of.
    pub fn note_established(&self, is_compared: bool) -> Result<()> {
        let mut starts = self.run_state.load::<Starts>(MetadataFile::Starts)?.unwrap_or_default();
        starts.established.push(starts.current);
        let spare = starts.established.len().saturating_sub(ESTABLISHED_MAX);
        starts.established.drain(..spare);
        if is_compared {
            (starts.place, starts.boot) = (self.place.clone(), boot());
            self.run_state.compared()?;
        }
        self.run_state.save(MetadataFile::Starts, &starts)
    }

    /// Gives the feed free after a start that has failed: nobody need wait until it counts as dead.
    pub fn give_free(&self, session: &mut Session, progress: Progress) {
        if let Err(error) = session.renew(&self.renewal(progress.epoch, Duration::ZERO)) {
            tracing::debug!("the feed is not given free: {error}");
        }
    }

    /// Set once another process has taken the feed over, or signs of life have ended by themselves: the process must end.
    pub fn lost(&self) -> watch::Receiver<Option<Error>> {
        self.lost.subscribe()
    }

    /// Gives signs of life, by a connection of its own, until what is returned is dropped; then the feed is free.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn keep(&self, target: &Target, epoch: i64) -> Result<Keeper> {
        let (end, ended) = channel();
        let (done, is_done) = channel();
        let (holder, target, lost) = (self.clone(), target.clone(), self.lost.clone());
        let on_end = move |outcome: Result<()>| {
            if let Err(error) = outcome {
                lost.send_replace(Some(error));
            }
            // Nobody listens when it took too long.
            let _ = done.send(());
        };
        threads::spawn("lease", on_end, move || {
            holder.renew_until(&target, epoch, &ended);
            Ok(())
        })?;
        Ok(Keeper { end: Some(end), is_done })
    }

    fn renew_until(&self, target: &Target, epoch: i64, ended: &Receiver<()>) {
        let mut session = None;
        loop {
            let is_over = !matches!(ended.recv_timeout(INTERVAL), Err(RecvTimeoutError::Timeout));
            let alive = if is_over { Duration::ZERO } else { ALIVE };
            if let Err(error) = self.renew(target, &mut session, &self.renewal(epoch, alive)) {
                // What it means for the rows is found out, and said, where they are written.
                match (error.kind, error.topic) {
                    // What comes from now on is for the other process: it must not be acknowledged here.
                    (ErrorKind::Broken, Topic::Fenced) => {
                        self.lost.send_replace(Some(ebb_sdk::overtaken(&self.feed).into()));
                    }
                    (ErrorKind::Broken, Topic::Moved) => {
                        self.lost.send_replace(Some(error.into()));
                    }
                    (ErrorKind::Retry, _) => tracing::debug!("no sign of life could be given: {error}"),
                    _ => tracing::warn!(
                        error_code = code::topics::of(&error).text(),
                        hint = error.hint,
                        "no sign of life could be given: {error}"
                    ),
                }
                session = None;
            }
            if is_over {
                return;
            }
        }
    }

    fn renew(&self, target: &Target, session: &mut Option<Session>, renewal: &LeaseRenewal) -> ebb_sdk::Result<()> {
        match session {
            Some(session) => session.renew(renewal),
            None => session.insert(target.plugin.connect(&target.connect)?).renew(renewal),
        }
    }

    fn renewal(&self, epoch: i64, alive: Duration) -> LeaseRenewal {
        let established = *self.established.lock();
        let kept = |_| LeaseNote { staged: self.run_state.resolved(), tables: self.tables.clone(), established };
        let note = established.map(kept).and_then(|kept| serde_json::to_string(&kept).ok());
        let alive_ms = u64::try_from(alive.as_millis()).unwrap_or(u64::MAX);
        LeaseRenewal { feed: self.feed.clone(), epoch, alive_ms, note }
    }
}

/// Signs of life are given until it is dropped.
pub struct Keeper {
    end: Option<Sender<()>>,
    is_done: Receiver<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.end.take());
        // The process ends either way; without the last word the feed is free after a minute.
        let _ = self.is_done.recv_timeout(END_WAIT);
    }
}
