//! What `ebb verify` has found, for the status of the run that it was about.
//!
//! Owns: looking at the file that it leaves, and whether it is still about these tables. Does not own: comparing (`verify`), what a
//! proof is worth (`status`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;

use crate::config::Config;
use crate::history::{Entry, Event, History};
use crate::status::{Status, Verification};
use crate::verify::{self, Saved};

const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Where the file is, and what it must be about.
pub(super) struct Verified {
    path: PathBuf,
    /// The tables of this run, as the target described them.
    tables: BTreeMap<String, String>,
}

impl Verified {
    pub(super) fn of(config: &Config, tables: BTreeMap<String, String>) -> Self {
        Self { path: verify::path(&config.staging.dir, &config.staging.schema), tables }
    }

    /// Goes on as long as the run.
    pub(super) async fn watch(self, status: Arc<Status>, history: History) {
        let begun = SystemTime::now();
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            ticks.tick().await;
            let changed = std::fs::symlink_metadata(&self.path).and_then(|found| found.modified()).ok();
            if changed == seen {
                continue;
            }
            seen = changed;
            // What cannot be read proves nothing.
            let saved = Saved::load(&self.path).ok().flatten();
            if let Some(saved) = saved.as_ref().filter(|saved| saved.is_finished && saved.ended() >= begun) {
                history.note(event(saved));
            }
            status.verification(saved.as_ref().map(|saved| self.judged(saved)));
        }
    }

    fn judged(&self, saved: &Saved) -> Verification {
        let up_to = saved.tables.iter().filter(|(_, state)| state.is_equal());
        Verification {
            tables: up_to.filter_map(|(name, state)| Some((name.clone(), state.first_proved()?))).collect(),
            differences: saved.differences(),
            is_finished: saved.is_finished,
            is_whole: saved.compares.every_table && !saved.compares.only_keys,
            is_of_these_tables: self.tables == saved.compares.described,
            ended: saved.ended(),
        }
    }
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
