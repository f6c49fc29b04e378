//! What the last comparison of both sides has proved, as far as it still counts.
//!
//! Owns: the facts, and when they count no more. Does not own: comparing (`verify`), judging the run (`verdict`).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use ebb_sdk::Timestamp;

/// A proof that is older has lost its value: what nobody watches changes.
pub(super) const PROOF_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The comparison that was made last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Up to which state of the source each table that is equal was compared, as the target calls it.
    pub tables: BTreeMap<String, Timestamp>,
    pub differences: u64,
    /// It came to its end.
    pub is_finished: bool,
    /// Every table that is replicated was compared, with all its columns.
    pub is_whole: bool,
    /// The tables of the target are as they were then.
    pub is_of_these_tables: bool,
    pub ended: SystemTime,
}

/// What it says of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// There is none.
    None,
    /// Rows differ.
    Different,
    /// It is of too long ago, or the tables have changed since.
    Old,
    /// Both sides were equal up to this time of the source.
    UpTo(Timestamp),
}

impl Verification {
    pub fn proof(&self, now: SystemTime) -> Proof {
        // Of the oldest part: what was compared when counts, not when it was kept.
        let oldest = self.tables.values().min();
        let at = oldest.map_or(UNIX_EPOCH, |at| UNIX_EPOCH + Duration::from_nanos(u64::try_from(at.wall).unwrap_or(0)));
        let age = now.duration_since(at).unwrap_or_default();
        match oldest {
            _ if self.differences > 0 => Proof::Different,
            _ if !self.is_finished || !self.is_whole => Proof::None,
            _ if age > PROOF_MAX || !self.is_of_these_tables => Proof::Old,
            Some(&at) => Proof::UpTo(at),
            None => Proof::None,
        }
    }
}

/// `verified to 12:03:10`, in UTC, with its day unless that is today.
pub(super) fn words(proof: Proof, differences: u64, now: SystemTime) -> String {
    match proof {
        Proof::None => "not verified".into(),
        Proof::Different => format!("{differences} rows differ"),
        Proof::Old => "verified too long ago".into(),
        Proof::UpTo(at) => {
            let (at, now) = (DateTime::from_timestamp_nanos(at.wall), DateTime::<Utc>::from(now));
            let form = if at.date_naive() == now.date_naive() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
            format!("verified to {}", at.format(form))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_and_recent_comparison_counts() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let time = |seconds: i64| Timestamp { wall: seconds * 1_000_000_000, logical: 0 };
        let well = Verification {
            tables: [("a".to_owned(), time(999)), ("b".to_owned(), time(900))].into(),
            differences: 0,
            is_finished: true,
            is_whole: true,
            is_of_these_tables: true,
            ended: at(1_000),
        };
        assert_eq!(well.proof(at(2_000)), Proof::UpTo(time(900)));
        assert_eq!(well.proof(at(900 + 86_401)), Proof::Old);
        assert_eq!(Verification { is_of_these_tables: false, ..well.clone() }.proof(at(2_000)), Proof::Old);
        assert_eq!(Verification { is_finished: false, ..well.clone() }.proof(at(2_000)), Proof::None);
        assert_eq!(Verification { is_whole: false, ..well.clone() }.proof(at(2_000)), Proof::None);
        assert_eq!(Verification { differences: 1, is_finished: false, ..well }.proof(at(2_000)), Proof::Different);
        assert_eq!(words(Proof::UpTo(time(43_390)), 0, at(50_000)), "verified to 12:03:10");
        assert_eq!(words(Proof::UpTo(time(43_390)), 0, at(100_000)), "verified to 1970-01-01 12:03:10");
    }
}
