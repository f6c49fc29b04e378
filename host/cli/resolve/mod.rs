//! From raw flags to a configuration that can run, or to one error that says what to change.
//!
//! Owns: defaults that depend on other flags, and combinations that are refused. Does not own: the flags (`flags`).

mod pages;
mod receiver;
mod values;

use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ebb_sdk::{DatabaseUrl, Secret};
use regex::{Regex, RegexBuilder};
use tracing::Level;

use super::flags::{self, Common, Fetch, LogValues, Logging, Start};
use super::ignored;
use super::layers::Layers;
use super::mode::FAILBACK;
use super::one_shot::{SupportBundle, Trace, TriggersRestore};
use super::overrides::{self, Overrides};
use super::replicator::{self, Replicator, ReplicatorOnly};
use super::usage;
use crate::code;
use crate::commands::restore_triggers as restore;
use crate::commands::{support_bundle, trace};
use crate::config::{
    Apply, Changefeed, Config, Hooks, Log, LogDestination, LogFormat, OnExit, OnRowError, Source, Staging, Target,
    Triggers,
};
use crate::error::{Error, Result};
use crate::source;
pub(super) use pages::status;
use receiver::receiver;
pub(super) use values::{at_least_one, not_zero};

const MODES_OF_OTHERS: [&str; 5] =
    ["data-load", "data-load-and-replication", "replication-only", "export-only", "import-only"];
/// Making a trigger waits for whoever uses its table.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(300);
const START_BIND_ADDR: &str = ":26258";
const FETCH_PAGES_ADDR: &str = "127.0.0.1:3030";

/// The configuration of `ebb fetch`.
pub(super) fn fetch(fetch: &Fetch, layers: &Layers, warnings: &mut Vec<String>) -> Result<Config> {
    check_mode(fetch.mode.as_deref())?;
    let insecure = fetch.common.access.allow_tls_mode_disable;
    let filters = filters(fetch)?;
    let replicator = replicator_flags(&fetch.replicator_flags, layers, warnings)?;
    let mut overrides = settings_of_changefeed(fetch, layers)?;
    overrides.demand_header(replicator.webhook_auth_header.as_ref())?;
    let bind_addr = replicator.bind_addr.clone().unwrap_or_else(|| format!(":{}", overrides.port));
    let receiver = receiver(&replicator, &bind_addr, Some(&overrides), warnings)?;
    // Of twins the flag of fetch itself stands above the one in --replicator-flags.
    let (flag, addr, required) = match (&fetch.metrics_listen_addr, &replicator.metrics_addr) {
        (Some(given), _) => ("--metrics-listen-addr", given.as_str(), true),
        (None, Some(given)) => ("--metricsAddr", given.as_str(), true),
        (None, None) => ("--metrics-listen-addr", FETCH_PAGES_ADDR, false),
    };
    let pages = pages::pages((flag, addr, required), &replicator, &receiver.identity)?;
    let log = Log {
        level: fetch.logging.map_or_else(|| Level::INFO.max(verbosity(replicator.verbose)), level),
        destination: destination(fetch.log_file.as_ref(), replicator.log_destination.as_ref()),
        format: if fetch.use_console_writer { LogFormat::Console } else { log_format(fetch.common.log_format) },
        hide_values: fetch.common.log_values == LogValues::Off,
    };
    let [table_filter, schema_filter] = filters.0;
    let changefeed = Changefeed {
        table_filter,
        table_exclusion_filter: filters.1,
        schema_filter,
        host: overrides.host,
        port: overrides.port,
        sink_query_parameters: overrides.sink_query_parameters,
        options: overrides.options,
        cursor: fetch.cursor.or(overrides.cursor),
        new_tables: fetch.new_tables,
        initial_scan: overrides.initial_scan,
        on_exit: match fetch.on_exit {
            flags::OnExit::Leave => OnExit::Leave,
            flags::OnExit::Pause => OnExit::Pause,
            flags::OnExit::Cancel => OnExit::Cancel,
        },
    };
    Ok(Config {
        target: target(&fetch.target, &fetch.common, &replicator)?,
        apply_only: fetch.common.apply_only,
        staging: staging(&replicator, fetch.non_interactive)?,
        receiver,
        apply: apply(&replicator, fetch.common.apply_only)?,
        changefeed: Some(changefeed),
        source: Some(source(&fetch.source, insecure)?),
        log,
        pages: Some(pages),
        grace_period: replicator.grace_period,
        hooks: hooks(&fetch.common)?,
        stalled_after: not_zero("--stalled-after", fetch.common.hooks.stalled_after)?,
    })
}

