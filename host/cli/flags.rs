//! Every flag, its name, default and help. Raw: texts and numbers as given, nothing checked against anything else.
//!
//! Owns: the spelling, which is that of MOLT where it has the flag. Does not own: what a flag does (`resolve`).

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::builder::{OsStringValueParser, PathBufValueParser, TypedValueParser};
use clap::{Args, Parser, ValueEnum, ValueHint};
use clap_complete::Shell;
use ebb_sdk::{Secret, Timestamp};

use super::cutback::Cutback;
use super::hooks::HookFlags;
use super::init::Init;
use super::mode::Mode;
use super::one_shot::{Check, EscapePassword, MakeJwt, Status, SupportBundle, Trace, TriggersRestore};
use super::replicator::Replicator;
use super::report::{ReportKey, VerifyReport};
use super::verify::Verify;
use super::{duration, help};
use crate::config::{LogFormat, NewTables};

pub(super) fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

pub(super) fn timestamp(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| "a time is nanoseconds since 1970 with a logical part, 1751161903005030052.0000000000".into())
}

fn new_tables(text: &str) -> Result<NewTables, String> {
    match text {
        "refuse" => Ok(NewTables::Refuse),
        "accept" => Ok(NewTables::Accept),
        time => timestamp(time).map(NewTables::LoadedAt).map_err(|error| format!("refuse, accept, or a time: {error}")),
    }
}

const ABOUT: &str = "Replicates changes from CockroachDB back to the database that an application was migrated from";

#[derive(Debug, Parser)]
#[command(name = "ebb", about = ABOUT, version = VERSION.as_str(), subcommand_required = true, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommand {
    /// Create or reuse a changefeed, receive it, and apply it to the target
    #[command(before_long_help = help::FETCH, after_long_help = help::LAYERS, help_template = help::TEMPLATE,
        override_usage = help::FETCH_USAGE)]
    Fetch(Box<Fetch>),
    /// Receive a changefeed that somebody else creates, and apply it to the target
    #[command(before_long_help = help::START, after_long_help = help::LAYERS, help_template = help::TEMPLATE,
        override_usage = help::START_USAGE)]
    Start(Box<Start>),
    /// Look at both sides as fetch does, with its flags, and change nothing: what would fail, and what mends it
    #[command(after_help = help::CHECK)]
    Check(Box<Check>),
    /// Compare every row of both sides at one time, while replication goes on
    #[command(after_help = help::VERIFY)]
    Verify(Box<Verify>),
    /// Go back to the target: wait until all is there, prove it, prepare the target, and say GO or NO-GO
    #[command(after_help = help::CUTBACK)]
    Cutback(Box<Cutback>),
    /// Ask for source, target, tables and host, try them, and write ebb.toml and certificates for a first run
    #[command(after_help = help::INIT)]
    Init(Box<Init>),
    /// Show where a running ebb stands: how far behind, what holds it up, whether it is safe to cut back
    #[command(after_help = help::STATUS)]
    Status(Status),
    /// Show what became of one row: each version that is staged or remembered, and whether it is applied
    #[command(after_help = help::TRACE)]
    Trace(Trace),
    /// Write one file for those who help: settings, status, metrics, log; without rows and secrets
    #[command(name = "support-bundle", after_help = help::SUPPORT_BUNDLE)]
    SupportBundle(SupportBundle),
    /// List the dialect plugins: name, version, URL schemes, path
    Plugins(Plugins),
    /// Make an authority, certificates for the receiver and the changefeed, and a ready changefeed-secure.json
    #[command(after_help = help::CERTS)]
    Certs(Certs),
    /// Sign a token that lets a changefeed write to schemas of the target
    #[command(name = "make-jwt", after_help = help::MAKE_JWT)]
    MakeJwt(MakeJwt),
    /// Make the pair of keys that sign the reports of ebb cutback, and verify them
    #[command(name = "report-key", after_help = help::REPORT_KEY)]
    ReportKey(ReportKey),
    /// Say whether a report of ebb cutback is as it was signed, and by this key
    #[command(name = "verify-report", after_help = help::VERIFY_REPORT)]
    VerifyReport(VerifyReport),
    /// Put back the triggers that --triggers drop has dropped
    #[command(subcommand, after_help = help::TRIGGERS)]
    Triggers(TriggersCommand),
    /// Encode a password for a connection string
    #[command(name = "escape-password", after_help = help::ESCAPE_PASSWORD)]
    EscapePassword(EscapePassword),
    /// Show the settings that a command would run with, and where each comes from
    #[command(subcommand, after_help = help::CONFIG_SHOW)]
    Config(ConfigCommand),
    /// Print what a shell needs to complete ebb's commands and flags
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: Shell,
    },
    /// Explain the code of an error or a warning: what causes it, and what mends it
    #[command(after_help = help::EXPLAIN)]
    Explain {
        /// As it stands in the log, EBB-T014; a letter lists the codes that begin with it, nothing lists the letters
        #[arg(value_name = "CODE")]
        code: Option<String>,
    },
    /// Print the page of settings of the manual
    #[command(name = "settings-page", hide = true)]
    SettingsPage,
    /// Write the manual pages into a folder
    Man {
        /// The folder, which is created when missing
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// CockroachDB: postgres://user:password@host:port/database?sslmode=verify-full
    #[arg(long, env = "EBB_SOURCE", value_name = "URL", value_parser = secret)]
    pub source: Secret,
    /// The database that was migrated from
    #[arg(long, env = "EBB_TARGET", value_name = "URL", value_parser = secret)]
    pub target: Secret,
    /// What to do; ebb does failback
    #[arg(long, value_parser = Mode)]
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
    /// Where a new run begins, as SELECT cluster_logical_timestamp() gives it: changes after it are replicated, and the target
    /// must hold everything before [default: the time of the start]
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    pub cursor: Option<Timestamp>,
    /// Tables that the last run of this --stagingSchema did not replicate: refuse them; take those in that were loaded as they
    /// were at TIME, which SELECT cluster_logical_timestamp() has given; or accept them, since they were loaded after the last run
    /// had ended [default: refuse]
    #[arg(long, default_value = "refuse", hide_default_value = true, value_parser = new_tables, value_name = "refuse|TIME|accept")]
    pub new_tables: NewTables,
    /// Flags of `ebb start`, in one text
    #[arg(long, default_value = "", allow_hyphen_values = true, hide_default_value = true, value_name = "FLAGS")]
    pub replicator_flags: String,
    /// Ask nothing
    #[arg(long)]
    pub non_interactive: bool,
    /// What becomes of the changefeed when ebb ends
    #[arg(long, value_enum, default_value = "leave")]
    pub on_exit: OnExit,
    /// Least level of log lines; stands above -v in --replicator-flags [default: info]
    #[arg(long, value_enum)]
    pub logging: Option<Logging>,
    /// Log file, or stdout; fetch-<time>.log when no name is given; stands above --logDestination [default: stdout]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub log_file: Option<Option<String>>,
    /// Log lines for people instead of JSON
    #[arg(long)]
    pub use_console_writer: bool,
    /// Address of the pages for health, metrics and status; stands above --metricsAddr [default: 127.0.0.1:3030]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_listen_addr: Option<String>,
    #[command(flatten)]
    pub common: Common,
}

