//! The flags of `ebb start`, which are those that `--replicator-flags` of `ebb fetch` may hold.
//!
//! Owns: their spelling, defaults and help. Does not own: what they do (`resolve`), and the flags of fetch (`flags`).

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use ebb_sdk::Secret;

use super::flags::secret;
use super::{duration, size};

/// What `--replicator-flags` may hold, parsed by itself.
#[derive(Debug, Parser)]
#[command(name = "--replicator-flags", disable_help_flag = true, disable_version_flag = true, no_binary_name = true)]
pub(super) struct ReplicatorOnly {
    #[command(flatten)]
    pub replicator: Replicator,
}

#[derive(Debug, Clone, Args)]
pub(super) struct Replicator {
    /// Name of the run's staging; give it again to resume [default: _replicator_<unix nanoseconds>]
    #[arg(long = "stagingSchema", value_name = "NAME")]
    pub staging_schema: Option<String>,
    /// Folder of the staging store [default: $XDG_STATE_HOME/ebb, else ~/.local/state/ebb]
    #[arg(long, value_name = "DIR")]
    pub staging_dir: Option<PathBuf>,
    /// Stage on a file system that does not keep what was acknowledged, too: one in memory (tmpfs), on a network (NFS, SMB) or
    /// of a program (FUSE). A start is refused there otherwise
    #[arg(long)]
    pub staging_unsafe_filesystem: bool,
    /// Size of staged rows (10GiB, 10GB, or plain bytes, as for every size) at which requests are held until rows are applied; what only remembers applied rows
    /// (--retireOffset) gives way before [default: what its disk holds]
    #[arg(long, value_parser = size::parse::<u64>, value_name = "SIZE")]
    pub staging_max_bytes: Option<u64>,
    /// Take the feed over from another ebb that gave a sign of life within the last minute; that one ends
    #[arg(long)]
    pub take_over: bool,
    /// How long applied rows are remembered, 20 bytes each, to tell a repeat from a row that comes too late. The oldest are
    /// forgotten before where room is short; one that comes again after that, or after this time, ends the run
    #[arg(long = "retireOffset", default_value = "24h", value_parser = duration::parse, value_name = "DURATION")]
    pub retire_offset: Duration,
    /// Address to listen on, host:port or :port [default: :26258; in fetch the changefeed's port]
    #[arg(long = "bindAddr", value_name = "ADDRESS")]
    pub bind_addr: Option<String>,
    /// Address of the pages for health, metrics and status, host:port or :port; in fetch --metrics-listen-addr stands above it
    #[arg(long = "metricsAddr", value_name = "ADDRESS")]
    pub metrics_addr: Option<String>,
    /// What readers of the pages must show: a file with one line basic:USER:PASSWORD or bearer:TOKEN, or that line itself.
    /// Probes (/_/livez, /_/healthz, /_/readyz, /_/caughtup) need nothing [default: everybody may read the pages]
    #[arg(long = "metricsAuth", value_name = "FILE", value_parser = secret)]
    pub metrics_auth: Option<Secret>,
    /// Serve the pages over HTTPS, with the receiver's certificate
    #[arg(long = "metricsTls")]
    pub metrics_tls: bool,
    /// PEM file of the receiver's certificate chain [default: certs/server.crt, as `ebb certs` makes it, where it is there]
    #[arg(long = "tlsCertificate", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of the receiver's private key [default: certs/server.key, together with the certificate]
    #[arg(long = "tlsPrivateKey", value_name = "FILE")]
    pub tls_private_key: Option<PathBuf>,
    /// Make a certificate for localhost at every start
    #[arg(long = "tlsSelfSigned")]
    pub tls_self_signed: bool,
    /// PEM file of the authority that clients must have a certificate of [default: in fetch the changefeed's ca_cert; in
    /// start, where nothing else says who may write, ca.crt beside the certificate]
    #[arg(long = "tlsClientCA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// PEM file of lists of client certificates that are not valid any more (CRL), one of each authority; ebb certs makes and
    /// extends one. It is read again while ebb runs
    #[arg(long = "tlsClientCRL", value_name = "FILE")]
    pub tls_client_crl: Option<PathBuf>,
    /// What requests must have in their Authorization header, such as 'Bearer …' or 'Basic …'; in fetch the changefeed gets
    /// it [default in fetch: the webhook_auth_header of --changefeeds-path]
    #[arg(long, value_name = "TEXT", value_parser = secret)]
    pub webhook_auth_header: Option<Secret>,
    /// PEM file, or folder of such files, of the public keys that tokens of requests (JWT) may be signed with
    #[arg(long, value_name = "PATH")]
    pub jwt_public_keys: Option<PathBuf>,
    /// File with the ids (jti) of tokens that are not valid any more, one a line
    #[arg(long, requires = "jwt_public_keys", value_name = "FILE")]
    pub jwt_revoked_ids: Option<PathBuf>,
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
    /// Size of one target transaction, unless one source transaction has more
    #[arg(long, default_value = "16MiB", value_parser = size::parse::<usize>, value_name = "SIZE")]
    pub transaction_bytes_max: usize,
    /// What becomes of the target's triggers while ebb writes
    #[arg(long, value_enum, default_value = "skip")]
    pub triggers: Triggers,
    /// What a row does that the target refuses
    #[arg(long, value_enum, default_value = "wait")]
    pub on_row_error: OnRowError,
    /// Largest request body, decompressed: a batch of 1 MiB (Flush.Bytes) and one row more, which is what a statement
    /// of 16 MiB can bring with every byte as two digits. With the option diff, twice as much may come
    #[arg(long, default_value = "34MiB", value_parser = size::parse::<usize>, value_name = "SIZE")]
    pub body_bytes_max: usize,
    /// Memory for all request bodies at once and the rows made of them; at least twice --body-bytes-max and
    /// 16 MiB
    #[arg(long, default_value = "112MiB", value_parser = size::parse::<usize>, value_name = "SIZE")]
    pub in_flight_bytes_max: usize,
    /// Connections at once that have shown who they are; more wait
    #[arg(long, default_value_t = 1024, value_name = "COUNT")]
    pub connections_max: usize,
    /// Connections at once that have not; beyond it the oldest is closed
    #[arg(long, default_value_t = 512, value_name = "COUNT")]
    pub untrusted_connections_max: usize,
    /// Size of the headers of one request
    #[arg(long, default_value = "16KiB", value_parser = size::parse::<u32>, value_name = "SIZE")]
    pub header_bytes_max: u32,
    /// How long a new connection may take until its first request is known to be one that may write
    #[arg(long, default_value = "10s", value_parser = duration::parse, value_name = "DURATION")]
    pub handshake_timeout: Duration,
    /// How long a connection may be idle between requests, and the headers of a request take
    #[arg(long, default_value = "2m", value_parser = duration::parse, value_name = "DURATION")]
    pub idle_timeout: Duration,
    /// How long a body may stop arriving
    #[arg(long, default_value = "30s", value_parser = duration::parse, value_name = "DURATION")]
    pub body_idle_timeout: Duration,
    /// How long a body may take altogether
    #[arg(long, default_value = "10m", value_parser = duration::parse, value_name = "DURATION")]
    pub body_timeout: Duration,
    /// -v debug lines, -vv everything; in fetch --logging stands above it
    #[arg(short = 'v', long = "verbose", action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Log file; in fetch --log-file stands above it [default: standard output]
    #[arg(long = "logDestination", value_name = "FILE")]
    pub log_destination: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Triggers {
    /// They are suspended for what ebb writes; a start is refused where this user may not, or the target cannot
    Skip,
    /// They act on what ebb writes
    Fire,
    /// They are dropped, with their definitions saved, until `ebb triggers restore`
    Drop,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OnRowError {
    /// Applying waits in front of its transaction and receiving goes on; it is tried again, also together with later versions
    Wait,
    /// The run ends
    Exit,
}