/// The configuration of `ebb start`.
pub(super) fn start(start: &Start, warnings: &mut Vec<String>) -> Result<Config> {
    let replicator = &start.replicator;
    let bind_addr = replicator.bind_addr.as_deref().unwrap_or(START_BIND_ADDR);
    let allow_insecure = start.common.access.allow_tls_mode_disable;
    let receiver = receiver(replicator, bind_addr, None, warnings)?;
    let pages = |given| pages::pages(("--metricsAddr", given, true), replicator, &receiver.identity);
    let pages = replicator.metrics_addr.as_deref().map(pages).transpose()?;
    Ok(Config {
        target: target(&start.target_conn, &start.common, replicator)?,
        apply_only: start.common.apply_only,
        staging: staging(replicator, false)?,
        receiver,
        apply: apply(replicator, start.common.apply_only)?,
        changefeed: None,
        source: start.source_conn.as_ref().map(|url| source(url, allow_insecure)).transpose()?,
        log: Log {
            level: Level::INFO.max(verbosity(replicator.verbose)),
            destination: destination(None, replicator.log_destination.as_ref()),
            format: log_format(start.common.log_format),
            hide_values: start.common.log_values == LogValues::Off,
        },
        pages,
        grace_period: replicator.grace_period,
        hooks: hooks(&start.common)?,
        stalled_after: not_zero("--stalled-after", start.common.hooks.stalled_after)?,
    })
}

fn hooks(common: &Common) -> Result<Hooks> {
    Ok(Hooks { dir: common.hooks.dir.clone(), timeout: not_zero("--hook-timeout", common.hooks.timeout)? })
}

/// Without a word: for a person at a terminal, else JSON.
fn log_format(given: Option<LogFormat>) -> LogFormat {
    let by_place = if stdout().is_terminal() { LogFormat::Console } else { LogFormat::Json };
    given.unwrap_or(by_place)
}

/// What `--changefeeds-path`, or the table of `--config` in its place, says of the changefeed.
pub(super) fn settings_of_changefeed(fetch: &Fetch, layers: &Layers) -> Result<Overrides> {
    match (&fetch.changefeeds_path, layers.changefeed()) {
        (Some(path), Some((config, _))) => Err(Error::new(code::settings::FLAGS_CONFLICT, format!(
            "--changefeeds-path {} and the table [changefeed] of --config {} both describe the changefeed",
            path.display(),
            config.display()
        ))
        .hint("leave one of them out")),
        (Some(path), None) => overrides::read(path),
        (None, Some((config, table))) => {
            let overrides = overrides::check(table.clone(), &format!("[changefeed] of --config {}", config.display()))?;
            Ok(Overrides { origin: Some(overrides::Origin::Config(config.to_owned())), ..overrides })
        }
        (None, None) if fetch.common.access.allow_tls_mode_disable => overrides::defaults(),
        (None, None) => {
            Err(Error::new(code::settings::RECEIVER_NOT_VERIFIED, "without --changefeeds-path the changefeed would not verify the receiver's certificate")
                .hint("give --changefeeds-path FILE with client_cert, client_key and ca_cert (ebb certs makes one), or admit it with --allow-tls-mode-disable"))
        }
    }
}

fn check_mode(mode: Option<&str>) -> Result<()> {
    match mode {
        Some(FAILBACK) => Ok(()),
        None => Err(Error::new(
            code::settings::MODE,
            "--mode is not given; its default in molt fetch loads data, which ebb does not do",
        )
        .hint("add --mode failback")),
        Some(mode) if MODES_OF_OTHERS.contains(&mode) => Err(Error::new(
            code::settings::MODE,
            format!("--mode {mode} moves data to CockroachDB; ebb brings changes back from it"),
        )
        .hint("use molt fetch for it; ebb does --mode failback")),
        // What stands in the place of a value may be a password.
        Some(_) => {
            Err(Error::new(code::settings::MODE, "--mode is none that is known").hint("ebb does --mode failback"))
        }
    }
}

