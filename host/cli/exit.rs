//! Why a command line has nothing to run: help was asked for, or it is wrong.
//!
//! Owns: what the user is told, and the exit code. Does not own: what is refused (`mod`, `resolve`).

use std::process::ExitCode;

use crate::code;
use crate::error::{Error, visible};
use crate::mask;

/// Why there is nothing to run.
#[derive(Debug)]
pub enum Exit {
    /// Help, version, or a usage error that clap words, and where a wrong value may come from.
    Clap(Box<clap::Error>, Option<String>),
    /// Settings that cannot run.
    Usage(Error),
}

impl Exit {
    /// Tells the user and gives the exit code: 0 for help, 2 for wrong usage.
    #[expect(clippy::print_stderr, reason = "there is no log yet")]
    pub fn report(self) -> ExitCode {
        match self {
            Self::Clap(error, _) if !error.use_stderr() => {
                // Nothing can be done when the terminal is gone.
                let _ = error.print();
                ExitCode::SUCCESS
            }
            refused => {
                eprint!("{}", refused.text());
                ExitCode::from(2)
            }
        }
    }

    /// What is written to standard error.
    pub fn text(&self) -> String {
        mask::clean(&match self {
            Self::Clap(error, hint) => {
                let text = visible(&error.render().to_string(), "\n");
                let text = text.replacen("error:", &format!("error[{}]:", code::settings::USAGE), 1);
                hint.as_ref().map_or_else(|| text.clone(), |hint| format!("{text}  hint: {hint}\n"))
            }
            Self::Usage(error) => error.told(),
        })
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Self::Usage(error)
    }
}
