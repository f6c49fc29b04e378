//! What a dialect sees on the target that no row has met yet, and that will matter later.
//!
//! Owns: the shapes of the answer to [`Session::survey`](crate::Session::survey). Does not own: finding it out (the plugin), and
//! how bad each kind is (the host).

use serde::{Deserialize, Serialize};

/// Everything that was seen, and what could not be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// In any order.
    pub concerns: Vec<Concern>,
    /// What was not looked at, each with the reason: a right that this user lacks, a version that cannot tell.
    pub unlooked: Vec<Unlooked>,
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concern {
    /// What it is.
    pub kind: ConcernKind,
    /// The table as the target calls it, or `target`.
    pub subject: String,
    /// One sentence, without a full stop.
    pub reason: String,
    /// The statement that mends it, to be pasted; who has to run it, if not this user, stands before a colon.
    pub fix: Option<String>,
}

/// Kinds of concern. A host takes one that it does not know for [`ConcernKind::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConcernKind {
    /// This user can write nothing: a standby, or a setting.
    ReadOnly,
    /// This user may not make, read or write ebb's own tables.
    OwnTables,
    /// A generator of keys will hand out one that is taken.
    SequenceBehind,
    /// A generator of keys has little room left.
    SequenceNarrow,
    /// Somebody else writes to the database now, or copies changes into its tables.
    OtherWriter,
    /// The planner knows nothing of a large table, or what it knows is old.
    Statistics,
    /// Whatever a later version adds.
    #[serde(other)]
    Other,
}

/// Something that was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlooked {
    /// What it would have seen; `None` where that may be of several kinds.
    pub kind: Option<ConcernKind>,
    /// What it is: `other sessions that write`.
    pub what: String,
    /// Why not, and how it could be.
    pub why: String,
}

impl Survey {
    /// Adds a concern.
    pub fn add(
        &mut self,
        kind: ConcernKind,
        subject: impl Into<String>,
        reason: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let (subject, reason, fix) = (subject.into(), reason.into(), Some(fix.into()));
        self.concerns.push(Concern { kind, subject, reason, fix });
    }

    /// Adds what another look has seen.
    pub fn append(&mut self, other: Self) {
        self.concerns.extend(other.concerns);
        self.unlooked.extend(other.unlooked);
    }

    /// Notes what was not looked at.
    pub fn skip(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.unlooked.push(Unlooked { kind: None, what: what.into(), why: why.into() });
    }

    /// The same of a look that sees one kind of concern.
    pub fn skip_kind(&mut self, kind: ConcernKind, what: impl Into<String>, why: impl Into<String>) {
        self.unlooked.push(Unlooked { kind: Some(kind), what: what.into(), why: why.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_a_later_version_is_other() {
        let kind: ConcernKind = serde_json::from_str("\"partitions_missing\"").expect("a kind");
        assert_eq!(kind, ConcernKind::Other);
        assert_eq!(serde_json::to_string(&ConcernKind::SequenceBehind).expect("text"), "\"sequence_behind\"");
    }
}
