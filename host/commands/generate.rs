//! `ebb completions`: what a shell needs, generated from the flags.
//!
//! Owns: writing it. Does not own: the flags (`cli`).

use clap::Command;

/// The completions of a shell.
pub fn completions(mut command: Command, shell: clap_complete::Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "ebb", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
