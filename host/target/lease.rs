//! Who may apply a feed: one process, with the folder that was used last.
//!
//! Owns: what folder and target say of each other's last start, and the sign of life that keeps other processes away. Does
//! not own: the fence, which holds whatever happens here (`sdk::progress`).
//!
//! Every start gives itself a number, which the folder notes before the target does. A folder whose number the target does
//! not have is a copy, or was replaced: rows that were acknowledged since are not in it.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use ebb_sdk::{ErrorKind, LeaseRenewal, Progress, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::found::{Kept, SourceName};
use super::{Found, Lease, Target};
use crate::error::{Error, Result};
use crate::plugin::Session;
use crate::stage::{MetadataFile, RunState, disk, new_number};

/// How long a process counts as alive after a sign of life, and how often it gives one.
const ALIVE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(10);
/// How long the end of a run waits until the feed is given free.
const END_WAIT: Duration = Duration::from_secs(2);

/// What a folder knows of its own starts.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Starts {
    /// The number of the last start, whether or not it came to taking over.
    current: i64,
    /// The number that the target had before it.
    previous: i64,
    /// The epoch that was taken last.
    epoch: i64,
    /// Where the folder stood at the last start that was established; a copy stands elsewhere.
    place: String,
    /// Since when the machine had been running then.
    #[serde(default)]
    boot: String,
    /// The numbers of all starts that were established, of the last [`ESTABLISHED_MAX`].
    #[serde(default, rename = "settled")]
    established: Vec<i64>,
}

/// So many starts a restored target may have fallen back.
const ESTABLISHED_MAX: usize = 10_000;

/// The folder and feed of a run. Clones are the same.
#[derive(Clone)]
pub struct Holder {
    run_state: RunState,
    feed: String,
    place: String,
    is_forced: bool,
    /// What the changefeed of this run sends; `None` where it is somebody else's.
    tables: Option<Vec<SourceName>>,
    taken_in: Vec<SourceName>,
    /// The number of this start, once it is established; before, the target keeps the note that it has.
    established: Arc<Mutex<Option<i64>>>,
    /// Turns true when the target says that another process has taken the feed over.
    overtaken: watch::Sender<bool>,
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
            overtaken: watch::channel(false).0,
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

    /// Of a target that was down at start it is known only later what it holds.
    pub fn refuse_unknown_tables(&self, found: &Found) -> Result<()> {
        let (Some(tables), Some(known)) = (&self.tables, found.tables()) else { return Ok(()) };
        let is_unknown = |table: &&SourceName| !known.contains(table) && !self.taken_in.contains(table);
        tables.iter().find(is_unknown).map_or(Ok(()), |(schema, name)| {
            Err(Error::new(format!(
                "the target was not replicated {schema}.{name} to, though this run does so: what was changed there before would be \
                 missing"
            ))
            .hint("start again while the target is there: it is then said what is to be loaded"))
        })
    }

    /// Whether the folder is certainly the one that the last run has ended with: neither was it put back from a backup, nor
    /// was the machine. Only to be asked before the start is established.
    pub fn is_continued(&self) -> Result<bool> {
        let starts = self.run_state.load::<Starts>(MetadataFile::Starts)?;
        // A version that did not note it is believed.
        Ok(starts
            .is_none_or(|starts| starts.place == self.place && starts.boot == boot() && !self.run_state.is_put_back()))
    }

    /// Whether this process may take the feed over with what its folder holds.
    ///
    /// # Errors
    /// When rows may be missing in the folder or on the target.
    pub fn admit(&self, found: &Found) -> Result<()> {
        let starts = self.run_state.load::<Starts>(MetadataFile::Starts)?;
        let Some(progress) = found.progress else { return self.refuse_lost_progress(starts.as_ref()) };
        let is_own = self.is_own(starts.as_ref(), found.established(progress));
        if self.run_state.is_fresh() {
            return Ok(());
        }
        let epoch = starts.as_ref().map_or(0, |starts| starts.epoch);
        // A target that was restored from a backup stands at an earlier start of this folder; whether it lacks rows is told by
        // its progress. One that stands at somebody else's is another target.
        let established = starts.map(|starts| starts.established).unwrap_or_default();
        let is_earlier =
            progress.epoch < epoch && (established.is_empty() || established.contains(&found.established(progress)));
        if !is_own && !is_earlier && progress.epoch < epoch {
            return Err(self.not_the_target());
        }
        if !is_own && !is_earlier {
            return Err(self.not_the_last_folder(&format!(
                "it was opened {epoch} times, and the target has seen {} starts of this feed",
                progress.epoch
            )));
        }
        let staged = found.kept.as_ref().map_or(Timestamp::ZERO, |kept| kept.staged).max(progress.applied);
        let resolved = self.run_state.resolved();
        // Nothing is resolved before an initial scan is complete.
        if is_own && resolved > Timestamp::ZERO && staged > resolved {
            return Err(self.not_the_last_folder(&format!(
                "it is complete up to {resolved}, and the target knows of a folder that was complete up to {staged}"
            )));
        }
        Ok(())
    }

