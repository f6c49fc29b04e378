//! The checked configuration: every value present, every default filled in, no combination that cannot run.
//!
//! Owns: the types that the rest of the host reads. Does not own: flags and files (`cli`), which are parsed into raw
//! types first and checked into these.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ebb_sdk::Secret;

use crate::error::Result;

/// One run of the daemon.
#[derive(Clone, Debug)]
pub struct Config {
    pub target: Target,
    pub staging: Staging,
    pub receiver: Receiver,
    pub apply: Apply,
    /// What `ebb fetch` does beyond `ebb start`; `None` for a changefeed that somebody else creates.
    pub changefeed: Option<Changefeed>,
    /// `--sourceConn` of `ebb start`: where the order of primary keys is read from. With `changefeed` it is the same
    /// as its URL.
    pub source: Option<Source>,
    pub log: Log,
    /// Where health, readiness, metrics and status are shown.
    pub pages: Option<Pages>,
    /// `--apply-only`: what is staged is applied, and nothing is received.
    pub apply_only: bool,
    /// `--gracePeriod`: how long the transaction in hand may take after a signal.
    pub grace_period: Duration,
    pub hooks: Hooks,
    /// `--stalled-after`: how long nothing may move before the run counts as stalled.
    pub stalled_after: Duration,
}

/// Programs that are run when something happens.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// `--hook`.
    pub dir: Option<PathBuf>,
    /// `--hook-timeout`: how long one may take.
    pub timeout: Duration,
}

/// The server of the pages.
#[derive(Clone, Debug)]
pub struct Pages {
    pub addr: SocketAddr,
    /// By which the address is given, or can be.
    pub flag: &'static str,
    /// The user named it, so that a failure to listen there is fatal.
    pub required: bool,
    /// `--metricsAuth`. `None`: everybody who reaches the address may read them.
    pub login: Option<PagesLogin>,
    /// `--metricsTls`: what is shown in TLS. `None`: they are served without.
    pub tls: Option<Identity>,
}

/// What a reader of the pages must show.
#[derive(Clone, Debug)]
pub struct PagesLogin {
    /// What `Authorization` must be.
    pub header: Secret,
    /// The password or token in it.
    pub secret: Secret,
    /// The file that it stands in, where other users of this machine may read it, and its mode.
    pub readable: Option<(PathBuf, u32)>,
}

/// The database that changes are applied to.
#[derive(Clone, Debug)]
pub struct Target {
    pub url: Secret,
    /// `--target-plugin`: a name or a path; `None` lets the URL's scheme decide.
    pub plugin: Option<String>,
    /// `--plugin-dir` and `EBB_PLUGIN_PATH`, searched before the built-in places.
    pub plugin_dirs: Vec<PathBuf>,
    /// `--allow-tls-mode-disable`.
    pub allow_insecure: bool,
    /// `--case-sensitive`: names of tables and columns must match to the letter.
    pub case_sensitive: bool,
    /// `--ignore-columns`: columns of the source that the target lacks and shall not have.
    pub ignored_columns: Vec<String>,
    /// `--target-wait`: how long a first start waits for it.
    pub wait: Duration,
    /// `--allow-rounding`, see [`ebb_sdk::ConnectOptions::allow_rounding`].
    pub allow_rounding: Vec<String>,
    /// `--applyTimeout`: how long one target statement may run.
    pub apply_timeout: Duration,
}

/// The store on disk between receiving and applying.
#[derive(Clone, Debug)]
pub struct Staging {
    /// `--stagingSchema`, or a fresh `_replicator_<unix nanos>`. It names the folder, and the feed in the target.
    pub schema: String,
    /// `--staging-dir`.
    pub dir: PathBuf,
    /// `--staging-unsafe-filesystem`: it may stand where a reboot or the network takes rows along.
    pub unsafe_filesystem: bool,
    /// `--staging-max-bytes`: at this size requests are held.
    pub disk_bytes_max: u64,
    /// `--retireOffset`: how long applied rows are remembered, to tell a repeat from a row that came too late.
    pub remember: Duration,
    /// `--take-over`: another process that is alive is ended.
    pub take_over: bool,
    /// No questions: a staging folder that was lost is replaced without asking.
    pub non_interactive: bool,
}

