//! Every flag, its name, default and help. Raw: texts and numbers as given, nothing checked against anything else.
//!
//! Owns: the spelling, which is that of the incumbent where it has the flag. Does not own: what a flag does (`check`).

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{ArgAction, Args, Command, Parser, ValueEnum};
use ebb_sdk::Secret;

use super::duration;

/// Parses as clap does, and takes `--flag=true` and `--flag=false` too, as Go's flags may be written.
pub fn parse<T: Parser>(args: impl IntoIterator<Item = OsString>) -> Result<T, clap::Error> {
    let mut command = with_boolean_values(T::command());
    let matches = command.try_get_matches_from_mut(args)?;
    T::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn with_boolean_values(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_name("BOOL")
            .hide_default_value(true)
            .hide_possible_values(true),
        _ => arg,
    });
    command.mut_subcommands(with_boolean_values)
}

fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

const ABOUT: &str = "Replicates changes from CockroachDB back to the database that an application was migrated from";

const FETCH_EXAMPLES: &str = "\
Examples:
  ebb fetch \\
    --source 'postgres://root@localhost:26257/defaultdb?sslmode=verify-full' \\
    --target 'postgres://postgres:postgres@localhost:5432/molt?sslmode=verify-full' \\
    --table-filter 'employees' --non-interactive \\
    --replicator-flags \"--stagingSchema _replicator_1 \\
      --tlsCertificate ./certs/server.crt --tlsPrivateKey ./certs/server.key\" \\
    --mode failback --changefeeds-path 'changefeed-secure.json'

  On one machine, for a trial, without certificates:
  ebb fetch --mode failback --source … --target … --allow-tls-mode-disable \\
    --replicator-flags '--tlsSelfSigned --disableAuthentication'

What --replicator-flags may hold: ebb start --help.
Exit codes: 0 after SIGTERM or ctrl-c, 1 after a failure, 2 for wrong usage.";

const START_EXAMPLES: &str = "\
Example:
  ebb start --targetConn 'postgres://app@db:5432/molt?sslmode=verify-full' \\
    --stagingSchema _replicator_1 --bindAddr :30004 --metricsAddr 127.0.0.1:30005 \\
    --tlsCertificate server.crt --tlsPrivateKey server.key --tlsClientCA ca.crt

  and on CockroachDB, with the time from SELECT cluster_logical_timestamp():
  CREATE CHANGEFEED FOR TABLE employees
    INTO 'webhook-https://HOST:30004/molt/public?client_cert=…&client_key=…&ca_cert=…'
    WITH updated, resolved = '1s', min_checkpoint_frequency = '1s', initial_scan = 'no',
      cursor = '…', webhook_client_timeout = '10s',
      webhook_sink_config = '{\"Flush\":{\"Bytes\":1048576,\"Frequency\":\"1s\"}}';

Exit codes: 0 after SIGTERM or ctrl-c, 1 after a failure, 2 for wrong usage.";

#[derive(Debug, Parser)]
#[command(name = "ebb", about = ABOUT, version = VERSION.as_str(), subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub enum Subcommand {
    /// Create or reuse a changefeed, receive it, and apply it to the target
    #[command(after_help = FETCH_EXAMPLES)]
    Fetch(Box<Fetch>),
    /// Receive a changefeed that somebody else creates, and apply it to the target
    #[command(after_help = START_EXAMPLES)]
    Start(Box<Start>),
    /// List the dialect plugins: name, version, URL schemes, path
    Plugins(Plugins),
}

