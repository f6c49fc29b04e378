//! The target's triggers while ebb writes: dropped with their definitions kept on both sides, and put back.
//!
//! Owns: `--triggers drop` and `ebb triggers restore`. Does not own: how a trigger is dropped and made (the plugin), whether
//! one is in the way (`tables/problems`).
//!
//! A definition is in the staging folder and in the target before its trigger is dropped, and in both until it is back.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ebb_sdk::{Catalog, DatabaseUrl, SavedTrigger};

use crate::config;
use crate::error::{Error, Result};
use crate::plugin;
use crate::stage::{self, Note, Stage};
use crate::tables::Watched;
use crate::target::Taken;
use crate::target::{self, Target};

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
    let there: Vec<SavedTrigger> = positions
        .iter()
        .map(|&position| &catalog.tables[position as usize])
        .flat_map(|table| {
            table.triggers.iter().map(|trigger| SavedTrigger {
                feed: feed.to_owned(),
                namespace: table.namespace.clone(),
                table: table.name.clone(),
                trigger: trigger.clone(),
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

/// Puts back what was dropped. Returns what to tell the user.
pub fn restore(order: &Restore) -> Result<String> {
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
        .hint(
            "give --stagingSchema of the run that dropped the triggers: SELECT feed FROM ebb_progress, on the target",
        ));
    }
    let restored = session.restore_triggers(&order.schema, &saved)?;
    session.close();
    if let Some(stage) = &stage {
        save(stage, &[])?;
    }
    Ok(match restored.len() {
        0 => "no trigger was missing\n".into(),
        count => format!("put back {count} triggers: {}\n", shown(&restored)),
    })
}

/// One that is known keeps the definition that was saved first: what is there now may be a part of it.
fn merged(mut saved: Vec<SavedTrigger>, more: &[SavedTrigger]) -> Vec<SavedTrigger> {
    for trigger in more {
        let is_it = |known: &SavedTrigger| {
            (&known.namespace, &known.table, &known.trigger.name)
                == (&trigger.namespace, &trigger.table, &trigger.trigger.name)
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
    shown.join(", ")
}

fn load(stage: &Stage) -> Result<Vec<SavedTrigger>> {
    stage.load(Note::Triggers).map(Option::unwrap_or_default)
}

fn save(stage: &Stage, triggers: &[SavedTrigger]) -> Result<()> {
    stage.save(Note::Triggers, triggers)
}