/// Table and schema filter, and the exclusion when there is one.
fn filters(fetch: &Fetch) -> Result<([Regex; 2], Option<Regex>)> {
    let compile = |flag: &str, pattern: &str| {
        RegexBuilder::new(pattern).case_insensitive(!fetch.common.case_sensitive).build().map_err(|error| {
            // Its text quotes the expression; the reason stands at its end.
            let text = error.to_string();
            let why = text.rsplit("error: ").next().unwrap_or_default();
            Error::new(code::settings::VALUE, format!("{flag} is not a regular expression: {why}"))
                .hint(format!("correct {flag}"))
        })
    };
    if fetch.table_exclusion_filter == ".*" {
        return Err(Error::new(code::settings::NOTHING_CHOSEN, "--table-exclusion-filter '.*' leaves no table")
            .hint("leave the flag out to exclude none"));
    }
    let chosen = [compile("--table-filter", &fetch.table_filter)?, compile("--schema-filter", &fetch.schema_filter)?];
    let excluded = match fetch.table_exclusion_filter.as_str() {
        "" => None,
        pattern => Some(compile("--table-exclusion-filter", pattern)?),
    };
    Ok((chosen, excluded))
}

/// What `--replicator-flags` says, with the layers behind it.
pub(super) fn replicator_flags(text: &str, layers: &Layers, warnings: &mut Vec<String>) -> Result<Replicator> {
    let (words, more) = replicator_words(text)?;
    warnings.extend(more);
    let parsed = layers.parse::<ReplicatorOnly>(words).map_err(|error| {
        let text = error.to_string();
        // Behind the first empty line stands how ebb itself is used.
        let lines: Vec<_> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        let first = lines.join(" ").trim_start_matches("error: ").to_owned();
        let meant = usage::meant(&error).map(|meant| format!("; {meant}")).unwrap_or_default();
        let origin = layers.blame(&error).map(|origin| format!(" ({origin})")).unwrap_or_default();
        Error::new(code::settings::REPLICATOR_FLAGS, format!("--replicator-flags: {first}{meant}{origin}")).hint(
            "its flags are those of `ebb start --help` but --sourceConn and --targetConn: ebb fetch has --source and \
             --target",
        )
    })?;
    Ok(parsed.replicator)
}

/// The words of `--replicator-flags` that mean something, and warnings about those that do not.
pub(super) fn replicator_words(text: &str) -> Result<(Vec<std::ffi::OsString>, Vec<String>)> {
    let words = shlex::split(text).ok_or_else(|| {
        Error::new(code::settings::REPLICATOR_FLAGS, "--replicator-flags cannot be read: a quote is not closed")
            .hint("quote it as a shell would")
    })?;
    let words: Vec<_> = words.into_iter().map(std::ffi::OsString::from).collect();
    ignored::strip(&words, ignored::OF_REPLICATOR)
}

fn source(url: &Secret, allow_insecure: bool) -> Result<Source> {
    source::check_url(url)?;
    Ok(Source { url: url.clone(), allow_insecure })
}

fn target(url: &Secret, common: &Common, replicator: &Replicator) -> Result<Target> {
    check_target_url(url)?;
    Ok(Target {
        url: url.clone(),
        plugin: common.access.target_plugin.clone(),
        plugin_dirs: common.access.plugin_search.dirs(),
        allow_insecure: common.access.allow_tls_mode_disable,
        case_sensitive: common.case_sensitive,
        ignored_columns: common.ignore_columns.clone(),
        allow_rounding: common.allow_rounding.clone(),
        apply_timeout: not_zero("--applyTimeout", replicator.apply_timeout)?,
        wait: common.target_wait,
    })
}

fn staging(replicator: &Replicator, non_interactive: bool) -> Result<Staging> {
    let schema = match &replicator.staging_schema {
        Some(schema) if !schema.is_empty() => schema.clone(),
        _ => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
            format!("_replicator_{now}")
        }
    };
    Ok(Staging {
        schema,
        dir: staging_dir(replicator.staging_dir.as_ref())?,
        take_over: replicator.take_over,
        unsafe_filesystem: replicator.staging_unsafe_filesystem,
        disk_bytes_max: replicator.staging_max_bytes.unwrap_or(u64::MAX),
        remember: replicator.retire_offset,
        non_interactive,
    })
}

