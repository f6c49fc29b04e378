//! `ebb cutback`: the steps as they come, and the verdict.
//!
//! Owns: what is printed, and asking the running ebb. Does not own: the steps (`cutback`).

use std::cell::RefCell;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::pages::Pages;
use super::report::Writer;
use super::{answer, ending, history, support_bundle, verify as shown};
use crate::code;
use crate::config::Config;
use crate::cutback::{self, Options, StepRecord};
use crate::error::{Error, visible};
use crate::mask;
use crate::report::Parts;
use crate::stage;
use crate::verify::{self, Outcome, Progress};

/// Exit codes, beside 0 for GO, 1 for a failure and 2 for wrong usage.
const NO_GO: u8 = 3;
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// A running ebb that does not answer for a moment is asked again.
const TRIES: u32 = 5;

/// Takes the steps, and prints the verdict.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the steps and the answer of the command")]
pub fn run(config: &Config, options: &Options) -> ExitCode {
    ebb_sdk::hide_values(config.log.hide_values);
    let ask = || asked(config);
    let is_ending = match ending::listen() {
        Ok(flag) => flag,
        Err(error) => return answer(Err(error)),
    };
    let is_terminal = std::io::stderr().is_terminal();
    // For the report.
    let proof: RefCell<Option<Outcome>> = RefCell::new(None);
    let prove = |until: Instant| {
        let mut last = Instant::now();
        let mut show = |progress: &Progress<'_>| {
            if is_terminal && last.elapsed() >= LINE_INTERVAL {
                last = Instant::now();
                eprint!("\r\u{1b}[2K{}", visible(&shown::line(progress), ""));
            }
        };
        let wanted = verify::Options { until: Some(until), ..options.verify.clone() };
        let outcome = verify::run(config, &wanted, (&|| None, is_ending), &mut show);
        if is_terminal {
            eprint!("\r\u{1b}[2K");
        }
        if let Ok(outcome) = &outcome {
            *proof.borrow_mut() = Some(outcome.clone());
        }
        outcome
    };
    let mut say = |step: &StepRecord| {
        let line = format!("{:<14} {:<8} {:>7.1} s  {}", step.step, step.outcome, step.seconds, step.said);
        eprintln!("{}", mask::clean(&visible(&line, "")));
    };
    let writer = options.report.as_ref().map(|wanted| Writer::new(wanted).map(|writer| (wanted, writer))).transpose();
    let outcome = writer.and_then(|writer| {
        let (record, facts) = cutback::run(config, options, (&ask, is_ending), &prove, &mut say)?;
        if let Some((wanted, writer)) = writer {
            let (proof, history) = (proof.borrow(), history_of(config));
            let parts =
                Parts { record: &record, facts: &facts, settings: &wanted.settings, proof: proof.as_ref(), history };
            eprintln!("{}", mask::clean(&visible(&writer.write(parts)?, "")));
        }
        Ok(record)
    });
    match outcome {
        Err(error) => answer(Err(error)),
        Ok(record) => {
            print!("{}", mask::clean(&if options.json { record.json() } else { record.text() }));
            if record.is_go() { ExitCode::SUCCESS } else { ExitCode::from(NO_GO) }
        }
    }
}

/// What has happened to the run: as it says itself, or, where it has ended, as its folder has it.
fn history_of(config: &Config) -> Result<Vec<Value>, String> {
    let (dir, schema) = (&config.staging.dir, &config.staging.schema);
    let told = Pages::of_run(dir, schema).ok().and_then(|(pages, _)| pages.text("/_/history"));
    let told: Option<Vec<Value>> = told.and_then(|text| serde_json::from_str(&text).ok());
    let entries = match told {
        Some(entries) => entries,
        None => history::of_folder(&stage::folder(dir, schema))
            .map_err(|error| error.message)?
            .ok_or("there is no staging folder here")?,
    };
    Ok(entries.into_iter().map(support_bundle::without_rows).collect())
}

fn asked(config: &Config) -> crate::error::Result<Value> {
    let mut tries = 1;
    loop {
        match Pages::of_run(&config.staging.dir, &config.staging.schema) {
            Ok((_, status)) => return Ok(status),
            Err(_) if tries < TRIES => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(300));
            }
            Err(error) => {
                let message =
                    format!("ebb cutback needs the ebb fetch that replicates, and it cannot be asked: {error}");
                return Err(Error::new(code::cutback::NOT_RUNNING, message)
                    .hint("start ebb fetch with the same --stagingSchema and --metrics-listen-addr, on this machine"));
            }
        }
    }
}
