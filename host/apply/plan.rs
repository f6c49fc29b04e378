//! In which order the rows of one transaction are written, so that constraints hold at every statement.
//!
//! Owns: the phases, and the plans that are made of them. Does not own: what a phase does to a table (`table_plan`), which plan
//! is tried when (`escalation`), carrying one out (`transaction`). Pure.

use ebb_sdk::Checks;

/// One pass over the rows of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Whole rows, parents first.
    Upsert,
    /// Children first.
    Delete,
    /// NULL into columns of unique and foreign keys that can take it, in every row that is there already.
    NullKeys,
    /// Whole rows, parents first; where a unique key cannot become NULL, all rows of a block in one statement. Rows of
    /// tables that refer to each other in a circle have NULL where they do.
    InsertWithNullRefs,
    /// Whole rows of the tables in a circle once more, with what they refer to.
    FillRefs,
    /// Every row that will be written again, and of which no column is the target's alone, is deleted first.
    DeleteForReinsert,
    /// Whole rows, where a unique key cannot become NULL all of a block in one statement: those that could not be deleted
    /// first are among them.
    Reinsert,
    /// The constraints of every row, after they were not enforced.
    Verify,
}

impl Phase {
    /// Whether it does something to the key of a deleted row that it must not do where the row is there again.
    pub(super) fn takes_deletes(self) -> bool {
        matches!(self, Self::NullKeys | Self::DeleteForReinsert | Self::Delete)
    }
}

/// In which order a transaction is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub checks: Checks,
    pub phases: &'static [Phase],
}

impl Plan {
    /// Rows appear before others refer to them, and vanish after nothing refers to them any more.
    pub(super) const UPSERTS_FIRST: Self = Self { checks: Checks::Immediate, phases: &[Phase::Upsert, Phase::Delete] };
    /// A unique value that a deleted row held is free for another row.
    pub(super) const DELETES_FIRST: Self = Self { checks: Checks::Immediate, phases: &[Phase::Delete, Phase::Upsert] };
    /// Unique values are given up before they are taken, and circles are closed last.
    pub(super) const NULLS_FIRST: Self = Self {
        checks: Checks::Deferred,
        phases: &[Phase::NullKeys, Phase::InsertWithNullRefs, Phase::FillRefs, Phase::Delete],
    };
    pub(super) const NULLS_AND_DELETES_FIRST: Self = Self {
        checks: Checks::Deferred,
        phases: &[Phase::NullKeys, Phase::Delete, Phase::InsertWithNullRefs, Phase::FillRefs],
    };
    /// As the first, where triggers or cascades of the target would act on what the source has sent already.
    pub(super) const UPSERTS_FIRST_SUSPENDED: Self =
        Self { checks: Checks::Suspended, phases: &[Phase::Upsert, Phase::Delete, Phase::Verify] };
    /// Any order of rows works when all of them go first; their constraints are verified afterwards. Deletes come before rows
    /// appear: a key that is another to the source may be the same to the target.
    pub(super) const REINSERT_SUSPENDED: Self = Self {
        checks: Checks::Suspended,
        phases: &[Phase::NullKeys, Phase::DeleteForReinsert, Phase::Delete, Phase::Reinsert, Phase::Verify],
    };
}
