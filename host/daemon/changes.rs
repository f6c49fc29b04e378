//! What has changed in a run from one look to the next, for its history.
//!
//! Owns: when a state begins and ends that lasts: a target that is down, a row that is refused, a feed that is silent. Does not
//! own: the facts (`status`), what is noted where it is done (`record`, `changefeed`, `target`).
//!
//! A few looks a second are enough: what is over within a moment, as a deadlock is, is not worth an event.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ebb_sdk::Timestamp;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::record::{at, titled};
use super::standing::Standing;
use crate::code::Code;
use crate::history::{Entry, Event, History};
use crate::stage::Backlog;
use crate::status::{ChangefeedState, Reason, Snapshot, Status};

const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// A target that takes no rows for less than this is not said to be lost.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// Room that lasts for less is a gap between two requests that have none.
const ROOM_LASTS: Duration = Duration::from_secs(5);
/// The target has caught up when it is so few seconds behind, and may do so again once it was so many behind.
const CAUGHT_UP_SECONDS: f64 = 15.0;
const BEHIND_SECONDS: f64 = 60.0;

/// Goes on as long as the run.
pub(super) async fn watch(
    status: Arc<Status>,
    backlog: Backlog,
    mut changes: Changes,
    history: History,
    mut hangups: watch::Receiver<u64>,
) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut standing = Standing::new(changes.stalled_after);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let now = status.snapshot("", backlog.resolved(), backlog.forecast());
                standing.look(&now);
                changes.look(&now).into_iter().for_each(|entry| history.note(entry));
            }
            Ok(()) = hangups.changed() => history.note(
                Entry::new(Event::Signal, "SIGHUP: files are read again, and a refused row is tried again").fact("signal", "SIGHUP")
            ),
        }
    }
}

/// The states that were noted, each with the time of the run at which it began.
#[derive(Debug)]
pub(super) struct Changes {
    stalled_after: Duration,
    /// Whether anything is received at all.
    receives: bool,
    target_lost: Option<Duration>,
    refused: Option<Refused>,
    staging_full: Option<Full>,
    changefeed: ChangefeedState,
    is_unseen: bool,
    is_caught_up: bool,
    moved: Moved,
    stalled: Option<Duration>,
}

#[derive(Debug)]
struct Refused {
    since: SystemTime,
    begun: Duration,
}

#[derive(Debug)]
struct Full {
    begun: Duration,
    /// Since when there is room.
    room: Option<Duration>,
}

/// When the target has moved last, or had nothing to do.
#[derive(Debug, Default)]
struct Moved {
    to: Option<Timestamp>,
    at: Duration,
}

impl Changes {
    pub(super) fn new(stalled_after: Duration, receives: bool) -> Self {
        Self {
            stalled_after,
            receives,
            target_lost: None,
            refused: None,
            staging_full: None,
            changefeed: ChangefeedState::Runs,
            is_unseen: false,
            is_caught_up: false,
            moved: Moved::default(),
            stalled: None,
        }
    }

    /// What has changed since the last look.
    fn look(&mut self, now: &Snapshot) -> Vec<Entry> {
        let changed = [
            self.target(now),
            self.row(now),
            self.staging(now),
            self.source(now),
            self.changefeed(now),
            self.lag(now),
            self.stall(now),
        ];
        changed.into_iter().flatten().map(|entry| at(entry, now)).collect()
    }

    fn target(&mut self, now: &Snapshot) -> Option<Entry> {
        match (now.target_down, self.target_lost) {
            (Some((lasted, code)), None) if lasted >= LOST_AFTER => {
                self.target_lost = Some(now.running_for.saturating_sub(lasted));
                let text = format!("the target takes no rows: {}", titled(code));
                Some(Entry::new(Event::TargetLost, text).fact("code", code.text()))
            }
            (None, Some(begun)) => {
                self.target_lost = None;
                Some(over(Event::TargetBack, "the target takes rows again", now, begun))
            }
            _ => None,
        }
    }

