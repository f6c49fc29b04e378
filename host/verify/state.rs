//! How far the comparison of each table has come, and what was found.
//!
//! Owns: adding up, and up to which key every row is compared. Does not own: where it is kept (`saved`), how it is shown (`report`).

use std::collections::BTreeMap;

use ebb_sdk::Timestamp;
use serde::{Deserialize, Serialize};

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// Rows of both sides, and the time that they are of.
    pub counts: Option<Counts>,
    /// Rows of the source that were compared.
    pub compared: u64,
    pub missing: u64,
    pub different: u64,
    pub extra: u64,
    /// Every row up to this key of the source is compared.
    pub after: Option<Vec<String>>,
    /// Every row is.
    pub is_read: bool,
    /// And rows that only the target has are found.
    pub is_done: bool,
    /// The states of the source that parts of it were compared with, the last one newest.
    pub proved_at: Vec<Timestamp>,
    /// Rows that the counts tell of and no look has found.
    pub unexplained: i64,
    #[serde(skip)]
    pub(super) chunks: Chunks,
}

/// Rows of both sides at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub at: Timestamp,
    pub source: u64,
    pub target: u64,
}

/// Those that were compared behind one that was not yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunks {
    next: u64,
    ahead: BTreeMap<u64, Compared>,
}

/// What came of a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) rows: u64,
    pub(super) missing: u64,
    pub(super) different: u64,
    /// The key of its last row.
    pub(super) after: Vec<String>,
    /// The first of its rows that are missing or differ.
    pub(super) shown: Vec<Mismatch>,
}

impl TableState {
    /// A new snapshot continues behind the last key, or compares every row again where no statement can. Returns whether the
    /// table begins here, so that nothing that was found of it before counts.
    pub(super) fn begin(&mut self, at: Timestamp, can_continue: bool) -> bool {
        // A target that stands before what was compared is another one: it was restored.
        let is_before = self.proved_at.iter().any(|&proved| proved > at);
        let begins = is_before || (!self.is_read && (self.after.is_none() || !can_continue));
        match begins {
            true => *self = Self { counts: self.counts, ..Self::default() },
            false => self.chunks = Chunks::default(),
        }
        if self.proved_at.last() != Some(&at) {
            self.proved_at.push(at);
        }
        begins
    }

    /// Chunks count in their order, so that what is kept is true of every row up to a key. Returns what is shown of those that
    /// count now.
    pub(super) fn compared(&mut self, number: u64, compared: Compared) -> Vec<Mismatch> {
        self.chunks.ahead.insert(number, compared);
        let mut shown = Vec::new();
        while let Some(next) = self.chunks.ahead.remove(&self.chunks.next) {
            self.chunks.next += 1;
            self.compared += next.rows;
            self.missing += next.missing;
            self.different += next.different;
            self.after = Some(next.after);
            shown.extend(next.shown);
        }
        shown
    }

    /// Whether both sides were counted at this time.
    pub(super) fn is_counted(&self, at: Timestamp) -> bool {
        self.counts.is_some_and(|counts| counts.at == at)
    }

    /// All of it was compared with one state of the source.
    pub(super) fn is_of_one_state(&self) -> bool {
        self.proved_at.len() == 1
    }

    /// What the search for rows that only the target has has come to.
    pub(super) fn searched(&mut self, found: u64) {
        let unexplained = self.expected_extra() - i64::try_from(found).unwrap_or(i64::MAX);
        self.extra = found;
        // Rows that were missing at an earlier state may have come, or gone at the source, since.
        self.unexplained = if self.is_of_one_state() { unexplained } else { unexplained.min(0) };
    }

    /// Whether every chunk was compared, of so many.
    pub(super) fn has_all(&self, chunks: u64) -> bool {
        self.chunks.next == chunks
    }

    /// Rows that only the target has, as the counts tell; negative where rows of the source are counted twice there.
    pub(super) fn expected_extra(&self) -> i64 {
        let counts = self.counts.unwrap_or(Counts { at: Timestamp::ZERO, source: 0, target: 0 });
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        signed(counts.target) - (signed(counts.source) - signed(self.missing))
    }

    pub fn is_equal(&self) -> bool {
        self.is_done && self.differences() == 0
    }

    pub fn differences(&self) -> u64 {
        self.missing + self.different + self.extra + self.unexplained.unsigned_abs()
    }

    /// Up to this state of the source all of it is proved.
    pub fn first_proved(&self) -> Option<Timestamp> {
        self.proved_at.iter().min().copied()
    }

