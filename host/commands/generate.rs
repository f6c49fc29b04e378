//! `ebb completions` and `ebb settings-page`: what is generated from the flags.
//!
//! Owns: writing it. Does not own: the flags (`cli`).

use std::fmt::Write;

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, Command};

/// The completions of a shell.
pub fn completions(mut command: Command, shell: clap_complete::Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "ebb", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// One section of the page of settings.
pub struct Section {
    pub title: String,
    pub about: &'static str,
    pub flags: Vec<Arg>,
}

/// The page of settings for the manual, in Markdown: a table of flags for each section, then `tables` as they are.
pub fn settings_page(sections: &[Section], tables: &str) -> String {
    let mut page = String::from(INTRODUCTION);
    for Section { title, about, flags } in sections {
        let _ = writeln!(page, "\n## {title}\n\n{about}\n\n| flag | variable | default | meaning |\n|---|---|---|---|");
        for flag in flags.iter().filter(|flag| is_setting(flag)) {
            row(&mut page, flag);
        }
    }
    page.push_str(tables);
    page
}

const INTRODUCTION: &str = "\
# Settings

This page is generated from the flags by `ebb settings-page`; do not edit it. To write it again:
`EBB_WRITE_DOCS=1 cargo test --test it docs`.

Precedence: flag, environment variable, file, default. The file is TOML, and `--config` or `EBB_CONFIG` names it. Its
keys are the names of the flags without the dashes, and its table `[changefeed]` may replace the file of
`--changefeeds-path`. `ebb config show fetch` prints the effective settings and their source.

A duration is a number with a unit, such as `250ms`, `30s`, `2m` or `24h`. A size is a number of bytes, with
or without a unit: `34MiB`, `10GB`.
";

fn is_setting(flag: &Arg) -> bool {
    let is_standard =
        matches!(flag.get_action(), ArgAction::Help | ArgAction::HelpLong | ArgAction::HelpShort | ArgAction::Version);
    !is_standard && !flag.is_hide_set()
}

fn row(page: &mut String, flag: &Arg) {
    let help = flag.get_long_help().or(flag.get_help()).map(ToString::to_string).unwrap_or_default();
    // A default that is not a value stands in the help.
    let (help, told) = match help.split_once(" [default: ") {
        Some((help, told)) => (help, told.trim_end_matches(']')),
        None => (help.as_str(), ""),
    };
    let default = if told.is_empty() { default_of(flag) } else { cell(told) };
    let variable = flag.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let _ = writeln!(page, "| {} | {variable} | {default} | {}{} |", spelling(flag), cell(help), choices(flag));
}

/// `--flag`, with or without `=true` behind it.
fn is_switch(flag: &Arg) -> bool {
    !flag.get_action().takes_values() || flag.get_default_values() == ["false"]
}

fn default_of(flag: &Arg) -> String {
    let values: Vec<_> = flag.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    match values.join(",") {
        _ if is_switch(flag) => "off".to_owned(),
        value if !value.is_empty() => format!("`{value}`"),
        _ if flag.is_required_set() => "required".to_owned(),
        _ => String::new(),
    }
}

/// The flag as it is written, with its value.
fn spelling(flag: &Arg) -> String {
    let names = flag.get_value_names().filter(|_| !is_switch(flag)).unwrap_or_default();
    let values: String = names.iter().map(|name| format!(" <{}>", name.replace('|', "\\|"))).collect();
    match (flag.get_long(), flag.get_short()) {
        (Some(long), Some(short)) => format!("`-{short}`, `--{long}{values}`"),
        (Some(long), None) => format!("`--{long}{values}`"),
        (None, _) => format!("`{}`", values.trim()),
    }
}

fn choices(flag: &Arg) -> String {
    if is_switch(flag) || flag.is_hide_possible_values_set() {
        return String::new();
    }
    let choices: Vec<String> = flag.get_possible_values().iter().map(choice).collect();
    if choices.is_empty() { String::new() } else { format!(". One of: {}", choices.join("; ")) }
}

fn choice(value: &PossibleValue) -> String {
    let help = value.get_help().map(|help| format!(": {}", cell(&help.to_string()))).unwrap_or_default();
    format!("`{}`{help}", value.get_name())
}

/// A text as one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}
