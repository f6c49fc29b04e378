//! `ebb verify`: whether the target holds what the source held at one time, while replication goes on.
//!
//! Owns: the course of a comparison, from both connections to the outcome. Does not own: the flags (`cli`), reading the past
//! (`source`), telling two rows apart (the plugin), the running ebb, which it neither needs nor disturbs.
//!
//! The target is read in one snapshot that holds the progress row as well; its timestamp says which state of the source the target
//! must equal, and CockroachDB gives that state.

mod crew;
mod extra;
mod failure;
mod hold;
mod pace;
mod pairs;
mod pass;
mod read;
mod report;
mod saved;
mod snapshot;
mod state;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ebb_sdk::Catalog;
use tokio::runtime::{Builder, Handle};

use crate::code;
use crate::config::Config;
use crate::error::{Error, Result, listed};
use crate::plugin::Session;
use crate::source::{Source, tells_json_null};
use crate::tables;
use crate::target::Target;
use crate::threads;
use failure::Failure;
use hold::Held;
use pace::Pace;
use pairs::{Manner, Pair};
use pass::{Ledger, Pass};
use snapshot::Snapshot;

pub use pace::Lag;
pub use report::{DIFFERENT, Outcome};
pub use saved::{Compares, Saved, described, path, proof_path};
pub use state::{Mismatches, TableState};

/// Passes in a row that come to nothing.
const FAILURES_MAX: u32 = 5;
const FAILURE_WAIT: Duration = Duration::from_secs(2);
const SAVE_INTERVAL: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the tables that are replicated; all of them when it is empty.
    pub tables: Vec<String>,
    /// Differences that are shown.
    pub limit: usize,
    pub only_keys: bool,
    /// Rows per second.
    pub rate: Option<u64>,
    /// Sessions on the target, and at most so many connections to the source.
    pub parallelism: usize,
    pub lag_max: Option<Duration>,
    pub snapshot_age_max: Duration,
    pub resume: bool,
    pub json: bool,
    /// Round after round.
    pub continuous: bool,
    /// When it ends at the latest, as a wish to end would.
    pub until: Option<Instant>,
    pub state: PathBuf,
}

/// How far it is, for whoever looks.
pub struct Progress<'a> {
    pub tables: &'a [TableState],
    pub names: &'a [String],
    pub seconds: f64,
    /// Compared by this process.
    pub rows: u64,
    pub is_held: bool,
}

