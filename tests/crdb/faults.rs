//! Injected faults: what a real feed does now and then, done when a test wants it.
//!
//! Every fault keeps the feed's guarantees: a resolved timestamp stays true, and the versions of a key first come in
//! their order. Injected faults are kept in memory and shared by all feeds; each happens to the first feed that can have it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The request is sent whole and answered; the answer counts as failed, so that the same bytes come again.
    AnswerLost,
    /// The connection is cut in the middle of the body.
    CutMidBody,
    /// The feed starts again at an earlier point (`amount` versions back, 100 by default), and repeats every second of
    /// the versions that had been acknowledged.
    Replay,
    /// After the next rows, they come again, newest first, and older ones with them.
    Duplicates,
    /// The next request waits (`amount` milliseconds, 500 by default) before it is sent.
    Slow,
    /// The next resolved timestamp is sent twice.
    ResolvedRepeated,
    /// After the next resolved timestamp, the one before it is sent again.
    ResolvedBack,
    /// The next resolved timestamp is not sent, as if one range lagged.
    ResolvedHeld,
    /// The next rows come in the reverse order, except for the versions of one key.
    Reversed,
    /// The messages of the next request, and the request, have fields that are nowhere described.
    ExtraFields,
}

impl Fault {
    pub const ALL: [Fault; 10] = [
        Fault::AnswerLost,
        Fault::CutMidBody,
        Fault::Replay,
        Fault::Duplicates,
        Fault::Slow,
        Fault::ResolvedRepeated,
        Fault::ResolvedBack,
        Fault::ResolvedHeld,
        Fault::Reversed,
        Fault::ExtraFields,
    ];

    /// As in `SELECT crdb_internal.inject_fault('answer_lost', count => 1)`.
    pub fn name(self) -> &'static str {
        match self {
            Fault::AnswerLost => "answer_lost",
            Fault::CutMidBody => "cut_mid_body",
            Fault::Replay => "replay",
            Fault::Duplicates => "duplicates",
            Fault::Slow => "slow",
            Fault::ResolvedRepeated => "resolved_repeated",
            Fault::ResolvedBack => "resolved_back",
            Fault::ResolvedHeld => "resolved_held",
            Fault::Reversed => "reversed",
            Fault::ExtraFields => "extra_fields",
        }
    }

    pub fn parse(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Injected {
    count: u32,
    amount: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<BTreeMap<Fault, Injected>>);

impl Faults {
    pub(crate) fn inject(&self, fault: Fault, count: u32, amount: Option<u32>) {
        let mut injected = self.lock();
        let injected = injected.entry(fault).or_default();
        injected.count += count;
        injected.amount = amount;
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn left(&self, fault: Fault) -> u32 {
        self.lock().get(&fault).map_or(0, |injected| injected.count)
    }

    /// Whether the fault is due now, and its amount or the given one.
    pub(crate) fn take(&self, fault: Fault, amount: u32) -> Option<u32> {
        let mut injected = self.lock();
        let injected = injected.get_mut(&fault).filter(|injected| injected.count > 0)?;
        injected.count -= 1;
        Some(injected.amount.unwrap_or(amount))
    }

    /// A panic elsewhere leaves the counts as good as they were.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Fault, Injected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_happen_as_often_as_they_are_injected() {
        let faults = Faults::default();
        faults.inject(Fault::Slow, 2, Some(5));
        assert_eq!(faults.take(Fault::Slow, 500), Some(5));
        assert_eq!(faults.left(Fault::Slow), 1);
        assert_eq!(faults.take(Fault::Slow, 500), Some(5));
        assert_eq!(faults.take(Fault::Slow, 500), None);
        for fault in Fault::ALL {
            assert_eq!(Fault::parse(fault.name()), Some(fault));
        }
    }
}