    fn row(&mut self, now: &Snapshot) -> Option<Entry> {
        match (&now.waiting, &self.refused) {
            (Some(waiting), known) if known.as_ref().is_none_or(|known| known.since != waiting.since) => {
                self.refused = Some(Refused { since: waiting.since, begun: now.running_for });
                let table = waiting.error.fact("table");
                let of = table.map(|table| format!(" of {table}")).unwrap_or_default();
                let text = format!("the target refuses a row{of}: {}", titled(waiting.error.code));
                let entry = Entry::new(Event::RowRefused, text).fact("code", waiting.error.code.text());
                Some(entry.fact_if("table", table).fact_if("database_code", waiting.error.fact("code")))
            }
            (None, Some(known)) => {
                let entry = over(
                    Event::RowAccepted,
                    "the target takes the refused row, or a later version of it",
                    now,
                    known.begun,
                );
                self.refused = None;
                Some(entry)
            }
            _ => None,
        }
    }

    fn staging(&mut self, now: &Snapshot) -> Option<Entry> {
        match &mut self.staging_full {
            None if now.staging.is_full => {
                self.staging_full = Some(Full { begun: now.running_for, room: None });
                Some(Entry::new(Event::StagingFull, "staging is full: requests are held"))
            }
            Some(full) if now.staging.is_full => {
                full.room = None;
                None
            }
            Some(full) => {
                let (begun, room) = (full.begun, *full.room.get_or_insert(now.running_for));
                (now.running_for.saturating_sub(room) >= ROOM_LASTS).then(|| {
                    self.staging_full = None;
                    over(Event::StagingRoom, "staging has room again: requests are answered", now, begun)
                })
            }
            None => None,
        }
    }

    fn source(&mut self, now: &Snapshot) -> Option<Entry> {
        let is_unseen = now.changefeed == ChangefeedState::Unseen;
        (is_unseen != std::mem::replace(&mut self.is_unseen, is_unseen)).then(|| match is_unseen {
            true => Entry::new(Event::SourceLost, "CockroachDB does not answer ebb"),
            false => Entry::new(Event::SourceBack, "CockroachDB answers ebb again"),
        })
    }

    fn changefeed(&mut self, now: &Snapshot) -> Option<Entry> {
        let state = now.changefeed;
        if matches!(state, ChangefeedState::NotLooked | ChangefeedState::Unseen) || state == self.changefeed {
            return None;
        }
        let before = std::mem::replace(&mut self.changefeed, state);
        Some(match (before, state) {
            (_, ChangefeedState::Paused) => {
                Entry::new(Event::ChangefeedPaused, "the changefeed was paused by somebody")
            }
            (_, ChangefeedState::Fails) => {
                Entry::new(Event::ChangefeedFails, "nothing arrives: the attempts of the changefeed fail")
            }
            (ChangefeedState::Paused, _) => Entry::new(Event::ChangefeedResumed, "the changefeed was resumed"),
            _ => Entry::new(Event::ChangefeedRuns, "the changefeed gets through again"),
        })
    }

    fn lag(&mut self, now: &Snapshot) -> Option<Entry> {
        // What an earlier run has left is no catching up of this one.
        let lag = now.lag().filter(|_| !self.receives || now.arrived_ago.is_some())?;
        if lag > BEHIND_SECONDS {
            self.is_caught_up = false;
        }
        (lag <= CAUGHT_UP_SECONDS && !std::mem::replace(&mut self.is_caught_up, true))
            .then(|| Entry::new(Event::CaughtUp, format!("the target has caught up: it is {lag:.1} s behind")))
    }

    fn stall(&mut self, now: &Snapshot) -> Option<Entry> {
        let (stuck, reason) = self.stuck(now);
        match self.stalled {
            None if stuck >= self.stalled_after => {
                self.stalled = Some(now.running_for.saturating_sub(stuck));
                let text = format!("nothing has moved for {} s: {}", stuck.as_secs(), reason.words());
                let entry = Entry::new(Event::Stalled, text).fact("reason", reason.id());
                let waiting = now.waiting.as_ref().map(|waiting| &waiting.error);
                let code = match reason {
                    Reason::TargetDown => now.target_down.map(|(_, code)| code),
                    Reason::RowRefused => waiting.map(|error| error.code),
                    _ => return Some(entry),
                };
                let table = waiting.and_then(|error| error.fact("table"));
                Some(entry.fact_if("code", code.map(Code::text)).fact_if("table", table))
            }
            Some(begun) if stuck < self.stalled_after => {
                self.stalled = None;
                Some(over(Event::Recovered, "the run goes on", now, begun))
            }
            _ => None,
        }
    }

