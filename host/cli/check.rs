//! From raw flags to a configuration that can run, or to one error that says what to change.
//!
//! Owns: defaults that depend on other flags, and combinations that are refused. Does not own: the flags (`flags`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ebb_sdk::{DatabaseUrl, Secret};
use regex::{Regex, RegexBuilder};
use tracing::Level;

use super::flags::{self, Common, Fetch, Logging, Replicator, ReplicatorOnly, Start};
use super::ignored;
use super::overrides::{self, Overrides};
use crate::config::{
    Apply, Changefeed, ClientCa, Config, Identity, Log, LogDestination, LogFormat, OnExit, PagesAddr, Receiver, Source,
    Staging, Target,
};
use crate::error::{Error, Result};
use crate::source;

const MODES_OF_OTHERS: [&str; 5] =
    ["data-load", "data-load-and-replication", "replication-only", "export-only", "import-only"];
const START_BIND_ADDR: &str = ":26258";
const FETCH_PAGES_ADDR: &str = "127.0.0.1:3030";

/// The configuration of `ebb fetch`.
pub fn fetch(fetch: &Fetch, warnings: &mut Vec<String>) -> Result<Config> {
    check_mode(fetch.mode.as_deref())?;
    let insecure = fetch.common.allow_tls_mode_disable;
    if fetch.changefeeds_path.is_none() && !insecure {
        return Err(Error::new("without --changefeeds-path the changefeed would not verify the receiver's certificate")
            .hint("give --changefeeds-path FILE with client_cert, client_key and ca_cert, or admit it with --allow-tls-mode-disable"));
    }
    let filters = filters(fetch)?;
    let overrides = overrides::read(fetch.changefeeds_path.as_deref())?;
    let replicator = replicator_flags(&fetch.replicator_flags, warnings)?;
    let bind_addr = replicator.bind_addr.clone().unwrap_or_else(|| format!(":{}", overrides.port));
    let receiver = receiver(&replicator, &bind_addr, Some(&overrides), warnings)?;
    let pages = match (&replicator.metrics_addr, &fetch.metrics_listen_addr) {
        (Some(given), _) => pages("--metricsAddr", given, true)?,
        (None, Some(given)) => pages("--metrics-listen-addr", given, true)?,
        (None, None) => pages("--metrics-listen-addr", FETCH_PAGES_ADDR, false)?,
    };
    let log = Log {
        level: level(fetch.logging).max(verbosity(replicator.verbose)),
        destination: destination(fetch.log_file.as_ref(), replicator.log_destination.as_ref()),
        format: if fetch.use_console_writer { LogFormat::Console } else { LogFormat::Json },
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
        initial_scan: overrides.initial_scan,
        on_exit: match fetch.on_exit {
            flags::OnExit::Leave => OnExit::Leave,
            flags::OnExit::Pause => OnExit::Pause,
            flags::OnExit::Cancel => OnExit::Cancel,
        },
    };
    Ok(Config {
        target: target(&fetch.target, &fetch.common, &replicator)?,
        staging: staging(&replicator, fetch.non_interactive)?,
        receiver,
        apply: apply(&replicator)?,
        changefeed: Some(changefeed),
        source: Some(source(&fetch.source, insecure)?),
        log,
        pages: Some(pages),
        grace_period: replicator.grace_period,
    })
}

/// The configuration of `ebb start`.
pub fn start(start: &Start, warnings: &mut Vec<String>) -> Result<Config> {
    let replicator = &start.replicator;
    let bind_addr = replicator.bind_addr.as_deref().unwrap_or(START_BIND_ADDR);
    let allow_insecure = start.common.allow_tls_mode_disable;
    let pages = replicator.metrics_addr.as_deref().map(|given| pages("--metricsAddr", given, true)).transpose()?;
    Ok(Config {
        target: target(&start.target_conn, &start.common, replicator)?,
        staging: staging(replicator, false)?,
        receiver: receiver(replicator, bind_addr, None, warnings)?,
        apply: apply(replicator)?,
        changefeed: None,
        source: start.source_conn.as_ref().map(|url| source(url, allow_insecure)).transpose()?,
        log: Log {
            level: Level::INFO.max(verbosity(replicator.verbose)),
            destination: destination(None, replicator.log_destination.as_ref()),
            format: LogFormat::Json,
        },
        pages,
        grace_period: replicator.grace_period,
    })
}

