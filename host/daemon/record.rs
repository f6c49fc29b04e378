//! What a run notes of itself in the history of its folder, and the programs that are run for it.
//!
//! Owns: that a start and an end are noted, by whom and why, and asking the hook of a start. Does not own: the states in between
//! (`changes`), how an event is kept (`history`) and a program run (`hooks`).

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, SecondsFormat};
use ebb_sdk::Timestamp;
use rustix::process::{getpid, getuid};

use super::words::{self, Fate};
use crate::changefeed::{Feed, HOW_ENDED};
use crate::code::{self, Code};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::history::{Entry, Event, History};
use crate::hooks::{Hooks, Queue};
use crate::stage::Forecast;
use crate::status::{ChangefeedState, Snapshot, Status};

/// What ends a changefeed for good, or pauses it until somebody acts.
const ENDS: [Code; 5] = [
    code::changefeed::ENDED,
    code::changefeed::TRUNCATED,
    code::changefeed::DROPPED,
    code::changefeed::FAMILIES,
    code::changefeed::HISTORY_GONE,
];

/// Of one run.
pub(super) struct Record {
    hooks: Hooks,
    queue: Queue,
    schema: String,
    /// Once the folder is open.
    history: OnceLock<History>,
    /// Once there is one.
    status: OnceLock<Arc<Status>>,
    /// Once a start was noted.
    has_started: OnceLock<()>,
    /// What asked for the end.
    signal: OnceLock<&'static str>,
}

impl Record {
    /// # Errors
    /// When the folder of hooks holds what cannot be run.
    pub(super) fn open(config: &Config) -> Result<Self> {
        let hooks = Hooks::open(&config.hooks, &config.staging.schema)?;
        let (queue, schema) = (Queue::new(hooks.clone()), config.staging.schema.clone());
        Ok(Self {
            hooks,
            queue,
            schema,
            history: OnceLock::new(),
            status: OnceLock::new(),
            has_started: OnceLock::new(),
            signal: OnceLock::new(),
        })
    }

    /// The folder is open. What is noted from now on goes to the hooks, too.
    pub(super) fn begin(&self, history: &History) {
        let queue = self.queue.clone();
        history.listen(move |entry| queue.offer(entry));
        // It is set once.
        let _ = self.history.set(history.clone());
    }

    pub(super) fn counts(&self, status: &Arc<Status>) {
        let _ = self.status.set(Arc::clone(status));
    }

    pub(super) fn note(&self, entry: Entry) {
        if let Some(history) = self.history.get() {
            history.note(entry);
        }
    }

    /// Runs the hooks of what happens, for as long as the run goes on.
    pub(super) fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// Notes a start that nothing was found against, and asks its hook.
    ///
    /// # Errors
    /// When the hook refuses it.
    pub(super) async fn started(&self, is_new: bool, applied: Timestamp) -> Result<()> {
        let Some(history) = self.history.get() else { return Ok(()) };
        let before = history.all().into_iter().rev().find(|entry| entry.is(Event::Started) || entry.is(Event::Ended));
        let broke_off = before.is_some_and(|entry| entry.is(Event::Started));
        let (version, pid) = (env!("CARGO_PKG_VERSION"), getpid().as_raw_nonzero().get());
        let (user, host) = (user(), host());
        let from = (applied > Timestamp::ZERO).then_some(applied);
        let resumes = resumes(is_new, from);
        let after = if broke_off { "; the run before broke off" } else { "" };
        let entry = Entry::new(
            Event::Started,
            format!("ebb {version} starts{resumes}, as {user} on {host} (pid {pid}){after}"),
        )
        .fact("version", version)
        .fact("pid", pid)
        .fact("user", user)
        .fact("host", host)
        .fact("schema", self.schema.as_str())
        .fact("broke_off", broke_off)
        .fact("resumed_from", from.map(|from| from.to_string()))
        .fact("applied", from.map(|from| from.to_string()));
        history.note(entry.clone());
        // It is set once.
        let _ = self.has_started.set(());
        self.hooks.ask(&entry, "the start").await
    }

    /// Notes which signal asks for the end.
    pub(super) fn signalled(&self, signal: &'static str) {
        let _ = self.signal.set(signal);
        self.note(Entry::new(Event::Signal, format!("{signal}: the run is to end")).fact("signal", signal));
    }

    /// Waits for the hooks of what has happened, but not for long.
    pub(super) async fn drain(&self) {
        self.queue.drain().await;
    }

    /// Notes the end and why, and runs its hook, also where a start has failed before there was a folder to note it in. `left`:
    /// what becomes of the changefeed.
    pub(super) async fn ended(&self, outcome: &Result<()>, left: Option<String>) {
        let why = match (outcome, self.signal.get()) {
            (Err(error), _) => what(error),
            (Ok(()), Some(signal)) => format!("{signal} asked for it"),
            (Ok(()), None) => "everything staged is applied".into(),
        };
        let now = self.status.get().map(|status| status.snapshot(&self.schema, Timestamp::ZERO, Forecast::default()));
        let applied = now.as_ref().and_then(|now| now.applied).map(|applied| format!(", applied to {}", utc(applied)));
        let left = left.map(|left| format!(", {left}")).unwrap_or_default();
        // A process that was refused says nothing of the run that it has found.
        let what = match outcome.is_err() && self.has_started.get().is_none() {
            true => "the start has failed",
            false => "the run is over",
        };
        let text = format!("{what}: {why}{}{left}", applied.unwrap_or_default());
        let entry =
            Entry::new(Event::Ended, text).fact_if("code", outcome.as_ref().err().map(|error| error.code.text()));
        let entry = entry.fact_if("signal", self.signal.get().copied());
        let entry = match &now {
            Some(now) => at(entry, now),
            None => entry,
        };
        if let Some(history) = self.history.get() {
            history.note(entry.clone());
            tokio::task::block_in_place(|| history.flush());
        }
        self.hooks.run(&entry).await;
    }

