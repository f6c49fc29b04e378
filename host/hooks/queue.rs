//! Events whose programs are still to be run: one after the other, and never so many that they fill the memory.
//!
//! Owns: the order, and what becomes of an event that finds no place. Does not own: running a program (`mod`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{Hook, Hooks};
use crate::code;
use crate::history::Entry;

/// Events that may wait.
const WAITING_MAX: usize = 8;

/// Clones share it.
#[derive(Clone)]
pub struct Queue {
    hooks: Hooks,
    entries: mpsc::Sender<Arc<Entry>>,
    incoming: Arc<Mutex<Option<mpsc::Receiver<Arc<Entry>>>>>,
    /// Events that wait, and the one whose program runs.
    open: watch::Sender<usize>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    pub fn new(hooks: Hooks) -> Self {
        let (entries, incoming) = mpsc::channel(WAITING_MAX);
        let incoming = Arc::new(Mutex::new(Some(incoming)));
        Self { hooks, entries, incoming, open: watch::Sender::new(0), dropped: Arc::default() }
    }

    /// Takes an event that has a program; it never waits. Those of a start and an end are run where the run itself waits for
    /// them.
    pub fn offer(&self, entry: &Arc<Entry>) {
        let Some((hook, _)) = self.hooks.program(entry) else { return };
        if matches!(hook, Hook::Started | Hook::Ended) {
            return;
        }
        self.open.send_modify(|open| *open += 1);
        if self.entries.try_send(Arc::clone(entry)).is_err() {
            self.open.send_modify(|open| *open -= 1);
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(
                error_code = code::hooks::OVERFLOW.text(),
                hint = "see why hooks take so long, or lower --hook-timeout",
                dropped,
                "the hook {hook} is not run: {WAITING_MAX} events wait for their hooks already"
            );
        }
    }

    /// Runs the programs, for as long as the run goes on.
    pub async fn serve(self) {
        let Some(mut incoming) = self.incoming.lock().take() else { return };
        // It has a sender itself: the end never comes.
        while let Some(entry) = incoming.recv().await {
            self.hooks.run(&entry).await;
            self.open.send_modify(|open| *open -= 1);
        }
    }

    /// Waits until no event waits any more, but no longer than one program may take.
    pub async fn drain(&self) {
        let mut open = self.open.subscribe();
        let _ = timeout(self.hooks.timeout(), open.wait_for(|open| *open == 0)).await;
    }
}
