//! The refusals that one batch has met, plan by plan, and which of them tells what is in the way.
//!
//! Owns: telling the row that is at fault from what the order of a plan has brought about by itself. Does not own: which plan
//! comes next (`escalation`). Pure.

use std::collections::BTreeSet;

use ebb_sdk::Topic;

use super::plan::{Phase, Plan};

/// At most one for each plan, in the order in which they were tried.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    list: Vec<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    error: ebb_sdk::Error,
    /// The plan may have provoked it: it wrote what the source has never sent, or deleted what others still refer to.
    is_of_plan: bool,
}

impl Refusals {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// `phase`: in which the plan was refused, where it is known.
    pub(super) fn add(&mut self, error: ebb_sdk::Error, plan: Plan, phase: Option<Phase>) {
        let is_of_plan = phase.is_some_and(|phase| may_provoke(plan, phase, error.topic));
        self.list.push(Refusal { error, is_of_plan });
    }

    /// What most plans have met, of the row as the source sent it; of what equally many have met, what came last: the later
    /// plans leave less in the way.
    pub(super) fn telling(&self) -> Option<&ebb_sdk::Error> {
        let has_others = self.list.iter().any(|refusal| !refusal.is_of_plan);
        let candidates = || self.list.iter().filter(|refusal| !(has_others && refusal.is_of_plan));
        let most = candidates().max_by_key(|one| candidates().filter(|other| alike(one, other)).count())?;
        let mut same = candidates().filter(|other| alike(most, other)).map(|refusal| &refusal.error);
        same.clone().find(|error| error.key.is_some()).or_else(|| same.next())
    }

    /// Of every refusal; `None` where one does not name its table.
    pub(super) fn tables(&self) -> BTreeSet<Option<String>> {
        self.list.iter().map(|refusal| refusal.error.table.clone()).collect()
    }
}

/// Whether two are about one thing. Not every refusal names its table, and a constraint may be verified by ebb, without a code.
fn alike(one: &Refusal, other: &Refusal) -> bool {
    let (one, other) = (&one.error, &other.error);
    let may_be_same = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
    match one.constraint.is_some() && one.constraint == other.constraint {
        true => may_be_same(&one.table, &other.table),
        false => (&one.table, &one.constraint, &one.code) == (&other.table, &other.constraint, &other.code),
    }
}

fn may_provoke(plan: Plan, phase: Phase, topic: Topic) -> bool {
    let is_written = |phase: &Phase| matches!(phase, Phase::Upsert | Phase::InsertWithNullRefs | Phase::Reinsert);
    let at = |is_it: &dyn Fn(&Phase) -> bool| plan.phases.iter().position(is_it);
    match phase {
        Phase::NullKeys | Phase::DeleteForReinsert => true,
        Phase::InsertWithNullRefs => matches!(topic, Topic::NotNull | Topic::Check | Topic::Trigger),
        Phase::Delete => topic == Topic::ForeignKey && at(&|phase| *phase == Phase::Delete) < at(&is_written),
        Phase::Upsert | Phase::FillRefs | Phase::Reinsert | Phase::Verify => false,
    }
}

#[cfg(test)]
mod tests {
    use ebb_sdk::{Error, ErrorKind};

    use super::*;

    fn refusal(table: &str, topic: Topic) -> Error {
        Error::new(ErrorKind::Refused, table).topic(topic).table(table)
    }

    fn check(met: &[(&str, Topic, Plan, Phase)], expected: &str) {
        let mut refusals = Refusals::default();
        for (table, topic, plan, phase) in met {
            refusals.add(refusal(table, *topic), *plan, Some(*phase));
        }
        assert_eq!(refusals.telling().map(|error| error.message.as_str()), Some(expected), "{met:?}");
    }

    #[test]
    fn what_a_plan_provokes_is_not_told() {
        let (first, deletes, both) = (Plan::UPSERTS_FIRST, Plan::DELETES_FIRST, Plan::NULLS_AND_DELETES_FIRST);
        let film = |plan, phase| ("film", Topic::UniqueKey, plan, phase);
        // A customer who is deleted before the orders have moved away.
        check(
            &[
                film(first, Phase::Upsert),
                film(deletes, Phase::Upsert),
                ("orders", Topic::ForeignKey, both, Phase::Delete),
            ],
            "film",
        );
        // A trigger that refuses the NULL that stands in a key for a moment.
        let nulled = ("t", Topic::Trigger, Plan::NULLS_FIRST, Phase::NullKeys);
        check(&[film(first, Phase::Upsert), nulled], "film");
        check(&[nulled], "t");
    }

    #[test]
    fn what_is_left_is_told() {
        let swap = ("swapped", Topic::UniqueKey, Plan::UPSERTS_FIRST, Phase::Upsert);
        check(&[swap, ("refused", Topic::UniqueKey, Plan::REINSERT_SUSPENDED, Phase::Reinsert)], "refused");
        check(&[swap, ("refused", Topic::Value, Plan::NULLS_FIRST, Phase::InsertWithNullRefs)], "refused");
    }

    #[test]
    fn of_one_refusal_that_is_told_which_names_the_row() {
        let mut refusals = Refusals::default();
        let of_key = |error: Error| error.constraint("t_key");
        let nameless = Error::new(ErrorKind::Refused, "t").topic(Topic::UniqueKey).code("1452");
        refusals.add(of_key(nameless), Plan::UPSERTS_FIRST, None);
        refusals.add(of_key(refusal("t", Topic::UniqueKey)).key("[1]"), Plan::NULLS_FIRST, None);
        refusals.add(refusal("u", Topic::UniqueKey), Plan::REINSERT_SUSPENDED, None);
        assert_eq!(refusals.telling().and_then(|error| error.key.as_deref()), Some("[1]"));
        assert_eq!(refusals.tables().len(), 3);
    }
}
