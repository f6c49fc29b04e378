//! Memory for bodies and for what is made of them, shared by all connections.
//!
//! Owns: how much is held, by whom, and who gives way when there is none left. Does not own: bytes.
//!
//! Memory is taken as bytes arrive, so that no request holds more than it has sent. Where there is none left a request
//! that needs some waits, for a bounded time, and meanwhile reads nothing. Bodies could wait for one another in vain. Therefore a part is set
//! aside that is enough for the largest body: the lane, which one body at a time has to itself. It is for large bodies, which
//! wait for it before they hold anything, and for those that find no other memory. A request whose sender is slow gives way when
//! others wait: it is answered with 503, and comes again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::Refusal;
use crate::code;

/// One permit stands for so many bytes.
const PERMIT_BYTES: usize = 1024;
/// A body whose sender needs longer, beside what it waits here, gives way where memory is short.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// How often those who wait look for senders that are slow.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// More than this, with its rows, is a large body. Those of a changefeed with ebb's own settings are small but for large rows.
pub(super) const SMALL_BYTES: usize = 4 << 20;

/// All memory.
pub(super) struct Memory {
    permits: Arc<Semaphore>,
    lane: Arc<Semaphore>,
    bytes_max: usize,
    /// How long to wait for some.
    wait_max: Duration,
    arriving: Mutex<Arriving>,
}

/// Bodies that are not whole yet, or have no memory for their rows yet.
#[derive(Default)]
struct Arriving {
    next: u64,
    bodies: BTreeMap<u64, Body>,
}

struct Body {
    bytes: usize,
    has_lane: bool,
    since: Instant,
    /// How long it has waited for memory before now, and since when it does.
    waited: Duration,
    waits: Option<Instant>,
    /// Taken when it has been asked.
    give_way: Option<oneshot::Sender<()>>,
}

impl Body {
    /// How long it has waited for its sender.
    fn slow(&self) -> Duration {
        let waits = self.waits.map_or(Duration::ZERO, |since| since.elapsed());
        self.since.elapsed().saturating_sub(self.waited + waits)
    }

    /// What it has cost, in bytes times milliseconds.
    fn cost(&self) -> u128 {
        self.bytes as u128 * self.slow().as_millis()
    }
}

