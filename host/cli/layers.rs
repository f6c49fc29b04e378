//! Where a setting may come from: its flag, else its variable of the environment, else the file of `--config`, else its
//! default.
//!
//! Owns: names of variables and keys, which follow from the flags' names, and the file. Does not own: any flag.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::error::ContextKind;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, Parser};
use serde_json::{Map, Value};

use super::flags::Cli;
use super::replicator::ReplicatorOnly;
use super::{groups, ignored, nearest, usage};
use crate::code;
use crate::error::{Error, Result};

/// The table of the file that holds what `--changefeeds-path` would.
const CHANGEFEED: &str = "changefeed";
const PREFIX: &str = "EBB_";
/// Variables that are no flags: the version at build time, and the folders of plugins.
const OTHER_VARIABLES: &[&str] = &["EBB_COMMIT", "EBB_CONFIG", "EBB_PLUGIN_PATH"];

/// What stands behind the flags. By default there is no file.
#[derive(Clone, Debug, Default)]
pub(super) struct Layers {
    file: Option<File>,
}

#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    /// By canonical key.
    values: BTreeMap<String, Vec<String>>,
    changefeed: Option<Map<String, Value>>,
}

impl Layers {
    /// Reads the file that `--config` or `EBB_CONFIG` names, if one does.
    pub(super) fn find(args: &[OsString], warnings: &mut Vec<String>) -> Result<Self> {
        let Some(path) = config_flag(args).or_else(|| std::env::var_os("EBB_CONFIG")).filter(|path| !path.is_empty())
        else {
            return Ok(Self::default());
        };
        Self::read(PathBuf::from(path), warnings)
    }

    /// Reads this file.
    pub(super) fn read(path: PathBuf, warnings: &mut Vec<String>) -> Result<Self> {
        let otherwise = "give the path of a TOML file, or leave out --config and EBB_CONFIG";
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable("--config", &path, &error, otherwise))?;
        Ok(Self { file: Some(File::parse(path, &text, warnings)?) })
    }

    /// Parses as clap does, with the layers behind the flags. `--flag=true` and `--flag=false` are taken too, as Go's
    /// flags may be written.
    pub(super) fn parse<T: Parser>(&self, args: impl IntoIterator<Item = OsString>) -> Result<T, clap::Error> {
        let mut command = self.behind(T::command());
        let matches = matches(&mut command, args)?;
        T::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }

    /// The command with every layer behind its flags.
    pub(super) fn behind(&self, command: Command) -> Command {
        let command = groups::under_headings(command).mut_args(|arg| self.behind_arg(boolean(arg)));
        command.mut_subcommands(|command| self.behind(command))
    }

    fn behind_arg(&self, arg: Arg) -> Arg {
        let Some(long) = arg.get_long().map(str::to_owned) else { return arg };
        if matches!(arg.get_action(), ArgAction::Help | ArgAction::Version) {
            return arg;
        }
        let arg = match arg.get_env() {
            None => arg.env(variable(&long)),
            Some(_) => arg,
        };
        let values = self.values(&arg, &long).map(<[String]>::to_vec);
        let arg = arg.hide_env_values(true);
        match values {
            // The help shows a default only where a value is written behind the flag.
            Some(values) if arg.get_action().takes_values() => {
                arg.required(false).hide_default_value(true).default_values(values)
            }
            Some(values) => arg.default_values(values),
            None => arg,
        }
    }

    /// What the file says of a flag: under its own name, or that of its variable.
    fn values(&self, arg: &Arg, long: &str) -> Option<&[String]> {
        let values = &self.file.as_ref()?.values;
        let by_variable = arg.get_env().and_then(|name| name.to_str()).map(canonical_variable);
        let found = values.get(&canonical(long)).or_else(|| values.get(&by_variable?));
        found.map(Vec::as_slice)
    }

    /// Whether the file, rather than a default, gives the flag's value.
    pub(super) fn is_in_file(&self, arg: &Arg) -> bool {
        arg.get_long().is_some_and(|long| self.values(arg, long).is_some())
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// The file's table of the changefeed's settings.
    pub(super) fn changefeed(&self) -> Option<(&Path, &Map<String, Value>)> {
        let file = self.file.as_ref()?;
        Some((file.path.as_path(), file.changefeed.as_ref()?))
    }

    /// Which layer a value came from that clap does not take, if it was none of the flags; or why it is not shown.
    pub(super) fn blame(&self, error: &clap::Error) -> Option<String> {
        if let Some(hint) = usage::hint(error) {
            return Some(hint);
        }
        let arg = error.get(ContextKind::InvalidArg)?.to_string();
        let long = arg.trim_start_matches('-').split([' ', '=', '[']).next()?.to_owned();
        let (known, name) = (commands(), variable(&long));
        let arg = args(&known).find(|arg| arg.get_long() == Some(long.as_str()))?;
        let name = arg.get_env().and_then(|name| name.to_str()).map_or(name, str::to_owned);
        if std::env::var_os(&name).is_some() {
            return Some(format!("the value may come from the environment: {name}"));
        }
        let file = self.file.as_ref().filter(|_| self.is_in_file(arg))?;
        Some(format!("the value may come from --config {}", file.path.display()))
    }
}

