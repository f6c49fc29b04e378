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
use crate::error::{Error, Result, visible};
use crate::history::Entry;
use crate::mask;
use crate::plugin::Untrusted;
use process::Outcome;

/// Of the output of a program that refuses a start.
const LINE_CHARS_MAX: usize = 200;

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
        if let Some((fault, _)) = self.run_to_end(entry).await {
            tracing::warn!(
                error_code = fault.code.text(),
                hint = fault.mend.as_deref().unwrap_or("its output stands in the log at the level debug (-v)"),
                "{}",
                fault.says
            );
        }
    }

    /// Runs the program of a step that it may refuse: `the start`, `cutting back`.
    ///
    /// # Errors
    /// When it does not end with the exit code 0.
    pub async fn ask(&self, entry: &Entry, what: &str) -> Result<()> {
        match self.run_to_end(entry).await {
            None => Ok(()),
            Some((Fault { code, says, mend: Some(mend) }, _)) => {
                Err(Error::new(code, format!("{what} is refused: {says}")).hint(mend))
            }
            Some((fault, last)) => {
                let said = last.map(|line| format!("; the last line of its output: {line}")).unwrap_or_default();
                Err(Error::new(code::hooks::VETO, format!("{what} is refused: {}{said}", fault.says))
                    .hint("mend what it asks for (-v shows its whole output); without that program ebb asks nobody"))
            }
        }
    }

    /// What has gone wrong, and the last line of the output.
    async fn run_to_end(&self, entry: &Entry) -> Option<(Fault, Option<String>)> {
        let Inner { timeout, schema, .. } = &*self.0;
        let (hook, path) = self.program(entry)?;
        let (outcome, output) = process::run(path, schema, entry, *timeout).await;
        tracing::debug!(hook = hook.name(), output, "a hook was run");
        Fault::of(*hook, &outcome, *timeout).map(|fault| (fault, last_line(&output)))
    }
}

/// The last line that says anything, so that it fits into an error and steers no terminal.
fn last_line(output: &str) -> Option<String> {
    let clean = mask::clean(output);
    let line = clean.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let shown = visible(line, "");
    let cut = shown.char_indices().nth(LINE_CHARS_MAX).map_or(shown.len(), |(at, _)| at);
    Some(if cut < shown.len() { format!("{}…", &shown[..cut]) } else { shown })
}

/// What has gone wrong with a program.
struct Fault {
    code: Code,
    says: String,
    /// Where it is known.
    mend: Option<String>,
}

impl Fault {
    fn of(hook: Hook, outcome: &Outcome, timeout: Duration) -> Option<Self> {
        let (code, says) = match outcome {
            Outcome::Done => return None,
            Outcome::Failed(status) => (code::hooks::FAILED, format!("the hook {hook} has failed: {status}")),
            Outcome::NotStarted(error) => (code::hooks::FAILED, format!("the hook {hook} could not be run: {error}")),
            Outcome::NotTrusted(Untrusted { why, mend }) => {
                let says = format!("the hook {hook} is not run: {why}");
                return Some(Self { code: code::hooks::NOT_TRUSTED, says, mend: mend.clone() });
            }
            Outcome::TimedOut => (
                code::hooks::TIMED_OUT,
                format!("the hook {hook} was killed after {timeout:?} (--hook-timeout): it had not ended"),
            ),
        };
        Some(Self { code, says, mend: None })
    }
}

#[cfg(test)]
mod tests;
