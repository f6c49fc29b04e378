//! `ebb verify`: the comparison, with its progress on a terminal.
//!
//! Owns: what is printed while it goes on and at its end, and how far the running ebb is behind. Does not own: comparing
//! (`verify`).

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::pages::Pages;
use super::{answer, ending};
use crate::config::Config;
use crate::error::visible;
use crate::mask;
use crate::verify::{self, Options, Progress};

/// On a terminal the line is replaced as often; in a log a new one is of use less often.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// Between two rounds, so that empty tables are not compared without a pause.
const ROUND_WAIT: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(20);

/// Compares, and prints the result.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the answer of the command, and how far it is")]
pub fn run(config: &Config, options: &Options) -> ExitCode {
    ebb_sdk::hide_values(config.log.hide_values);
    let lag = || {
        let (_, status) = Pages::of_run(&config.staging.dir, &config.staging.schema).ok()?;
        status["apply_lag_seconds"].as_f64().map(Duration::from_secs_f64)
    };
    let is_terminal = std::io::stderr().is_terminal();
    let interval = if is_terminal { LINE_INTERVAL } else { LOG_INTERVAL };
    let mut shown = Instant::now();
    let mut show = |progress: &Progress<'_>| {
        if shown.elapsed() >= interval {
            shown = Instant::now();
            let line = visible(&line(progress), "");
            if is_terminal { eprint!("\r\u{1b}[2K{line}") } else { eprintln!("{line}") }
        }
    };
    let is_ending = match ending::listen() {
        Ok(flag) => flag,
        Err(error) => return answer(Err(error)),
    };
    let mut has_differed = false;
    loop {
        let outcome = verify::run(config, options, (&lag, is_ending), &mut show);
        if is_terminal {
            eprint!("\r\u{1b}[2K");
        }
        match outcome {
            Err(error) => return answer(Err(error)),
            Ok(outcome) => {
                print!("{}", mask::clean(&if options.json { outcome.json() } else { outcome.text() }));
                has_differed |= outcome.exit_code() == verify::DIFFERENT;
                wait_for_round(options.continuous, is_ending);
                if !options.continuous || is_ending.load(Ordering::Relaxed) {
                    let code = if has_differed { verify::DIFFERENT } else { outcome.exit_code() };
                    return ExitCode::from(code);
                }
            }
        }
    }
}

fn wait_for_round(is_wanted: bool, is_ending: &AtomicBool) {
    let begun = Instant::now();
    while is_wanted && begun.elapsed() < ROUND_WAIT && !is_ending.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
    }
}

/// `compared 1200000 of 4000000 rows · 61000 rows/s · 46 s left · 2 differences · public.orders`.
pub(super) fn line(progress: &Progress<'_>) -> String {
    let counted = |state: &verify::TableState| state.counts.map(|counts| counts.source);
    let compared: u64 = progress.tables.iter().map(|state| state.compared).sum();
    let total: Option<u64> = progress.tables.iter().map(counted).sum();
    let rate = if progress.seconds > 0.0 { progress.rows as f64 / progress.seconds } else { 0.0 };
    let differences: u64 = progress.tables.iter().map(|state| state.missing + state.different + state.extra).sum();
    let left = total.filter(|_| rate >= 1.0).map(|total| total.saturating_sub(compared) as f64 / rate);
    let parts = [
        Some(match total {
            Some(total) => format!("compared {compared} of {total} rows"),
            None => format!("compared {compared} rows, counting"),
        }),
        Some(format!("{rate:.0} rows/s")),
        left.map(|seconds| format!("{seconds:.0} s left")),
        Some(format!("{differences} differences")),
        progress.is_held.then(|| "waits for replication (--max-lag)".to_owned()),
        current(progress).map(str::to_owned),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// The first table that is under way.
fn current<'a>(progress: &Progress<'a>) -> Option<&'a str> {
    let mut tables = progress.tables.iter().zip(progress.names);
    tables.find(|(state, _)| state.compared > 0 && !state.is_done).map(|(_, name)| name.as_str())
}