/// The HTTPS server that the changefeed posts to.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// `--bindAddr`; a port of 0 takes a free one.
    pub bind_addr: SocketAddr,
    pub identity: Identity,
    pub access: Access,
    /// `None` where ebb does not create the changefeed.
    pub sink: Option<SinkTls>,
    pub limits: ReceiverLimits,
}

/// What the changefeed that this run creates will make of the receiver's certificate, and show of its own.
#[derive(Clone, Debug)]
pub struct SinkTls {
    /// To which it connects.
    pub host: String,
    /// `insecure_tls_skip_verify`.
    pub skips_verification: bool,
    /// PEM. `None`: the authorities that CockroachDB's nodes trust.
    pub ca_cert: Option<Vec<u8>>,
    /// PEM.
    pub client_cert: Option<Vec<u8>>,
}

/// Who may write. A request must pass everything that is there; with nothing there, which only
/// `--disableAuthentication` gives, everybody may.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The authority that clients must have a certificate of.
    pub client_ca: Option<ClientCa>,
    /// `--tlsClientCRL`: certificates of it that are not valid any more.
    pub client_crl: Option<PathBuf>,
    /// `--webhook-auth-header`: what `Authorization` must be. With `tokens` it is the changefeed's token.
    pub header: Option<Secret>,
    pub tokens: Option<Tokens>,
}

impl Access {
    /// Anybody may write.
    pub fn is_open(&self) -> bool {
        self.client_ca.is_none() && self.header.is_none() && self.tokens.is_none()
    }
}

/// What tokens (JWT) are verified with.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// `--jwt-public-keys`: a PEM file, or a folder of them.
    pub public_keys: PathBuf,
    /// `--jwt-revoked-ids`.
    pub revoked_ids: Option<PathBuf>,
}

/// What one client, and all of them together, may take.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverLimits {
    /// Largest body after decompression, in bytes.
    pub body_bytes_max: usize,
    /// Bytes of bodies and their rows held at once, over all connections. At least what the largest body takes.
    pub in_flight_bytes_max: usize,
    /// Connections at once that have had a request accepted.
    pub connections_max: usize,
    /// Connections at once that have not; beyond it the oldest is closed.
    pub untrusted_connections_max: usize,
    pub header_bytes_max: u32,
    /// From the first byte of a connection to its first accepted request.
    pub handshake_timeout: Duration,
    /// Between two requests, and for the headers of one.
    pub idle_timeout: Duration,
    /// Longest silence inside a body.
    pub body_idle_timeout: Duration,
    /// Longest time for a whole body.
    pub body_timeout: Duration,
    /// `--httpResponseTimeout`: how long a request may wait for memory, and for its rows to be durable.
    pub response_timeout: Duration,
}

/// Where the authority of client certificates comes from.
#[derive(Clone, Debug)]
pub enum ClientCa {
    /// `--tlsClientCA`.
    File(PathBuf),
    /// The `ca_cert` of the changefeed's own settings.
    Changefeed(ChangefeedSettings),
}

/// The parameter of the sink's URL that names the staging folder. CockroachDB passes on what it does not know, so every
/// request says for which folder its rows are meant: a receiver with another folder must not answer for them.
pub const STAGING_PARAMETER: &str = "ebb_staging";

/// The file that the changefeed's settings are in, and how its `ca_cert` is read, as often as it is asked for.
#[derive(Clone)]
pub struct ChangefeedSettings {
    path: PathBuf,
    read: Arc<ReadCaCert>,
}

/// Gives PEM.
type ReadCaCert = dyn Fn() -> Result<Vec<u8>> + Send + Sync;

