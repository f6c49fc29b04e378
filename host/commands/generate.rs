//! `ebb man` and `ebb completions`: what is generated from the flags.
//!
//! Owns: writing it. Does not own: the flags (`cli`).

use std::path::Path;

use clap::Command;

use crate::code;
use crate::error::{Error, Result};

/// The completions of a shell.
pub fn completions(mut command: Command, shell: clap_complete::Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "ebb", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes the manual pages of all commands.
pub fn manual_pages(command: Command, dir: &Path) -> Result<()> {
    let written = std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(command.version(env!("CARGO_PKG_VERSION")), dir));
    written.map_err(|error| {
        Error::new(code::UNNAMED, format!("the manual pages cannot be written to {}: {error}", dir.display()))
            .hint("give another folder")
    })
}