/// What clap finds, or its error without a value.
pub(super) fn matches(
    command: &mut Command,
    args: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, clap::Error> {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.iter().any(|arg| arg == "-h") {
        *command = groups::on_one_screen(std::mem::take(command));
    }
    command.try_get_matches_from_mut(&args).map_err(|error| usage::without_values(error, &args))
}

/// A file of settings that cannot be read; `otherwise` mends it where no right is missing.
pub(super) fn unreadable(flag: &str, path: &Path, error: &std::io::Error, otherwise: &str) -> Error {
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "run ebb as the user that owns it, or give it to the user that ebb runs as (chown)"
        }
        _ => otherwise,
    };
    Error::new(code::settings::FILE_UNREADABLE, format!("{flag} {} cannot be read: {error}", path.display())).hint(hint)
}

impl File {
    fn parse(path: PathBuf, text: &str, warnings: &mut Vec<String>) -> Result<Self> {
        let refused =
            |why: String| Error::new(code::settings::FILE_MALFORMED, format!("--config {}: {why}", path.display()));
        // The parser's own text quotes the line, which may hold a password.
        let table: toml::Table = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            let refused = refused(format!("it is not TOML (line {line}): {}", error.message()));
            // A bare word is taken for true, false or a number.
            let is_bare = ["boolean", "string values must be quoted", "number", "float", "integer"];
            match is_bare.iter().any(|word| error.message().contains(word)) {
                true => refused.hint("put quotes round text: key = 'text'"),
                false => refused,
            }
        })?;
        let known = commands();
        let names: BTreeMap<String, String> = args(&known).flat_map(names).collect();
        let (mut values, mut changefeed) = (BTreeMap::new(), None);
        for (key, value) in table {
            let name = canonical(&key);
            if name == CHANGEFEED {
                let table = serde_json::to_value(value).ok().and_then(|value| value.as_object().cloned());
                changefeed = Some(table.ok_or_else(|| refused(format!("[{CHANGEFEED}] must be a table")))?);
            } else if names.contains_key(&name) {
                let texts = texts(&value).ok_or_else(|| {
                    refused(format!("{key} must be a text, a number, true or false, or a list of texts"))
                })?;
                values.insert(name, texts);
            } else if let Some(error) = ignored::refused(&name) {
                return Err(error);
            } else if let Some((flag, instead)) = ignored::instead_of(&name) {
                warnings.push(format!("{flag} has no effect: {instead}"));
            } else {
                let mut known: Vec<_> = names.into_values().collect();
                known.sort_unstable();
                known.dedup();
                let meant = nearest::did_you_mean(&key, known.iter().map(String::as_str));
                let hint = match meant.is_empty() {
                    true => format!("known are {}, and the table [{CHANGEFEED}]", known.join(", ")),
                    false => format!("the keys are the flags of ebb fetch and ebb start, and the table [{CHANGEFEED}]"),
                };
                return Err(refused(format!("the key {key} is not known{meant}")).hint(hint));
            }
        }
        Ok(Self { path, values, changefeed })
    }
}

/// What is said of variables that look like settings and are none: a misspelled one would be passed over without a word.
pub(super) fn unknown_variables() -> Vec<String> {
    let known = commands();
    let names: Vec<_> = args(&known).flat_map(names).map(|(canonical, _)| canonical).collect();
    let spelled: Vec<_> = args(&known).filter_map(Arg::get_long).map(variable).collect();
    // Those of `ebb init` and others may be set for all of them.
    let mut of_commands = Vec::new();
    variables_of(&Cli::command(), &mut of_commands);
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    variables
        .filter(|name| name.starts_with(PREFIX) && !OTHER_VARIABLES.contains(&name.as_str()))
        .filter(|name| !names.contains(&canonical_variable(name)) && !of_commands.contains(name))
        .map(|name| {
            let meant = nearest::did_you_mean(&name, spelled.iter().map(String::as_str));
            format!("the variable {name} is no setting of ebb{meant} (see ebb config show)")
        })
        .collect()
}

fn variables_of(command: &Command, found: &mut Vec<String>) {
    let of_arg = |arg: &Arg| match arg.get_env() {
        Some(name) => name.to_str().map(str::to_owned),
        None => arg.get_long().map(variable),
    };
    found.extend(command.get_arguments().filter_map(of_arg));
    command.get_subcommands().for_each(|command| variables_of(command, found));
}

