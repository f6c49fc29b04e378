//! Programs of the operator that are run when something happens: the files of `--hook DIR`.
//!
//! Owns: what comes of each, and that none of them holds a run up. Does not own: what has happened (`history`).
//!
//! A program is given no secret and no value of a row, and nothing that it does but the end of `started` is heeded.

mod folder;
mod process;
mod queue;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use folder::Hook;
pub use process::variable_names;
pub use queue::Queue;

use crate::code::{self, Code};
use crate::config;
use crate::error::{Error, Result};
use crate::history::Entry;
use process::Outcome;

/// The programs of a run. Clones share them.
#[derive(Clone, Debug)]
pub struct Hooks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    programs: Vec<(Hook, PathBuf)>,
    timeout: Duration,
    schema: String,
}

impl Hooks {
    /// Those of the folder, for a run of this staging schema.
    ///
    /// # Errors
    /// When the folder holds what cannot be run.
    pub fn open(settings: &config::Hooks, schema: &str) -> Result<Self> {
        let programs = settings.dir.as_deref().map_or_else(|| Ok(Vec::new()), folder::programs)?;
        Ok(Self(Arc::new(Inner { programs, timeout: settings.timeout, schema: schema.to_owned() })))
    }

    /// How long one may take.
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// The program of an event, if there is one.
    fn program(&self, entry: &Entry) -> Option<&(Hook, PathBuf)> {
        let hook = Hook::of(entry)?;
        self.0.programs.iter().find(|(known, _)| *known == hook)
    }

    /// Runs the program of an event to its end. What goes wrong is a warning.
    pub async fn run(&self, entry: &Entry) {
        if let Some(fault) = self.run_to_end(entry).await {
            tracing::warn!(
                error_code = fault.code.text(),
                hint = "its output stands in the log at the level debug (-v)",
                "{}",
                fault.says
            );
        }
    }

    /// Runs the program of a start.
    ///
    /// # Errors
    /// When it does not end with the exit code 0.
    pub async fn ask(&self, entry: &Entry) -> Result<()> {
        match self.run_to_end(entry).await {
            None => Ok(()),
            Some(fault) => Err(Error::new(code::hooks::VETO, format!("the start is refused: {}", fault.says)).hint(
                "see what it says (-v shows its output) and mend what it asks for; without that program ebb asks nobody",
            )),
        }
    }

    async fn run_to_end(&self, entry: &Entry) -> Option<Fault> {
        let Inner { timeout, schema, .. } = &*self.0;
        let (hook, path) = self.program(entry)?;
        let (outcome, output) = process::run(path, schema, entry, *timeout).await;
        tracing::debug!(hook = hook.name(), output, "a hook was run");
        Fault::of(*hook, &outcome, *timeout)
    }
}

/// What has gone wrong with a program.
struct Fault {
    code: Code,
    says: String,
}

impl Fault {
    fn of(hook: Hook, outcome: &Outcome, timeout: Duration) -> Option<Self> {
        let (code, says) = match outcome {
            Outcome::Done => return None,
            Outcome::Failed(status) => (code::hooks::FAILED, format!("the hook {hook} has failed: {status}")),
            Outcome::NotStarted(error) => (code::hooks::FAILED, format!("the hook {hook} could not be run: {error}")),
            Outcome::TimedOut => (
                code::hooks::TIMED_OUT,
                format!("the hook {hook} was killed after {timeout:?} (--hook-timeout): it had not ended"),
            ),
        };
        Some(Self { code, says })
    }
}

#[cfg(test)]
mod tests;