fn check_mode(mode: Option<&str>) -> Result<()> {
    match mode {
        Some("failback") => Ok(()),
        None => Err(Error::new("--mode is not given; its default in molt fetch loads data, which ebb does not do")
            .hint("add --mode failback")),
        Some(mode) if MODES_OF_OTHERS.contains(&mode) => {
            Err(Error::new(format!("--mode {mode} moves data to CockroachDB; ebb brings changes back from it"))
                .hint("use molt fetch for it; ebb does --mode failback"))
        }
        Some(mode) => Err(Error::new(format!("--mode {mode} is not known")).hint("ebb does --mode failback")),
    }
}

/// Table and schema filter, and the exclusion when there is one.
fn filters(fetch: &Fetch) -> Result<([Regex; 2], Option<Regex>)> {
    let compile = |flag: &str, pattern: &str| {
        RegexBuilder::new(pattern).case_insensitive(!fetch.common.case_sensitive).build().map_err(|error| {
            Error::new(format!("{flag} is not a regular expression: {error}"))
                .hint(format!("correct {flag} (now: '{pattern}')"))
        })
    };
    if fetch.table_exclusion_filter == ".*" {
        return Err(
            Error::new("--table-exclusion-filter '.*' leaves no table").hint("leave the flag out to exclude none")
        );
    }
    let chosen = [compile("--table-filter", &fetch.table_filter)?, compile("--schema-filter", &fetch.schema_filter)?];
    let excluded = match fetch.table_exclusion_filter.as_str() {
        "" => None,
        pattern => Some(compile("--table-exclusion-filter", pattern)?),
    };
    Ok((chosen, excluded))
}

fn replicator_flags(text: &str, warnings: &mut Vec<String>) -> Result<Replicator> {
    let words = shlex::split(text).ok_or_else(|| {
        Error::new("--replicator-flags cannot be read: a quote is not closed").hint("quote it as a shell would")
    })?;
    let words: Vec<_> = words.into_iter().map(std::ffi::OsString::from).collect();
    let (words, more) = ignored::strip(&words, ignored::OF_REPLICATOR);
    warnings.extend(more);
    let parsed = flags::parse::<ReplicatorOnly>(words).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Error::new(format!("--replicator-flags: {first}")).hint("its flags are those of `ebb start --help`")
    })?;
    Ok(parsed.replicator)
}

fn source(url: &Secret, allow_insecure: bool) -> Result<Source> {
    source::check_url(url)?;
    Ok(Source { url: url.clone(), allow_insecure })
}

