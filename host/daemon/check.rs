//! `ebb check`: what a start would find out about both sides, found out now, and nothing changed.
//!
//! Owns: the order of the looks, what one that fails leaves unlooked at, and the form of the list. Does not own: any look itself
//! (`source`, `tables`, `receive`, `stage`).

use std::fmt::Write;
use std::io;

use ebb_sdk::{Catalog, ConcernKind, TableIndex};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::{running, survey};
use crate::changefeed;
use crate::code::{self, Code};
use crate::config::{Config, InitialScan};
use crate::error::{Error, Result, visible};
use crate::findings::{Finding, Severity};
use crate::hooks::Hooks;
use crate::plugin::Session;
use crate::receive;
use crate::source::{Place, Source, advisories};
use crate::stage;
use crate::tables::{self, TableRoute};
use crate::target::Target;
use crate::threads;

/// One thing that was found.
#[derive(Debug)]
struct Found {
    /// Of the finding, else the code of the error.
    id: &'static str,
    code: Code,
    is_fatal: bool,
    subject: String,
    reason: String,
    fix: Option<String>,
}

/// All of it.
#[derive(Debug, Default)]
struct Report {
    found: Vec<Found>,
    /// What was not looked at, and why.
    unlooked: Vec<(String, String)>,
}

/// What is looked at only where both sides can be.
const BOTH: &str = "tables, columns and keys of both sides";
/// What this version does not look at in any run.
const NEVER: &[(&str, &str)] = &[
    ("the right to create a changefeed", "CockroachDB tells when it is created: docs/rights.md"),
    ("CockroachDB's licence", "an expired one keeps changefeeds from being created, or slows them"),
    ("whether CockroachDB's nodes reach the receiver", "the first request shows it: docs/firewall.md"),
    ("what the staging folder of an earlier run holds", "a start reads it: docs/move.md"),
    ("writers that are idle at this moment", "nothing but ebb may write to the tables"),
    ("the contents of the tables", "ebb verify compares them: docs/verify.md"),
];

/// Looks at everything. The text is the answer, on whatever came of it; the second part says whether a start would succeed.
pub fn run(config: &Config, json: bool) -> Result<(String, bool)> {
    let runtime = threads::runtime(Builder::new_multi_thread().worker_threads(1))?;
    let report = runtime.block_on(look(config));
    let is_good = !report.found.iter().any(|found| found.is_fatal);
    Ok((if json { report.json() } else { report.text() }, is_good))
}

async fn look(config: &Config) -> Report {
    let mut report = Report::default();
    report.note("receiver", receive::check_certificates(&config.receiver));
    report.note("staging", check_staging(config).map(|()| survey::room(&config.staging)));
    let is_running = running::has_folder(config);
    if is_running {
        let reason = "this run is going on now: another ebb has its staging folder, and a second start is refused";
        report.warn(code::staging::FOLDER_IN_USE, "staging", reason.to_owned());
    } else {
        for outcome in running::ports(config).await {
            report.keep("this machine", outcome);
        }
    }
    report.keep("hooks", Hooks::open(&config.hooks, &config.staging.schema));
    let source = match &config.source {
        Some(settings) => report.keep("source", Source::connect(settings).await),
        None => None,
    };
    if let Some(source) = &source {
        let scans = config.changefeed.as_ref().is_some_and(|settings| settings.initial_scan != InitialScan::No);
        for warning in advisories::warnings(source.version(), scans) {
            report.warn(code::source::ADVISORY, "source", warning);
        }
        report.advise("source", "the clock of CockroachDB", survey::clock(source).await);
        report.advise("source", "jobs that keep the history of the source", survey::retained(source).await);
        if let Some(settings) = &config.changefeed
            && !stage::folder(&config.staging.dir, &config.staging.schema).exists()
        {
            report.keep("source", changefeed::refuse_any(source, settings).await);
        }
    }
    let target = report.keep("target", tokio::task::block_in_place(|| connect(config, source.is_some())));
    match (source, target) {
        (Some(source), Some((target, mut session, catalog))) => {
            let progress = tokio::task::block_in_place(|| session.progress(&config.staging.schema));
            let progress = report.keep("target", progress.map_err(Error::from));
            if let Some(Some(progress)) = progress.filter(|_| !is_running) {
                let alone = || running::nobody_else_is_alive(&mut session, config, progress.writer);
                report.keep("target", tokio::task::block_in_place(alone));
            }
            let matched = report.keep("tables", tables::matched(config, Some(&source), &catalog).await);
            let asked = Some((&mut session, &target.connect));
            let judged = matched.map(|matched| tokio::task::block_in_place(|| matched.judge(&catalog, asked)));
            let judged = judged.and_then(|judged| report.keep("tables", judged));
            let (routes, findings) = judged.unwrap_or_default();
            report.note("tables", Ok(findings.into_list()));
            report.survey(&source, &mut session, &routes, progress.is_some()).await;
        }
        (Some(source), None) => {
            report.keep("source", source.check_rangefeeds().await);
            report.skip(BOTH, "the target could not be looked at");
        }
        (None, Some(_)) => report.skip(BOTH, "the source could not be looked at"),
        (None, None) => report.skip(BOTH, "neither side could be looked at"),
    }
    NEVER.iter().for_each(|(what, why)| report.skip(what, why));
    report
}

