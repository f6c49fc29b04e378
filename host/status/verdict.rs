//! What a snapshot means: what stands in the way of cutting back, what holds the run up, and what to do next.
//!
//! Owns: the judgement, which is one function of the snapshot, and its words. Does not own: the facts (`snapshot`). Pure.
//! Whatever is not known counts as a reason against.

use std::time::Duration;

use super::{ChangefeedState, Proof, Snapshot, verification};

/// A target that is further behind has not caught up. CockroachDB resolves a time some seconds after it.
const BEHIND_MAX_SECONDS: f64 = 15.0;
/// Resolved timestamps come every second.
const SILENCE_MAX: Duration = Duration::from_secs(15);
const STANDS_MAX: Duration = Duration::from_secs(15);

/// Why it is not safe to cut back. The ids are stable: scripts may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    TargetDown,
    RowRefused,
    StagingFull,
    ChangefeedPaused,
    ChangefeedFails,
    SourceUnreachable,
    NothingArrives,
    NothingReceived,
    NothingApplied,
    ResolvedStands,
    RowsDiffer,
    Behind,
    NotVerified,
    VerificationOld,
    SequencesNotChecked,
}

/// Which part holds the run up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bottleneck {
    None,
    Source,
    Staging,
    Target,
}

impl Reason {
    pub const ALL: [Self; 15] = [
        Self::TargetDown,
        Self::RowRefused,
        Self::StagingFull,
        Self::ChangefeedPaused,
        Self::ChangefeedFails,
        Self::SourceUnreachable,
        Self::NothingArrives,
        Self::NothingReceived,
        Self::NothingApplied,
        Self::ResolvedStands,
        Self::RowsDiffer,
        Self::Behind,
        Self::NotVerified,
        Self::VerificationOld,
        Self::SequencesNotChecked,
    ];

    pub fn id(self) -> &'static str {
        match self {
            Self::TargetDown => "target-down",
            Self::RowRefused => "row-refused",
            Self::StagingFull => "staging-full",
            Self::ChangefeedPaused => "changefeed-paused",
            Self::ChangefeedFails => "changefeed-fails",
            Self::SourceUnreachable => "source-unreachable",
            Self::NothingArrives => "nothing-arrives",
            Self::NothingReceived => "nothing-received",
            Self::NothingApplied => "nothing-applied",
            Self::ResolvedStands => "resolved-stands",
            Self::RowsDiffer => "rows-differ",
            Self::Behind => "behind",
            Self::NotVerified => "not-verified",
            Self::VerificationOld => "verification-old",
            Self::SequencesNotChecked => "sequences-not-checked",
        }
    }

    /// In a few words, for the line.
    pub fn words(self) -> &'static str {
        match self {
            Self::TargetDown => "the target takes no rows",
            Self::RowRefused => "a row is refused",
            Self::StagingFull => "staging is full",
            Self::ChangefeedPaused => "the changefeed is paused",
            Self::ChangefeedFails => "the changefeed does not get through",
            Self::SourceUnreachable => "CockroachDB does not answer",
            Self::NothingArrives => "nothing arrives",
            Self::NothingReceived => "nothing has arrived yet",
            Self::NothingApplied => "nothing is applied yet",
            Self::ResolvedStands => "the resolved timestamp does not move",
            Self::RowsDiffer => "rows differ",
            Self::Behind => "the target is behind",
            Self::NotVerified => "not verified",
            Self::VerificationOld => "verified too long ago",
            Self::SequencesNotChecked => "sequences are not checked",
        }
    }

    /// What to do about it.
    pub(super) fn next(self, snapshot: &Snapshot) -> String {
        let job = snapshot.job.map_or_else(|| "ID".to_owned(), |job| job.to_string());
        match self {
            Self::TargetDown => match snapshot.target_down {
                Some((_, code)) => format!("ebb explain {code}"),
                None => "see the log for why".into(),
            },
            Self::RowRefused => {
                let explain = snapshot.waiting.as_ref().map(|waiting| format!("; ebb explain {}", waiting.error.code));
                let see = "see the log for the row and the statement that makes room for it";
                format!("{see}{}", explain.unwrap_or_default())
            }
            Self::StagingFull => "ebb explain EBB-D019".into(),
            Self::ChangefeedPaused => format!("on CockroachDB: RESUME JOB {job}"),
            Self::ChangefeedFails => {
                format!("on CockroachDB: SELECT status, running_status FROM [SHOW CHANGEFEED JOB {job}]")
            }
            Self::SourceUnreachable => "check that CockroachDB runs and can be reached from here".into(),
            Self::NothingArrives => "ebb explain EBB-C010".into(),
            Self::NothingReceived => "wait for the first request of the changefeed".into(),
            Self::NothingApplied => "wait for the first resolved timestamp".into(),
            Self::ResolvedStands => "ebb explain EBB-C034".into(),
            Self::Behind => "wait until the target has caught up".into(),
            Self::RowsDiffer => "ebb verify, with the settings of this run, shows the rows".into(),
            Self::NotVerified | Self::VerificationOld => {
                "compare both sides: ebb verify, with the settings of this run".into()
            }
            Self::SequencesNotChecked => {
                "advance the sequences of the target: ebb cutback, with the settings of this run".into()
            }
        }
    }
}