    /// The newest state of the source that a part of it was compared with.
    pub fn last_proved(&self) -> Option<Timestamp> {
        self.proved_at.last().copied()
    }
}

/// One row that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    pub table: String,
    pub kind: Kind,
    /// Columns of the target's primary key with their values.
    pub key: Vec<(String, String)>,
    /// The columns that differ.
    pub columns: Vec<Values>,
    /// Statements that show the row.
    pub source_sql: String,
    pub target_sql: String,
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The target does not have it.
    Missing,
    /// The source does not have it.
    Extra,
    Different,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Different => "different",
        }
    }
}

/// A column of a row that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values {
    pub column: String,
    /// As the target would spell it; `None` is NULL.
    pub source: Option<String>,
    pub target: Option<String>,
}

/// The rows that are shown; all are counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Mismatches {
    pub shown: Vec<Mismatch>,
}

impl Mismatches {
    pub(super) fn add(&mut self, more: impl IntoIterator<Item = Mismatch>, limit: usize) {
        let room = limit.saturating_sub(self.shown.len());
        self.shown.extend(more.into_iter().take(room));
    }

    /// The table is compared from its beginning again.
    pub(super) fn forget(&mut self, table: &str) {
        self.shown.retain(|mismatch| mismatch.table != table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(rows: u64, missing: u64, after: &str) -> Compared {
        Compared { rows, missing, after: vec![after.to_owned()], ..Compared::default() }
    }

    #[test]
    fn a_chunk_counts_once_all_before_it_do() {
        let mut state = TableState::default();
        state.begin(Timestamp { wall: 1, logical: 0 }, true);
        state.compared(1, chunk(5, 1, "b"));
        assert_eq!((state.compared, state.after.clone()), (0, None));
        state.compared(0, chunk(5, 0, "a"));
        assert_eq!((state.compared, state.missing, state.after.clone()), (10, 1, Some(vec!["b".into()])));
        assert!(state.has_all(2) && !state.has_all(3));
        // What was compared ahead is compared again in another snapshot.
        state.compared(3, chunk(5, 5, "d"));
        state.begin(Timestamp { wall: 2, logical: 0 }, true);
        state.compared(0, chunk(1, 0, "c"));
        assert_eq!((state.compared, state.missing), (11, 1));
    }

    #[test]
    fn what_was_compared_ahead_is_shown_once_it_counts() {
        let row = || Mismatch {
            table: "t".into(),
            kind: Kind::Missing,
            key: Vec::new(),
            columns: Vec::new(),
            source_sql: String::new(),
            target_sql: String::new(),
        };
        let mut state = TableState::default();
        assert!(state.begin(Timestamp { wall: 1, logical: 0 }, true));
        assert!(state.compared(1, Compared { shown: vec![row()], ..chunk(5, 1, "b") }).is_empty());
        // Nothing counts, so that another snapshot begins the table, and nothing was proved at the first one.
        assert!(state.begin(Timestamp { wall: 2, logical: 0 }, true));
        assert!(state.is_of_one_state());
        assert!(state.compared(1, chunk(5, 0, "b")).is_empty());
        assert_eq!(state.compared(0, Compared { shown: vec![row()], ..chunk(5, 1, "a") }).len(), 1);
        assert!(!state.begin(Timestamp { wall: 3, logical: 0 }, true));
        assert!(state.begin(Timestamp { wall: 4, logical: 0 }, false));
        assert_eq!((state.compared, state.missing), (0, 0));
    }

    #[test]
    fn counts_of_one_state_only_explain_everything() {
        let counts = Some(Counts { at: Timestamp::ZERO, source: 9, target: 9 });
        let time = |wall| Timestamp { wall, logical: 0 };
        let mut state = TableState { counts, missing: 1, proved_at: vec![time(1)], ..TableState::default() };
        state.searched(0);
        assert_eq!(state.unexplained, 1);
        // The source has deleted what was missing.
        state.proved_at.push(time(2));
        state.searched(0);
        assert_eq!(state.unexplained, 0);
        // A row is missing that was compared before it was.
        state.searched(2);
        assert_eq!((state.unexplained, state.extra), (-1, 2));
    }

    #[test]
    fn counts_tell_of_rows_that_only_the_target_has() {
        let counts = |source, target| Some(Counts { at: Timestamp::ZERO, source, target });
        let mut state = TableState { counts: counts(10, 10), missing: 2, ..TableState::default() };
        assert_eq!(state.expected_extra(), 2);
        state.counts = counts(10, 8);
        assert_eq!(state.expected_extra(), 0);
        state.counts = counts(10, 7);
        assert_eq!(state.expected_extra(), -1);
    }
}
