//! What `ebb verify` and `ebb cutback` have found, for the status and the history of the run that it was about.
//!
//! Owns: looking at the files that they leave, and whether these are still about the run. Does not own: comparing (`verify`), cutting
//! back (`cutback`), what a proof is worth (`status`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use ebb_sdk::{DatabaseUrl, Secret};
use tokio::time::MissedTickBehavior;

use crate::config::Config;
use crate::cutback::{self, Rounds};
use crate::history::{Entry, Event, History};
use crate::status::{Status, Verification};
use crate::verify::{self, Saved};

const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Where the file is, and what it must be about.
pub(super) struct Verified {
    path: PathBuf,
    rounds: PathBuf,
    /// The tables of this run, as the target described them.
    tables: BTreeMap<String, String>,
    /// Connection strings without their passwords.
    source: Option<String>,
    target: Option<String>,
}

impl Verified {
    pub(super) fn of(config: &Config, tables: BTreeMap<String, String>) -> Self {
        let (dir, schema) = (&config.staging.dir, &config.staging.schema);
        let place = |url: &Secret| DatabaseUrl::parse(url.reveal()).ok().map(|url| url.to_string());
        let (source, target) =
            (config.source.as_ref().and_then(|source| place(&source.url)), place(&config.target.url));
        Self { path: verify::path(dir, schema), rounds: cutback::path(dir, schema), tables, source, target }
    }

    /// Goes on as long as the run.
    pub(super) async fn watch(self, status: Arc<Status>, history: History) {
        let (begun, mut noted) = (SystemTime::now(), None);
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut seen, mut seen_round) = ((None, None), None);
        loop {
            ticks.tick().await;
            let round = modified(&self.rounds);
            if round != seen_round {
                seen_round = round;
                self.look_at_round(begun, &status, &history);
            }
            let changed = (modified(&self.path), modified(&verify::proof_path(&self.path)));
            if changed == seen {
                continue;
            }
            seen = changed;
            // What cannot be read proves nothing.
            let saved = Saved::load(&self.path).ok().flatten();
            let is_new = |saved: &&Saved| saved.is_finished && saved.ended() >= begun && Some(saved.begun) != noted;
            if let Some(saved) = saved.as_ref().filter(is_new) {
                noted = Some(saved.begun);
                history.note(event(saved));
            }
            // What goes on now, or was about a part, does not take away what is proved, unless it has found a difference.
            let proof = Saved::load(&verify::proof_path(&self.path)).ok().flatten();
            let counts = match (saved, proof) {
                (Some(saved), _) if saved.differences() > 0 => Some(saved),
                (saved, proof) => proof.or(saved),
            };
            status.verification(counts.as_ref().map(|counts| self.judged(counts)));
        }
    }

    /// The last one, once it has ended while this run went on.
    fn look_at_round(&self, begun: SystemTime, status: &Status, history: &History) {
        let Some(round) = Rounds::load(&self.rounds).ok().and_then(|rounds| rounds.0.into_iter().next_back()) else {
            return;
        };
        let ended = round.ended.as_deref().and_then(|at| DateTime::parse_from_rfc3339(at).ok()).map(SystemTime::from);
        let (Some(_), Some(verdict)) = (ended.filter(|&at| at >= begun), &round.verdict) else { return };
        let text = format!("ebb cutback has ended with {verdict}{}", if round.dry_run { ", a dry run" } else { "" });
        let entry = Entry::new(Event::CutBack, text).fact("verdict", verdict.as_str()).fact("dry_run", round.dry_run);
        history.note(entry);
        let advanced = round.advanced_at().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        if let Some(at) = advanced {
            status.sequences_advanced(SystemTime::from(at));
        }
    }

    /// The same databases, and the target's tables as they were.
    fn is_about(&self, saved: &Saved) -> bool {
        let compares = &saved.compares;
        let is_source = self.source.as_ref().is_none_or(|source| *source == compares.source);
        is_source && self.target.as_ref() == Some(&compares.target) && self.tables == compares.described
    }

    fn judged(&self, saved: &Saved) -> Verification {
        let up_to = saved.tables.iter().filter(|(_, state)| state.is_equal());
        Verification {
            tables: up_to.filter_map(|(name, state)| Some((name.clone(), state.first_proved()?))).collect(),
            differences: saved.differences(),
            is_finished: saved.is_finished,
            is_whole: saved.is_whole(),
            is_of_these_tables: self.is_about(saved),
            ended: saved.ended(),
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::symlink_metadata(path).and_then(|found| found.modified()).ok()
}

fn event(saved: &Saved) -> Entry {
    let (rows, differences) = (saved.rows(), saved.differences());
    let compares = &saved.compares;
    let keys = if compares.only_keys { "the keys of " } else { "" };
    let tables = if compares.every_table { String::new() } else { format!("{} tables of ", saved.tables.len()) };
    let what = format!("{keys}{tables}both sides were compared");
    let text = match differences {
        0 => format!("{what}: {rows} rows, all equal"),
        _ => format!("{what}: {rows} rows, and {differences} differ"),
    };
    Entry::new(Event::Verified, text).fact("differences", differences).fact("rows", rows)
}
