//! The target's triggers while ebb writes: dropped with their definitions kept on both sides, and put back.
//!
//! Owns: `--triggers drop`, and the records of what was dropped. Does not own: putting back (`commands/restore_triggers`), how a
//! trigger is dropped and made (the plugin), whether one is in the way (`tables/problems`).
//!
//! A definition is in the staging folder and in the target before its trigger is dropped, and in both until it is back. What
//! the target has is run only where the folder proves that ebb has written it (`proof`).

pub mod proof;

use std::collections::BTreeSet;

use ebb_sdk::{Catalog, SavedTrigger, TableIndex};

use crate::code;
use crate::error::{Error, Result, visible};
use crate::history::{Entry, Event};
use crate::stage::{MetadataFile, RunState};
use crate::tables::TableRoute;
use crate::target;
use crate::target::Lease;
use proof::Prover;

/// Drops every trigger of the run's tables. The catalog is then as it is without them.
///
/// # Errors
/// When the target is down and has triggers, or does not let them go.
pub fn drop_all(
    run_state: &RunState,
    feed: &str,
    routes: &[TableRoute],
    catalog: &mut Catalog,
    lease: Option<&mut Lease>,
) -> Result<()> {
    let positions: BTreeSet<TableIndex> =
        routes.iter().filter(|route| route.refused.is_none()).map(|route| route.position).collect();
    let mut there: Vec<SavedTrigger> = positions
        .iter()
        .map(|&position| &catalog.tables[position])
        .flat_map(|table| {
            table.triggers.iter().map(|trigger| SavedTrigger {
                feed: feed.to_owned(),
                namespace: table.namespace.clone(),
                table: table.name.clone(),
                trigger: trigger.clone(),
                proof: String::new(),
            })
        })
        .collect();
    if there.is_empty() {
        return Ok(());
    }
    let lease = lease.ok_or_else(|| {
        Error::new(
            code::target::TRIGGERS_NOT_DROPPED,
            "the target is down, and its triggers were not dropped when it was seen last",
        )
        .hint("start again once the target can be reached")
    })?;
    let prover = Prover::of(run_state)?;
    there.iter_mut().for_each(|trigger| prover.prove(trigger));
    save(run_state, &merged(load(run_state)?, &there))?;
    lease.session.drop_triggers(&there)?;
    let described = lease.session.describe()?;
    let names = |catalog: &Catalog| -> Vec<(Vec<String>, String)> {
        catalog.tables.iter().map(|table| (table.namespace.clone(), table.name.clone())).collect()
    };
    if names(&described) != names(catalog) {
        return Err(Error::new(code::target::CHANGED, "the tables of the target have changed while ebb started")
            .hint("start again with the same command; ebb triggers restore puts back the triggers that were dropped"));
    }
    *catalog = described;
    target::remember_catalog(run_state, catalog)?;
    let text = format!("dropped {} triggers of the target: {}", there.len(), shown(&there));
    run_state.history().note(Entry::new(Event::TriggersDropped, text).fact("triggers", shown(&there)));
    tracing::warn!(
        error_code = code::target::TRIGGERS_DROPPED.text(),
        hint = "ebb triggers restore, with the same --target and --stagingSchema, puts them back",
        "dropped {} triggers of the target: {}",
        there.len(),
        shown(&there)
    );
    Ok(())
}

/// One that is known keeps the definition that was saved first: what is there now may be a part of it. Partitions may have
/// triggers of one name, which only their statements tell apart.
pub fn merged(mut saved: Vec<SavedTrigger>, more: &[SavedTrigger]) -> Vec<SavedTrigger> {
    for trigger in more {
        let is_it = |known: &SavedTrigger| {
            (&known.namespace, &known.table, &known.trigger.name, known.trigger.create.first())
                == (&trigger.namespace, &trigger.table, &trigger.trigger.name, trigger.trigger.create.first())
        };
        if !saved.iter().any(is_it) {
            saved.push(trigger.clone());
        }
    }
    saved
}

pub fn shown(triggers: &[SavedTrigger]) -> String {
    let shown: Vec<_> =
        triggers.iter().map(|trigger| format!("{} on {}", trigger.trigger.name, trigger.table)).collect();
    visible(&shown.join(", "), "")
}

pub fn load(run_state: &RunState) -> Result<Vec<SavedTrigger>> {
    run_state.load(MetadataFile::Triggers).map(Option::unwrap_or_default)
}

pub fn save(run_state: &RunState, triggers: &[SavedTrigger]) -> Result<()> {
    run_state.save(MetadataFile::Triggers, triggers)
}

#[cfg(test)]
mod tests {
    use ebb_sdk::Trigger;

    use super::*;

    #[test]
    fn a_trigger_is_known_by_its_place_also_among_partitions() {
        let saved = |name: &str, create: &[&str]| SavedTrigger {
            trigger: Trigger {
                name: name.into(),
                create: create.iter().map(ToString::to_string).collect(),
                ..Trigger::default()
            },
            ..SavedTrigger::default()
        };
        let known = vec![saved("a", &["on low", "comment"])];
        let more = [saved("a", &["on low"]), saved("a", &["on high"]), saved("b", &["on low"])];
        assert_eq!(merged(known.clone(), &more), [known[0].clone(), more[1].clone(), more[2].clone()]);
    }
}