/// Compares both sides, and tells `show` now and then how far it is. `is_ending` is somebody's wish to end it.
pub fn run(
    config: &Config,
    options: &Options,
    (lag, is_ending): (Lag<'_>, &AtomicBool),
    show: &mut dyn FnMut(&Progress<'_>),
) -> Result<Outcome> {
    let runtime = threads::runtime(Builder::new_multi_thread().worker_threads(1))?;
    let pace = Pace::new(options.rate, options.lag_max, lag, is_ending).until(options.until);
    Comparison::open(config, options, runtime.handle())?.run(&pace, show)
}

/// Both sides, and what is compared of them.
struct Comparison<'a> {
    runtime: &'a Handle,
    options: &'a Options,
    feed: &'a str,
    source: Source,
    target: Target,
    catalog: Catalog,
    pairs: Vec<Pair>,
    compares: Compares,
}

impl<'a> Comparison<'a> {
    fn open(config: &'a Config, options: &'a Options, runtime: &'a Handle) -> Result<Self> {
        let (Some(settings), Some(changefeed)) = (&config.source, &config.changefeed) else {
            return Err(Error::new(code::settings::NOT_GIVEN, "nothing can be compared without --source")
                .hint("give --source (EBB_SOURCE)"));
        };
        let mut target = Target::load(&config.target)?;
        target.connect.source_is_known = true;
        let mut session = target.session()?;
        let catalog = session.describe()?;
        let source = runtime.block_on(Source::connect(settings))?;
        let matched = runtime.block_on(tables::matched(config, Some(&source), &catalog))?;
        let (routes, findings) = matched.judge(&catalog, Some((&mut session, &target.connect)))?;
        findings.conclude().map_err(|error| {
            let message = format!("the tables of both sides cannot be compared: {}", error.message);
            Error { code: code::verify::TABLES_DO_NOT_FIT, message, ..error }
        })?;
        let chosen = runtime.block_on(source.chosen_tables(changefeed))?.tables;
        let manner = Manner {
            only_keys: options.only_keys,
            case_sensitive: config.target.case_sensitive,
            marks_json_null: tells_json_null(source.version()),
        };
        let mut pairs = Vec::new();
        for route in &routes {
            let table = chosen.iter().find(|table| route.source == Some((table.schema.clone(), table.name.clone())));
            // The source is asked twice.
            let table = table.ok_or_else(changed)?;
            pairs.push(Pair::new(route, table, source.database(), &catalog, manner)?);
        }
        pairs.sort_by(|one, other| one.name.cmp(&other.name));
        let every_table = options.tables.is_empty();
        choose(&mut pairs, &options.tables)?;
        let columns = |pair: &Pair| pair.columns.iter().map(|(name, _)| name.clone()).collect();
        let compares = Compares {
            source: source.place(),
            target: ebb_sdk::DatabaseUrl::parse(config.target.url.reveal())?.to_string(),
            only_keys: options.only_keys,
            every_table,
            described: described(&catalog, &routes),
            tables: pairs.iter().map(|pair| (pair.name.clone(), columns(pair))).collect(),
            keys: pairs.iter().map(|pair| (pair.name.clone(), pair.key_shape())).collect(),
        };
        session.close();
        Ok(Self { runtime, options, feed: &config.staging.schema, source, target, catalog, pairs, compares })
    }

    fn run(&self, pace: &Pace<'_>, show: &mut dyn FnMut(&Progress<'_>)) -> Result<Outcome> {
        let begun = Instant::now();
        let mut saved = self.begin()?;
        let names: Vec<String> = self.pairs.iter().map(|pair| pair.name.clone()).collect();
        let mut states: Vec<TableState> =
            names.iter().map(|name| saved.tables.get(name).cloned().unwrap_or_default()).collect();
        let before: u64 = states.iter().map(|state| state.compared).sum();
        let mut mismatches = std::mem::take(&mut saved.mismatches);
        let (mut frozen, mut history, mut failures) = (Duration::ZERO, String::new(), 0);
        let rows = |states: &[TableState]| states.iter().map(|state| state.compared).sum::<u64>() - before;
        while !pace.is_ending() && states.iter().any(|state| !state.is_done) {
            let compared = rows(&states);
            // No snapshot is kept for it.
            pace.wait_for_replication(None, || {
                let seconds = begun.elapsed().as_secs_f64();
                show(&Progress { tables: &states, names: &names, seconds, rows: compared, is_held: true });
                Ok::<(), Error>(())
            })?;
            let opened = Snapshot::open(&self.target, &self.catalog, self.feed, self.options.parallelism);
            let outcome = opened.and_then(|mut snapshot| {
                frozen = frozen.max(snapshot.frozen_for);
                let mut held = Held::begin(self.runtime, &self.source, snapshot.at, self.feed);
                history.clone_from(&held.words);
                let mut kept = Instant::now();
                let mut told = |tables: &[TableState], mismatches: &Mismatches| {
                    held.extend();
                    let seconds = begun.elapsed().as_secs_f64();
                    show(&Progress { tables, names: &names, seconds, rows: rows(tables), is_held: pace.is_held() });
                    if kept.elapsed() >= SAVE_INTERVAL {
                        kept = Instant::now();
                        self.keep(&mut saved, tables, mismatches)?;
                    }
                    Ok(())
                };
                let mut ledger = Ledger { tables: &mut states, mismatches: &mut mismatches, show: &mut told };
                let outcome = self.pass(pace).run(&mut snapshot, &mut ledger);
                snapshot.sessions.iter_mut().for_each(Session::close);
                outcome
            });
            self.keep(&mut saved, &states, &mismatches)?;
            failures = if rows(&states) > compared { 0 } else { failures };
            if let Err(Failure { error, may_pass }) = outcome {
                failures += 1;
                if !may_pass || failures >= FAILURES_MAX {
                    return Err(continued(error, saved.rows()));
                }
                std::thread::sleep(FAILURE_WAIT);
            }
        }
        let (rows, seconds) = (rows(&states), begun.elapsed().as_secs_f64());
        saved.is_finished = states.iter().all(|state| state.is_done);
        self.keep(&mut saved, &states, &mismatches)?;
        saved.mismatches = mismatches;
        let frozen_milliseconds = frozen.as_secs_f64() * 1000.0;
        Ok(Outcome { saved, order: names, seconds, rows, frozen_milliseconds, history })
    }

    /// From the beginning, or where the same comparison ended before.
    fn begin(&self) -> Result<Saved> {
        let path = &self.options.state;
        if self.options.resume
            // What is finished proves nothing of now.
            && let Some(saved) = Saved::load(path)?.filter(|saved| !saved.is_finished)
        {
            saved.must_be_of(&self.compares, path)?;
            return Ok(saved);
        }
        Ok(Saved { compares: self.compares.clone(), begun: now(), ..Saved::default() })
    }

    fn keep(&self, saved: &mut Saved, states: &[TableState], mismatches: &Mismatches) -> Result<()> {
        let names = self.pairs.iter().map(|pair| pair.name.clone());
        saved.tables = names.zip(states.iter().cloned()).collect::<BTreeMap<_, _>>();
        saved.saved = now();
        saved.mismatches = mismatches.clone();
        saved.save(&self.options.state)?;
        saved.keep_proof(&self.options.state)
    }

    fn pass<'p>(&'p self, pace: &'p Pace<'p>) -> Pass<'p> {
        Pass {
            runtime: self.runtime,
            source: &self.source,
            catalog: &self.catalog,
            pairs: &self.pairs,
            pace,
            limit: self.options.limit,
            age_max: self.options.snapshot_age_max,
        }
    }
}

/// Leaves those that are named.
fn choose(pairs: &mut Vec<Pair>, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let is_named = |pair: &Pair, name: &String| {
        pair.name == *name || pair.name.split_once('.').is_some_and(|(_, bare)| bare == name)
    };
    if let Some(unknown) = names.iter().find(|name| !pairs.iter().any(|pair| is_named(pair, name))) {
        let known: Vec<&String> = pairs.iter().map(|pair| &pair.name).collect();
        return Err(Error::new(
            code::verify::NO_SUCH_TABLE,
            format!("--tables names {unknown}, which is not replicated"),
        )
        .hint(format!("name one of: {}", listed(&known))));
    }
    pairs.retain(|pair| names.iter().any(|name| is_named(pair, name)));
    Ok(())
}

/// The error of a comparison that has come further than its beginning.
fn continued(error: Error, rows: u64) -> Error {
    if rows == 0 {
        return error;
    }
    let hint = error.hint.as_ref().map(|hint| format!("{hint}; ")).unwrap_or_default();
    error.hint(format!("{hint}then go on with ebb verify --resume"))
}

fn changed() -> Error {
    Error::new(code::table::TABLES_CHANGED, "the source's tables were changed while they were looked at")
        .hint("run the same command again")
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