/// Flags of both commands.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// TOML file with settings under the names of the flags; flags and the environment stand above it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub access: TargetAccess,
    /// How long a first start waits for a target that was never reached; a target that is known is waited for without end
    #[arg(long, default_value = "30s", value_parser = duration::parse, value_name = "DURATION")]
    pub target_wait: Duration,
    #[command(flatten)]
    pub hooks: HookFlags,
    /// Receive nothing, apply what is staged, and end when all of it is applied; CockroachDB is not needed
    #[arg(long)]
    pub apply_only: bool,
    /// Whether errors and log lines show keys and values of rows. With off they name table, column, constraint and code, and the
    /// key of a row that is waited for stands on the page /_/status alone
    #[arg(long, value_enum, default_value = "on")]
    pub log_values: LogValues,
    /// Form of log lines [default: console on a terminal, else json]
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
    /// Names of tables and columns must match to the letter
    #[arg(long)]
    pub case_sensitive: bool,
    /// Columns of the source that the target does without: column, table.column or schema.table.column
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,…")]
    pub ignore_columns: Vec<String>,
    /// Columns of the target that may lose digits of a value (column, table.column or schema.table.column), or all of them
    /// when none is named; such values are refused otherwise
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,…", num_args = 0.., default_missing_value = "*")]
    pub allow_rounding: Vec<String>,
}

/// How the target is reached, beside its URL.
#[derive(Debug, Clone, Args)]
pub(super) struct TargetAccess {
    /// Dialect of the target: a name or file to search for, or, with a slash, the path of a library; the URL's scheme decides
    /// when not given
    #[arg(long, env = "EBB_TARGET_PLUGIN", value_name = "NAME|PATH")]
    pub target_plugin: Option<String>,
    #[command(flatten)]
    pub plugin_search: PluginSearch,
    /// Admit connections to source and target that are not encrypted, also to this machine: sslmode=disable, and allow, prefer
    /// or none where the server has no TLS. A target's socket in the file system needs no leave
    #[arg(long)]
    pub allow_tls_mode_disable: bool,
}

