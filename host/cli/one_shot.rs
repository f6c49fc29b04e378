//! The flags of commands that ask a running ebb, mend what one has left, or make certificates and tokens.
//!
//! Owns: their names and help. Does not own: the flags of `fetch` and `start` (`flags`, `replicator`), what the commands do
//! (`commands`).

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use ebb_sdk::Secret;

use super::Exit;
use super::flags::{Certs, Fetch, TargetAccess, secret};
use crate::code;
use crate::commands::{certs, make_jwt};
use crate::error::Error;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The list as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub fetch: Fetch,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Address of the pages of the running ebb [default: that of --stagingSchema, else 127.0.0.1:3030]
    #[arg(
        long = "metricsAddr",
        visible_alias = "metrics-listen-addr",
        env = "EBB_METRICS_LISTEN_ADDR",
        value_name = "ADDRESS"
    )]
    pub metrics_addr: Option<String>,
    /// What the pages want to be shown (--metricsAuth of the run); with --stagingSchema its folder has what is needed
    #[arg(long = "metricsAuth", env = "EBB_METRICS_AUTH", value_name = "FILE", value_parser = secret)]
    pub metrics_auth: Option<Secret>,
    /// PEM file of the authority of the pages' certificate, where they are served over HTTPS (--metricsTls of the run); with
    /// --stagingSchema its folder says which certificate it is
    #[arg(long = "metricsCA", env = "EBB_METRICS_CA", value_name = "FILE")]
    pub metrics_ca: Option<PathBuf>,
    /// The staging schema of the run: its folder says where its pages are
    #[arg(long = "stagingSchema", env = "EBB_STAGING_SCHEMA", value_name = "NAME")]
    pub staging_schema: Option<String>,
    /// Folder of the staging folders [default: $XDG_STATE_HOME/ebb, else ~/.local/state/ebb]
    #[arg(long, env = "EBB_STAGING_DIR", value_name = "DIR")]
    pub staging_dir: Option<PathBuf>,
    /// Again every second, until it is interrupted
    #[arg(long)]
    pub watch: bool,
    /// What has happened to the run, the newest last; where no ebb answers, as the folder of --stagingSchema has it
    #[arg(long)]
    pub history: bool,
    /// Also each table: rows received, upserted and deleted, and when it last changed
    #[arg(long, env = "EBB_STATUS_TABLES")]
    pub tables: bool,
    /// The whole of /_/status, or of /_/history, as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Trace {
    /// The table as the target calls it, with or without schema
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The primary key as CockroachDB sends it, a JSON array; of one column its value alone will do
    #[arg(value_name = "KEY", allow_hyphen_values = true)]
    pub key: String,
    /// The staging schema of the run
    #[arg(long = "stagingSchema", env = "EBB_STAGING_SCHEMA", value_name = "NAME")]
    pub staging_schema: String,
    /// Folder of the staging folders [default: $XDG_STATE_HOME/ebb, else ~/.local/state/ebb]
    #[arg(long, env = "EBB_STAGING_DIR", value_name = "DIR")]
    pub staging_dir: Option<PathBuf>,
    /// The answer as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SupportBundle {
    /// The staging schema of the run
    #[arg(long = "stagingSchema", env = "EBB_STAGING_SCHEMA", value_name = "NAME")]
    pub staging_schema: String,
    /// Folder of the staging folders [default: $XDG_STATE_HOME/ebb, else ~/.local/state/ebb]
    #[arg(long, env = "EBB_STAGING_DIR", value_name = "DIR")]
    pub staging_dir: Option<PathBuf>,
    /// The log of the run, whose last 2,000 lines are taken; JSON, as --log-format json writes it
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// The file to write, which must not be there [default: ebb-support-NAME-TIME.json]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// fetch or start, with the flags that were given to the run: its settings are shown without secrets
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct TriggersRestore {
    /// The database whose triggers were dropped
    #[arg(long, visible_alias = "targetConn", env = "EBB_TARGET", value_name = "URL", value_parser = secret)]
    pub target: Secret,
    #[command(flatten)]
    pub access: TargetAccess,
    /// The staging schema of the run that dropped them; only its folder proves which records on the target are ebb's
    #[arg(long = "stagingSchema", env = "EBB_STAGING_SCHEMA", value_name = "NAME")]
    pub staging_schema: String,
    /// Folder of the staging folders [default: $XDG_STATE_HOME/ebb, else ~/.local/state/ebb]
    #[arg(long, env = "EBB_STAGING_DIR", value_name = "DIR")]
    pub staging_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct EscapePassword {
    /// The password; read from standard input when not given, which keeps it out of the shell's history
    #[arg(long, value_name = "PASSWORD", value_parser = secret)]
    pub password: Option<Secret>,
}

#[derive(Debug, Args)]
pub(super) struct MakeJwt {
    /// PEM file of the private key, EC or RSA
    #[arg(short, long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Make a new EC key first: FILE and FILE.pub, which --jwt-public-keys takes
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub new_key: Option<PathBuf>,
    /// Schema that may be written to, database.schema or database; * stands for any. May be repeated
    #[arg(short, long, required = true, value_name = "SCHEMA")]
    pub allow: Vec<String>,
    /// Days that the token is valid
    #[arg(long, default_value_t = 90, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub days: u32,
    /// File for the token, readable by its owner only; standard output when not given
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print the claim instead, for a token that somebody else signs
    #[arg(long)]
    pub claim: bool,
}

pub(super) fn certs_options(given: Certs) -> certs::Options {
    certs::Options {
        dir: given.out,
        changefeeds_path: given.changefeeds_path,
        hosts: given.host,
        port: given.port,
        client_name: given.client_name,
        days: given.days,
        authority_days: given.ca_days,
        renew: given.renew,
    }
}

pub(super) fn make_jwt_options(given: MakeJwt) -> Result<make_jwt::Options, Exit> {
    let key = match (given.key, given.new_key) {
        _ if given.claim => None,
        (Some(path), _) => Some(make_jwt::Key::Given(path)),
        (None, Some(path)) => Some(make_jwt::Key::New(path)),
        (None, None) => {
            return Err(Error::new(code::access::SIGNING_KEY, "there is no key to sign the token with")
                .hint("give --key FILE, or make one with --new-key FILE")
                .into());
        }
    };
    Ok(make_jwt::Options { key, allow: given.allow, days: given.days, out: given.out })
}