    /// How long another process may still be alive; zero when there is none that this one must not end.
    fn other_alive(&self, found: &Found) -> Result<Duration> {
        let Some(progress) = found.progress.filter(|_| !self.is_forced) else { return Ok(Duration::ZERO) };
        let starts = self.run_state.load::<Starts>(MetadataFile::Starts)?;
        // The folder is locked: its own last process has ended.
        let is_here = self.is_own(starts.as_ref(), progress.writer)
            && starts.as_ref().is_none_or(|starts| starts.place == self.place);
        Ok(if is_here { Duration::ZERO } else { found.alive })
    }

    fn is_own(&self, starts: Option<&Starts>, writer: i64) -> bool {
        match starts {
            Some(starts) => [starts.current, starts.previous].contains(&writer),
            // A folder of a version that gave every start of it the same number.
            None => self.run_state.id() == writer.to_string(),
        }
    }

    fn refuse_lost_progress(&self, starts: Option<&Starts>) -> Result<()> {
        if starts.is_none_or(|starts| starts.epoch == 0) {
            return Ok(());
        }
        Err(Error::new(format!(
            "the target has no progress row of {}, though this staging folder has been applied to it: which rows it holds is \
             not known",
            self.feed
        ))
        .hint(
            "give --target of the database that was written before, or put back its row of ebb_progress from a backup; if \
             the target was loaded anew, begin a new run: a new --stagingSchema, with --cursor at the time it was loaded",
        ))
    }

    /// The same, asked again and again with what was answered last.
    ///
    /// # Errors
    /// When it has given another sign of life since.
    pub fn still_alive(&self, found: &Found, last: &mut Option<Duration>) -> Result<Duration> {
        let alive = self.other_alive(found)?;
        match last.replace(alive).is_some_and(|last| alive > last) {
            true => Err(self.somebody_is_alive()),
            false => Ok(alive),
        }
    }

    fn somebody_is_alive(&self) -> Error {
        Error::new(format!("another ebb applies the feed {}: it has just given a sign of life", self.feed))
            .hint("end it first, then start again; or give --take-over, which ends it")
    }

    fn not_the_target(&self) -> Error {
        Error::new(format!(
            "the target does not know this staging folder of the feed {}: it is the target of another run, or was put back from a \
             backup of before the folder was begun",
            self.feed
        ))
        .hint(
            "give the --target that the folder was applied to; if it was put back, move the staging folder aside and start again with \
             the same command: the changefeed is then created anew at the target's progress (under ebb start create it anew \
             yourself, WITH cursor = that progress)",
        )
    }

    fn not_the_last_folder(&self, how: &str) -> Error {
        Error::new(format!(
            "this staging folder is not the one that the feed {} was staged in last ({how}): rows that were acknowledged \
             since are not in it",
            self.feed
        ))
        .hint(
            "give --staging-dir of the folder that was used last; if that is gone, move this one away and start again with the \
             same command: the changefeed is then created anew at the target's progress (under ebb start create it anew yourself, WITH \
             cursor = that progress)",
        )
    }

    /// Notes in the folder that this process is about to take over. Returns the number it does so by.
    pub fn begin(&self, found: &Found) -> Result<i64> {
        let known = self.run_state.load::<Starts>(MetadataFile::Starts)?.unwrap_or_default();
        let previous = found.progress.map_or(0, |progress| found.established(progress));
        let starts = Starts { current: new_number(), previous, ..known };
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
        self.run_state.save(MetadataFile::Starts, &Starts { epoch: progress.epoch, ..starts })
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

    /// Why this process ends then.
    pub fn another_has_taken_over(feed: &str) -> ebb_sdk::Error {
        ebb_sdk::Error::new(ErrorKind::Broken, format!("another ebb has taken over feed {feed}"))
            .hint("one process applies a feed; end one of the two")
    }

    /// Turns true when another process has taken the feed over.
    pub fn overtaken(&self) -> watch::Receiver<bool> {
        self.overtaken.subscribe()
    }

    /// Gives signs of life, by a connection of its own, until what is returned is dropped; then the feed is free.
    pub fn keep(&self, target: &Target, epoch: i64) -> Keeper {
        let (end, ended) = channel();
        let (done, is_done) = channel();
        let (holder, target) = (self.clone(), target.clone());
        thread::spawn(move || {
            holder.renew_until(&target, epoch, &ended);
            // Nobody listens when it took too long.
            let _ = done.send(());
        });
        Keeper { end: Some(end), is_done }
    }

    fn renew_until(&self, target: &Target, epoch: i64, ended: &Receiver<()>) {
        let mut session = None;
        loop {
            let is_over = !matches!(ended.recv_timeout(INTERVAL), Err(RecvTimeoutError::Timeout));
            let alive = if is_over { Duration::ZERO } else { ALIVE };
            if let Err(error) = self.renew(target, &mut session, &self.renewal(epoch, alive)) {
                // What it means for the rows is found out, and said, where they are written.
                match error.kind {
                    // What comes from now on is for the other process: it must not be acknowledged here.
                    ErrorKind::Broken => drop(self.overtaken.send_replace(true)),
                    ErrorKind::Retry => tracing::debug!("no sign of life could be given: {error}"),
                    _ => tracing::warn!(hint = error.hint, "no sign of life could be given: {error}"),
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
        let kept = |_| Kept { staged: self.run_state.resolved(), tables: self.tables.clone(), established };
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

/// Another one after each start of the machine.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
