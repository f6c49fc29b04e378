//! All connections to the pages, by the time of their last sign of life.
//!
//! Owns: which of them gives way when there are too many. Does not own: serving them (`server`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// At once; beyond it the one that has been silent for the longest is closed.
const CONNECTIONS_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Connections(Mutex<ByTurn>);

#[derive(Default)]
struct ByTurn {
    next: u64,
    /// The first has been silent for the longest.
    turns: BTreeMap<u64, oneshot::Sender<()>>,
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
        let turn = by_turn.take_turn(give_way);
        if by_turn.turns.len() > CONNECTIONS_MAX {
            by_turn.turns.pop_first();
        }
        (Connection { connections: Arc::clone(self), turn: AtomicU64::new(turn) }, given_way)
    }
}

impl ByTurn {
    fn take_turn(&mut self, give_way: oneshot::Sender<()>) -> u64 {
        let turn = self.next;
        self.next += 1;
        self.turns.insert(turn, give_way);
        turn
    }
}

impl Connection {
    /// A request has come, or an event was taken.
    pub(super) fn is_heard(&self) {
        let mut by_turn = self.connections.0.lock();
        if let Some(give_way) = by_turn.turns.remove(&self.turn.load(Ordering::Relaxed)) {
            self.turn.store(by_turn.take_turn(give_way), Ordering::Relaxed);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.0.lock().turns.remove(&self.turn.load(Ordering::Relaxed));
    }
}
