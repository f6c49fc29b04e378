//! The history of a staging folder: what has happened to its runs, when, and by whom.
//!
//! Owns: the last 1,000 events, in memory and in the folder. Does not own: what has happened (whoever notes it), what follows
//! from it (`hooks`). Nothing reads an event back to decide anything.
//!
//! Whoever notes an event does not wait for a disk: a thread of its own writes it. A history that cannot be written is a
//! warning, and no reason to end.

mod event;
mod file;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

pub use event::{Entry, Event};
pub use file::read;

use crate::code;
use crate::error::Result;
use crate::lasting::Lasting;
use crate::threads;
use file::HistoryFile;

/// Older ones are forgotten.
pub const EVENTS_MAX: usize = 1000;
/// How long the end of a run waits until its last event is written.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// After a failure the next attempt comes with the next event, or after so long.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Clones share it. The default is one without a folder.
#[derive(Clone, Default)]
pub struct History(Arc<Handle>);

/// The last one to go has the thread end.
#[derive(Default)]
struct Handle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Arc<Entry>>,
    /// Events since the start, and how many of them are in the file.
    noted: u64,
    written: u64,
    writer: Writer,
    listener: Option<Box<Listener>>,
}

type Listener = dyn Fn(&Arc<Entry>) + Send + Sync;

/// What becomes of events that are noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Writer {
    /// They stay in memory alone.
    #[default]
    None,
    Writes,
    /// The last attempt has failed.
    Fails,
    /// Nothing more will be noted.
    Ends,
}

impl History {
    /// The history of a folder that this process has locked.
    pub fn open(folder: &Path) -> Self {
        let (file, found) = HistoryFile::open(folder);
        let mut failing = None;
        let found = found.unwrap_or_else(|error| {
            warn(&error, &mut failing);
            Vec::new()
        });
        let skipped = found.len().saturating_sub(EVENTS_MAX);
        let entries = found.into_iter().skip(skipped).map(Arc::new).collect();
        let state = State { entries, writer: Writer::Writes, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let (writing, watched) = (Arc::clone(&shared), Arc::clone(&shared));
        let on_end = move |ended: Result<()>| watched.is_over(ended);
        if let Err(error) = threads::spawn("history", on_end, move || {
            writing.write(file, failing);
            Ok(())
        }) {
            shared.is_over(Err(error));
        }
        Self(Arc::new(Handle(shared)))
    }

    /// Adds what has happened. It returns at once.
    pub fn note(&self, entry: Entry) {
        let entry = Arc::new(entry);
        let mut state = self.state();
        state.entries.push_back(Arc::clone(&entry));
        if state.entries.len() > EVENTS_MAX {
            state.entries.pop_front();
        }
        state.noted += 1;
        if let Some(listener) = &state.listener {
            listener(&entry);
        }
        drop(state);
        self.0.0.changed.notify_all();
    }

    /// Has every event told from now on. `listener` must not wait for anything.
    pub fn listen(&self, listener: impl Fn(&Arc<Entry>) + Send + Sync + 'static) {
        self.state().listener = Some(Box::new(listener));
    }

    /// The newest last.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.last(EVENTS_MAX)
    }

    /// At most so many, the newest last.
    pub fn last(&self, count: usize) -> Vec<Arc<Entry>> {
        let state = self.state();
        state.entries.iter().skip(state.entries.len().saturating_sub(count)).cloned().collect()
    }

    /// Waits until every event is durable, but not for long.
    pub fn flush(&self) {
        let deadline = Instant::now() + FLUSH_MAX;
        let mut state = self.state();
        while state.written < state.noted && state.writer == Writer::Writes {
            if self.0.0.changed.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.state.lock()
    }
}

/// The name of a list of events is not worth a page of a log.
impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "History({} events)", self.state().entries.len())
    }
}

