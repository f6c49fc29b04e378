//! What keeps a table's rows from being written exactly as they are: known before the first one comes.
//!
//! Owns: the keys of both sides, the target's own obstacles, its triggers. Does not own: columns and their types (`columns`),
//! what is done about a problem (`mod`). Pure.

use ebb_sdk::{Catalog, Table};

use super::join;
use crate::config::Triggers;
use crate::error::listed;
use crate::findings::{Finding, FindingId};
use crate::names;
use crate::source::{SourceTable, identifier};

/// What the judgement rests on.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub catalog: &'a Catalog,
    pub case_sensitive: bool,
    pub triggers: Triggers,
}

impl Judge<'_> {
    /// Everything that stands in the way of a table, the worst first. `leave_out` ends each hint.
    pub(super) fn problems(&self, source: Option<&SourceTable>, target: &Table, leave_out: &str) -> Vec<Finding> {
        let mut problems: Vec<Finding> = source.map(|source| self.keys(source, target, leave_out)).unwrap_or_default();
        if target.primary_key.is_empty() {
            problems.push(
                Finding::harm(
                    FindingId::TargetKeyMissing,
                    target,
                    format!("the target's table {target} has no primary key"),
                )
                .fix(format!("ALTER TABLE {} ADD PRIMARY KEY (…){leave_out}", self.catalog.qualified(target))),
            );
        }
        problems.extend(target.not_writable.iter().map(|not_writable| {
            Finding::harm(
                FindingId::TableNotWritable,
                target,
                format!("cannot write to the target's table {target}: {}", not_writable.why),
            )
            .fix(format!("{}{leave_out}", not_writable.hint.trim_end_matches(';')))
        }));
        problems.extend(self.acting_triggers(target));
        problems
    }

    /// Tables that may have triggers which this user cannot see, as one problem.
    pub(super) fn hidden_triggers(&self, targets: &[&Table]) -> Option<Finding> {
        if self.triggers == Triggers::Fire {
            return None;
        }
        let hidden: Vec<_> = targets.iter().filter_map(|table| Some((table, table.hides_triggers.as_ref()?))).collect();
        let (_, grant) = hidden.first()?;
        Some(
            Finding::harm(FindingId::TriggersHidden, "target", format!(
                "this user of the target cannot see whether it has triggers that would change what is written, on {}",
                listed(hidden.iter().map(|(table, _)| table))
            ))
            .fix(format!("as an administrator of the target: {grant} or let them act: --triggers fire")),
        )
    }

    /// Whether a row of the source is one row of the target, and no other row is the same one there.
    pub(super) fn keys(&self, source: &SourceTable, target: &Table, leave_out: &str) -> Vec<Finding> {
        let shown = format!("{}.{}", source.schema, source.name);
        let altered = format!("ALTER TABLE {}.{}", identifier(&source.schema), identifier(&source.name));
        let visible: Vec<_> = source.key_columns.iter().filter(|key| !source.hidden_columns.contains(key)).collect();
        let mut problems = Vec::new();
        if visible.is_empty() {
            problems.push(
                Finding::harm(
                    FindingId::SourceKeyMissing,
                    &shown,
                    format!("the source's table {shown} has no primary key"),
                )
                .fix(format!("{altered} ALTER PRIMARY KEY USING COLUMNS (…){leave_out}")),
            );
        }
        if let Some((column, type_name)) =
            source.folded_columns().find(|(column, _)| source.key_columns.contains(column))
        {
            // A changefeed may then spell one key in two ways, and a delete may not find its row.
            problems.push(
                Finding::harm(FindingId::SourceKeyFolds, &shown, format!(
                    "the primary key of the source's table {shown} has a column {column} of type {type_name}, whose equal \
                     values may differ"
                ))
                .fix(format!("{altered} ALTER COLUMN {} TYPE STRING{leave_out}", identifier(column))),
            );
        }
        let target_key: Vec<_> = target.primary_key.iter().map(|&at| &target.columns[at].name).collect();
        if target_key.is_empty() || visible.is_empty() {
            return problems;
        }
        if !target_key.iter().all(|name| source.key_columns.iter().any(|key| self.same(key, name))) {
            problems.push(
                Finding::harm(
                    FindingId::KeysDiffer,
                    target,
                    format!(
                        "the primary keys of {shown} differ: ({}) at the source, ({}) on the target",
                        join(&visible),
                        join(&target_key)
                    ),
                )
                .fix(format!("give both the same primary key, in any order{leave_out}")),
            );
        } else if let Some(extra) = self.ambiguous(source, &target_key) {
            problems.push(
                Finding::harm(FindingId::KeyAmbiguous, target, format!(
                    "several rows of the source's table {shown} could become one row of {target}: its key ({}) has the \
                     column {extra}, which the target's key ({}) lacks, and ({}) need not be unique at the source",
                    join(&source.key_columns.iter().collect::<Vec<_>>()),
                    join(&target_key),
                    join(&target_key)
                ))
                .fix(format!(
                    "give the target the same primary key{leave_out}; or, before the table is loaded for a new run, {altered} \
                     ADD CONSTRAINT … UNIQUE ({}) at the source",
                    target_key.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(", ")
                )),
            );
        }
        problems
    }

    /// A column of the source's key that tells rows apart which the target's key does not.
    fn ambiguous<'s>(&self, source: &'s SourceTable, target_key: &[&String]) -> Option<&'s String> {
        let is_unique = || source.unique_keys.iter().any(|key| self.is_within(key, target_key));
        self.extra(source, &source.key_columns, target_key).filter(|_| !is_unique())
    }

    /// A column of a key that the source's table has or had, which the target's key lacks, and which does not follow from the
    /// others as a shard does.
    pub(super) fn extra<'k>(
        &self,
        source: &SourceTable,
        key: &'k [String],
        target_key: &[&String],
    ) -> Option<&'k String> {
        // A shard of before is no column any more.
        let is_visible = |column: &String| {
            source.columns.iter().any(|known| known.name == *column) && !source.hidden_columns.contains(column)
        };
        let is_derived =
            |column: &String| column.starts_with("crdb_internal_") && column.contains("_shard_") && !is_visible(column);
        key.iter().find(|column| !target_key.iter().any(|name| self.same(column, name)) && !is_derived(column))
    }

    /// Whether columns are all of the target's key.
    pub(super) fn is_within(&self, columns: &[String], target_key: &[&String]) -> bool {
        columns.iter().all(|column| target_key.iter().any(|name| self.same(column, name)))
    }

    /// Triggers that act on what the source sends by itself, where that was not accepted and nothing keeps them from it.
    fn acting_triggers(&self, target: &Table) -> Option<Finding> {
        if self.triggers != Triggers::Skip {
            return None;
        }
        let acts = |is_suspended: bool| !is_suspended || !self.catalog.suspends_triggers;
        let acting: Vec<_> =
            target.triggers.iter().filter(|trigger| acts(trigger.is_suspended)).map(|trigger| &trigger.name).collect();
        if acting.is_empty() {
            return None;
        }
        let right = self.catalog.suspend_hint.as_ref().filter(|_| target.triggers.iter().all(|one| one.is_suspended));
        let right = right.map(|right| format!("{right} or ")).unwrap_or_default();
        Some(
            Finding::harm(
                FindingId::TriggersAct,
                target,
                format!(
                    "triggers of the target's table {target} would change what is written, and cannot be suspended: {}",
                    join(&acting)
                ),
            )
            .fix(format!(
                "{right}--triggers drop keeps their definitions and drops them until `ebb triggers restore`; \
                 --triggers fire lets them act (now --triggers skip)"
            )),
        )
    }

    fn same(&self, a: &str, b: &str) -> bool {
        names::same(a, b, self.case_sensitive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebb_sdk::{Column, ColumnIndex, Trigger};

    fn target(columns: &[&str], key: &[u32]) -> Table {
        let columns = columns.iter().map(|name| Column { name: (*name).into(), ..Column::default() }).collect();
        Table {
            namespace: vec!["public".into()],
            name: "t".into(),
            columns,
            primary_key: key.iter().copied().map(ColumnIndex).collect(),
            ..Table::default()
        }
    }

    fn source(key: &[&str], hidden: &[&str], unique: &[&[&str]]) -> SourceTable {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        SourceTable {
            schema: "public".into(),
            name: "t".into(),
            key_columns: owned(key),
            hidden_columns: owned(hidden),
            unique_keys: unique.iter().map(|key| owned(key)).collect(),
            ..SourceTable::default()
        }
    }

    fn check(source: &SourceTable, target: &Table, expected: &str) {
        let catalog = Catalog::default();
        let judge = Judge { catalog: &catalog, case_sensitive: false, triggers: Triggers::Skip };
        let problems = judge.problems(Some(source), target, "");
        let shown = problems.iter().map(|problem| problem.reason.as_str()).collect::<Vec<_>>().join("; ");
        assert!(shown.contains(expected) && (expected.is_empty() == shown.is_empty()), "{shown}");
    }

    #[test]
    fn a_row_of_the_source_is_one_row_of_the_target() {
        let by_id = target(&["id", "v"], &[0]);
        check(&source(&["id"], &[], &[]), &by_id, "");
        check(&source(&["crdb_internal_id_shard_16", "id"], &["crdb_internal_id_shard_16"], &[]), &by_id, "");
        check(&source(&["crdb_region", "ID"], &["crdb_region"], &[&["id"]]), &by_id, "");
        check(&source(&["crdb_region", "id"], &["crdb_region"], &[]), &by_id, "has the column crdb_region, which");
        check(&source(&["tenant", "id"], &[], &[&["id", "v"]]), &by_id, "(id) need not be unique at the source");
        check(&source(&["tenant", "id"], &[], &[&["id"]]), &by_id, "");
        check(&source(&["other"], &[], &[]), &by_id, "(other) at the source, (id) on the target");
        check(&source(&["id"], &[], &[]), &target(&["id", "v"], &[0, 1]), "(id) at the source, (id, v) on the target");
        check(&source(&["rowid"], &["rowid"], &[]), &by_id, "has no primary key");
    }

    /// A hint is there to be copied: a name of the source must not make another statement of it.
    #[test]
    fn names_in_hints_are_quoted_as_each_side_does_it() {
        let (evil, catalog) = ("t\"; DROP `x", Catalog { identifier_quote: Some('`'), ..Catalog::default() });
        let judge = Judge { catalog: &catalog, case_sensitive: false, triggers: Triggers::Skip };
        let hints = |source: Option<&SourceTable>, target: &Table| -> String {
            let problems = judge.problems(source, target, "").into_iter();
            problems.filter_map(|problem| problem.fix).collect::<Vec<_>>().join("; ")
        };
        let without_key = Table { name: evil.into(), ..target(&["id"], &[]) };
        assert_eq!(hints(None, &without_key), "ALTER TABLE `public`.`t\"; DROP ``x` ADD PRIMARY KEY (…)");
        let source = SourceTable { name: evil.into(), ..source(&["rowid"], &["rowid"], &[]) };
        assert!(
            hints(Some(&source), &without_key).starts_with("ALTER TABLE public.\"t\"\"; DROP `x\" ALTER PRIMARY KEY")
        );
        assert_eq!([names::word("a_b.c"), names::word("it's; x")], ["a_b.c", "'it'\\''s; x'"]);
    }

    #[test]
    fn triggers_that_cannot_be_seen_are_one_problem() {
        let table = Table { hides_triggers: Some("GRANT TRIGGER …;".into()), ..target(&["id"], &[0]) };
        for (triggers, is_problem) in [(Triggers::Skip, true), (Triggers::Drop, true), (Triggers::Fire, false)] {
            let judge = Judge { catalog: &Catalog::default(), case_sensitive: false, triggers };
            assert!(judge.hidden_triggers(&[&target(&["id"], &[0])]).is_none());
            let problem = judge.hidden_triggers(&[&table, &table]);
            assert_eq!(problem.is_some_and(|one| one.fix.is_some_and(|hint| hint.contains("GRANT"))), is_problem);
        }
    }

    #[test]
    fn triggers_that_cannot_be_suspended_are_named() {
        let trigger = |is_suspended| Trigger { name: "audit".into(), is_suspended, ..Trigger::default() };
        for (triggers, is_suspended, suspends_triggers, is_problem) in [
            (Triggers::Skip, true, true, false),
            (Triggers::Skip, true, false, true),
            (Triggers::Skip, false, true, true),
            (Triggers::Fire, false, false, false),
            (Triggers::Drop, false, false, false),
        ] {
            let catalog = Catalog { suspends_triggers, ..Catalog::default() };
            let table = Table { triggers: vec![trigger(is_suspended)], ..target(&["id"], &[0]) };
            let judge = Judge { catalog: &catalog, case_sensitive: false, triggers };
            let problems = judge.problems(None, &table, "");
            assert_eq!(problems.len(), usize::from(is_problem), "{triggers:?} {is_suspended} {suspends_triggers}");
        }
    }
}
