//! What the demo shows: lines, and on a terminal one live line below them; and the same lines in a log.
//!
//! Owns: the terminal, the log and which step it is. Does not own: what is said.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Result;

/// How often a line is written where no line can be replaced.
const PLAIN_EVERY: Duration = Duration::from_secs(1);
/// Moves to the beginning of the terminal's line and clears it.
const CLEAR: &str = "\r\x1b[K";

pub(crate) struct Screen {
    is_terminal: bool,
    steps: &'static [&'static str],
    log_path: PathBuf,
    state: Mutex<State>,
}

struct State {
    log: File,
    step: usize,
    is_live: bool,
    last_plain: Option<Instant>,
}

impl Screen {
    /// The log stands among those of the Makefile's steps, beside the folder of this program.
    pub(crate) fn open(steps: &'static [&'static str]) -> Result<Self> {
        let program = std::env::current_exe()?;
        let target = program.parent().and_then(Path::parent).ok_or("this program has no folder: run make demo")?;
        let log_path = target.join("logs/demo.log");
        let log = std::fs::create_dir_all(target.join("logs")).and_then(|()| File::create(&log_path));
        let log = log.map_err(|error| format!("cannot write the log: {error}; make way for {}", log_path.display()))?;
        let state = Mutex::new(State { log, step: 0, is_live: false, last_plain: None });
        Ok(Self { is_terminal: std::io::stdout().is_terminal(), steps, log_path, state })
    }

    /// The next step begins.
    pub(crate) fn step(&self) {
        let mut state = self.state();
        state.step += 1;
        let text = format!("\n[{}/{}] {}", state.step, self.steps.len(), self.steps[state.step - 1]);
        state.print(&text);
    }

    /// For the last line: how far it came, and where to read on.
    pub(crate) fn place(&self) -> String {
        let step = self.state().step;
        let title = step.checked_sub(1).map_or("before the first step", |at| self.steps[at]);
        let folder = std::env::current_dir().unwrap_or_default();
        let log = self.log_path.strip_prefix(&folder).unwrap_or(&self.log_path);
        format!("in step {step} of {} ({title}); its log is {}", self.steps.len(), log.display())
    }

    pub(crate) fn line(&self, text: &str) {
        self.state().print(text);
    }

    /// Replaces the live line; where there is no terminal it becomes a line now and then.
    pub(crate) fn live(&self, text: &str) {
        let mut state = self.state();
        if self.is_terminal {
            state.is_live = true;
            // Nobody is there to see it when this fails.
            let mut out = std::io::stdout();
            let _ = write!(out, "{CLEAR}  {text}").and_then(|()| out.flush());
        } else if state.last_plain.is_none_or(|last| last.elapsed() >= PLAIN_EVERY) {
            state.last_plain = Some(Instant::now());
            state.print(&format!("  {text}"));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A reader that has gone away (`make demo | head`) must not end the demo before what it started is ended.
    fn print(&mut self, text: &str) {
        let clear = if std::mem::take(&mut self.is_live) { CLEAR } else { "" };
        let _ = writeln!(std::io::stdout(), "{clear}{text}");
        let _ = writeln!(self.log, "{text}");
    }
}