impl Drop for Handle {
    /// The folder is given free only once nobody writes to it any more.
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH_MAX;
        let mut state = self.0.state.lock();
        if state.writer == Writer::None {
            return;
        }
        state.writer = Writer::Ends;
        self.0.changed.notify_all();
        while state.writer != Writer::None {
            if self.0.changed.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }
}

impl Shared {
    /// Writes what is noted, until nothing more will be.
    fn write(&self, mut file: HistoryFile, mut failing: Option<Lasting>) {
        let mut state = self.state.lock();
        loop {
            if state.written < state.noted {
                let (entries, noted) = (state.entries.iter().cloned().collect::<Vec<_>>(), state.noted);
                let new = usize::try_from(noted - state.written).unwrap_or(EVENTS_MAX);
                let written = MutexGuard::unlocked(&mut state, || file.write(&entries, new));
                let now = match written {
                    Ok(()) => {
                        failing = None;
                        state.written = noted;
                        Writer::Writes
                    }
                    Err(error) => {
                        warn(&error, &mut failing);
                        Writer::Fails
                    }
                };
                if state.writer != Writer::Ends {
                    state.writer = now;
                }
                self.changed.notify_all();
            }
            match state.writer {
                Writer::Ends if state.written == state.noted || failing.is_some() => return,
                Writer::Fails => drop(self.changed.wait_for(&mut state, RETRY_INTERVAL)),
                Writer::Writes if state.written == state.noted => self.changed.wait(&mut state),
                Writer::None => return,
                Writer::Ends | Writer::Writes => {}
            }
        }
    }

    fn is_over(&self, ended: Result<()>) {
        if let Err(error) = ended {
            warn(&io::Error::other(error.message), &mut None);
        }
        self.state.lock().writer = Writer::None;
        self.changed.notify_all();
    }
}

/// Said while it lasts.
fn warn(error: &io::Error, failing: &mut Option<Lasting>) {
    if failing.get_or_insert_with(Lasting::begun).due().is_some() {
        tracing::warn!(
            error_code = code::staging::HISTORY_UNWRITABLE.text(),
            hint = "see that the file \"history\" of the staging folder is an ordinary file of this user, and that its disk has room",
            "the history of the run cannot be kept: {error}; the run goes on"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::private::tempdir;

    fn note(history: &History, count: usize) {
        (0..count).for_each(|n| history.note(Entry::new(Event::Signal, n.to_string())));
    }

    #[test]
    fn what_was_noted_is_there_at_the_next_start() {
        let folder = tempdir();
        let history = History::open(folder.path());
        note(&history, 3);
        history.flush();
        assert_eq!(read(folder.path()).unwrap().len(), 3);
        note(&history, 1);
        let all = history.all();
        drop(history);
        let again = History::open(folder.path());
        assert_eq!(again.all(), all);
        assert_eq!(again.last(1), all[3..]);
    }

    #[test]
    fn a_thousand_events_are_kept() {
        let folder = tempdir();
        let history = History::open(folder.path());
        for _ in 0..3 {
            note(&history, EVENTS_MAX - 1);
        }
        let all = history.all();
        assert_eq!(all.len(), EVENTS_MAX);
        drop(history);
        let kept: Vec<_> = read(folder.path()).unwrap().into_iter().map(Arc::new).collect();
        assert_eq!(kept, all);
    }

    #[test]
    fn one_that_cannot_be_written_holds_nobody_up() {
        let folder = tempdir();
        std::fs::create_dir(folder.path().join("history")).unwrap();
        let history = History::open(folder.path());
        let begun = Instant::now();
        note(&history, 2 * EVENTS_MAX);
        history.flush();
        assert_eq!(history.all().len(), EVENTS_MAX);
        drop(history);
        assert!(begun.elapsed() < FLUSH_MAX);
    }

    #[test]
    fn a_listener_hears_of_each() {
        let history = History::default();
        let heard = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&heard);
        history.listen(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        note(&history, 5);
        assert_eq!(heard.load(Ordering::Relaxed), 5);
    }
}