impl ChangefeedSettings {
    pub fn new(path: PathBuf, read: impl Fn() -> Result<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self { path, read: Arc::new(read) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn ca_cert(&self) -> Result<Vec<u8>> {
        (self.read)()
    }
}

impl fmt::Debug for ChangefeedSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

/// What the receiver shows to its clients.
#[derive(Clone, Debug)]
pub enum Identity {
    /// `--tlsCertificate` and `--tlsPrivateKey`.
    Files { certificate: PathBuf, private_key: PathBuf },
    /// `--tlsSelfSigned`: made anew at every start, valid for localhost.
    SelfSigned,
}

/// Limits and back-off of writing to the target.
#[derive(Clone, Debug)]
pub struct Apply {
    /// Rows of one target transaction, unless one source transaction has more.
    pub transaction_rows_max: usize,
    /// Bytes of one target transaction, unless one source transaction has more.
    pub transaction_bytes_max: usize,
    pub retry_delay_min: Duration,
    pub retry_delay_max: Duration,
    pub triggers: Triggers,
    pub on_row_error: OnRowError,
}

/// `--on-row-error`: what a row does that the target refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRowError {
    /// Applying waits in front of it, and receiving goes on.
    Wait,
    /// It ends the run.
    Exit,
}

/// `--triggers`: whether triggers and cascades of the target act on what ebb writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triggers {
    /// Not where the session may suspend them: the source has sent what they would do.
    Skip,
    Fire,
    /// They are dropped, and `ebb triggers restore` puts them back.
    Drop,
}

/// CockroachDB.
#[derive(Clone, Debug)]
pub struct Source {
    pub url: Secret,
    /// `--allow-tls-mode-disable`.
    pub allow_insecure: bool,
}

/// The changefeed that `ebb fetch` creates or reuses.
#[derive(Clone, Debug)]
pub struct Changefeed {
    pub table_filter: regex::Regex,
    pub table_exclusion_filter: Option<regex::Regex>,
    pub schema_filter: regex::Regex,
    pub host: String,
    pub port: u16,
    /// The query of the sink URL, as the user wrote it: it holds keys.
    pub sink_query_parameters: Secret,
    /// `WITH` options beside `updated` and `cursor`, in the order they are written. A value may be a secret.
    pub options: Vec<(String, Secret)>,
    /// `--cursor`: where a new run begins; the present time when not given.
    pub cursor: Option<ebb_sdk::Timestamp>,
    pub new_tables: NewTables,
    /// `initial_scan` of the overrides: whether existing rows are sent first.
    pub initial_scan: InitialScan,
    pub on_exit: OnExit,
}

impl Changefeed {
    /// Whether the filters choose a table of the source.
    pub fn chooses(&self, schema: &str, table: &str) -> bool {
        let excluded = self.table_exclusion_filter.as_ref().is_some_and(|filter| filter.is_match(table));
        self.schema_filter.is_match(schema) && self.table_filter.is_match(table) && !excluded
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialScan {
    Yes,
    No,
    Only,
}

/// `--new-tables`: what becomes of tables that the last run did not replicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTables {
    Refuse,
    /// They were loaded after the last run had ended.
    Accept,
    /// They were loaded as they were at this time.
    LoadedAt(ebb_sdk::Timestamp),
}

/// What becomes of the changefeed when ebb ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExit {
    Leave,
    Pause,
    Cancel,
}

/// Where log lines go and which.
#[derive(Clone, Debug)]
pub struct Log {
    pub level: tracing::Level,
    pub destination: LogDestination,
    pub format: LogFormat,
    /// `--log-values off`.
    pub hide_values: bool,
}

#[derive(Clone, Debug)]
pub enum LogDestination {
    Stdout,
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One object a line, `{"level":…,"time":…,"message":…}`
    Json,
    /// For people; on a terminal with a line below that says where the run stands
    Console,
}