#[derive(Debug, Args)]
pub struct Fetch {
    /// CockroachDB: postgres://user:password@host:port/database?sslmode=verify-full
    #[arg(long, env = "EBB_SOURCE", hide_env_values = true, value_name = "URL", value_parser = secret)]
    pub source: Secret,
    /// The database that was migrated from
    #[arg(long, env = "EBB_TARGET", hide_env_values = true, value_name = "URL", value_parser = secret)]
    pub target: Secret,
    /// What to do; ebb does failback
    #[arg(long)]
    pub mode: Option<String>,
    /// Tables to watch: a POSIX regular expression on the name
    #[arg(long, default_value = ".*", value_name = "REGEX")]
    pub table_filter: String,
    /// Tables to leave out: a POSIX regular expression on the name
    #[arg(long, default_value = "", value_name = "REGEX")]
    pub table_exclusion_filter: String,
    /// Schemas to watch: a POSIX regular expression on the name
    #[arg(long, default_value = ".*", value_name = "REGEX")]
    pub schema_filter: String,
    /// JSON file with settings of the changefeed
    #[arg(long, value_name = "FILE")]
    pub changefeeds_path: Option<PathBuf>,
    /// Flags of `ebb start`, in one text
    #[arg(long, default_value = "", allow_hyphen_values = true, hide_default_value = true, value_name = "FLAGS")]
    pub replicator_flags: String,
    /// Ask nothing
    #[arg(long)]
    pub non_interactive: bool,
    /// What becomes of the changefeed when ebb ends
    #[arg(long, value_enum, default_value = "leave")]
    pub on_exit: OnExit,
    /// Least level of log lines
    #[arg(long, value_enum, default_value = "info")]
    pub logging: Logging,
    /// Log file, or stdout; fetch-<time>.log when no name is given [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<Option<String>>,
    /// Log lines for people instead of JSON
    #[arg(long)]
    pub use_console_writer: bool,
    /// Address of the pages for health, metrics and status [default: 127.0.0.1:3030]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_listen_addr: Option<String>,
    #[command(flatten)]
    pub common: Common,
}

/// Flags of both commands.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Dialect of the target, a name or the path of a library; the URL's scheme decides when not given
    #[arg(long, env = "EBB_TARGET_PLUGIN", value_name = "NAME|PATH")]
    pub target_plugin: Option<String>,
    #[command(flatten)]
    pub plugin_search: PluginSearch,
    /// Admit connections that are not encrypted
    #[arg(long)]
    pub allow_tls_mode_disable: bool,
    /// Names of tables and columns must match to the letter
    #[arg(long)]
    pub case_sensitive: bool,
    /// Columns of the source that the target does without: column, table.column or schema.table.column
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,…")]
    pub ignore_columns: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Start {
    /// The database that changes are applied to
    #[arg(long = "targetConn", env = "EBB_TARGET", hide_env_values = true, value_name = "URL", value_parser = secret)]
    pub target_conn: Secret,
    /// CockroachDB, to read the order of primary keys; needed for deletes where a key has several columns
    #[arg(long = "sourceConn", env = "EBB_SOURCE", hide_env_values = true, value_name = "URL", value_parser = secret)]
    pub source_conn: Option<Secret>,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub replicator: Replicator,
}

/// What `--replicator-flags` may hold, parsed by itself.
#[derive(Debug, Parser)]
#[command(name = "--replicator-flags", disable_help_flag = true, disable_version_flag = true, no_binary_name = true)]
pub struct ReplicatorOnly {
    #[command(flatten)]
    pub replicator: Replicator,
}

