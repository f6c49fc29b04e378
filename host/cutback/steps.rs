//! The steps from a run that goes on to an application that may start on the target.
//!
//! Owns: what each looks at, waits for or does. Does not own: their order and their record (`mod`).
//!
//! Each may be done again: whatever a crash has left half done is looked at from the beginning.

mod target;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ebb_sdk::{TableIndex, Timestamp};
use tokio::runtime::Handle;

use super::criteria::{Criteria, Judged};
use super::record::{Record, SEQUENCES};
use super::sides::{Ask, Seen, Sides};
use super::{Options, Verify};
use crate::config::Config;
use crate::error::{Result, listed};
use crate::history::{Entry, Event};
use crate::hooks::Hooks;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// In their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Preconditions,
    Quiet,
    FinalTime,
    Drain,
    Proof,
    Triggers,
    Consent,
    Sequences,
    Analyze,
    LateWriters,
    Changefeed,
}

impl Step {
    pub(super) const ALL: [Self; 11] = [
        Self::Preconditions,
        Self::Quiet,
        Self::FinalTime,
        Self::Drain,
        Self::Proof,
        Self::Triggers,
        Self::Consent,
        Self::Sequences,
        Self::Analyze,
        Self::LateWriters,
        Self::Changefeed,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Preconditions => "preconditions",
            Self::Quiet => "quiet",
            Self::FinalTime => "final time",
            Self::Drain => "drain",
            Self::Proof => "proof",
            Self::Triggers => "triggers",
            Self::Consent => "consent",
            Self::Sequences => SEQUENCES,
            Self::Analyze => "analyze",
            Self::LateWriters => "late writers",
            Self::Changefeed => "changefeed",
        }
    }
}

/// What came of a step.
pub(super) enum Came {
    Passed(String),
    /// What it would have done.
    Would(String),
    Failed(String),
}

/// Everything that the steps share.
pub(super) struct Work<'a> {
    pub(super) runtime: &'a Handle,
    pub(super) config: &'a Config,
    pub(super) options: &'a Options,
    pub(super) criteria: &'a Criteria,
    pub(super) hooks: &'a Hooks,
    pub(super) ask: Ask<'a>,
    /// Somebody wants it to end.
    pub(super) is_ending: &'a AtomicBool,
    pub(super) verify: Verify<'a>,
    pub(super) sides: Sides,
    pub(super) deadline: Instant,
    /// What the running ebb said once nothing came any more.
    pub(super) quiet: Option<Seen>,
    pub(super) final_time: Option<Timestamp>,
    /// What the target said of each table before it was compared.
    pub(super) written: Vec<Option<String>>,
}

