//! The flags of `ebb cutback`, beside those of `ebb fetch`.
//!
//! Owns: their names, defaults and help. Does not own: what is done with them (`cutback`).

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::duration;
use super::flags::Fetch;
use super::resolve;
use crate::config::Config;
use crate::cutback::{self, Criteria, Options, Report};
use crate::error::Result;
use crate::verify;

/// Differences that a refusal has at hand.
const SHOWN: usize = 20;
/// A proof is made in one go.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(3600);

#[derive(Debug, Args)]
pub(super) struct Cutback {
    /// Take every step that only looks, and say what the others would do
    #[arg(long)]
    pub dry_run: bool,
    /// TOML file of what must hold: max_lag_seconds = 60, quiet_seconds = 10, time_limit_seconds = 3600, decided_by = "…"
    #[arg(long, value_name = "FILE")]
    pub criteria: Option<PathBuf>,
    /// How long all of it may take, instead of time_limit_seconds of --criteria [default: 1h]
    #[arg(id = "time-limit", long = "timeout", value_parser = duration::parse, value_name = "DURATION")]
    pub time_limit: Option<Duration>,
    /// How long nothing may change on CockroachDB, instead of quiet_seconds of --criteria [default: 10s]
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    pub expect_quiet: Option<Duration>,
    /// At the end cancel the changefeed, which ends the running ebb; otherwise both go on
    #[arg(long)]
    pub end_changefeed: bool,
    /// Sessions on the target, and connections to CockroachDB for as many tables at once
    #[arg(long, default_value_t = 2, value_name = "SESSIONS")]
    pub parallelism: usize,
    /// Write the report of this round there: JSON with the record, the proof, both servers, settings and history
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write the report as a page, too: one HTML file that needs no other
    #[arg(long, value_name = "FILE", requires = "report")]
    pub report_html: Option<PathBuf>,
    /// PEM file of the Ed25519 private key that signs the report (ebb report-key); the signature goes to FILE.sig beside it
    #[arg(long, value_name = "FILE", requires = "report")]
    pub sign_key: Option<PathBuf>,
    /// The record as JSON on standard output
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub fetch: Fetch,
}

/// What the flags ask for; `settings` are those that a report shows.
pub(super) fn options(given: &Cutback, config: &Config, settings: Option<String>) -> Result<Options> {
    let mut criteria = given.criteria.as_deref().map_or_else(|| Ok(Criteria::default()), Criteria::read)?;
    if let Some(limit) = given.time_limit {
        criteria.time_limit_seconds = resolve::not_zero("--timeout", limit)?.as_secs().max(1);
    }
    if let Some(quiet) = given.expect_quiet {
        criteria.quiet_seconds = resolve::not_zero("--expect-quiet", quiet)?.as_secs().max(1);
    }
    let (dir, schema) = (&config.staging.dir, &config.staging.schema);
    Ok(Options {
        dry_run: given.dry_run,
        criteria,
        end_changefeed: given.end_changefeed,
        json: given.json,
        report: given.report.as_ref().map(|path| Report {
            path: path.clone(),
            page: given.report_html.clone(),
            sign_key: given.sign_key.clone(),
            settings: settings.unwrap_or_default(),
        }),
        state: cutback::path(dir, schema),
        verify: verify::Options {
            tables: Vec::new(),
            limit: SHOWN,
            only_keys: false,
            rate: None,
            parallelism: resolve::at_least_one("--parallelism", given.parallelism)?,
            lag_max: None,
            snapshot_age_max: SNAPSHOT_AGE_MAX,
            resume: false,
            json: false,
            continuous: false,
            until: None,
            state: verify::path(dir, schema),
        },
    })
}
