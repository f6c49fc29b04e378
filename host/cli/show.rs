//! `ebb config show`: every setting that a command would run with, where it comes from, and secrets masked.
//!
//! Owns: the two forms of this answer. Does not own: what is checked (`resolve`): a combination that cannot run is refused
//! here as it would be there.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};
use ebb_sdk::{MASK, masked_url, masked_value};
use serde_json::{Map, Value, json};

use super::flags::{Cli, Subcommand};
use super::layers::{self, Layers};
use super::overrides::Overrides;
use super::replicator::ReplicatorOnly;
use super::{Exit, resolve, without_ignored};
use crate::code;
use crate::config::{ClientCa, Config, Identity};
use crate::error::Error;

/// Flags whose value is never shown.
const SECRETS: &[&str] = &["metricsAuth", "webhook-auth-header"];
/// Flags that hold a connection string.
const URLS: &[&str] = &["source", "target", "sourceConn", "targetConn"];
/// Flags that say where the other settings are, or are taken apart themselves.
const LEFT_OUT: &[&str] = &["config", "replicator-flags", "help", "version", "plugin-path"];

struct Setting {
    name: String,
    /// `None` when it is not set.
    value: Option<Value>,
    from: String,
}

/// The settings of `command`, which is `fetch` or `start` with its flags.
pub(super) fn show(command: &[OsString], as_json: bool) -> Result<String, Exit> {
    match command.first() {
        Some(word) if word == "cutback" => Err(no_settings()),
        _ => shown(command, as_json),
    }
}

/// Those of a cut back as JSON, for its report.
pub(super) fn of_cutback(command: &[OsString]) -> Result<String, Exit> {
    shown(command, true)
}

fn shown(command: &[OsString], as_json: bool) -> Result<String, Exit> {
    let args: Vec<OsString> = std::iter::once("ebb".into()).chain(command.iter().cloned()).collect();
    let (args, mut warnings) = without_ignored(&args)?;
    let layers = Layers::find(&args, &mut warnings)?;
    let mut cli = layers.behind(Cli::command());
    let refused = |error: clap::Error| {
        let origin = layers.blame(&error);
        Exit::Clap(Box::new(error), origin)
    };
    let matches = layers::matches(&mut cli, args).map_err(refused)?;
    let (name, of_command) = matches.subcommand().ok_or_else(no_settings)?;
    let known = cli.find_subcommand(name).ok_or_else(no_settings)?;
    let mut settings = of_flags(known, of_command, &layers, "flag");
    let fetch = match Cli::from_arg_matches(&matches).map_err(refused)?.command {
        Subcommand::Fetch(fetch) => Ok(*fetch),
        Subcommand::Cutback(cutback) => Ok(cutback.fetch),
        Subcommand::Start(start) => Err(start),
        _ => return Err(no_settings()),
    };
    let (config, overrides) = match fetch {
        Ok(fetch) => {
            let (words, _) = resolve::replicator_words(&fetch.replicator_flags)?;
            let mut replicator = layers.behind(ReplicatorOnly::command());
            let matches = layers::matches(&mut replicator, words).map_err(refused)?;
            settings.extend(of_flags(&replicator, &matches, &layers, "--replicator-flags"));
            let config = resolve::fetch(&fetch, &layers, &mut warnings)?;
            let mut overrides = resolve::settings_of_changefeed(&fetch, &layers)?;
            overrides.demand_header(config.receiver.access.header.as_ref())?;
            (config, Some(overrides))
        }
        Err(start) => (resolve::start(&start, &mut warnings)?, None),
    };
    derive(&mut settings, &config);
    let changefeed = overrides.map(|overrides| of_changefeed(&overrides));
    Ok(if as_json { json(&settings, changefeed) } else { toml(&settings, changefeed, &warnings) })
}

fn no_settings() -> Exit {
    Error::new(code::settings::VALUE, "only fetch and start have settings")
        .hint("ebb config show fetch …, or ebb config show start …")
        .into()
}

fn of_flags(command: &Command, matches: &ArgMatches, layers: &Layers, flag: &str) -> Vec<Setting> {
    let shown = |arg: &&Arg| arg.get_long().is_some_and(|long| !LEFT_OUT.contains(&long));
    command.get_arguments().filter(shown).map(|arg| of_flag(arg, matches, layers, flag)).collect()
}