fn staging_dir(given: Option<&PathBuf>) -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let state = || set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    let dir = given.cloned().or_else(|| state().map(|state| state.join("ebb")));
    dir.ok_or_else(|| {
        Error::new(
            code::settings::NO_STAGING_DIR,
            "there is no folder for staging: neither XDG_STATE_HOME nor HOME is set",
        )
        .hint("give --staging-dir DIR (in fetch inside --replicator-flags \"…\"), or set EBB_STAGING_DIR")
    })
}

/// `ebb trace`.
pub(super) fn trace(given: Trace) -> Result<trace::Options> {
    let Trace { table, key, staging_schema: schema, staging_dir: dir, json } = given;
    Ok(trace::Options { staging_dir: staging_dir(dir.as_ref())?, schema, table, key, json })
}

/// `ebb support-bundle`; the settings are shown already, or why they cannot be.
pub(super) fn support_bundle(
    given: SupportBundle,
    settings: Option<std::result::Result<String, String>>,
) -> Result<support_bundle::Options> {
    let SupportBundle { staging_schema: schema, staging_dir: dir, log, out, .. } = given;
    Ok(support_bundle::Options { staging_dir: staging_dir(dir.as_ref())?, schema, settings, log, out })
}

/// `ebb triggers restore`.
pub(super) fn restore_triggers(given: &TriggersRestore) -> Result<restore::Options> {
    check_target_url(&given.target)?;
    Ok(restore::Options {
        target: Target {
            url: given.target.clone(),
            plugin: given.access.target_plugin.clone(),
            plugin_dirs: given.access.plugin_search.dirs(),
            allow_insecure: given.access.allow_tls_mode_disable,
            case_sensitive: true,
            ignored_columns: Vec::new(),
            allow_rounding: Vec::new(),
            apply_timeout: RESTORE_TIMEOUT,
            wait: Duration::ZERO,
        },
        staging_dir: staging_dir(given.staging_dir.as_ref())?,
        schema: given.staging_schema.clone(),
    })
}

/// What the parameters mean is for the plugin to judge.
fn check_target_url(url: &Secret) -> Result<()> {
    let parsed = DatabaseUrl::parse(url.reveal());
    parsed.map(drop).map_err(|error| Error { message: format!("the target: {}", error.message), ..error.into() })
}

fn apply(replicator: &Replicator, apply_only: bool) -> Result<Apply> {
    Ok(Apply {
        transaction_rows_max: at_least_one("--transaction-rows-max", replicator.transaction_rows_max)?,
        transaction_bytes_max: at_least_one("--transaction-bytes-max", replicator.transaction_bytes_max)?,
        retry_delay_min: not_zero("--retryInitialBackoff", replicator.retry_initial_backoff)?,
        retry_delay_max: replicator.retry_max_backoff.max(replicator.retry_initial_backoff),
        on_row_error: match replicator.on_row_error {
            // Without new versions of rows nothing is to be waited for.
            replicator::OnRowError::Wait if !apply_only => OnRowError::Wait,
            replicator::OnRowError::Wait | replicator::OnRowError::Exit => OnRowError::Exit,
        },
        triggers: match replicator.triggers {
            replicator::Triggers::Skip => Triggers::Skip,
            replicator::Triggers::Fire => Triggers::Fire,
            replicator::Triggers::Drop => Triggers::Drop,
        },
    })
}

fn destination(flag: Option<&Option<String>>, path: Option<&PathBuf>) -> LogDestination {
    match (flag, path) {
        (Some(Some(name)), _) if name == "stdout" => LogDestination::Stdout,
        (Some(Some(name)), _) => LogDestination::File(name.into()),
        (Some(None), _) => {
            LogDestination::File(chrono::Local::now().format("fetch-%Y-%m-%dT%H-%M-%S.log").to_string().into())
        }
        (None, Some(path)) => LogDestination::File(path.clone()),
        (None, None) => LogDestination::Stdout,
    }
}

fn level(logging: Logging) -> Level {
    match logging {
        Logging::Trace => Level::TRACE,
        Logging::Debug => Level::DEBUG,
        Logging::Info => Level::INFO,
        Logging::Warn => Level::WARN,
        Logging::Error => Level::ERROR,
    }
}

fn verbosity(count: u8) -> Level {
    match count {
        0 => Level::ERROR,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    }
}
