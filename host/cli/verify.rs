//! The flags of `ebb verify`, beside those of `ebb fetch`.
//!
//! Owns: their names, defaults and help. Does not own: what is done with them (`verify`).

use std::time::Duration;

use clap::Args;

use super::duration;
use super::flags::Fetch;
use super::resolve;
use crate::code;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::verify::{self, Options};

/// Sessions on the target that a person may ask for.
const PARALLELISM_MAX: usize = 64;
const LIMIT_MAX: usize = 10_000;

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Tables to compare, as the target calls them, with or without schema [default: all that are replicated]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub tables: Vec<String>,
    /// Differences that are shown; all are counted
    #[arg(long, default_value_t = 100, value_name = "ROWS")]
    pub limit: usize,
    /// Compare primary keys only: quicker, and changed values are not seen
    #[arg(long)]
    pub only_keys: bool,
    /// Rows to compare per second at most [default: as fast as both sides give them]
    #[arg(long, value_name = "ROWS")]
    pub rate: Option<u64>,
    /// Sessions on the target, and connections to CockroachDB for as many tables at once
    #[arg(long, default_value_t = 2, value_name = "SESSIONS")]
    pub parallelism: usize,
    /// Wait while the running ebb is further behind than this; 0s never waits
    #[arg(long, default_value = "30s", value_parser = duration::parse, value_name = "DURATION")]
    pub max_lag: Duration,
    /// Go on with a newer state of both sides once a snapshot is so old: it keeps the target from removing old rows
    #[arg(long, default_value = "1h", value_parser = duration::parse, value_name = "DURATION")]
    pub max_snapshot_age: Duration,
    /// Go on where the same comparison was interrupted
    #[arg(long)]
    pub resume: bool,
    /// Round after round, until it is interrupted; best with --rate
    #[arg(long, conflicts_with = "resume")]
    pub continuous: bool,
    /// The result as JSON; with --continuous, one object for each round
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub fetch: Fetch,
}

/// What the flags ask for.
pub(super) fn options(given: &Verify, config: &Config) -> Result<Options> {
    if given.rate == Some(0) {
        return Err(Error::new(code::settings::VALUE, "--rate 0 compares nothing").hint("give at least 1"));
    }
    if given.limit > LIMIT_MAX {
        let message = format!("--limit {} is too much to show", given.limit);
        return Err(Error::new(code::settings::VALUE, message).hint(format!("give at most {LIMIT_MAX}")));
    }
    resolve::at_least_one("--parallelism", given.parallelism)?;
    if given.parallelism > PARALLELISM_MAX {
        let message = format!("--parallelism {} is more than a target has sessions for", given.parallelism);
        return Err(Error::new(code::settings::VALUE, message).hint(format!("give at most {PARALLELISM_MAX}")));
    }
    Ok(Options {
        tables: given.tables.clone(),
        limit: given.limit,
        only_keys: given.only_keys,
        rate: given.rate,
        parallelism: given.parallelism,
        lag_max: (!given.max_lag.is_zero()).then_some(given.max_lag),
        snapshot_age_max: resolve::not_zero("--max-snapshot-age", given.max_snapshot_age)?,
        resume: given.resume,
        json: given.json,
        continuous: given.continuous,
        until: None,
        state: verify::path(&config.staging.dir, &config.staging.schema),
    })
}
