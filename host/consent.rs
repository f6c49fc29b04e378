//! Asks the person at the terminal, once, before something that cannot be taken back.
//!
//! Owns: when a question is asked at all. Does not own: what it is about.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use crate::error::visible;

/// Who can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// `--non-interactive`: every question counts as answered with yes.
    Given,
    /// A person sits at the terminal.
    Ask,
    /// Neither: questions of detail are passed over, grave ones are refused.
    Nobody,
}

impl Consent {
    pub fn of(non_interactive: bool) -> Self {
        match (non_interactive, stdin().is_terminal()) {
            (true, _) => Self::Given,
            (false, true) => Self::Ask,
            (false, false) => Self::Nobody,
        }
    }

    /// Whether to go on with the plan shown; without a terminal it goes on.
    pub fn to_plan(self, plan: &str) -> bool {
        self != Self::Ask || ask(&format!("{plan}\nGo on?"))
    }

    /// Whether to do something grave; without a terminal only when it was agreed to beforehand.
    pub fn to_grave(self, what: &str) -> bool {
        match self {
            Self::Given => true,
            Self::Ask => ask(what),
            Self::Nobody => false,
        }
    }
}

fn ask(question: &str) -> bool {
    let mut answer = String::new();
    let asked = write!(stderr(), "{} [y/N] ", visible(question, "\n")).and_then(|()| stderr().flush());
    asked.is_ok() && stdin().lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