impl Bottleneck {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Source => "source",
            Self::Staging => "staging",
            Self::Target => "target",
        }
    }
}

impl Snapshot {
    /// Everything against cutting back now, the gravest first. None: it is safe.
    pub fn reasons(&self) -> Vec<Reason> {
        Reason::ALL.into_iter().filter(|reason| self.holds(*reason)).collect()
    }

    fn holds(&self, reason: Reason) -> bool {
        match reason {
            Reason::TargetDown => self.target_down.is_some(),
            Reason::RowRefused => self.waiting.is_some(),
            Reason::StagingFull => self.staging.is_full,
            Reason::ChangefeedPaused => self.changefeed == ChangefeedState::Paused,
            Reason::ChangefeedFails => self.changefeed == ChangefeedState::Fails,
            Reason::SourceUnreachable => self.changefeed == ChangefeedState::Unseen,
            Reason::NothingArrives => self.silent_for() > SILENCE_MAX,
            // What an earlier run has left says nothing of this one.
            Reason::NothingReceived => self.arrived_ago.is_none(),
            Reason::NothingApplied => self.applied.is_none(),
            Reason::ResolvedStands => self.resolved_stands > STANDS_MAX,
            Reason::Behind => self.lag().is_some_and(|lag| lag > BEHIND_MAX_SECONDS),
            Reason::RowsDiffer => self.proof() == Proof::Different,
            Reason::NotVerified => self.proof() == Proof::None,
            Reason::VerificationOld => self.proof() == Proof::Old,
            Reason::SequencesNotChecked => !self.sequences_are_ready(),
        }
    }

    /// Which part the others wait for.
    pub fn bottleneck(&self) -> Bottleneck {
        match (self.holds_up(), self.holds(Reason::Behind), self.applied) {
            (Some(part), _, _) => part,
            (None, true, Some(applied)) if applied < self.resolved => Bottleneck::Target,
            (None, true, _) => Bottleneck::Source,
            (None, false, _) => Bottleneck::None,
        }
    }

    /// A part that does not work.
    fn holds_up(&self) -> Option<Bottleneck> {
        let parts = [
            (Reason::TargetDown, Bottleneck::Target),
            (Reason::RowRefused, Bottleneck::Target),
            (Reason::StagingFull, Bottleneck::Staging),
            (Reason::ChangefeedPaused, Bottleneck::Source),
            (Reason::ChangefeedFails, Bottleneck::Source),
            (Reason::SourceUnreachable, Bottleneck::Source),
            (Reason::NothingArrives, Bottleneck::Source),
            (Reason::ResolvedStands, Bottleneck::Source),
            (Reason::NothingReceived, Bottleneck::Source),
        ];
        parts.into_iter().find(|(reason, _)| self.holds(*reason)).map(|(_, part)| part)
    }

    /// What to do about the gravest reason.
    pub fn next(&self) -> Option<String> {
        self.reasons().first().map(|reason| reason.next(self))
    }

    /// The state of the run in one line. It says nothing good that is not known.
    pub fn line(&self) -> String {
        let behind = self.lag().map_or_else(|| "nothing applied yet".into(), |lag| format!("behind {}", short(lag)));
        let mebibytes = self.staging.usage.row_bytes as f64 / f64::from(1 << 20);
        let rate = format!("{} rows/s · {mebibytes:.1} MiB staged", grouped(self.rate));
        let is_behind = self.holds(Reason::Behind) || self.lag().is_none();
        let reasons = self.reasons();
        let caught_up = match (self.holds_up(), is_behind, self.caught_up_in) {
            _ if reasons.first() == Some(&Reason::NothingReceived) => Reason::NothingReceived.words().into(),
            (Some(part), _, _) => format!("held up by the {}", part.name()),
            (None, false, _) => "caught up".into(),
            (None, true, Some(seconds)) => format!("caught up in {}", short(seconds)),
            (None, true, None) => "not catching up".into(),
        };
        let refused = if self.waiting.is_some() { "1 refused" } else { "0 refused" };
        let words: Vec<_> = reasons.iter().take(2).map(|reason| reason.words()).collect();
        let more = reasons.len().checked_sub(3).map_or_else(String::new, |more| format!(" and {} more", more + 1));
        let safe = match reasons.is_empty() {
            true => "YES".to_owned(),
            false => format!("NO, {}{more}", words.join(", ")),
        };
        let differences = self.verification.as_ref().map_or(0, |found| found.differences);
        let verified = verification::words(self.proof(), differences, self.at);
        format!("{behind} · {rate} · {caught_up} · {refused} · {verified} · safe to cut back: {safe}")
    }
}

