//! What the last comparison of both sides has proved, as far as it still counts.
//!
//! Owns: the facts, and when they count no more. Does not own: comparing (`verify`), judging the run (`verdict`).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
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
        let age = now.duration_since(self.ended).unwrap_or_default();
        match self.tables.values().min() {
            _ if self.differences > 0 => Proof::Different,
            _ if !self.is_finished || !self.is_whole => Proof::None,
            _ if age > PROOF_MAX || !self.is_of_these_tables => Proof::Old,
            Some(&at) => Proof::UpTo(at),
            None => Proof::None,
        }
    }
}

/// `verified to 12:03:10`, in UTC.
pub(super) fn words(proof: Proof, differences: u64) -> String {
    match proof {
        Proof::None => "not verified".into(),
        Proof::Different => format!("{differences} rows differ"),
        Proof::Old => "verified too long ago".into(),
        Proof::UpTo(at) => format!("verified to {}", DateTime::from_timestamp_nanos(at.wall).format("%H:%M:%S")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_and_recent_comparison_counts() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let time = |wall| Timestamp { wall, logical: 0 };
        let well = Verification {
            tables: [("a".to_owned(), time(9)), ("b".to_owned(), time(7))].into(),
            differences: 0,
            is_finished: true,
            is_whole: true,
            is_of_these_tables: true,
            ended: at(1_000),
        };
        assert_eq!(well.proof(at(2_000)), Proof::UpTo(time(7)));
        assert_eq!(well.proof(at(1_000 + 86_401)), Proof::Old);
        assert_eq!(Verification { is_of_these_tables: false, ..well.clone() }.proof(at(2_000)), Proof::Old);
        assert_eq!(Verification { is_finished: false, ..well.clone() }.proof(at(2_000)), Proof::None);
        assert_eq!(Verification { is_whole: false, ..well.clone() }.proof(at(2_000)), Proof::None);
        assert_eq!(Verification { differences: 1, is_finished: false, ..well }.proof(at(2_000)), Proof::Different);
        assert_eq!(words(Proof::UpTo(Timestamp { wall: 43_390_000_000_000, logical: 0 }), 0), "verified to 12:03:10");
    }
}
