//! `ebb triggers restore`: puts back the triggers that `--triggers drop` has dropped.
//!
//! Owns: which records are run, and what is reported of the others. Does not own: the records (`triggers`), making a trigger (the
//! plugin).

use std::path::{Path, PathBuf};

use ebb_sdk::SavedTrigger;

use crate::code;
use crate::config;
use crate::error::{Error, Result};
use crate::history::{Entry, Event};
use crate::stage;
use crate::stage::Stage;
use crate::target::Target;
use crate::triggers::proof::{self, Prover};
use crate::triggers::{load, merged, save, shown};

/// What is wanted.
#[derive(Debug)]
pub struct Options {
    pub target: config::Target,
    /// The folder of all staging folders, and the one of the run.
    pub staging_dir: PathBuf,
    pub schema: String,
}

/// Why triggers were not put back, and what a person should read before doing it by hand.
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
pub fn restore(options: &Options) -> Result<String, Unrestored> {
    // A folder that a running ebb uses is locked.
    let folder = stage::folder(&options.staging_dir, &options.schema);
    let stage = folder.is_dir().then(|| Stage::open(&folder, stage::StagingLimits::default())).transpose()?;
    let run_state = stage.map(|stage| stage.run_state);
    let saved = run_state.as_ref().map_or_else(|| Ok(Vec::new()), load)?;
    let mut session = Target::load(&options.target)?.session()?;
    if run_state.is_none() && session.progress(&options.schema)?.is_none() {
        return Err(Error::new(
            code::target::TRIGGER_RECORD,
            format!("nothing is known of the staging schema {}, here or on the target", options.schema),
        )
        .hint("give --stagingSchema of the run that dropped the triggers: SELECT feed FROM ebb_progress, on the target")
        .into());
    }
    let prover = run_state.as_ref().map(Prover::known).transpose()?.flatten();
    // One that the folder has word for word is its own, too: an earlier version has proven none.
    let is_ours = |record: &SavedTrigger| {
        prover.as_ref().is_some_and(|prover| prover.is_proven(record))
            || saved.iter().any(|known| proof::is_same(known, record))
    };
    let (proven, strange): (Vec<_>, Vec<_>) = session.saved_triggers(&options.schema)?.into_iter().partition(is_ours);
    if !strange.is_empty() {
        session.close();
        return Err(unproven(&strange, &folder, prover.is_some()));
    }
    let restored = session.restore_triggers(&options.schema, &merged(proven, &saved))?;
    session.close();
    if let Some(run_state) = &run_state {
        save(run_state, &[])?;
        if !restored.is_empty() {
            let text = format!("put back {} triggers of the target: {}", restored.len(), shown(&restored));
            run_state.history().note(Entry::new(Event::TriggersRestored, text).fact("triggers", shown(&restored)));
            run_state.history().flush();
        }
    }
    Ok(match restored.len() {
        0 => "no trigger was missing\n".into(),
        count => format!("put back {count} triggers: {}\n", shown(&restored)),
    })
}

fn unproven(records: &[SavedTrigger], folder: &Path, has_key: bool) -> Unrestored {
    let (names, folder) = (shown(records), folder.display());
    let error = match has_key {
        true => Error::new(code::target::TRIGGER_RECORD, format!(
            "no trigger was put back: ebb_triggers on the target has records that ebb has not written, or that were changed \
             since: {names}"
        ))
        .hint(
            "somebody else may write to that table, and what is printed above would have been run with your rights: read it, \
             make by hand what is yours, and DELETE those rows from ebb_triggers; then run this command again",
        ),
        false => Error::new(code::target::TRIGGER_RECORD, format!(
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
