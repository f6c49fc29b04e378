//! The judgement of a snapshot in one word and one sentence, for whoever looks for ten seconds.
//!
//! Owns: that sentence. Does not own: the judgement that it sums up (`verdict`). Pure.

use super::verdict::{Bottleneck, short};
use super::{Reason, Snapshot};

/// How much a person has to care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Changes arrive and are applied. It says nothing of cutting back.
    Good,
    /// It is on its way there.
    Busy,
    /// Something holds it up.
    Bad,
}

impl Health {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Bad => "bad",
        }
    }
}

impl Snapshot {
    /// Reasons that nobody has looked at yet do not count: they say nothing of how the run goes.
    pub(super) fn headline(&self) -> (Health, String) {
        let reasons = self.reasons();
        let open = |reason: &&Reason| {
            !matches!(reason, Reason::NotVerified | Reason::VerificationOld | Reason::SequencesNotChecked)
        };
        match (reasons.iter().find(open), self.bottleneck()) {
            (None, _) => (Health::Good, "Replicating, caught up".into()),
            (Some(reason @ (Reason::NothingReceived | Reason::NothingApplied)), _) => {
                (Health::Busy, format!("Starting: {}", reason.words()))
            }
            (Some(Reason::Behind), Bottleneck::Target | Bottleneck::None) => match self.caught_up_in {
                Some(seconds) => (Health::Busy, format!("Catching up: done in about {}", short(seconds))),
                None => (Health::Bad, "Behind, and not catching up".into()),
            },
            (Some(Reason::Behind), part) => (Health::Bad, format!("Behind: waits for the {}", part.name())),
            (Some(reason), _) => (Health::Bad, capitalized(reason.words())),
        }
    }
}

fn capitalized(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use ebb_sdk::Timestamp;

    use super::*;
    use crate::code;
    use crate::config::Access;
    use crate::stage::Forecast;
    use crate::status::Status;

    #[test]
    fn it_is_never_better_than_the_reasons() {
        let status = Status::new(&Access::default());
        status.arrived();
        let applied = Timestamp { wall: 998_000_000_000, logical: 0 };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let snapshot = || status.snapshot("s", applied, Forecast::default());
        let check = |snapshot: Snapshot, health: Health, text: &str| {
            let (found, said) = snapshot.headline();
            assert!(found == health && said.contains(text), "{found:?} {said}");
        };
        let well = || Snapshot { at: at(1_000), applied: Some(applied), ..snapshot() };
        check(well(), Health::Good, "caught up");
        check(snapshot(), Health::Busy, "nothing is applied yet");
        let seeded = Snapshot { arrived_ago: None, ..well() };
        check(seeded, Health::Busy, "Starting: nothing has arrived yet");
        let late = || Snapshot { at: at(1_300), resolved: Timestamp { wall: 1_299_000_000_000, logical: 0 }, ..well() };
        check(late(), Health::Bad, "not catching up");
        check(Snapshot { caught_up_in: Some(240.0), ..late() }, Health::Busy, "4 min");
        check(Snapshot { resolved: applied, ..late() }, Health::Bad, "waits for the source");
        let down = Some((Duration::from_secs(3), code::target::UNREACHABLE));
        check(Snapshot { target_down: down, ..well() }, Health::Bad, "The target takes no rows");
    }
}
