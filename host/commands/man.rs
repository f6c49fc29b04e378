//! `ebb man`: a manual page of every command.
//!
//! Owns: the sections of a page and their order. Does not own: the flags and the texts (`cli`).

use std::io::Write;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

use crate::code;
use crate::error::{Error, Result};

/// A section behind the options: its title, and lines as they stand.
pub type Section = (&'static str, String);

/// Writes the pages; `sections` gives what stands behind the options of a command, by its full name (`ebb config show`).
pub fn write(command: Command, dir: &Path, sections: &dyn Fn(&Command, &str) -> Vec<Section>) -> Result<()> {
    let mut command = command.version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    command.build();
    let written = std::fs::create_dir_all(dir).and_then(|()| page(&command, &[], dir, sections));
    written.map_err(|error| {
        Error::new(
            code::settings::FILE_UNWRITABLE,
            format!("the manual pages cannot be written to {}: {error}", dir.display()),
        )
        .hint("give another folder")
    })
}

fn page(
    command: &Command,
    above: &[&str],
    dir: &Path,
    sections: &dyn Fn(&Command, &str) -> Vec<Section>,
) -> std::io::Result<()> {
    let names = [above, &[command.get_name()]].concat();
    let own = sections(command, &names.join(" "));
    let man = Man::new(command.clone()).title(names.join("-"));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    for (title, lines) in own {
        write!(text, ".SH {title}\n.nf\n{}.fi\n", escaped(&lines))?;
    }
    let others = see_also(command, &names);
    write!(text, ".SH \"SEE ALSO\"\n{}\n", others.join(", "))?;
    std::fs::write(dir.join(format!("{}.1", names.join("-"))), text)?;
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .try_for_each(|below| page(below, &names, dir, sections))
}

/// The commands below this one, or the one above.
fn see_also(command: &Command, names: &[&str]) -> Vec<String> {
    let entry = |name: String| format!("\\fB{}\\fR(1)", name.replace('-', "\\-"));
    match names {
        [_] => {
            command.get_subcommands().map(|below| entry(format!("{}-{}", names.join("-"), below.get_name()))).collect()
        }
        [above @ .., _] => vec![entry("ebb".into()), entry(above.join("-"))].into_iter().take(above.len()).collect(),
        [] => Vec::new(),
    }
}

/// Lines as they are, whatever begins them.
fn escaped(text: &str) -> String {
    let line = |line: &str| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        let begins = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        format!("{begins}{line}\n")
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_taken_for_a_request_of_the_formatter() {
        assert_eq!(escaped(".x\n'y \\\n--z"), "\\&.x\n\\&'y \\e\n\\-\\-z\n");
    }
}
