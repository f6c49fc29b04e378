//! The commands that say one thing and end.
//!
//! Owns: what is printed, and the exit code. Does not own: their flags (`cli`), replicating (`daemon`).

pub mod certs;
pub mod cutback;
mod ending;
pub mod escape_password;
pub mod explain;
mod files;
pub mod generate;
mod history;
pub mod init;
pub mod make_jwt;
pub mod man;
pub mod pages;
pub mod plugins;
pub mod report;
pub mod restore_triggers;
pub mod revoke;
pub mod status;
pub mod support_bundle;
pub mod trace;
pub mod verify;

use std::process::ExitCode;

use crate::error::Result;
use crate::mask;

/// Prints the answer of a command.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the answer of the command, and why there is none")]
pub fn answer(outcome: Result<String>) -> ExitCode {
    match outcome {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint!("{}", mask::clean(&error.told()));
            ExitCode::FAILURE
        }
    }
}

/// The token may go into a file or a variable, so that nothing else is on standard output.
#[expect(clippy::print_stderr, reason = "what is not the answer of the command")]
pub fn make_token(options: &make_jwt::Options) -> ExitCode {
    let made = make_jwt::make(options);
    if made.is_ok() {
        eprint!("{}", make_jwt::note(options));
    }
    answer(made)
}

/// What is to be read comes before the reason.
pub fn restore_triggers(options: &restore_triggers::Options) -> ExitCode {
    match restore_triggers::restore(options) {
        Ok(text) => answer(Ok(text)),
        Err(restore_triggers::Unrestored { review, error }) => {
            answer(Ok(review));
            answer(Err(error))
        }
    }
}