/// `1.8 s`, `4 min`, `2.5 h`, `3 days`.
pub(super) fn short(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// `3,214`.
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::code;
    use crate::config::Access;
    use crate::stage::Forecast;
    use crate::status::Status;
    use ebb_sdk::Timestamp;

    /// As good as it can be: rows come and are applied, at 2 s.
    fn well() -> Snapshot {
        let status = Status::new(&Access::default());
        status.arrived();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let applied = Timestamp { wall: 998_200_000_000, logical: 0 };
        let resolved = applied;
        Snapshot { at, applied: Some(applied), ..status.snapshot("s", resolved, Forecast::default()) }
    }

    #[test]
    fn what_is_not_known_is_never_a_good_sign() {
        let snapshot = well();
        assert_eq!(snapshot.reasons(), [Reason::NotVerified, Reason::SequencesNotChecked]);
        assert_eq!(
            snapshot.line(),
            "behind 1.8 s · 0 rows/s · 0.0 MiB staged · caught up · 0 refused · not verified · \
             safe to cut back: NO, not verified, sequences are not checked"
        );
        let start = Status::default().snapshot("s", Timestamp::ZERO, Forecast::default());
        assert!(start.reasons().contains(&Reason::NothingApplied));
        assert!(start.line().starts_with("nothing applied yet · ") && start.line().contains("nothing has arrived yet"));
    }

    /// The cursor or the progress of an earlier run is where a start begins.
    #[test]
    fn before_the_first_request_nothing_has_caught_up() {
        let seeded = Snapshot { arrived_ago: None, running_for: Duration::from_secs(3), ..well() };
        let expected = [Reason::NothingReceived, Reason::NotVerified, Reason::SequencesNotChecked];
        assert_eq!((seeded.reasons().as_slice(), seeded.bottleneck()), (&expected[..], Bottleneck::Source));
        assert!(!seeded.line().contains("caught up"), "{}", seeded.line());
        let silent = Snapshot { running_for: Duration::from_secs(16), ..seeded };
        assert!(silent.line().contains("held up by the source"), "{}", silent.line());
    }

    #[test]
    fn each_part_that_fails_is_named() {
        let full = Forecast { is_full: true, ..Forecast::default() };
        let check = |snapshot: Snapshot, reason: Reason, bottleneck: Bottleneck, next: &str| {
            assert_eq!(snapshot.reasons().first(), Some(&reason), "{snapshot:?}");
            assert_eq!(snapshot.bottleneck(), bottleneck);
            assert!(snapshot.line().contains(reason.words()), "{}", snapshot.line());
            assert!(snapshot.next().is_some_and(|said| said.contains(next)), "{:?}", snapshot.next());
        };
        let down = Some((Duration::from_secs(3), code::target::UNREACHABLE));
        check(Snapshot { target_down: down, ..well() }, Reason::TargetDown, Bottleneck::Target, "ebb explain");
        check(Snapshot { staging: full, ..well() }, Reason::StagingFull, Bottleneck::Staging, "EBB-D019");
        let changefeed = |changefeed| Snapshot { changefeed, job: Some(7), ..well() };
        let source = Bottleneck::Source;
        check(changefeed(ChangefeedState::Paused), Reason::ChangefeedPaused, source, "RESUME JOB 7");
        check(changefeed(ChangefeedState::Fails), Reason::ChangefeedFails, source, "SHOW CHANGEFEED JOB 7");
        check(changefeed(ChangefeedState::Unseen), Reason::SourceUnreachable, source, "CockroachDB runs");
        let silent = Snapshot { arrived_ago: None, running_for: Duration::from_secs(16), ..well() };
        check(silent, Reason::NothingArrives, source, "EBB-C010");
        let stands = Snapshot { resolved_stands: Duration::from_secs(16), ..well() };
        check(stands, Reason::ResolvedStands, source, "EBB-C034");
        let late = || Snapshot { at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_300), ..well() };
        check(late(), Reason::Behind, source, "wait");
        let ahead = Timestamp { wall: 1_299_000_000_000, logical: 0 };
        check(Snapshot { resolved: ahead, ..late() }, Reason::Behind, Bottleneck::Target, "wait");
        let catching_up = Snapshot { caught_up_in: Some(240.0), ..late() };
        assert!(catching_up.line().contains("behind 5 min") && catching_up.line().contains("caught up in 4 min"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([1.84, 240.0, 9000.0, 200_000.0].map(short), ["1.8 s", "4 min", "2.5 h", "2 days"]);
        assert_eq!([0.0, 999.0, 3214.4, 1_234_567.0].map(grouped), ["0", "999", "3,214", "1,234,567"]);
    }
}
