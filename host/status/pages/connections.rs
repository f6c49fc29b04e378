//! All connections to the pages, by the time of their last sign of life.
//!
//! Owns: which of them gives way when there are too many. Does not own: serving them (`server`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// At once; beyond it one is closed: of those on which nothing was admitted the oldest, unless the others have more than
/// [`HEARD_MAX`], of which then the one gives way that has been silent for the longest. `OTHER_FILES` of the receiver counts
/// them.
const CONNECTIONS_MAX: usize = 256;
/// So many stay however many others come; anybody may ask for a probe, and a new connection needs time to ask.
const HEARD_MAX: usize = CONNECTIONS_MAX / 2;

#[derive(Default)]
pub(super) struct Connections(Mutex<ByTurn>);

#[derive(Default)]
struct ByTurn {
    next: u64,
    /// No request was admitted on them; the first is the oldest.
    unheard: BTreeMap<u64, oneshot::Sender<()>>,
    /// The first has been silent for the longest.
    heard: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One connection.
pub(super) struct Connection {
    connections: Arc<Connections>,
    turn: AtomicU64,
}

impl Connections {
    /// Accepts one. What it returns beside it comes when it has to give way.
    pub(super) fn accept(self: &Arc<Self>) -> (Connection, oneshot::Receiver<()>) {
        let (give_way, given_way) = oneshot::channel();
        let mut by_turn = self.0.lock();
        let turn = by_turn.next_turn();
        if by_turn.unheard.len() + by_turn.heard.len() >= CONNECTIONS_MAX {
            match by_turn.heard.len() > HEARD_MAX {
                true => by_turn.heard.pop_first(),
                false => by_turn.unheard.pop_first(),
            };
        }
        by_turn.unheard.insert(turn, give_way);
        (Connection { connections: Arc::clone(self), turn: AtomicU64::new(turn) }, given_way)
    }
}

impl ByTurn {
    fn next_turn(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn remove(&mut self, turn: u64) -> Option<oneshot::Sender<()>> {
        self.unheard.remove(&turn).or_else(|| self.heard.remove(&turn))
    }
}

impl Connection {
    /// A request was admitted, or an event was taken.
    pub(super) fn is_heard(&self) {
        let mut by_turn = self.connections.0.lock();
        if let Some(give_way) = by_turn.remove(self.turn.load(Ordering::Relaxed)) {
            let turn = by_turn.next_turn();
            by_turn.heard.insert(turn, give_way);
            self.turn.store(turn, Ordering::Relaxed);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.0.lock().remove(self.turn.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asked_stays_while_others_never_ask() {
        let connections = Arc::<Connections>::default();
        let is_open = |given_way: &mut oneshot::Receiver<()>| {
            matches!(given_way.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        };
        let mut heard: Vec<_> = (0..CONNECTIONS_MAX / 2).map(|_| connections.accept()).collect();
        heard.iter().for_each(|(connection, _)| connection.is_heard());
        let mut silent: Vec<_> = (0..CONNECTIONS_MAX * 3).map(|_| connections.accept()).collect();
        assert!(heard.iter_mut().all(|(_, given_way)| is_open(given_way)));
        let open = silent.iter_mut().filter_map(|(_, given_way)| is_open(given_way).then_some(())).count();
        assert_eq!(open, CONNECTIONS_MAX / 2);
        assert!(is_open(&mut silent.last_mut().unwrap().1), "a new one has its time to ask");
        // Where all have asked, the one that did so least lately.
        silent.iter().for_each(|(connection, _)| connection.is_heard());
        heard[0].0.is_heard();
        let (newest, mut given_way) = connections.accept();
        assert!(is_open(&mut given_way) && is_open(&mut heard[0].1) && !is_open(&mut heard[1].1));
        drop(newest);
    }

    /// Anybody may ask for a probe, also an attacker.
    #[test]
    fn those_who_asked_leave_others_time_to_ask() {
        let connections = Arc::<Connections>::default();
        let many: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connections.accept()).collect();
        many.iter().for_each(|(connection, _)| connection.is_heard());
        let (asker, mut given_way) = connections.accept();
        let _others: Vec<_> = (0..CONNECTIONS_MAX - HEARD_MAX - 1).map(|_| connections.accept()).collect();
        assert_eq!(given_way.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        asker.is_heard();
    }
}
