//! Who is connected: strangers, of which there are a few and for a short time only, and clients that have shown who they are.
//!
//! Owns: both limits of connections, and when a connection must end. Does not own: who may write (`access`).
//!
//! A flood of strangers must not keep the changefeed out: a new connection is always accepted, and the oldest stranger gives
//! way. Whoever floods faster than an honest client can shake hands would have to open all places within milliseconds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::Limits;
use crate::status;

/// All connections of the receiver.
pub(super) struct Doors {
    limits: Limits,
    trusted: Arc<Semaphore>,
    strangers: Mutex<Strangers>,
}

#[derive(Default)]
struct Strangers {
    next: u64,
    /// By age: the first is the oldest.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One connection.
pub(super) struct Visitor {
    doors: Arc<Doors>,
    id: u64,
    since: Instant,
    /// Present once a request was accepted.
    place: OnceCell<OwnedSemaphorePermit>,
    requests: AtomicUsize,
    /// When the last request ended.
    rest: Mutex<Instant>,
    turned_away: watch::Sender<bool>,
}

/// How a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// After the answers that are under way.
    Politely,
    AtOnce,
}

impl Doors {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let trusted = Arc::new(Semaphore::new(limits.connections_max));
        Arc::new(Self { limits, trusted, strangers: Mutex::default() })
    }

    /// Lets a stranger in. What it returns beside him comes when he has to give way to others.
    pub(super) fn enter(self: &Arc<Self>) -> (Arc<Visitor>, oneshot::Receiver<()>) {
        let (give_way, given_way) = oneshot::channel();
        let mut strangers = lock(&self.strangers);
        let id = strangers.next;
        strangers.next += 1;
        strangers.waiting.insert(id, give_way);
        if strangers.waiting.len() > self.limits.untrusted_connections_max
            && let Some((_, oldest)) = strangers.waiting.pop_first()
        {
            // He may have gone by himself.
            let _ = oldest.send(());
        }
        drop(strangers);
        let now = Instant::now();
        let visitor = Visitor {
            doors: Arc::clone(self),
            id,
            since: now,
            place: OnceCell::new(),
            requests: AtomicUsize::new(0),
            rest: Mutex::new(now),
            turned_away: watch::Sender::new(false),
        };
        (Arc::new(visitor), given_way)
    }
}

impl Visitor {
    /// He has shown that he may write. Waits for a place among the others; `false` when none becomes free in time.
    pub(super) async fn trust(&self) -> bool {
        let limits = &self.doors.limits;
        let place = self.place.get_or_try_init(|| async {
            let place = timeout(limits.response_timeout, Arc::clone(&self.doors.trusted).acquire_owned()).await;
            place.map_err(drop).and_then(|place| place.map_err(drop))
        });
        let is_in = place.await.is_ok();
        if is_in {
            lock(&self.doors.strangers).waiting.remove(&self.id);
        }
        is_in
    }

    /// As he has shown himself so far.
    pub(super) fn kind(&self) -> status::Visitor {
        if self.place.get().is_some() { status::Visitor::Trusted } else { status::Visitor::Stranger }
    }

    /// A stranger whose request was refused has no second one.
    pub(super) fn turn_away(&self) {
        if self.place.get().is_none() {
            self.turned_away.send_replace(true);
        }
    }

    /// Counts a request that is under way until what this returns is dropped.
    pub(super) fn request(&self) -> Request<'_> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Request(self)
    }

    /// Comes when the connection has to end: he was refused, has not shown who he is in time, or has been idle.
    pub(super) async fn overstayed(&self) -> End {
        let mut turned_away = self.turned_away.subscribe();
        loop {
            let deadline = self.deadline();
            if deadline <= Instant::now() {
                return if self.place.get().is_some() { End::Politely } else { End::AtOnce };
            }
            tokio::select! {
                // The sender is part of this very object.
                _ = turned_away.wait_for(|away| *away) => return End::Politely,
                () = sleep_until(deadline) => {}
            }
        }
    }

    fn deadline(&self) -> Instant {
        let limits = &self.doors.limits;
        if self.place.get().is_none() {
            return self.since + limits.handshake_timeout + self.waits_for_place();
        }
        match self.requests.load(Ordering::Relaxed) {
            0 => *lock(&self.rest) + limits.idle_timeout,
            // A request has time limits of its own.
            _ => Instant::now() + limits.idle_timeout,
        }
    }

    /// Who waits for a place with a valid request is not slow himself.
    fn waits_for_place(&self) -> Duration {
        match self.requests.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            _ => self.doors.limits.response_timeout,
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        lock(&self.doors.strangers).waiting.remove(&self.id);
    }
}

/// A request under way.
pub(super) struct Request<'a>(&'a Visitor);

impl Drop for Request<'_> {
    fn drop(&mut self) {
        *lock(&self.0.rest) = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(connections_max: usize, untrusted_connections_max: usize) -> Arc<Doors> {
        Doors::new(Limits {
            body_bytes_max: 1,
            in_flight_bytes_max: 1,
            connections_max,
            untrusted_connections_max,
            header_bytes_max: 1,
            handshake_timeout: Duration::from_millis(100),
            idle_timeout: Duration::from_millis(300),
            body_idle_timeout: Duration::from_secs(1),
            body_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_millis(50),
        })
    }

    #[tokio::test]
    async fn the_oldest_stranger_gives_way_and_a_trusted_client_does_not() {
        let doors = doors(10, 2);
        let (first, mut first_leaves) = doors.enter();
        let (second, mut second_leaves) = doors.enter();
        assert!(first.trust().await);
        let (_third, mut third_leaves) = doors.enter();
        let (_fourth, mut fourth_leaves) = doors.enter();
        assert_eq!(second_leaves.try_recv(), Ok(()));
        assert!(first_leaves.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        assert!(third_leaves.try_recv().is_err() && fourth_leaves.try_recv().is_err());
        drop(second);
        assert_eq!(lock(&doors.strangers).waiting.len(), 2);
    }

    #[tokio::test]
    async fn nobody_stays_longer_than_he_may() {
        let doors = doors(1, 5);
        let (stranger, _) = doors.enter();
        let began = Instant::now();
        assert_eq!(stranger.overstayed().await, End::AtOnce);
        assert!(began.elapsed() >= Duration::from_millis(100));
        let (refused, _) = doors.enter();
        refused.turn_away();
        assert_eq!(refused.overstayed().await, End::Politely);
        let (client, _) = doors.enter();
        assert!(client.trust().await);
        client.turn_away();
        let began = Instant::now();
        assert_eq!(client.overstayed().await, End::Politely);
        assert!(began.elapsed() >= Duration::from_millis(300));
        // All places are taken.
        let (late, _) = doors.enter();
        assert!(!late.trust().await);
        drop(client);
        assert!(late.trust().await);
    }

    #[tokio::test]
    async fn a_request_under_way_keeps_its_connection() {
        let doors = doors(1, 5);
        let (client, _) = doors.enter();
        assert!(client.trust().await);
        let request = client.request();
        assert!(timeout(Duration::from_millis(700), client.overstayed()).await.is_err());
        drop(request);
        let began = Instant::now();
        client.overstayed().await;
        assert!(began.elapsed() >= Duration::from_millis(300));
    }
}