fn connect(config: &Config, source_is_known: bool) -> Result<(Target, Session, Catalog)> {
    let mut target = Target::load(&config.target)?;
    target.connect.source_is_known = source_is_known;
    let mut session = target.session()?;
    let catalog = session.describe()?;
    Ok((target, session, catalog))
}

/// The folder itself is not opened: a running ebb has it.
fn check_staging(config: &Config) -> Result<()> {
    let folder = stage::folder(&config.staging.dir, &config.staging.schema);
    let there = stage::place::there(&folder);
    stage::place::check(&there, config.staging.unsafe_filesystem)?;
    let usable = match there.is_dir() {
        true => rustix::fs::access(&there, rustix::fs::Access::WRITE_OK).map_err(io::Error::from),
        false => Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a directory", there.display()))),
    };
    usable.map_err(|error| {
        Error::new(
            code::staging::FOLDER_UNUSABLE,
            format!("the staging folder {} cannot be used: {error}", folder.display()),
        )
        .hint("choose a folder on a local disk that this user may write, with --staging-dir or EBB_STAGING_DIR")
    })
}

impl Report {
    /// What no start would refuse.
    async fn survey(&mut self, source: &Source, session: &mut Session, routes: &[TableRoute], has_progress: bool) {
        let positions: Vec<TableIndex> = routes.iter().map(|route| route.position).collect();
        let places: Vec<Place> = routes.iter().filter_map(|route| route.source.clone()).collect();
        let seen = tokio::task::block_in_place(|| survey::target(session, &positions));
        let what = "whether the target takes writes, its sequences, other writers and statistics";
        if let Some(seen) = self.optional(what, seen) {
            // What keeps the progress row from being read has been said.
            let concerns = seen.concerns.into_iter().filter(|seen| has_progress || seen.kind != ConcernKind::OwnTables);
            self.note("target", Ok(concerns.map(survey::finding).collect()));
            seen.unlooked.iter().for_each(|unlooked| self.skip(&unlooked.what, &unlooked.why));
        }
        let (found, rest) = survey::history(source, &places).await;
        self.note("source", Ok(found));
        self.optional("for how long CockroachDB keeps the history of the tables, or of the rest of them", rest);
    }

    fn skip(&mut self, what: &str, why: &str) {
        self.unlooked.push((what.to_owned(), why.to_owned()));
    }

    /// A look that says nothing about a start: one that fails is left out, and said.
    fn optional<T>(&mut self, what: &str, outcome: Result<T>) -> Option<T> {
        outcome.map_err(|error| self.skip(what, &error.message)).ok()
    }

    fn advise(&mut self, subject: &str, what: &str, outcome: Result<Vec<Finding>>) {
        let found = self.optional(what, outcome);
        self.note(subject, Ok(found.unwrap_or_default()));
    }

    fn note(&mut self, subject: &str, outcome: Result<Vec<Finding>>) {
        for finding in self.keep(subject, outcome).into_iter().flatten() {
            self.found.push(Found {
                id: finding.id.name(),
                code: finding.id.code(),
                is_fatal: finding.severity < Severity::Warning,
                subject: finding.subject,
                reason: finding.reason,
                fix: finding.fix,
            });
        }
    }

    /// What came of a look, where it succeeded.
    fn keep<T>(&mut self, subject: &str, outcome: Result<T>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(Error { code, message, hint, .. }) => {
                let (subject, id) = (subject.to_owned(), code.text());
                self.found.push(Found { id, code, is_fatal: true, subject, reason: message, fix: hint });
                None
            }
        }
    }

    fn warn(&mut self, code: Code, subject: &str, reason: String) {
        let (subject, id) = (subject.to_owned(), code.text());
        self.found.push(Found { id, code, is_fatal: false, subject, reason, fix: None });
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for found in self.sorted() {
            let severity = if found.is_fatal { "FATAL" } else { "warning" };
            let line = |name: &str, value: &str| format!("{name:<9}{}\n", visible(value, "").trim());
            text += &line(severity, &format!("{} [{}]", found.reason, found.code));
            text += &found.fix.as_deref().map(|fix| line("  fix:", fix)).unwrap_or_default();
        }
        let fatal = self.found.iter().filter(|found| found.is_fatal).count();
        let warnings = self.found.len() - fatal;
        // Writing to a String does not fail.
        let noun = if warnings == 1 { "warning" } else { "warnings" };
        let _ = writeln!(text, "{fatal} fatal, {warnings} {noun}\n\nnot looked at:");
        for (what, why) in &self.unlooked {
            let _ = writeln!(text, "  {what}: {}", visible(why, ""));
        }
        text
    }

    fn json(&self) -> String {
        let found = |found: &Found| -> Value {
            json!({
                "id": found.id,
                "error_code": found.code.text(),
                "severity": if found.is_fatal { "fatal" } else { "warning" },
                "subject": found.subject,
                "reason": found.reason,
                "fix": found.fix,
            })
        };
        let unlooked = self.unlooked.iter().map(|(what, why)| json!({ "what": what, "why": why }));
        let all = json!({
            "findings": self.sorted().into_iter().map(found).collect::<Vec<_>>(),
            "not_checked": unlooked.collect::<Vec<_>>(),
        });
        format!("{all:#}\n")
    }

    /// The fatal ones first.
    fn sorted(&self) -> Vec<&Found> {
        let mut found: Vec<&Found> = self.found.iter().collect();
        found.sort_by_key(|found| !found.is_fatal);
        found
    }
}
