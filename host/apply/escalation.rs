//! Which plan a transaction is written by: the quick one, and after each refusal the next.
//!
//! Owns: the order of the plans, and the way out that the last refusal names. Does not own: what a plan does (`plan`,
//! `transaction`). Pure.

use std::collections::BTreeSet;

use ebb_sdk::{Catalog, Operation, TableIndex};

use super::encode::Block;
use super::plan::{Phase, Plan};
use super::table_plan::{TablePlan, TablePlans};
use crate::config::Triggers;

/// Tables, by position, that a transaction writes to and deletes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AffectedTables {
    pub written: BTreeSet<TableIndex>,
    pub deleted: BTreeSet<TableIndex>,
}

impl AffectedTables {
    pub(super) fn by(blocks: &[Block]) -> Self {
        let tables = |operation| {
            let of_it = blocks.iter().filter(move |block| block.operation == operation);
            of_it.map(|block| block.table).collect()
        };
        Self { written: tables(Operation::Upsert), deleted: tables(Operation::Delete) }
    }

    /// What is not known in advance may touch everything.
    pub(super) fn all(tables: impl Iterator<Item = TableIndex> + Clone) -> Self {
        Self { written: tables.clone().collect(), deleted: tables.collect() }
    }
}

/// What to do after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Try(Plan),
    /// Source transactions merged into one may meet a constraint that none of them meets by itself: one at a time.
    Split,
    GiveUp,
}

/// What the choice rests on.
pub(super) struct Escalation<'a> {
    pub catalog: &'a Catalog,
    pub tables: &'a TablePlans,
    pub triggers: Triggers,
}