#[derive(Debug, Clone, Args)]
pub struct Replicator {
    /// Name of the run's staging; give it again to resume [default: _replicator_<unix nanoseconds>]
    #[arg(long = "stagingSchema", value_name = "NAME")]
    pub staging_schema: Option<String>,
    /// Folder of the staging store [default: $XDG_STATE_HOME/ebb, else ~/.local/state/ebb]
    #[arg(long, env = "EBB_STAGING_DIR", value_name = "DIR")]
    pub staging_dir: Option<PathBuf>,
    /// Bytes of the staging store at which requests are held until rows are applied [default: what its disk holds]
    #[arg(long, value_name = "BYTES")]
    pub staging_max_bytes: Option<u64>,
    /// How long applied rows are remembered, to tell a repeat from a row that comes too late
    #[arg(long = "retireOffset", default_value = "24h", value_parser = duration::parse, value_name = "DURATION")]
    pub retire_offset: Duration,
    /// Address to listen on, host:port or :port [default: :26258; in fetch the changefeed's port]
    #[arg(long = "bindAddr", value_name = "ADDRESS")]
    pub bind_addr: Option<String>,
    /// Address of the pages for health, metrics and status, host:port or :port
    #[arg(long = "metricsAddr", value_name = "ADDRESS")]
    pub metrics_addr: Option<String>,
    /// PEM file of the receiver's certificate chain
    #[arg(long = "tlsCertificate", env = "EBB_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of the receiver's private key
    #[arg(long = "tlsPrivateKey", env = "EBB_TLS_PRIVATE_KEY", value_name = "FILE")]
    pub tls_private_key: Option<PathBuf>,
    /// Make a certificate for localhost at every start
    #[arg(long = "tlsSelfSigned")]
    pub tls_self_signed: bool,
    /// PEM file of the authority that clients must have a certificate of [default in fetch: the changefeed's ca_cert]
    #[arg(long = "tlsClientCA", env = "EBB_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Let anybody who reaches the port write to the target
    #[arg(long = "disableAuthentication")]
    pub disable_authentication: bool,
    /// How long one target statement may take
    #[arg(long = "applyTimeout", default_value = "30s", value_parser = duration::parse, value_name = "DURATION")]
    pub apply_timeout: Duration,
    /// How long the transaction in hand may take after a signal
    #[arg(long = "gracePeriod", default_value = "30s", value_parser = duration::parse, value_name = "DURATION")]
    pub grace_period: Duration,
    /// How long a request may wait for its rows to be on disk
    #[arg(long = "httpResponseTimeout", default_value = "2m0s", value_parser = duration::parse, value_name = "DURATION")]
    pub http_response_timeout: Duration,
    /// First delay before a failed transaction is tried again
    #[arg(long = "retryInitialBackoff", default_value = "25ms", value_parser = duration::parse, value_name = "DURATION")]
    pub retry_initial_backoff: Duration,
    /// Longest delay before a failed transaction is tried again
    #[arg(long = "retryMaxBackoff", default_value = "2s", value_parser = duration::parse, value_name = "DURATION")]
    pub retry_max_backoff: Duration,
    /// Rows of one target transaction, unless one source transaction has more
    #[arg(long, default_value_t = 10_000, value_name = "ROWS")]
    pub transaction_rows_max: usize,
    /// Bytes of one target transaction, unless one source transaction has more
    #[arg(long, default_value_t = 16 << 20, value_name = "BYTES")]
    pub transaction_bytes_max: usize,
    /// Whether triggers and cascades of the target act on what is written; skip suspends them where this user may
    #[arg(long, value_enum, default_value = "skip")]
    pub triggers: Triggers,
    /// Largest request body in bytes, decompressed
    #[arg(long, default_value_t = 512 << 20, value_name = "BYTES")]
    pub body_bytes_max: usize,
    /// Bytes of all request bodies held at once
    #[arg(long, default_value_t = 1 << 30, value_name = "BYTES")]
    pub in_flight_bytes_max: usize,
    /// Connections at once; more wait
    #[arg(long, default_value_t = 1024, value_name = "COUNT")]
    pub connections_max: usize,
    /// -v debug lines, -vv everything
    #[arg(short = 'v', long = "verbose", action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Log file [default: standard output]
    #[arg(long = "logDestination", value_name = "FILE")]
    pub log_destination: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Plugins {
    /// What to do
    #[arg(value_enum)]
    pub action: PluginsAction,
    #[command(flatten)]
    pub search: PluginSearch,
}

/// Where plugins are looked for before the built-in places.
#[derive(Debug, Clone, Args)]
pub struct PluginSearch {
    /// Folder to search for plugins first; may be repeated. EBB_PLUGIN_PATH may name more, separated by colons
    #[arg(long, value_name = "DIR")]
    pub plugin_dir: Vec<PathBuf>,
    #[arg(long, env = "EBB_PLUGIN_PATH", hide = true)]
    pub plugin_path: Option<OsString>,
}

impl PluginSearch {
    /// Flags first, then the environment.
    pub fn dirs(&self) -> Vec<PathBuf> {
        let from_path = self.plugin_path.iter().flat_map(std::env::split_paths);
        self.plugin_dir.iter().cloned().chain(from_path).collect()
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PluginsAction {
    List,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Triggers {
    Skip,
    Fire,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OnExit {
    Leave,
    Pause,
    Cancel,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Logging {
    Trace,
    Debug,
    Info,
    Warn,
    #[value(aliases = ["fatal", "panic"])]
    Error,
}

/// Version, commit and plugin ABI, as `--version` prints them.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("EBB_COMMIT").unwrap_or("unknown commit");
    format!("{} ({commit}, plugin ABI {})", env!("CARGO_PKG_VERSION"), ebb_sdk::abi::ABI_VERSION)
});