/// What one request holds. It is given back when this is dropped.
pub(super) struct Share {
    memory: Arc<Memory>,
    id: u64,
    permit: Option<OwnedSemaphorePermit>,
    lane: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// So much altogether, of which the lane is a part.
    pub(super) fn new(bytes_max: usize, lane_bytes: usize, wait_max: Duration) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(bytes_max.saturating_sub(lane_bytes).div_ceil(PERMIT_BYTES)));
        let lane = Arc::new(Semaphore::new(1));
        Arc::new(Self { permits, lane, bytes_max, wait_max, arriving: Mutex::default() })
    }

    /// A share of nothing yet. What it returns beside it comes when the body has to give way.
    pub(super) fn enter(self: &Arc<Self>) -> (Share, oneshot::Receiver<()>) {
        let (give_way, given_way) = oneshot::channel();
        let mut arriving = self.lock();
        let id = arriving.next;
        arriving.next += 1;
        let (since, waited) = (Instant::now(), Duration::ZERO);
        arriving
            .bodies
            .insert(id, Body { bytes: 0, has_lane: false, since, waited, waits: None, give_way: Some(give_way) });
        (Share { memory: Arc::clone(self), id, permit: None, lane: None }, given_way)
    }

    pub(super) fn busy(&self) -> Refusal {
        let cause = format!(
            "there is no memory for the body now: other bodies and their rows hold the {} bytes that there are \
             (--in-flight-bytes-max); send it again",
            self.bytes_max
        );
        Refusal::busy(code::receiver::MEMORY, cause)
    }

    /// Asks the body that has the lane, where its sender is slow, and others with slow senders until `bytes` will be free.
    fn ask_slow(&self, bytes: usize) {
        let mut arriving = self.lock();
        let slow = arriving.bodies.values_mut().filter(|body| body.give_way.is_some() && body.slow() >= SLOW_AFTER);
        let (lane, mut others): (Vec<_>, Vec<_>) = slow.partition(|body| body.has_lane);
        others.sort_by_key(|body| std::cmp::Reverse(body.cost()));
        let mut freed = 0;
        let enough = others.into_iter().filter(|body| body.bytes > 0).take_while(|body| {
            let is_needed = freed < bytes;
            freed += body.bytes;
            is_needed
        });
        for body in lane.into_iter().chain(enough) {
            // It may have gone by itself.
            let _ = body.give_way.take().map(|asked| asked.send(()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arriving> {
        self.arriving.lock()
    }
}

impl Share {
    /// Holds memory for so many bytes altogether, where it is less.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        if self.grow_now(bytes).is_ok() {
            return Ok(());
        }
        self.update(|body| body.waits = Some(Instant::now()));
        let taken = self.wait(bytes).await;
        self.update(|body| body.waited += body.waits.take().map_or(Duration::ZERO, |since| since.elapsed()));
        taken
    }

    /// The same where it cannot be waited for.
    pub(super) fn grow_now(&mut self, bytes: usize) -> Result<(), Refusal> {
        if self.is_short(bytes) {
            let taken = Arc::clone(&self.memory.permits).try_acquire_many_owned(self.lacks(bytes));
            self.take(taken.map_err(|_| self.memory.busy())?);
        }
        Ok(())
    }

    /// Whether so much is more than it may have outside of the lane.
    pub(super) fn needs_lane(&self, bytes: usize) -> bool {
        self.lane.is_none() && bytes > SMALL_BYTES
    }

    /// Waits for the lane, and holds no more than so many bytes meanwhile.
    pub(super) async fn enter_lane(&mut self, held: usize) -> Result<(), Refusal> {
        self.shrink(held);
        self.grow(usize::MAX).await
    }

    /// Gives back what is more than so many bytes.
    pub(super) fn shrink(&mut self, bytes: usize) {
        if self.lane.is_some() {
            // The next one may have it, where this is small by now; what is large would take the others' memory.
            let needed = u32::try_from(bytes.min(SMALL_BYTES).div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
            if bytes <= SMALL_BYTES
                && let Ok(permit) = Arc::clone(&self.memory.permits).try_acquire_many_owned(needed)
            {
                (self.lane, self.permit) = (None, Some(permit));
                self.update(|body| body.has_lane = false);
            }
            return;
        }
        let spare = self.permits().saturating_sub(bytes.div_ceil(PERMIT_BYTES));
        drop(self.permit.as_mut().and_then(|permit| permit.split(spare)));
        self.update(|body| body.bytes = body.bytes.min(bytes));
    }

    /// It needs no more from here on, and comes to its end by itself: nobody asks it to give way.
    pub(super) fn complete(&mut self) {
        self.memory.lock().bodies.remove(&self.id);
    }

    async fn wait(&mut self, bytes: usize) -> Result<(), Refusal> {
        let memory = Arc::clone(&self.memory);
        let deadline = Instant::now() + memory.wait_max;
        // What is large is not put together in pieces: it waits for the lane.
        let is_small = bytes <= SMALL_BYTES;
        let lacks = if is_small { self.lacks(bytes) } else { 0 };
        // Kept throughout: a request that gives up its place in the queue may never come first.
        let acquired = Arc::clone(&memory.permits).acquire_many_owned(lacks);
        let lane = Arc::clone(&memory.lane).acquire_owned();
        tokio::pin!(acquired, lane);
        loop {
            memory.ask_slow(lacks as usize * PERMIT_BYTES);
            tokio::select! {
                acquired = &mut acquired, if is_small => {
                    self.take(acquired.map_err(|_| Refusal::ending())?);
                    return Ok(());
                }
                lane = &mut lane => {
                    self.lane = Some(lane.map_err(|_| Refusal::ending())?);
                    self.permit = None;
                    self.update(|body| body.has_lane = true);
                    return Ok(());
                }
                () = sleep_until(deadline) => return Err(memory.busy()),
                () = sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    fn take(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.permit {
            Some(own) => own.merge(permit),
            None => self.permit = Some(permit),
        }
        let bytes = self.permits() * PERMIT_BYTES;
        self.update(|body| body.bytes = bytes);
    }

    fn update(&self, change: impl FnOnce(&mut Body)) {
        if let Some(body) = self.memory.lock().bodies.get_mut(&self.id) {
            change(body);
        }
    }

    fn is_short(&self, bytes: usize) -> bool {
        self.lane.is_none() && self.permits() * PERMIT_BYTES < bytes
    }

    fn lacks(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(PERMIT_BYTES) - self.permits()).unwrap_or(u32::MAX)
    }

    fn permits(&self) -> usize {
        self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.complete();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = PERMIT_BYTES;

    #[tokio::test]
    async fn no_request_holds_more_than_it_has_sent() {
        let memory = Memory::new(100 * KIB, 0, Duration::from_millis(50));
        let (mut large, _) = memory.enter();
        large.enter_lane(0).await.unwrap();
        let (mut share, _) = memory.enter();
        share.grow(1).await.unwrap();
        share.grow(KIB).await.unwrap();
        assert_eq!(memory.permits.available_permits(), 99);
        share.grow(90 * KIB).await.unwrap();
        let (mut other, _) = memory.enter();
        assert!(other.grow_now(11 * KIB).is_err());
        assert!(other.grow(11 * KIB).await.is_err(), "the wait has an end");
        assert_eq!(memory.permits.available_permits(), 10, "who waited in vain holds nothing");
        share.shrink(KIB);
        other.grow(11 * KIB).await.unwrap();
        drop((large, share, other));
        assert_eq!((memory.permits.available_permits(), memory.lane.available_permits()), (100, 1));
        assert!(memory.lock().bodies.is_empty());
    }

    #[tokio::test]
    async fn slow_senders_give_way_to_others() {
        let memory = Memory::new(100 * KIB, 0, Duration::from_secs(20));
        // Nobody else has the lane meanwhile.
        let (mut large, large_is_asked) = memory.enter();
        large.enter_lane(0).await.unwrap();
        large.complete();
        drop(large_is_asked);
        let (mut slow, asked) = memory.enter();
        let (mut small, mut small_is_asked) = memory.enter();
        slow.grow(80 * KIB).await.unwrap();
        small.grow(10 * KIB).await.unwrap();
        let (mut quick, mut quick_is_asked) = memory.enter();
        let began = Instant::now();
        let given_way = async {
            asked.await.unwrap();
            drop(slow);
        };
        let (grown, ()) = tokio::join!(quick.grow(50 * KIB), given_way);
        grown.unwrap();
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(small_is_asked.try_recv().is_err() && quick_is_asked.try_recv().is_err());
    }

    #[tokio::test]
    async fn bodies_that_wait_for_one_another_have_the_lane() {
        let memory = Memory::new(130 * KIB, 30 * KIB, Duration::from_secs(20));
        let ((mut one, _one), (mut other, _other), (mut large, _large)) =
            (memory.enter(), memory.enter(), memory.enter());
        one.grow(40 * KIB).await.unwrap();
        other.grow(60 * KIB).await.unwrap();
        one.grow(90 * KIB).await.unwrap();
        assert!(one.lane.is_some() && one.permit.is_none());
        let others = async {
            other.grow(90 * KIB).await.unwrap();
            assert!(large.needs_lane(SMALL_BYTES + 1));
            // The body that has it is done with it, or moves out of it where there is room.
            let done = async {
                sleep(Duration::from_millis(10)).await;
                one.shrink(KIB);
                assert!(one.lane.is_none());
            };
            let (entered, ()) = tokio::join!(large.enter_lane(0), done);
            entered.unwrap();
        };
        others.await;
        assert!(large.lane.is_some() && large.grow(SMALL_BYTES * 2).await.is_ok());
    }
}
