//! `ebb cutback`: from a run that goes on to GO or NO-GO, with the reasons.
//!
//! Owns: the order of the steps, and that each is kept before the next begins. Does not own: the steps (`steps`), comparing
//! (`verify`), the running ebb, which goes on all the while.
//!
//! Everything before the step `sequences` only looks; what is done behind it harms nobody who stays with CockroachDB. So a NO-GO
//! leaves everything as it was.

mod criteria;
mod facts;
mod record;
mod sides;
mod steps;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use tokio::runtime::Builder;

use crate::config::Config;
use crate::error::Result;
use crate::hooks::Hooks;
use crate::threads;
use crate::verify::Outcome;
use sides::Sides;
use steps::{Came, Step, Work};

pub use criteria::Criteria;
pub use facts::{Facts, Server};
pub use record::{Record, Rounds, StepRecord, path};
pub use sides::Ask;

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    pub dry_run: bool,
    pub criteria: Criteria,
    pub end_changefeed: bool,
    pub json: bool,
    pub report: Option<Report>,
    pub state: PathBuf,
    pub verify: crate::verify::Options,
}

/// The report that is wanted.
#[derive(Debug)]
pub struct Report {
    pub path: PathBuf,
    /// The same as a page.
    pub page: Option<PathBuf>,
    pub sign_key: Option<PathBuf>,
    /// The settings of this round without secrets, as JSON.
    pub settings: String,
}

/// Compares both sides, until a time at the latest.
pub type Verify<'a> = &'a dyn Fn(Instant) -> Result<Outcome>;

/// Takes every step, and tells `say` of each as it comes. Returns what the servers were, too.
pub fn run(
    config: &Config,
    options: &Options,
    (ask, is_ending): (Ask<'_>, &AtomicBool),
    verify: Verify<'_>,
    say: &mut dyn FnMut(&StepRecord),
) -> Result<(Record, Facts)> {
    let runtime = threads::runtime(Builder::new_multi_thread().worker_threads(1))?;
    let criteria = &options.criteria;
    let begun = Instant::now();
    let hooks = Hooks::open(&config.hooks, &config.staging.schema)?;
    let mut rounds = Rounds::load(&options.state)?;
    let mut record = begin(config, options);
    let handle = runtime.handle().clone();
    let mut work = Work {
        runtime: &handle,
        config,
        options,
        criteria,
        hooks: &hooks,
        ask,
        is_ending,
        verify,
        sides: Sides::open(config, &handle)?,
        deadline: begun + Duration::from_secs(criteria.time_limit_seconds),
        quiet: None,
        final_time: None,
        written: Vec::new(),
    };
    rounds.0.push(record.clone());
    for step in Step::ALL {
        let (step_begun, at) = (Instant::now(), now());
        let came = work.take(step, &mut record)?;
        let (outcome, said, is_good) = match came {
            Came::Passed(said) => (record::PASSED, said, true),
            Came::Would(said) => ("would do", said, true),
            Came::Failed(said) => ("failed", said, false),
        };
        let seconds = step_begun.elapsed().as_secs_f64();
        let taken = StepRecord { step: step.name().into(), at, outcome: outcome.into(), said: said.clone(), seconds };
        say(&taken);
        record.steps.push(taken);
        if !is_good {
            record.reasons.push(format!("{}: {said}", step.name()));
        }
        keep(&mut rounds, &record, &options.state)?;
        if !is_good {
            break;
        }
    }
    let took = begun.elapsed().as_secs();
    let limit = criteria.time_limit_seconds;
    record.criteria.push(criteria::Judged::new(
        "time",
        &format!("{limit} s"),
        Some(format!("{took} s")),
        took <= limit,
    ));
    if took > limit && record.reasons.is_empty() {
        record.reasons.push(format!("it has taken {took} s, and time_limit_seconds is {limit}"));
    }
    record.ended = Some(now());
    record.verdict = Some(if record.reasons.is_empty() { "GO" } else { "NO-GO" }.into());
    keep(&mut rounds, &record, &options.state)?;
    Ok((record, work.sides.facts))
}

fn begin(config: &Config, options: &Options) -> Record {
    let user = std::env::var("USER").unwrap_or_else(|_| format!("uid {}", rustix::process::geteuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Record {
        ebb: env!("CARGO_PKG_VERSION").into(),
        staging_schema: config.staging.schema.clone(),
        begun: now(),
        user,
        host,
        decided_by: options.criteria.decided_by.clone(),
        dry_run: options.dry_run,
        ..Record::default()
    }
}

/// The last round is the one that goes on.
fn keep(rounds: &mut Rounds, record: &Record, path: &std::path::Path) -> Result<()> {
    if let Some(last) = rounds.0.last_mut() {
        last.clone_from(record);
    }
    rounds.save(path)
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}