    /// For how long something has kept the run from moving, and what.
    fn stuck(&mut self, now: &Snapshot) -> (Duration, Reason) {
        let is_idle = now.applied.is_some_and(|applied| applied >= now.resolved);
        if is_idle || now.applied != self.moved.to {
            self.moved = Moved { to: now.applied, at: now.running_for };
        }
        let silent = if self.receives { now.silent_for() } else { Duration::ZERO };
        let down = now.target_down.map_or(Duration::ZERO, |(lasted, _)| lasted);
        let unmoved = now.running_for.saturating_sub(self.moved.at);
        let reasons = now.reasons();
        let known = |some: &[Reason]| reasons.iter().find(|reason| some.contains(reason)).copied();
        let keep_away =
            [Reason::StagingFull, Reason::ChangefeedPaused, Reason::ChangefeedFails, Reason::SourceUnreachable];
        let kept = [
            (down, Reason::TargetDown),
            (now.resolved_stands, Reason::ResolvedStands),
            (unmoved, known(&[Reason::TargetDown, Reason::RowRefused]).unwrap_or(Reason::Behind)),
            (silent, known(&keep_away).unwrap_or(Reason::NothingArrives)),
        ];
        // Of those that last long enough the first one; it has the others follow.
        let longest = kept.iter().copied().max_by_key(|(lasted, _)| *lasted);
        let first = kept.iter().copied().find(|(lasted, _)| *lasted >= self.stalled_after);
        first.or(longest).unwrap_or((Duration::ZERO, Reason::Behind))
    }
}

