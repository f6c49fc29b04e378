//! Trying the servers once, for `ebb init`.
//!
//! Owns: one connection to each. Does not own: what is asked of a person (`commands`).

use std::time::Duration;

use ebb_sdk::Secret;
use tokio::runtime::Builder;

use crate::config;
use crate::error::Result;
use crate::source::Source;
use crate::target::Target;
use crate::threads;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Connects to CockroachDB; returns its version.
pub fn source(url: &Secret, allow_insecure: bool) -> Result<String> {
    let runtime = threads::runtime(&mut Builder::new_current_thread())?;
    runtime.block_on(async {
        let source = Source::connect(&config::Source { url: url.clone(), allow_insecure }).await?;
        source.check_rangefeeds().await?;
        Ok(source.version().to_owned())
    })
}

/// Connects to the target; returns its version and the names of its tables. Plugins are looked for in `dirs` too.
pub fn target(url: &Secret, allow_insecure: bool, dirs: &[std::path::PathBuf]) -> Result<(String, Vec<String>)> {
    let settings = config::Target {
        url: url.clone(),
        plugin: None,
        plugin_dirs: dirs.to_vec(),
        allow_insecure,
        case_sensitive: false,
        ignored_columns: Vec::new(),
        allow_rounding: Vec::new(),
        apply_timeout: TIMEOUT,
        wait: Duration::ZERO,
    };
    let catalog = Target::load(&settings)?.session()?.describe()?;
    Ok((catalog.server_version, catalog.tables.into_iter().map(|table| table.name).collect()))
}
