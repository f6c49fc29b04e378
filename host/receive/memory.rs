//! Memory for bodies and for what is made of them, shared by all connections.
//!
//! Owns: how much is held, by whom, and who gives way when there is none left. Does not own: bytes.
//!
//! Memory is taken as bytes arrive, so that nobody holds more than he has sent. Where there is none left whoever needs some
//! waits, for a bounded time, and meanwhile reads nothing. Bodies that wait for one another would wait in vain: those
//! whose senders are slow give way at once, and when nothing has become free for a while the one that has held the most for
//! the longest does. It is answered with 503, and comes again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::Refusal;

/// One permit stands for so many bytes.
const PERMIT_BYTES: usize = 1024;
/// A sender who needs longer for his body, beside what it waits here, gives way where memory is short.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// When nothing has become free for so long, somebody gives way.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// All memory.
pub(super) struct Memory {
    permits: Arc<Semaphore>,
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
    /// When somebody had to give way because nothing moved.
    broken: Option<Instant>,
}

struct Body {
    bytes: usize,
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
    fn cost(&self, time: Duration) -> u128 {
        self.bytes as u128 * time.as_millis()
    }
}

/// What one request holds. It is given back when this is dropped.
pub(super) struct Share {
    memory: Arc<Memory>,
    id: u64,
    permit: Option<OwnedSemaphorePermit>,
}

impl Memory {
    pub(super) fn new(bytes_max: usize, wait_max: Duration) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(bytes_max.div_ceil(PERMIT_BYTES)));
        Arc::new(Self { permits, bytes_max, wait_max, arriving: Mutex::default() })
    }

    /// A share of nothing yet. What it returns beside it comes when the body has to give way.
    pub(super) fn enter(self: &Arc<Self>) -> (Share, oneshot::Receiver<()>) {
        let (give_way, given_way) = oneshot::channel();
        let mut arriving = self.lock();
        let id = arriving.next;
        arriving.next += 1;
        let (since, waited) = (Instant::now(), Duration::ZERO);
        arriving.bodies.insert(id, Body { bytes: 0, since, waited, waits: None, give_way: Some(give_way) });
        (Share { memory: Arc::clone(self), id, permit: None }, given_way)
    }

    pub(super) fn busy(&self) -> Refusal {
        Refusal::busy(format!(
            "there is no memory for the body now: other bodies and their rows hold the {} bytes that there are \
             (--in-flight-bytes-max); send it again",
            self.bytes_max
        ))
    }

    /// Asks those with slow senders until `bytes` will be free.
    fn ask_slow(&self, bytes: usize) {
        let mut arriving = self.lock();
        let mut freed = 0;
        while freed < bytes {
            let asked = arriving.bodies.values_mut().filter(|body| body.bytes > 0 && body.give_way.is_some());
            let slow = asked.filter(|body| body.slow() >= SLOW_AFTER).max_by_key(|body| body.cost(body.slow()));
            let Some(body) = slow else { break };
            freed += body.bytes;
            // It may have gone by itself.
            let _ = body.give_way.take().map(|asked| asked.send(()));
        }
    }

    /// Asks one, when most of the memory is in the hands of bodies that wait for one another. What is being written to the
    /// disk comes back by itself.
    fn break_up(&self) {
        let mut arriving = self.lock();
        if arriving.broken.is_some_and(|at| at.elapsed() < STALLED_AFTER) {
            return;
        }
        let held: usize = arriving.bodies.values().map(|body| body.bytes).sum();
        let holders = arriving.bodies.values_mut().filter(|body| body.bytes > 0 && body.give_way.is_some());
        let mut holders: Vec<_> = holders.collect();
        if held <= self.bytes_max / 2 || holders.len() < 2 {
            return;
        }
        if let Some(body) = holders.iter_mut().max_by_key(|body| body.cost(body.since.elapsed())) {
            let _ = body.give_way.take().map(|asked| asked.send(()));
            arriving.broken = Some(Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arriving> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Holds memory for so many bytes altogether, where it is less.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        if !self.is_short(bytes) || self.grow_now(bytes).is_ok() {
            return Ok(());
        }
        self.update(|body| body.waits = Some(Instant::now()));
        let taken = self.wait(bytes).await;
        self.update(|body| body.waited += body.waits.take().map_or(Duration::ZERO, |since| since.elapsed()));
        self.take(taken?);
        Ok(())
    }

    /// The same where it cannot be waited for.
    pub(super) fn grow_now(&mut self, bytes: usize) -> Result<(), Refusal> {
        if self.is_short(bytes) {
            let taken = Arc::clone(&self.memory.permits).try_acquire_many_owned(self.lacks(bytes));
            self.take(taken.map_err(|_| self.memory.busy())?);
        }
        Ok(())
    }

    /// Gives back what is more than so many bytes.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let spare = self.permits().saturating_sub(bytes.div_ceil(PERMIT_BYTES));
        drop(self.permit.as_mut().and_then(|permit| permit.split(spare)));
        self.update(|body| body.bytes = body.bytes.min(bytes));
    }

    /// It needs no more from here on, and comes to its end by itself: nobody asks it to give way.
    pub(super) fn settle(&mut self) {
        self.memory.lock().bodies.remove(&self.id);
    }

    async fn wait(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let memory = &self.memory;
        let deadline = Instant::now() + memory.wait_max;
        let lacks = self.lacks(bytes);
        // Kept throughout: who gives up his place in the queue may never come first.
        let acquired = Arc::clone(&memory.permits).acquire_many_owned(lacks);
        tokio::pin!(acquired);
        loop {
            memory.ask_slow(lacks as usize * PERMIT_BYTES);
            tokio::select! {
                acquired = &mut acquired => return acquired.map_err(|_| Refusal::ending()),
                () = sleep_until(deadline) => return Err(memory.busy()),
                () = sleep(STALLED_AFTER) => memory.break_up(),
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
        self.permits() * PERMIT_BYTES < bytes
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
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = PERMIT_BYTES;

    #[tokio::test]
    async fn nobody_holds_more_than_he_has_sent() {
        let memory = Memory::new(100 * KIB, Duration::from_millis(50));
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
        drop((share, other));
        assert_eq!(memory.permits.available_permits(), 100);
        assert!(memory.lock().bodies.is_empty());
    }

    #[tokio::test]
    async fn slow_senders_give_way_to_others() {
        let memory = Memory::new(100 * KIB, Duration::from_secs(20));
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
    async fn bodies_that_wait_for_one_another_are_broken_up() {
        let memory = Memory::new(100 * KIB, Duration::from_secs(20));
        let ((mut one, one_is_asked), (mut other, other_is_asked)) = (memory.enter(), memory.enter());
        one.grow(40 * KIB).await.unwrap();
        other.grow(60 * KIB).await.unwrap();
        let whole = async |share: &mut Share, asked: oneshot::Receiver<()>| {
            tokio::select! {
                grown = share.grow(90 * KIB) => grown.is_ok(),
                _ = asked => false,
            }
        };
        let one = async {
            let is_whole = whole(&mut one, one_is_asked).await;
            drop(one);
            is_whole
        };
        let other = async {
            let is_whole = whole(&mut other, other_is_asked).await;
            drop(other);
            is_whole
        };
        assert_eq!(tokio::join!(one, other), (true, false), "the one that holds more gives way");
    }
}