impl Escalation<'_> {
    /// The plan to begin with.
    pub(super) fn first(&self, affected: &AffectedTables) -> Plan {
        let AffectedTables { written, deleted } = affected;
        let fires = self.any(written, |table| table.triggers) || self.any(deleted, |table| table.triggers);
        let cascades =
            self.any(written, |table| table.cascades_on_write) || self.any(deleted, |table| table.cascades_on_delete);
        // Rows of a circle, or of a tree, would have to be written one by one, each behind its parent.
        let needs_order = self.catalog.checks_each_row
            && (self.any(written, |table| table.is_in_cycle) || self.any(deleted, |table| table.is_in_cycle));
        let skips =
            fires && self.catalog.suspends_triggers || (cascades || needs_order) && self.catalog.suspends_checks;
        if skips && self.triggers == Triggers::Skip { Plan::UPSERTS_FIRST_SUSPENDED } else { Plan::UPSERTS_FIRST }
    }

    /// What follows a plan that was refused; `transactions` is how many source transactions it merges.
    pub(super) fn next(&self, refused: Plan, affected: &AffectedTables, transactions: usize) -> Next {
        let mut candidates = vec![];
        match refused {
            Plan::UPSERTS_FIRST => candidates.extend([Plan::DELETES_FIRST, Plan::NULLS_FIRST]),
            Plan::DELETES_FIRST => candidates.push(Plan::NULLS_FIRST),
            Plan::NULLS_FIRST => candidates.push(Plan::NULLS_AND_DELETES_FIRST),
            _ => {}
        }
        if refused != Plan::REINSERT_SUSPENDED && self.catalog.suspends_checks {
            candidates.push(Plan::REINSERT_SUSPENDED);
        }
        // Where a deletion acts on rows that refer to the deleted one, those must have moved away before it.
        let is_safe = |plan: &Plan| {
            let begins = plan.phases.iter().find(|phase| **phase != Phase::NullKeys);
            begins != Some(&Phase::Delete) || !self.deletes_act(affected)
        };
        match candidates.into_iter().find(is_safe) {
            Some(Plan::DELETES_FIRST) => Next::Try(Plan::DELETES_FIRST),
            _ if transactions > 1 => Next::Split,
            Some(plan) => Next::Try(plan),
            None => Next::GiveUp,
        }
    }

    /// The way out when no plan is left: the right to suspend checks, or a constraint that can wait for COMMIT.
    pub(super) fn way_out(&self, table: Option<&str>, constraint: Option<&str>) -> String {
        let table = self.catalog.tables.iter().find(|known| Some(known.to_string().as_str()) == table);
        let is_foreign_key =
            table.is_some_and(|table| table.foreign_keys.iter().any(|key| Some(key.name.as_str()) == constraint));
        // An index that is partial or computed is no constraint, and can wait for nothing.
        let may_defer =
            self.catalog.defers_checks && (is_foreign_key || table.is_none_or(|table| !table.has_other_unique_rules));
        let constraint = constraint.unwrap_or("the constraint");
        let later = if may_defer { format!("make {constraint} DEFERRABLE, or ") } else { String::new() };
        match self.catalog.suspend_hint.as_ref().filter(|_| !self.catalog.suspends_checks) {
            Some(grant) => format!("{later}as an administrator of the target: {grant}"),
            None => format!("{later}see which rows of the target the source does not have"),
        }
    }

    /// Tables, of those given, on which triggers or cascades act a second time because nothing suspends them.
    pub(super) fn acting(&self, tables: impl Iterator<Item = TableIndex>) -> Vec<String> {
        if self.triggers == Triggers::Fire {
            return Vec::new();
        }
        let acts = |&at: &TableIndex| {
            let table = &self.tables[at];
            let cascades = table.cascades_on_write || table.cascades_on_delete;
            table.triggers && !self.catalog.suspends_triggers || cascades && !self.catalog.suspends_checks
        };
        tables.filter(acts).map(|at| self.catalog.tables[at].to_string()).collect()
    }

    fn deletes_act(&self, affected: &AffectedTables) -> bool {
        self.any(&affected.deleted, |table| table.triggers || table.cascades_on_delete)
    }

    fn any(&self, tables: &BTreeSet<TableIndex>, is_so: impl Fn(&TablePlan) -> bool) -> bool {
        tables.iter().any(|&table| is_so(&self.tables[table]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(suspends_checks: bool, acts: bool, transactions: usize, expected: &[&str]) {
        let catalog = Catalog { suspends_checks, ..Catalog::default() };
        let tables = TablePlans(vec![TablePlan { cascades_on_delete: acts, ..TablePlan::default() }]);
        let escalation = Escalation { catalog: &catalog, tables: &tables, triggers: Triggers::Skip };
        let affected = AffectedTables::all([TableIndex(0)].into_iter());
        let mut plan = escalation.first(&affected);
        let mut tried = vec![name(plan)];
        loop {
            match escalation.next(plan, &affected, transactions) {
                Next::Try(next) => {
                    tried.push(name(next));
                    plan = next;
                }
                Next::Split => {
                    tried.push("split");
                    break;
                }
                Next::GiveUp => break,
            }
        }
        assert_eq!(tried, expected, "suspends {suspends_checks}, acts {acts}, {transactions} transactions");
    }

    fn name(plan: Plan) -> &'static str {
        match plan {
            Plan::UPSERTS_FIRST => "upserts first",
            Plan::DELETES_FIRST => "deletes first",
            Plan::NULLS_FIRST => "nulls first",
            Plan::NULLS_AND_DELETES_FIRST => "nulls and deletes first",
            Plan::UPSERTS_FIRST_SUSPENDED => "upserts first, suspended",
            Plan::REINSERT_SUSPENDED => "reinsert, suspended",
            _ => "another",
        }
    }

    #[test]
    fn each_refusal_leads_to_the_next_plan() {
        let in_full = ["upserts first", "deletes first", "nulls first", "nulls and deletes first"];
        check(false, false, 1, &in_full);
        check(true, false, 1, &[in_full.as_slice(), &["reinsert, suspended"]].concat());
        check(false, false, 2, &["upserts first", "deletes first", "split"]);
    }

    #[test]
    fn rows_that_need_an_order_are_verified_afterwards() {
        let affected = AffectedTables::all([TableIndex(0)].into_iter());
        for (checks_each_row, is_in_cycle, expected) in [
            (true, true, Plan::UPSERTS_FIRST_SUSPENDED),
            (true, false, Plan::UPSERTS_FIRST),
            (false, true, Plan::UPSERTS_FIRST),
        ] {
            let catalog = Catalog { suspends_checks: true, checks_each_row, ..Catalog::default() };
            let tables = TablePlans(vec![TablePlan { is_in_cycle, ..TablePlan::default() }]);
            let escalation = Escalation { catalog: &catalog, tables: &tables, triggers: Triggers::Skip };
            assert_eq!(escalation.first(&affected), expected);
        }
    }

    #[test]
    fn where_deletions_act_they_come_last_or_not_at_all() {
        check(false, true, 1, &["upserts first", "nulls first"]);
        check(true, true, 1, &["upserts first, suspended", "reinsert, suspended"]);
        check(true, true, 3, &["upserts first, suspended", "split"]);
    }
}