impl Work<'_> {
    pub(super) fn take(&mut self, step: Step, record: &mut Record) -> Result<Came> {
        match step {
            Step::Preconditions => self.preconditions(record),
            Step::Quiet => self.quiet(record),
            Step::FinalTime => self.final_time(record),
            Step::Drain => self.drain(),
            Step::Proof => self.proof(record),
            Step::Triggers => self.triggers(record),
            Step::Consent => Ok(self.consent()),
            Step::Sequences => self.sequences(record),
            Step::Analyze => self.analyze(record),
            Step::LateWriters => self.late_writers(record),
            Step::Changefeed => self.changefeed(),
        }
    }

    fn status(&self) -> Result<Seen> {
        (self.ask)().map(Seen)
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline || self.is_ending.load(Ordering::Relaxed)
    }

    fn time_is_up(&self, waiting: &str) -> Came {
        if self.is_ending.load(Ordering::Relaxed) {
            return Came::Failed(format!("it was interrupted: {waiting}"));
        }
        Came::Failed(format!("the time limit of {} s is up: {waiting}", self.criteria.time_limit_seconds))
    }

    fn preconditions(&mut self, record: &mut Record) -> Result<Came> {
        let seen = self.status()?;
        let (lag, limit) = (seen.lag(), self.criteria.max_lag_seconds);
        let is_near = lag.is_some_and(|lag| lag <= Duration::from_secs(limit));
        let shown = lag.map(|lag| format!("{:.1} s", lag.as_secs_f64()));
        record.criteria.push(Judged::new("lag when it begins", &format!("{limit} s"), shown.clone(), is_near));
        let mut hindrances = seen.hindrances();
        if !is_near {
            let behind = shown.unwrap_or_else(|| "nobody knows how far".into());
            hindrances.push(format!("the target is behind ({behind}), and max_lag_seconds is {limit}"));
        }
        Ok(match hindrances.is_empty() {
            true => Came::Passed("ebb runs, and nothing holds it up".into()),
            false => Came::Failed(hindrances.join("; ")),
        })
    }

    /// Nothing has come for so long, by the time of CockroachDB: its resolved timestamp moves and no row comes.
    fn quiet(&mut self, record: &mut Record) -> Result<Came> {
        let wanted = Duration::from_secs(self.criteria.quiet_seconds);
        let limit = format!("{} s", wanted.as_secs());
        let mut first = self.status()?;
        let mut changed = Vec::new();
        let quiet = loop {
            let now = self.status()?;
            if let Some(why) = now.hindrances().into_iter().next() {
                return Ok(Came::Failed(why));
            }
            if now.received() != first.received() || now.running() < first.running() {
                changed = now.changed_since(&first);
                first = now;
            } else if since(&first, &now) >= wanted {
                break Some(now);
            }
            if self.is_late() {
                break None;
            }
            std::thread::sleep(LOOK_INTERVAL);
        };
        record.criteria.push(Judged::new(
            "CockroachDB is quiet",
            &limit,
            quiet.as_ref().map(|now| format!("{:.0} s", since(&first, now).as_secs_f64())),
            quiet.is_some(),
        ));
        let Some(now) = quiet else {
            let waiting = match changed.is_empty() {
                true => "no later resolved timestamp has come from CockroachDB".to_owned(),
                false => format!("rows still come from CockroachDB, last of {}; {}", listed(&changed), self.writers()),
            };
            return Ok(self.time_is_up(&waiting));
        };
        self.quiet = Some(now);
        Ok(Came::Passed(format!("no row has come for {} s", wanted.as_secs())))
    }

    /// Sessions of CockroachDB but ebb's. One between two statements may have a transaction open.
    fn writers(&self) -> String {
        const SQL: &str = "SELECT user_name, application_name, client_address, active_queries <> '' \
             FROM [SHOW CLUSTER SESSIONS] WHERE application_name IS DISTINCT FROM 'ebb' ORDER BY 4 DESC, 1, 2, 3";
        match self.runtime.block_on(self.sides.source.rows(SQL)) {
            Ok(rows) => {
                let one = |row: &crate::source::AnswerRow| {
                    let text = |at| row.get(at).unwrap_or_default();
                    session([text(0), text(1), text(2)], text(3).starts_with('t'))
                };
                sessions(&rows.iter().map(one).collect::<Vec<_>>())
            }
            Err(error) => format!("its sessions could not be listed ({})", error.message),
        }
    }

    fn final_time(&mut self, record: &mut Record) -> Result<Came> {
        let at = self.runtime.block_on(self.sides.source.now())?;
        self.final_time = Some(at);
        record.final_time = Some(at.to_string());
        Ok(Came::Passed(format!("everything on CockroachDB was committed by {at}")))
    }

    fn drain(&mut self) -> Result<Came> {
        let Some(until) = self.final_time else { return Ok(Came::Failed("there is no final time".into())) };
        loop {
            let seen = self.status()?;
            if let Some(why) = seen.hindrances().into_iter().next() {
                return Ok(Came::Failed(why));
            }
            if seen.applied().is_some_and(|applied| applied >= until) {
                return Ok(Came::Passed("the target has every change up to then".into()));
            }
            if self.is_late() {
                return Ok(self.time_is_up("the target has not caught up"));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    fn proof(&mut self, record: &mut Record) -> Result<Came> {
        // ebb writes nothing any more: whoever does is somebody else.
        self.written = self.sides.session.written(&self.positions())?;
        let outcome = (self.verify)(self.deadline)?;
        let saved = &outcome.saved;
        let differences = saved.differences();
        if differences > 0 {
            let rows = saved.mismatches.shown.iter().take(3).map(|row| {
                let key: Vec<String> = row.key.iter().map(|(column, value)| format!("{column}={value}")).collect();
                format!("{} {} {}", row.table, key.join(", "), row.kind.name())
            });
            let rows: Vec<String> = rows.collect();
            return Ok(Came::Failed(format!("{differences} rows differ: {}; ebb verify shows them", listed(&rows))));
        }
        let unproved: Vec<String> = self
            .status()?
            .tables()
            .into_iter()
            .filter(|name| !saved.tables.contains_key(*name))
            .map(str::to_owned)
            .collect();
        if !unproved.is_empty() {
            return Ok(Came::Failed(format!(
                "the running ebb replicates tables that were not compared, {}: give the flags that it has",
                listed(&unproved)
            )));
        }
        if !saved.is_finished {
            return Ok(self.time_is_up("the tables were not compared to the end"));
        }
        let up_to = saved.tables.values().filter_map(crate::verify::TableState::first_proved).min();
        match (up_to, self.final_time) {
            (Some(at), Some(wanted)) if at >= wanted => {
                record.verified_to = Some(at.to_string());
                Ok(Came::Passed(format!("{} rows of {} tables are equal", saved.rows(), saved.tables.len())))
            }
            (None, _) => Ok(Came::Failed("no table was compared".into())),
            _ => Ok(Came::Failed("the tables were compared as of a time before the final one".into())),
        }
    }

    /// Those that ebb has dropped are put back by hand, once the run has ended.
    fn triggers(&mut self, record: &mut Record) -> Result<Came> {
        let saved = self.sides.session.saved_triggers(&self.config.staging.schema)?;
        if saved.is_empty() {
            return Ok(Came::Passed("no trigger of the target was dropped".into()));
        }
        let names: Vec<String> =
            saved.iter().map(|saved| format!("{} of {}", saved.trigger.name, saved.table)).collect();
        record.to_do.push(format!(
            "end ebb fetch, then: ebb triggers restore --stagingSchema {}",
            crate::names::word(&self.config.staging.schema)
        ));
        Ok(Came::Passed(format!("{} are to be put back: {}", saved.len(), listed(&names))))
    }

    /// The last word before anything is changed.
    fn consent(&self) -> Came {
        let entry = Entry::new(Event::CuttingBack, "both sides are equal; the target is to be prepared")
            .fact_if("decided_by", self.criteria.decided_by.as_deref())
            .fact("dry_run", self.options.dry_run);
        match self.runtime.block_on(self.hooks.ask(&entry, "cutting back")) {
            Ok(()) => Came::Passed("nobody objects".into()),
            Err(error) => Came::Failed(error.message),
        }
    }

    /// The tables of the target that somebody has written to since they were compared, as far as it tells.
    fn written_since(&mut self) -> Result<Option<String>> {
        let now = self.sides.session.written(&self.positions())?;
        let names = self.sides.tables.iter().map(|(_, name)| name);
        let changed = names.zip(self.written.iter().zip(&now)).filter(|(_, (before, now))| before != now);
        let changed: Vec<&String> = changed.map(|(name, _)| name).collect();
        Ok((!changed.is_empty())
            .then(|| format!("somebody else has written to the target since it was compared, to {}", listed(&changed))))
    }

    fn positions(&self) -> Vec<TableIndex> {
        self.sides.tables.iter().map(|(at, _)| *at).collect()
    }

    fn changefeed(&mut self) -> Result<Came> {
        // Once it is cancelled there is no way back.
        if self.is_late() {
            return Ok(self.time_is_up("the changefeed is left as it is"));
        }
        let job = self.status()?.job();
        Ok(match (self.options.end_changefeed, self.options.dry_run, job) {
            (false, ..) => Came::Passed("it is left as it is: a row that comes is still applied".into()),
            (true, _, None) => Came::Passed("ebb has not created one".into()),
            (true, true, Some(job)) => Came::Would(format!("CANCEL JOB {job}")),
            (true, false, Some(job)) => {
                self.runtime.block_on(self.sides.source.rows(&format!("CANCEL JOB {job}")))?;
                Came::Passed(format!("job {job} was cancelled, which ends ebb fetch"))
            }
        })
    }
}

fn session([user, application, address]: [&str; 3], is_at_work: bool) -> String {
    let application = if application.is_empty() { "no application name" } else { application };
    let doing = if is_at_work { "at work" } else { "between statements" };
    format!("{user} ({application}, {address}, {doing})")
}

fn sessions(all: &[String]) -> String {
    match all.is_empty() {
        true => "this user is shown no session of others, and with VIEWACTIVITY it would be shown all".into(),
        false => format!("sessions that are open: {}", listed(all)),
    }
}

/// How far the resolved timestamp has moved.
fn since(first: &Seen, now: &Seen) -> Duration {
    match (first.resolved(), now.resolved()) {
        (Some(first), Some(now)) => {
            Duration::from_nanos(u64::try_from(now.wall.saturating_sub(first.wall)).unwrap_or_default())
        }
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_without_a_name_or_between_statements_is_listed() {
        let all = [session(["app", "", "10.0.0.1:4"], false), session(["root", "psql", "10.0.0.2:4"], true)];
        assert_eq!(
            sessions(&all),
            "sessions that are open: app (no application name, 10.0.0.1:4, between statements), root (psql, 10.0.0.2:4, at work)"
        );
        assert!(sessions(&[]).contains("VIEWACTIVITY"));
    }
}
