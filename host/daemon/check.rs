//! `ebb check`: what a start would find out about both sides, found out now, and nothing changed.
//!
//! Owns: the order of the looks, what one that fails leaves unlooked at, and the form of the list. Does not own: any look itself
//! (`source`, `tables`, `receive`, `stage`).

use std::fmt::Write;
use std::path::Path;

use ebb_sdk::Catalog;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::code::{self, Code};
use crate::config::{Config, InitialScan};
use crate::error::{Error, Result, visible};
use crate::findings::{Finding, Severity};
use crate::hooks::Hooks;
use crate::plugin::Session;
use crate::receive;
use crate::source::{Source, advisories};
use crate::stage;
use crate::tables;
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
    unlooked: Vec<(&'static str, String)>,
}

/// What is looked at only where both sides can be.
const BOTH: &str = "tables, columns and keys of both sides";
/// What this version does not look at in any run.
const NEVER: &[(&str, &str)] = &[
    ("the right to create ebb_progress on the target", "a first run needs it: docs/rights.md"),
    ("the garbage collection window of the source", "see docs/source.md for how long ebb may stay down"),
    ("row-level TTL of the source's tables", "deletes that are kept from changefeeds do not arrive"),
    ("sequences and AUTO_INCREMENT of the target", "advance them when you cut back: docs/cut-back.md"),
    ("other sessions that write to the target", "nothing but ebb may write to the tables"),
    ("the contents of the tables", "compare them when you cut back: docs/cut-back.md"),
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
    report.note("staging", check_staging(config));
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
    }
    let target = report.keep("target", tokio::task::block_in_place(|| connect(config, source.is_some())));
    match (source, target) {
        (Some(source), Some((target, mut session, catalog))) => {
            let progress = tokio::task::block_in_place(|| session.progress(&config.staging.schema));
            report.keep("target", progress.map_err(Error::from));
            let matched = report.keep("tables", tables::matched(config, Some(&source), &catalog).await);
            let asked = Some((&mut session, &target.connect));
            let judged = matched.map(|matched| tokio::task::block_in_place(|| matched.judge(&catalog, asked)));
            report.note("tables", judged.map_or_else(|| Ok(Vec::new()), |judged| Ok(judged?.1.into_list())));
        }
        (Some(source), None) => {
            report.keep("source", source.check_rangefeeds().await);
            report.unlooked.push((BOTH, "the target could not be looked at".into()));
        }
        (None, Some(_)) => report.unlooked.push((BOTH, "the source could not be looked at".into())),
        (None, None) => report.unlooked.push((BOTH, "neither side could be looked at".into())),
    }
    report.unlooked.extend(NEVER.iter().map(|(what, why)| (*what, (*why).to_owned())));
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
fn check_staging(config: &Config) -> Result<Vec<Finding>> {
    let folder = stage::folder(&config.staging.dir, &config.staging.schema);
    let there = folder.ancestors().find(|place| place.is_dir()).unwrap_or_else(|| Path::new("/"));
    stage::place::check(there, config.staging.unsafe_filesystem)?;
    let writable = rustix::fs::access(there, rustix::fs::Access::WRITE_OK);
    writable.map(|()| Vec::new()).map_err(|error| {
        Error::new(
            code::staging::FOLDER_UNUSABLE,
            format!("the staging folder {} cannot be used: {error}", folder.display()),
        )
        .hint("choose a folder on a local disk that this user may write, with --staging-dir or EBB_STAGING_DIR")
    })
}

impl Report {
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
        let _ = writeln!(text, "{fatal} fatal, {warnings} warnings\n\nnot looked at:");
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