fn target(url: &Secret, common: &Common, replicator: &Replicator) -> Result<Target> {
    // What the parameters mean is for the plugin to judge.
    DatabaseUrl::parse(url.reveal())
        .map_err(|error| Error { message: format!("the target: {}", error.message), ..error.into() })?;
    Ok(Target {
        url: url.clone(),
        plugin: common.target_plugin.clone(),
        plugin_dirs: common.plugin_search.dirs(),
        allow_insecure: common.allow_tls_mode_disable,
        case_sensitive: common.case_sensitive,
        ignored_columns: common.ignore_columns.clone(),
        apply_timeout: not_zero("--applyTimeout", replicator.apply_timeout)?,
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
    let state_home = || std::env::var_os("XDG_STATE_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let dir = replicator.staging_dir.clone().or_else(|| state_home().or_else(home).map(|state| state.join("ebb")));
    let dir = dir.ok_or_else(|| {
        Error::new("there is no folder for staging: neither XDG_STATE_HOME nor HOME is set")
            .hint("give --staging-dir DIR")
    })?;
    Ok(Staging {
        schema,
        dir,
        disk_bytes_max: replicator.staging_max_bytes.unwrap_or(u64::MAX),
        remember: replicator.retire_offset,
        non_interactive,
    })
}

fn receiver(
    replicator: &Replicator,
    bind_addr: &str,
    overrides: Option<&Overrides>,
    warnings: &mut Vec<String>,
) -> Result<Receiver> {
    Ok(Receiver {
        bind_addr: address("--bindAddr", bind_addr)?,
        identity: identity(replicator)?,
        client_ca: client_ca(replicator, overrides, warnings)?,
        body_bytes_max: at_least_one("--body-bytes-max", replicator.body_bytes_max)?,
        in_flight_bytes_max: at_least_one("--in-flight-bytes-max", replicator.in_flight_bytes_max)?,
        connections_max: at_least_one("--connections-max", replicator.connections_max)?,
        response_timeout: not_zero("--httpResponseTimeout", replicator.http_response_timeout)?,
    })
}

fn identity(replicator: &Replicator) -> Result<Identity> {
    match (&replicator.tls_certificate, &replicator.tls_private_key, replicator.tls_self_signed) {
        (Some(certificate), Some(private_key), false) => {
            Ok(Identity::Files { certificate: certificate.clone(), private_key: private_key.clone() })
        }
        (None, None, true) => Ok(Identity::SelfSigned),
        (None, None, false) => {
            Err(Error::new("the receiver has no certificate, and changefeeds are sent over HTTPS only").hint(
                "add --tlsCertificate ./certs/server.crt --tlsPrivateKey ./certs/server.key (in fetch inside \
                 --replicator-flags \"…\"), or set EBB_TLS_CERTIFICATE and EBB_TLS_PRIVATE_KEY; for a trial without \
                 certificates add --tlsSelfSigned --disableAuthentication",
            ))
        }
        (_, _, true) => Err(Error::new("--tlsSelfSigned makes a certificate, and one is given as well")
            .hint("leave out --tlsSelfSigned, or --tlsCertificate and --tlsPrivateKey (in the environment too: EBB_TLS_CERTIFICATE, EBB_TLS_PRIVATE_KEY)")),
        _ => Err(Error::new("--tlsCertificate and --tlsPrivateKey belong together, and one of them is missing")
            .hint("give both, or none and --tlsSelfSigned")),
    }
}

/// Who may write. The changefeed's own authority is the natural one: it is the one that the receiver is verified with.
fn client_ca(
    replicator: &Replicator,
    overrides: Option<&Overrides>,
    warnings: &mut Vec<String>,
) -> Result<Option<ClientCa>> {
    if replicator.disable_authentication {
        warnings.push("authentication disabled, any caller may write to the target database".into());
        return Ok(None);
    }
    if let Some(path) = &replicator.tls_client_ca {
        return Ok(Some(ClientCa::File(path.clone())));
    }
    if let Some(pem) = overrides.and_then(Overrides::client_authority) {
        return Ok(Some(ClientCa::Pem(pem)));
    }
    Err(Error::new("the receiver cannot tell its changefeed from anybody else").hint(
        "give --tlsClientCA ca.crt, or client_cert, client_key and ca_cert in the sink_query_parameters of \
         --changefeeds-path; or let anybody write with --disableAuthentication (in fetch inside --replicator-flags)",
    ))
}

fn apply(replicator: &Replicator) -> Result<Apply> {
    Ok(Apply {
        transaction_rows_max: at_least_one("--transaction-rows-max", replicator.transaction_rows_max)?,
        transaction_bytes_max: at_least_one("--transaction-bytes-max", replicator.transaction_bytes_max)?,
        retry_delay_min: not_zero("--retryInitialBackoff", replicator.retry_initial_backoff)?,
        retry_delay_max: replicator.retry_max_backoff.max(replicator.retry_initial_backoff),
        triggers: match replicator.triggers {
            flags::Triggers::Skip => crate::config::Triggers::Skip,
            flags::Triggers::Fire => crate::config::Triggers::Fire,
        },
    })
}

fn at_least_one(flag: &str, value: usize) -> Result<usize> {
    if value == 0 { Err(Error::new(format!("{flag} 0 admits nothing")).hint("give at least 1")) } else { Ok(value) }
}

fn not_zero(flag: &str, value: Duration) -> Result<Duration> {
    if value.is_zero() {
        return Err(Error::new(format!("{flag} 0 leaves no time")).hint("give a duration such as 30s"));
    }
    Ok(value)
}

/// A default address may be taken by another ebb of this machine, which must not keep this one from running.
fn pages(flag: &str, text: &str, required: bool) -> Result<PagesAddr> {
    Ok(PagesAddr { addr: address(flag, text)?, required })
}

/// `host:port`, or `:port` for every interface, as Go writes it.
fn address(flag: &str, text: &str) -> Result<SocketAddr> {
    let refused = |why: String| {
        Error::new(format!("{flag} {text} is not an address: {why}")).hint(format!("give {flag} as host:port or :port"))
    };
    if let Some(port) = text.strip_prefix(':') {
        let port = port.parse().map_err(|_| refused("the port is not a number from 0 to 65535".into()))?;
        return Ok(SocketAddr::new(every_interface(), port));
    }
    let mut found = text.to_socket_addrs().map_err(|error| refused(error.to_string()))?;
    found.next().ok_or_else(|| refused("the name has no address".into()))
}

/// The IPv6 address serves IPv4 too, where the machine has IPv6 at all.
fn every_interface() -> IpAddr {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
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