#[derive(Debug, Args)]
pub(super) struct Start {
    /// The database that changes are applied to
    #[arg(long = "targetConn", env = "EBB_TARGET", value_name = "URL", value_parser = secret)]
    pub target_conn: Secret,
    /// CockroachDB, to read the order of primary keys; needed for deletes where a key has several columns
    #[arg(long = "sourceConn", env = "EBB_SOURCE", value_name = "URL", value_parser = secret)]
    pub source_conn: Option<Secret>,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub replicator: Replicator,
}

#[derive(Debug, Args)]
pub(super) struct Plugins {
    /// What to do
    #[arg(value_enum)]
    pub action: PluginsAction,
    #[command(flatten)]
    pub search: PluginSearch,
}

/// Where plugins are looked for before the built-in places.
#[derive(Debug, Clone, Args)]
pub(super) struct PluginSearch {
    /// Folder to search for plugins first, from the root on; may be repeated. EBB_PLUGIN_PATH may name more, separated by
    /// colons. Only root and this user may be able to write a plugin and the folders above it
    #[arg(long, value_name = "DIR", value_parser = PathBufValueParser::new().try_map(absolute))]
    pub plugin_dir: Vec<PathBuf>,
    #[arg(long, env = "EBB_PLUGIN_PATH", hide = true, value_parser = OsStringValueParser::new().try_map(|text| PluginPath::of(&text)))]
    pub plugin_path: Option<PluginPath>,
}

/// The folders of `EBB_PLUGIN_PATH`.
#[derive(Debug, Clone)]
pub(super) struct PluginPath(Vec<PathBuf>);

impl PluginPath {
    /// An empty entry, as a colon at either end makes one, is none.
    fn of(text: &OsStr) -> Result<Self, String> {
        let named = std::env::split_paths(text).filter(|folder| !folder.as_os_str().is_empty());
        named.map(absolute).collect::<Result<_, _>>().map(Self)
    }
}

/// Refuses a folder whose place depends on where ebb is started.
fn absolute(folder: PathBuf) -> Result<PathBuf, String> {
    match folder.is_absolute() {
        true => Ok(folder),
        false => Err(format!(
            "{} would be looked for below the folder that ebb is started in, where others may have put a plugin; \
             name a folder of plugins from the root on, as /usr/local/lib/ebb",
            folder.display()
        )),
    }
}

impl PluginSearch {
    /// Flags first, then the environment.
    pub(super) fn dirs(&self) -> Vec<PathBuf> {
        let from_path = self.plugin_path.iter().flat_map(|path| &path.0);
        self.plugin_dir.iter().chain(from_path).cloned().collect()
    }
}

#[derive(Debug, Args)]
pub(super) struct Certs {
    /// Folder for ca.crt, ca.key, server.crt, server.key, client.crt, client.key and revoked.crl
    #[arg(long, default_value = "certs", value_name = "DIR")]
    pub out: PathBuf,
    /// The file for --changefeeds-path
    #[arg(long, default_value = "changefeed-secure.json", value_name = "FILE")]
    pub changefeeds_path: PathBuf,
    /// Name or address under which CockroachDB reaches the receiver; may be repeated. The first one is the changefeed's
    /// [default: localhost, 127.0.0.1, ::1; with --renew those of the certificate that is there]
    #[arg(long, value_name = "HOST")]
    pub host: Vec<String>,
    /// Port of the receiver
    #[arg(long, default_value_t = 30004, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Common name of the changefeed's certificate
    #[arg(long, default_value = "changefeed", value_name = "NAME")]
    pub client_name: String,
    /// Days that the certificates of receiver and changefeed are valid
    #[arg(long, default_value_t = 365, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Days that the authority is valid
    #[arg(long, default_value_t = 3650, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub ca_days: u32,
    /// Make new certificates with the authority that is in the folder
    #[arg(long)]
    pub renew: bool,
    /// Put this certificate of the authority on the list revoked.crl in the folder, and make none
    #[arg(long, value_name = "FILE", conflicts_with_all = ["renew", "host"])]
    pub revoke: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum TriggersCommand {
    /// Make every trigger that was dropped again, exactly as it was; may be repeated
    #[command(after_help = help::TRIGGERS_RESTORE)]
    Restore(TriggersRestore),
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum ConfigCommand {
    /// The settings of a command, with secrets masked
    #[command(after_help = help::CONFIG_SHOW)]
    Show {
        /// JSON instead of TOML
        #[arg(long)]
        json: bool,
        /// fetch or start, with its flags
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum PluginsAction {
    List,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OnExit {
    Leave,
    Pause,
    Cancel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogValues {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Logging {
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