/// The end of a state that began at this time of the run.
fn over(event: Event, what: &str, now: &Snapshot, begun: Duration) -> Entry {
    let seconds = now.running_for.saturating_sub(begun).as_secs();
    Entry::new(event, format!("{what} after {seconds} s")).fact("seconds", seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code;
    use crate::error::Error;
    use crate::stage::Forecast;
    use crate::status::Waiting;

    /// A run after so many seconds, in which all is well.
    fn well(seconds: u64) -> Snapshot {
        let now = Timestamp { wall: 1_000_000_000_000 + i64::try_from(seconds).unwrap() * 1_000_000_000, logical: 0 };
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + seconds);
        let snapshot = Status::default().snapshot("s", now, Forecast::default());
        let moment = Some(Duration::ZERO);
        Snapshot { at, running_for: Duration::from_secs(seconds), arrived_ago: moment, applied: Some(now), ..snapshot }
    }

    fn changes() -> Changes {
        let mut changes = Changes::new(Duration::from_secs(60), true);
        assert!(changes.look(&Snapshot { arrived_ago: None, ..well(0) }).is_empty());
        assert_eq!(names(&changes.look(&well(1))), ["caught-up"]);
        assert!(changes.look(&well(2)).is_empty());
        changes
    }

    fn names(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.event.as_str()).collect()
    }

    #[test]
    fn a_target_that_is_gone_for_a_moment_is_not_lost() {
        let mut changes = changes();
        let down = |seconds, lasted| {
            let target_down = Some((Duration::from_secs(lasted), code::target::READ_ONLY));
            Snapshot { target_down, ..well(seconds) }
        };
        assert!(changes.look(&down(3, 0)).is_empty());
        let lost = changes.look(&down(4, 1));
        assert_eq!(
            (names(&lost), lost[0].shown("code")),
            (vec!["target-lost"], code::target::READ_ONLY.text().to_owned())
        );
        assert!(changes.look(&down(62, 59)).is_empty());
        let stalled = changes.look(&down(63, 60));
        assert_eq!((names(&stalled), stalled[0].shown("reason")), (vec!["stalled"], "target-down".to_owned()));
        assert!(changes.look(&down(64, 61)).is_empty());
        let over = changes.look(&well(70));
        assert_eq!(names(&over), ["target-back", "recovered"]);
        assert_eq!(over[0].shown("seconds"), "67");
    }

    #[test]
    fn a_refused_row_is_told_without_its_values() {
        let mut changes = changes();
        let refused = |seconds, since| {
            let error = Error::new(code::row::REFUSED, "the value 4711 is too large").field("table", "public.t");
            let since = SystemTime::UNIX_EPOCH + Duration::from_secs(since);
            let (at, tries) = (Timestamp::ZERO, 1);
            Snapshot {
                waiting: Some(Waiting { since, at, error: error.field("key", "[4711]"), tries, next_try: since }),
                ..well(seconds)
            }
        };
        let entries = changes.look(&refused(3, 1));
        assert_eq!((names(&entries), entries[0].shown("table")), (vec!["row-refused"], "public.t".to_owned()));
        assert!(!serde_json::to_string(&entries).unwrap().contains("4711"));
        assert!(changes.look(&refused(4, 1)).is_empty());
        // Another one, with no moment between the two.
        assert_eq!(names(&changes.look(&refused(5, 4))), ["row-refused"]);
        assert_eq!(names(&changes.look(&well(6))), ["row-accepted"]);
    }

    #[test]
    fn staging_has_room_once_it_lasts() {
        let mut changes = changes();
        let full = |seconds| Snapshot { staging: Forecast { is_full: true, ..Forecast::default() }, ..well(seconds) };
        assert_eq!(names(&changes.look(&full(3))), ["staging-full"]);
        for now in [well(4), full(5), well(6), well(10)] {
            assert!(changes.look(&now).is_empty());
        }
        assert_eq!(names(&changes.look(&well(11))), ["staging-room"]);
    }

    #[test]
    fn the_states_of_a_changefeed_follow_each_other() {
        let mut changes = changes();
        let mut look = |state| names(&changes.look(&Snapshot { changefeed: state, ..well(3) })).join(" ");
        use ChangefeedState::{Fails, NotLooked, Paused, Runs, Unseen};
        let states = [NotLooked, Runs, Paused, Unseen, Paused, Runs, Fails, Unseen, Runs];
        let expected = [
            "",
            "",
            "changefeed-paused",
            "source-lost",
            "source-back",
            "changefeed-resumed",
            "changefeed-fails",
            "source-lost",
            "source-back changefeed-runs",
        ];
        assert_eq!(states.map(&mut look), expected);
    }

    #[test]
    fn a_run_that_does_not_move_is_stalled_once() {
        let mut changes = changes();
        // Rows come, and none is applied.
        let behind = |seconds| Snapshot { applied: well(2).applied, ..well(seconds) };
        assert!(changes.look(&behind(30)).is_empty());
        let stalled = changes.look(&behind(70));
        assert_eq!((names(&stalled), stalled[0].shown("lag_seconds")), (vec!["stalled"], "68.0".to_owned()));
        assert_eq!(stalled[0].shown("reason"), "behind");
        assert!(changes.look(&behind(200)).is_empty());
        assert_eq!(names(&changes.look(&well(201))), ["caught-up", "recovered"]);
        // Rows come, and no resolved timestamp does: what there is to apply is applied.
        let stands = Snapshot { resolved_stands: Duration::from_secs(60), ..well(205) };
        assert_eq!(changes.look(&stands)[0].shown("reason"), "resolved-stands");
        assert_eq!(names(&changes.look(&well(206))), ["recovered"]);
        // Nothing comes.
        let silent = |seconds, ago| Snapshot { arrived_ago: Some(Duration::from_secs(ago)), ..well(seconds) };
        let stalled = changes.look(&silent(270, 60));
        assert_eq!((names(&stalled), stalled[0].shown("reason")), (vec!["stalled"], "nothing-arrives".to_owned()));
        assert_eq!(names(&changes.look(&silent(271, 0))), ["recovered"]);
        let mut applies_only = Changes::new(Duration::from_secs(60), false);
        assert_eq!(names(&applies_only.look(&silent(270, 270))), ["caught-up"]);
    }
}