fn of_flag(arg: &Arg, matches: &ArgMatches, layers: &Layers, flag: &str) -> Setting {
    let name = arg.get_long().unwrap_or_default().to_owned();
    let from = match matches.value_source(arg.get_id().as_str()) {
        Some(ValueSource::CommandLine) => flag.to_owned(),
        Some(ValueSource::EnvVariable) => arg.get_env().map_or_else(String::new, |name| name.display().to_string()),
        Some(_) if layers.is_in_file(arg) => file(layers.path()),
        _ => "default".to_owned(),
    };
    // The count of -v has no text.
    let texts: Vec<String> = match name.as_str() {
        "verbose" => vec![matches.get_count("verbose").to_string()],
        _ => {
            let raw = matches.get_raw(arg.get_id().as_str());
            raw.into_iter().flatten().map(|text| masked(&name, &text.to_string_lossy())).collect()
        }
    };
    let is_list = matches!(arg.get_action(), clap::ArgAction::Append);
    let value = match texts.as_slice() {
        [] => None,
        [one] if !is_list => Some(typed(one)),
        more => Some(json!(more)),
    };
    Setting { name, value, from }
}

fn file(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!("--config {}", path.display()))
}

fn masked(name: &str, text: &str) -> String {
    if SECRETS.contains(&name) {
        return MASK.into();
    }
    if URLS.contains(&name) {
        return masked_url(text);
    }
    masked_value(text)
}

fn typed(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
    }
}

/// What the checks have put in the place of settings that were not given.
fn derive(settings: &mut [Setting], config: &Config) {
    let path = |path: &Path| Value::from(path.display().to_string());
    let (mut certificate, mut private_key) = (None, None);
    if let Identity::Files { certificate: found, private_key: key } = &config.receiver.identity {
        (certificate, private_key) = (Some(path(found)), Some(path(key)));
    }
    let client_ca = match &config.receiver.access.client_ca {
        Some(ClientCa::File(found)) => Some(path(found)),
        // It is no file that could be named.
        Some(ClientCa::Changefeed(_)) => {
            settings.iter_mut().filter(|setting| setting.name == "tlsClientCA").for_each(|setting| {
                setting.from = "the changefeed's ca_cert".into();
            });
            None
        }
        None => None,
    };
    let header = config.receiver.access.header.as_ref().map(|_| Value::from("***"));
    let pages = config.pages.as_ref().map(|pages| Value::from(pages.addr.to_string()));
    let is_fetch = config.changefeed.is_some();
    let derived = [
        ("stagingSchema", Some(Value::from(config.staging.schema.as_str()))),
        ("staging-dir", Some(path(&config.staging.dir))),
        ("bindAddr", Some(Value::from(config.receiver.bind_addr.to_string()))),
        ("metrics-listen-addr", pages.filter(|_| is_fetch)),
        ("tlsCertificate", certificate),
        ("tlsPrivateKey", private_key),
        ("tlsClientCA", client_ca),
        ("webhook-auth-header", header),
    ];
    for (name, value) in derived {
        for setting in settings.iter_mut().filter(|setting| setting.name == name && setting.value.is_none()) {
            setting.value = value.clone();
        }
    }
}

fn of_changefeed(overrides: &Overrides) -> Map<String, Value> {
    let query = overrides.sink_query_parameters.reveal();
    let pairs: Vec<_> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if matches!(value, "true" | "false") => format!("{key}={value}"),
            Some((key, _)) => format!("{key}=***"),
            None => "***".into(),
        })
        .collect();
    let mut shown = Map::new();
    shown.insert("host".into(), masked_value(&overrides.host).into());
    shown.insert("port".into(), overrides.port.into());
    shown.insert("sink_query_parameters".into(), pairs.join("&").into());
    for (name, value) in &overrides.options {
        let is_secret = matches!(name.as_str(), "webhook_auth_header" | "extra_headers");
        shown.insert(name.clone(), if is_secret { MASK.into() } else { masked_value(value.reveal()).into() });
    }
    shown
}

fn json(settings: &[Setting], changefeed: Option<Map<String, Value>>) -> String {
    let mut all = Map::new();
    for setting in settings {
        all.insert(setting.name.clone(), json!({ "value": setting.value, "from": setting.from }));
    }
    if let Some(changefeed) = changefeed {
        all.insert("changefeed".into(), changefeed.into());
    }
    format!("{}\n", Value::from(all))
}

/// In the form that `--config` reads.
fn toml(settings: &[Setting], changefeed: Option<Map<String, Value>>, warnings: &[String]) -> String {
    let mut text: String = warnings.iter().map(|warning| format!("# warning: {warning}\n")).collect();
    let line = |name: &str, value: &Value| match toml::Value::try_from(value) {
        Ok(value) => format!("{name} = {value}"),
        Err(_) => format!("# {name} is not set"),
    };
    for Setting { name, value, from } in settings {
        match value {
            Some(value) => text.push_str(&format!("{}  # {from}\n", line(name, value))),
            None if from == "default" => text.push_str(&format!("# {name} is not set\n")),
            None => text.push_str(&format!("# {name} is not set  # {from}\n")),
        }
    }
    if let Some(changefeed) = changefeed {
        text.push_str("\n[changefeed]\n");
        changefeed.iter().for_each(|(name, value)| text.push_str(&format!("{}\n", line(name, value))));
    }
    text
}
