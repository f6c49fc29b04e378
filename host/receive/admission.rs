//! Which connections there may be: few that have shown nothing yet, and those for a short time only, and those that have had a
//! request accepted.
//!
//! Owns: both limits of connections, and when a connection must end. Does not own: who may write (`access`).
//!
//! A flood of unauthenticated connections must not keep the changefeed out: a new connection is always accepted, and the oldest
//! unauthenticated one is closed for it. A flood that is faster than an honest client's handshake would have to open all places
//! within milliseconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::refusals::Peer;
use crate::config::ReceiverLimits;

/// All connections of the receiver.
pub(super) struct Admission {
    limits: ReceiverLimits,
    /// Places of authenticated connections.
    places: Arc<Semaphore>,
    unauthenticated: Mutex<Unauthenticated>,
}

/// Connections that have had no request accepted.
#[derive(Default)]
struct Unauthenticated {
    next: u64,
    /// By age: the first is the oldest.
    by_age: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One connection.
pub(super) struct Connection {
    admission: Arc<Admission>,
    id: u64,
    since: Instant,
    /// Present once a request was accepted.
    place: OnceCell<OwnedSemaphorePermit>,
    requests: AtomicUsize,
    /// When the last request ended.
    idle_since: Mutex<Instant>,
    is_refused: watch::Sender<bool>,
}

/// How a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// After the answers that are under way.
    Graceful,
    Immediate,
}

impl Admission {
    pub(super) fn new(limits: ReceiverLimits) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(limits.connections_max));
        Arc::new(Self { limits, places, unauthenticated: Mutex::default() })
    }

    /// Accepts a connection. What it returns beside it comes when the connection has to give way to newer ones.
    pub(super) fn accept(self: &Arc<Self>) -> (Arc<Connection>, oneshot::Receiver<()>) {
        let (give_way, given_way) = oneshot::channel();
        let mut unauthenticated = self.unauthenticated.lock();
        let id = unauthenticated.next;
        unauthenticated.next += 1;
        unauthenticated.by_age.insert(id, give_way);
        if unauthenticated.by_age.len() > self.limits.untrusted_connections_max
            && let Some((_, oldest)) = unauthenticated.by_age.pop_first()
        {
            // It may have ended by itself.
            let _ = oldest.send(());
        }
        drop(unauthenticated);
        let now = Instant::now();
        let connection = Connection {
            admission: Arc::clone(self),
            id,
            since: now,
            place: OnceCell::new(),
            requests: AtomicUsize::new(0),
            idle_since: Mutex::new(now),
            is_refused: watch::Sender::new(false),
        };
        (Arc::new(connection), given_way)
    }
}

impl Connection {
    /// A request has shown that it may write. Waits for a place among the authenticated connections; `false` when none becomes
    /// free in time.
    pub(super) async fn authenticate(&self) -> bool {
        let limits = &self.admission.limits;
        let place = self.place.get_or_try_init(|| async {
            let place = timeout(limits.response_timeout, Arc::clone(&self.admission.places).acquire_owned()).await;
            place.map_err(drop).and_then(|place| place.map_err(drop))
        });
        let is_admitted = place.await.is_ok();
        if is_admitted {
            self.admission.unauthenticated.lock().by_age.remove(&self.id);
        }
        is_admitted
    }

    pub(super) fn peer(&self) -> Peer {
        if self.place.get().is_some() { Peer::Authenticated } else { Peer::Unauthenticated }
    }

    /// A request was refused. An unauthenticated connection has no second one.
    pub(super) fn refuse(&self) {
        if self.place.get().is_none() {
            self.is_refused.send_replace(true);
        }
    }

    /// Counts a request that is under way until what this returns is dropped.
    pub(super) fn request(&self) -> Request<'_> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Request(self)
    }

    /// Comes when the connection has to end: it was refused, was not authenticated in time, or has been idle.
    pub(super) async fn expiry(&self) -> End {
        let mut is_refused = self.is_refused.subscribe();
        loop {
            let deadline = self.deadline();
            if deadline <= Instant::now() {
                return if self.place.get().is_some() { End::Graceful } else { End::Immediate };
            }
            tokio::select! {
                // The sender is part of this very object.
                _ = is_refused.wait_for(|is_refused| *is_refused) => return End::Graceful,
                () = sleep_until(deadline) => {}
            }
        }
    }

    fn deadline(&self) -> Instant {
        let limits = &self.admission.limits;
        if self.place.get().is_none() {
            return self.since + limits.handshake_timeout + self.waits_for_place();
        }
        match self.requests.load(Ordering::Relaxed) {
            0 => *self.idle_since.lock() + limits.idle_timeout,
            // A request has time limits of its own.
            _ => Instant::now() + limits.idle_timeout,
        }
    }

    /// A connection that waits for a place with a valid request is not slow itself.
    fn waits_for_place(&self) -> Duration {
        match self.requests.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            _ => self.admission.limits.response_timeout,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.admission.unauthenticated.lock().by_age.remove(&self.id);
    }
}

/// A request under way.
pub(super) struct Request<'a>(&'a Connection);

impl Drop for Request<'_> {
    fn drop(&mut self) {
        *self.0.idle_since.lock() = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections_max: usize, untrusted_connections_max: usize) -> Arc<Admission> {
        Admission::new(ReceiverLimits {
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
    async fn the_oldest_unauthenticated_connection_gives_way_and_an_authenticated_one_does_not() {
        let admission = admission(10, 2);
        let (first, mut first_leaves) = admission.accept();
        let (second, mut second_leaves) = admission.accept();
        assert!(first.authenticate().await);
        let (_third, mut third_leaves) = admission.accept();
        let (_fourth, mut fourth_leaves) = admission.accept();
        assert_eq!(second_leaves.try_recv(), Ok(()));
        assert!(first_leaves.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        assert!(third_leaves.try_recv().is_err() && fourth_leaves.try_recv().is_err());
        drop(second);
        assert_eq!(admission.unauthenticated.lock().by_age.len(), 2);
    }

    #[tokio::test]
    async fn no_connection_stays_longer_than_it_may() {
        let admission = admission(1, 5);
        let (unauthenticated, _) = admission.accept();
        let began = Instant::now();
        assert_eq!(unauthenticated.expiry().await, End::Immediate);
        assert!(began.elapsed() >= Duration::from_millis(100));
        let (refused, _) = admission.accept();
        refused.refuse();
        assert_eq!(refused.expiry().await, End::Graceful);
        let (client, _) = admission.accept();
        assert!(client.authenticate().await);
        client.refuse();
        let began = Instant::now();
        assert_eq!(client.expiry().await, End::Graceful);
        assert!(began.elapsed() >= Duration::from_millis(300));
        // All places are taken.
        let (late, _) = admission.accept();
        assert!(!late.authenticate().await);
        drop(client);
        assert!(late.authenticate().await);
    }

    #[tokio::test]
    async fn a_request_under_way_keeps_its_connection() {
        let admission = admission(1, 5);
        let (client, _) = admission.accept();
        assert!(client.authenticate().await);
        let request = client.request();
        assert!(timeout(Duration::from_millis(700), client.expiry()).await.is_err());
        drop(request);
        let began = Instant::now();
        client.expiry().await;
        assert!(began.elapsed() >= Duration::from_millis(300));
    }
}
