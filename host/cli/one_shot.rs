//! The flags of commands that ask a running ebb, or mend what one has left.
//!
//! Owns: their names and help. Does not own: the flags of `fetch` and `start` (`flags`, `replicator`), what the commands do
//! (`commands`).

use std::path::PathBuf;

use clap::Args;
use ebb_sdk::Secret;

use super::flags::{Fetch, TargetAccess, secret};

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
    /// The staging schema of the run: its folder says where its pages are
    #[arg(long = "stagingSchema", env = "EBB_STAGING_SCHEMA", value_name = "NAME")]
    pub staging_schema: Option<String>,
    /// Folder of the staging folders [default: $XDG_STATE_HOME/ebb, else ~/.local/state/ebb]
    #[arg(long, env = "EBB_STAGING_DIR", value_name = "DIR")]
    pub staging_dir: Option<PathBuf>,
    /// Again every second, until it is interrupted
    #[arg(long)]
    pub watch: bool,
    /// Also each table: rows received, upserted and deleted, and when it last changed
    #[arg(long, env = "EBB_STATUS_TABLES")]
    pub tables: bool,
    /// The whole of /_/status as JSON
    #[arg(long)]
    pub json: bool,
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
