//! The flags of `ebb init`.
//!
//! Owns: their names, defaults and help. Does not own: asking and writing (`commands`).

use std::path::PathBuf;

use clap::Args;
use ebb_sdk::Secret;

use super::flags::{PluginSearch, secret};
use crate::commands::init;

#[derive(Debug, Args)]
pub(super) struct Init {
    /// CockroachDB
    #[arg(long, env = "EBB_SOURCE", hide_env_values = true, value_name = "URL", value_parser = secret)]
    source: Option<Secret>,
    /// The database that was migrated from
    #[arg(long, env = "EBB_TARGET", hide_env_values = true, value_name = "URL", value_parser = secret)]
    target: Option<Secret>,
    /// Tables to replicate: a regular expression on the name
    #[arg(long, value_name = "REGEX")]
    tables: Option<String>,
    /// Name or address under which CockroachDB reaches this machine
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Port of the receiver
    #[arg(long, default_value_t = 30004, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Folder for ebb.toml, changefeed-secure.json and certs
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
    /// Admit connections to source and target that are not encrypted
    #[arg(long)]
    allow_tls_mode_disable: bool,
    /// Ask nothing: what no flag gives has its default, or is an error, and no file is written over
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    search: PluginSearch,
}

impl Init {
    /// What is wanted, and where plugins are looked for.
    pub(super) fn options(self) -> (init::Options, Vec<PathBuf>) {
        let dirs = self.search.dirs();
        let options = init::Options {
            source: self.source,
            target: self.target,
            tables: self.tables,
            host: self.host,
            port: self.port,
            dir: self.out,
            allow_insecure: self.allow_tls_mode_disable,
            yes: self.yes,
        };
        (options, dirs)
    }
}