/// `--staging-dir` and `--stagingDir` are `EBB_STAGING_DIR`; runs of capitals stay together.
pub(super) fn variable(long: &str) -> String {
    let mut name = String::from(PREFIX);
    let mut before = '_';
    for character in long.chars() {
        if character == '-' {
            name.push('_');
        } else {
            if character.is_ascii_uppercase() && before.is_ascii_lowercase() {
                name.push('_');
            }
            name.push(character.to_ascii_uppercase());
        }
        before = character;
    }
    name
}

/// The commands whose flags may stand in the file.
fn commands() -> Vec<Command> {
    let settings = ["fetch", "start"];
    let cli = Cli::command();
    let mut commands: Vec<_> =
        cli.get_subcommands().filter(|command| settings.contains(&command.get_name())).cloned().collect();
    commands.push(ReplicatorOnly::command());
    commands
}

fn args(commands: &[Command]) -> impl Iterator<Item = &Arg> {
    commands.iter().flat_map(Command::get_arguments).filter(|arg| arg.get_long() != Some("config"))
}

/// The canonical keys of a flag, with its spelling.
fn names(arg: &Arg) -> Vec<(String, String)> {
    let Some(long) = arg.get_long() else { return Vec::new() };
    let by_variable = arg.get_env().and_then(|name| name.to_str()).map(canonical_variable);
    std::iter::once(canonical(long)).chain(by_variable).map(|key| (key, long.to_owned())).collect()
}

/// The value of `--config`, which must be known before the flags can be parsed.
fn config_flag(args: &[OsString]) -> Option<OsString> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            // The text behind it is a command line of its own.
            Some("--replicator-flags") => drop(args.next()),
            Some("--config") => return args.next().cloned(),
            Some(text) => {
                if let Some(path) = text.strip_prefix("--config=") {
                    return Some(path.into());
                }
            }
            None => {}
        }
    }
    None
}

/// One spelling for `tlsCertificate`, `tls-certificate` and `TLS_CERTIFICATE`.
fn canonical(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|character| character.to_ascii_lowercase()).collect()
}

fn canonical_variable(name: &str) -> String {
    canonical(name.strip_prefix(PREFIX).unwrap_or(name))
}

fn texts(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Boolean(flag) => Some(vec![flag.to_string()]),
        toml::Value::Array(list) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn boolean(arg: Arg) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .value_parser(BoolishValueParser::new())
            .default_value("false")
            .default_missing_value("true")
            .value_name("BOOL")
            .hide_default_value(true)
            .hide_possible_values(true),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_follow_from_flags() {
        for (long, expected) in [
            ("staging-dir", "EBB_STAGING_DIR"),
            ("tlsCertificate", "EBB_TLS_CERTIFICATE"),
            ("tlsClientCA", "EBB_TLS_CLIENT_CA"),
            ("bindAddr", "EBB_BIND_ADDR"),
            ("source", "EBB_SOURCE"),
        ] {
            assert_eq!(variable(long), expected);
        }
    }

    #[test]
    fn a_file_is_read_in_any_spelling_and_its_faults_are_named() {
        let read = |text: &str| File::parse("ebb.toml".into(), text, &mut Vec::new());
        let file = read("source = 'a'\ntls-certificate = 'b'\nstaging_dir = 'c'\nplugin-dir = ['x', 'y']\n").unwrap();
        assert_eq!(file.values["tlscertificate"], ["b"]);
        assert_eq!(file.values["plugindir"], ["x", "y"]);
        let check = |text: &str, expected: &str| {
            let error = read(text).unwrap_err();
            let text = format!("{error} {}", error.hint.as_deref().unwrap_or_default());
            assert!(text.contains(expected) && !text.contains("geheim"), "{text}");
        };
        check("target = 'a'\nsource = 'geheim\n", "it is not TOML (line 2)");
        check(
            "nonsense = 1",
            "nonsense is not known known are allow-rounding, allow-tls-mode-disable, apply-only, applyTimeout",
        );
        check("table-filtr = 'a'", "table-filtr is not known; did you mean table-filter?");
        check("source = geheim", "put quotes round text");
        check("source = true\ntarget = tgeheim", "put quotes round text");
        check("userscript = 'a.ts'", "would change what is written");
        check("applyTimeout = 1.5", "applyTimeout must be a text");
        check("changefeed = 1", "must be a table");
        let mut warnings = Vec::new();
        File::parse("ebb.toml".into(), "parallelism = 16", &mut warnings).unwrap();
        assert!(warnings[0].contains("--parallelism has no effect"), "{warnings:?}");
    }
}
