//! `ebb settings-page`: every setting in the order of the manual.
//!
//! Owns: which flags stand together. Does not own: how the page looks (`commands::generate`), the flags themselves.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use super::flags::Cli;
use super::layers::Layers;
use super::replicator::ReplicatorOnly;
use super::{ignored, overrides};
use crate::commands::generate::{self, Section};
use crate::error::Result;

/// Commands with flags of their own, as they are written.
const OTHERS: &[&[&str]] = &[
    &["certs"],
    &["make-jwt"],
    &["report-key"],
    &["verify-report"],
    &["triggers", "restore"],
    &["status"],
    &["trace"],
    &["support-bundle"],
    &["plugins"],
    &["escape-password"],
    &["config", "show"],
];

/// The page, with the defaults that no settings have changed.
pub(super) fn text() -> Result<String> {
    let all = described(Cli::command());
    let replicator = flags(&described(ReplicatorOnly::command()), &[]);
    let start = flags(&all, &["start"]);
    let (both, fetch): (Vec<Arg>, Vec<Arg>) = flags(&all, &["fetch"]).into_iter().partition(|flag| is_in(&start, flag));
    let start = start.into_iter().filter(|flag| !is_in(&both, flag) && !is_in(&replicator, flag)).collect();
    let mut sections = vec![
        section("ebb fetch", "Flags of `ebb fetch` alone.", fetch),
        section("ebb start", "Flags of `ebb start` alone.", start),
        section("Both commands", "Flags of `ebb fetch` and `ebb start`.", both),
        section(
            "Receiver, staging and apply",
            "Flags of `ebb start`. `ebb fetch` takes them in `--replicator-flags`, as variables, or as keys of the file.",
            replicator,
        ),
    ];
    sections.extend(OTHERS.iter().map(|words| {
        let title = format!("ebb {}", words.join(" "));
        section(&title, "Options of this command; its `--help` has examples.", flags(&all, words))
    }));
    let fetch = flags(&all, &["fetch"]);
    let verify = flags(&all, &["verify"]).into_iter().filter(|flag| !is_in(&fetch, flag)).collect();
    sections.push(section("ebb verify", "Flags of `ebb verify` beside those of `ebb fetch`.", verify));
    let cutback = flags(&all, &["cutback"]).into_iter().filter(|flag| !is_in(&fetch, flag)).collect();
    sections.push(section("ebb cutback", "Flags of `ebb cutback` beside those of `ebb fetch`.", cutback));
    Ok(generate::settings_page(&sections, &tables()?))
}

/// With the layers behind the flags, and what clap fills in only when it parses.
fn described(command: Command) -> Command {
    let mut command = Layers::default().behind(command);
    command.build();
    command
}

fn section(title: &str, about: &'static str, flags: Vec<Arg>) -> Section {
    Section { title: title.to_owned(), about, flags }
}

/// The flags of the command that these words name.
fn flags(all: &Command, words: &[&str]) -> Vec<Arg> {
    let command = words.iter().try_fold(all, |command, word| command.find_subcommand(word));
    command.map(|command| command.get_arguments().cloned().collect()).unwrap_or_default()
}

fn is_in(flags: &[Arg], flag: &Arg) -> bool {
    flags.iter().any(|other| other.get_id() == flag.get_id())
}

/// The changefeed's keys, and what is accepted without effect.
fn tables() -> Result<String> {
    let mut text = String::from(
        "\n## The changefeed\n\nKeys of the JSON file of `--changefeeds-path`, and of the table `[changefeed]` of `--config`.\n\
         An unknown key is an error.\n\n| key | default |\n|---|---|\n",
    );
    for (key, default) in overrides::keys()? {
        let default = default.map(|value| format!("`{value}`")).unwrap_or_default();
        let _ = writeln!(text, "| `{key}` | {default} |");
    }
    for (title, flags) in [("ebb fetch", ignored::OF_FETCH), ("ebb start", ignored::OF_REPLICATOR)] {
        let _ = writeln!(
            text,
            "\n## MOLT flags that `{title}` accepts but ignores\n\nA warning says so.\n\n| flag | what ebb does instead |\n|---|---|"
        );
        for (flag, _, instead) in flags {
            let _ = writeln!(text, "| `{flag}` | {instead} |");
        }
    }
    text.push_str(
        "\n## MOLT flags that ebb refuses\n\nWith them MOLT would write other rows.\n\n| flag | what to do instead |\n|---|---|\n",
    );
    for (flag, instead) in ignored::REFUSED {
        let _ = writeln!(text, "| `{flag}` | {instead} |");
    }
    Ok(text)
}
