//! The target's triggers while ebb writes: dropped with their definitions kept on both sides, and put back.
//!
//! Owns: `--triggers drop` and `ebb triggers restore`. Does not own: how a trigger is dropped and made (the plugin), whether
//! one is in the way (`tables/problems`).
//!
//! A definition is in the staging folder and in the target before its trigger is dropped, and in both until it is back. What
//! the target has is run only where the folder proves that ebb has written it (`proof`).

mod proof;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ebb_sdk::{Catalog, DatabaseUrl, SavedTrigger};

use crate::config;
use crate::error::{Error, Result, visible};
use crate::plugin;
use crate::stage::{self, Note, Stage};
use crate::tables::Watched;
use crate::target::Taken;
use crate::target::{self, Target};
use proof::Prover;

/// What `ebb triggers restore` is asked to do.
#[derive(Debug)]
pub struct Restore {
    pub target: config::Target,
    /// The folder of all staging folders, and the one of the run.
    pub staging_dir: PathBuf,
    pub schema: String,
}

/// Drops every trigger of the run's tables. The catalog is then as it is without them.
///
/// # Errors
/// When the target is down and has triggers, or does not let them go.
pub fn drop_all(
    stage: &Stage,
    feed: &str,
    watched: &[Watched],
    catalog: &mut Catalog,
    taken: Option<&mut Taken>,
) -> Result<()> {
    let positions: BTreeSet<u32> =
        watched.iter().filter(|watched| watched.refused.is_none()).map(|watched| watched.position).collect();
    let mut there: Vec<SavedTrigger> = positions
        .iter()
        .map(|&position| &catalog.tables[position as usize])
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
    let taken = taken.ok_or_else(|| {
        Error::new("the target is down, and its triggers were not dropped when it was seen last")
            .hint("start again once the target is there")
    })?;
    let prover = Prover::of(stage)?;
    there.iter_mut().for_each(|trigger| prover.prove(trigger));
    save(stage, &merged(load(stage)?, &there))?;
    taken.session.drop_triggers(&there)?;
    let described = taken.session.describe()?;
    let names = |catalog: &Catalog| -> Vec<(Vec<String>, String)> {
        catalog.tables.iter().map(|table| (table.namespace.clone(), table.name.clone())).collect()
    };
    if names(&described) != names(catalog) {
        return Err(Error::new("the tables of the target have changed while ebb started")
            .hint("start again with the same command; ebb triggers restore puts back the triggers that were dropped"));
    }
    *catalog = described;
    target::remember_catalog(stage, catalog)?;
    tracing::warn!(
        hint = "ebb triggers restore, with the same --target and --stagingSchema, puts them back",
        "dropped {} triggers of the target: {}",
        there.len(),
        shown(&there)
    );
    Ok(())
}

/// Why triggers were not put back, and what a person should read before he does it by hand.
#[derive(Debug)]
pub struct Unrestored {
    pub review: String,
    pub error: Error,
}

impl<E: Into<Error>> From<E> for Unrestored {
    fn from(error: E) -> Self {
        Self { review: String::new(), error: error.into() }
    }
}

/// Puts back what was dropped. Returns what to tell the user.
///
/// # Errors
/// Also when the target has a record that may be anybody's: then nothing is run.
pub fn restore(order: &Restore) -> Result<String, Unrestored> {
    // A folder that a running ebb uses is locked.
    let folder = stage::folder(&order.staging_dir, &order.schema);
    let stage = folder.is_dir().then(|| Stage::open(&folder, stage::Limits::default())).transpose()?;
    let saved = stage.as_ref().map_or_else(|| Ok(Vec::new()), load)?;
    let url = DatabaseUrl::parse(order.target.url.reveal())?;
    let plugin = plugin::load(order.target.plugin.as_deref(), &url.scheme, &order.target.plugin_dirs)?;
    let connect = Target::options(&order.target);
    let mut session = plugin.connect(&connect)?;
    if stage.is_none() && session.progress(&order.schema)?.is_none() {
        return Err(Error::new(format!(
            "nothing is known of the staging schema {}, here or on the target",
            order.schema
        ))
        .hint("give --stagingSchema of the run that dropped the triggers: SELECT feed FROM ebb_progress, on the target")
        .into());
    }
    let prover = stage.as_ref().map(Prover::known).transpose()?.flatten();
    // One that the folder has word for word is its own, too: an earlier version has proven none.
    let is_ours = |record: &SavedTrigger| {
        prover.as_ref().is_some_and(|prover| prover.is_proven(record))
            || saved.iter().any(|known| proof::is_same(known, record))
    };
    let (proven, strange): (Vec<_>, Vec<_>) = session.saved_triggers(&order.schema)?.into_iter().partition(is_ours);
    if !strange.is_empty() {
        session.close();
        return Err(unproven(&strange, &folder, prover.is_some()));
    }
    let restored = session.restore_triggers(&order.schema, &merged(proven, &saved))?;
    session.close();
    if let Some(stage) = &stage {
        save(stage, &[])?;
    }
    Ok(match restored.len() {
        0 => "no trigger was missing\n".into(),
        count => format!("put back {count} triggers: {}\n", shown(&restored)),
    })
}

fn unproven(records: &[SavedTrigger], folder: &Path, has_key: bool) -> Unrestored {
    let (names, folder) = (shown(records), folder.display());
    let error = match has_key {
        true => Error::new(format!(
            "no trigger was put back: ebb_triggers on the target has records that ebb has not written, or that were changed \
             since: {names}"
        ))
        .hint(
            "somebody else may write to that table, and what is printed above would have been run with your rights: read it, \
             make by hand what is yours, and DELETE those rows from ebb_triggers; then run this command again",
        ),
        false => Error::new(format!(
            "no trigger was put back: only the staging folder of the run proves that the records on the target are ebb's, \
             and {folder} has no key of them: {names}"
        ))
        .hint(format!(
            "give the folder with --staging-dir (now the parent of {folder}); if it is lost, read the statements above, run by \
             hand those that are yours, and DELETE their rows from ebb_triggers"
        )),
    };
    Unrestored { review: proof::for_review(records), error }
}

/// One that is known keeps the definition that was saved first: what is there now may be a part of it. Partitions may have
/// triggers of one name, which only their statements tell apart.
fn merged(mut saved: Vec<SavedTrigger>, more: &[SavedTrigger]) -> Vec<SavedTrigger> {
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

fn shown(triggers: &[SavedTrigger]) -> String {
    let shown: Vec<_> =
        triggers.iter().map(|trigger| format!("{} on {}", trigger.trigger.name, trigger.table)).collect();
    visible(&shown.join(", "), "")
}

fn load(stage: &Stage) -> Result<Vec<SavedTrigger>> {
    stage.load(Note::Triggers).map(Option::unwrap_or_default)
}

fn save(stage: &Stage, triggers: &[SavedTrigger]) -> Result<()> {
    stage.save(Note::Triggers, triggers)
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