    /// The changefeed has ended, or sends nothing more.
    pub(super) fn changefeed_ended(&self, error: &Error, job: Option<i64>) {
        if ENDS.contains(&error.code) {
            let entry = Entry::new(Event::ChangefeedEnded, what(error));
            let entry = entry.fact("code", error.code.text()).fact_if("job", job);
            self.note(entry.fact_if("how", error.fact(HOW_ENDED)));
        }
    }
}

/// From where a start goes on.
fn resumes(is_new: bool, from: Option<Timestamp>) -> String {
    match (is_new, from) {
        (_, Some(from)) => format!(" from {}", utc(from)),
        (true, None) => " a new run".into(),
        (false, None) => " again, from where the target turns out to be".into(),
    }
}

/// What became of the changefeed of a run that has ended.
pub(super) fn left(config: &Config, feed: Option<&Feed>, fate: Fate) -> Option<String> {
    let settings = config.changefeed.as_ref()?;
    feed.map(|feed| words::left(Some(feed.job()), Some(settings.on_exit), fate))
}

/// What is known of it, by what has ended the run and as it was seen last.
pub(super) fn fate(outcome: &Result<()>, feed: Option<&Feed>) -> Fate {
    match outcome {
        Err(error) if error.fact(HOW_ENDED) == Some("paused") => Fate::Paused,
        Err(error) if ENDS.contains(&error.code) => Fate::Ended,
        _ if feed.is_some_and(|feed| feed.state() == ChangefeedState::Paused) => Fate::Paused,
        _ => Fate::Lives,
    }
}

/// What an error is about: its own words may show values of rows.
fn what(error: &Error) -> String {
    let how = match error.fact(HOW_ENDED) {
        Some("cancelled") => "the changefeed was cancelled",
        Some("gone") => "CockroachDB does not list the changefeed any more",
        Some("paused") if error.code == code::changefeed::ENDED => "an error has paused the changefeed",
        Some("failed") if error.code == code::changefeed::ENDED => "the changefeed has failed",
        Some("paused") => return format!("an error has paused the changefeed: {}", titled(error.code)),
        Some(_) => return format!("the changefeed has failed: {}", titled(error.code)),
        None => return titled(error.code),
    };
    format!("{how} ({})", error.code)
}

/// What a code stands for, and the code: an error's own words may show values of rows.
pub(super) fn titled(code: Code) -> String {
    format!("{} ({code})", code::title(code))
}

/// An event with where the run stands.
pub(super) fn at(entry: Entry, now: &Snapshot) -> Entry {
    let entry = entry.fact_if("applied", now.applied.map(|applied| applied.to_string())).fact_if("job", now.job);
    entry.fact_if("lag_seconds", now.lag().map(|lag| (lag * 10.0).round() / 10.0))
}

fn utc(at: Timestamp) -> String {
    DateTime::from_timestamp_nanos(at.wall).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The name of the user whose rights the process has, or the number where it has none.
fn user() -> String {
    let id = getuid().as_raw().to_string();
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = known.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)? == id).then(|| name.to_owned())
    });
    name.unwrap_or(id)
}

/// The name of this machine.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "an unknown host".into() } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_down_makes_no_run_a_new_one() {
        let at = Timestamp { wall: 1_751_161_903_005_030_052, logical: 0 };
        assert_eq!(resumes(false, Some(at)), " from 2025-06-29T01:51:43Z");
        assert_eq!(resumes(true, None), " a new run");
        assert!(resumes(false, None).starts_with(" again"));
    }

    #[test]
    fn the_end_of_a_changefeed_is_told_by_how_it_came_and_without_its_words() {
        let ended = |code, how| Error::new(code, "the value 4711").field(HOW_ENDED, how);
        let cancelled = ended(code::changefeed::ENDED, "cancelled");
        assert_eq!(what(&cancelled), "the changefeed was cancelled (EBB-C014)");
        let dropped = ended(code::changefeed::DROPPED, "failed");
        assert_eq!(what(&dropped), "the changefeed has failed: a table was dropped (EBB-C016)");
        let paused = ended(code::changefeed::DROPPED, "paused");
        let fates = [cancelled, dropped, paused].map(|error| fate(&Err(error), None));
        assert_eq!(fates, [Fate::Ended, Fate::Ended, Fate::Paused]);
        assert_eq!(fate(&Err(Error::new(code::target::READ_ONLY, "")), None), Fate::Lives);
    }

    #[test]
    fn an_end_is_told_by_the_title_of_its_code() {
        assert_eq!(titled(code::hooks::VETO), "a hook refuses the start (EBB-H014)");
        assert!(code::all().all(|code| !code::title(code).contains("EBB-")));
        assert!(!user().is_empty() && !host().is_empty());
    }
}
