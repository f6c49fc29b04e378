//! The program: parses, runs, and turns the outcome into an exit code. 0 done, 1 failed, 2 wrong usage.

use std::process::ExitCode;

use ebb::cli::{self, Command};
use ebb::code;
use ebb::commands::{self, answer, certs, init, plugins, report, revoke, status, support_bundle, trace};
use ebb::config::Config;
use ebb::daemon::{self, probe};
use ebb::error::Error;
use ebb::{log, mask};

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(exit) => return exit.report(),
    };
    match command {
        Command::Run(config, warnings) => run(*config, &warnings),
        Command::Check { config, warnings, json } => check(&config, &warnings, json),
        Command::Verify { config, options, warnings } => verify(&config, &options, &warnings),
        Command::Cutback { config, options, warnings } => {
            warn(&warnings);
            commands::cutback::run(&config, &options)
        }
        Command::Status(options) => answer(status::run(&options)),
        Command::SupportBundle(options) => answer(support_bundle::make(&options)),
        Command::Trace(options) => answer(trace::run(&options)),
        Command::Plugins { dirs } => answer(Ok(plugins::list(&dirs))),
        Command::Init(options, dirs) => answer(init::run(
            &options,
            &init::Servers { source: &probe::source, target: &|url, insecure| probe::target(url, insecure, &dirs) },
        )),
        Command::Certs(options) => answer(certs::make(&options)),
        Command::Revoke(options) => answer(revoke::revoke(&options)),
        Command::MakeJwt(options) => commands::make_token(&options),
        Command::ReportKey { out } => answer(report::make_key(&out)),
        Command::VerifyReport { report: path, key } => answer(report::verify(&path, &key)),
        Command::RestoreTriggers(options) => commands::restore_triggers(&options),
        Command::Man { dir } => answer(cli::write_manual_pages(&dir).map(|()| String::new())),
        Command::Print(text) => answer(Ok(text)),
    }
}

fn run(config: Config, warnings: &[String]) -> ExitCode {
    if let Err(error) = log::init(&config.log) {
        return failed(&error);
    }
    warnings.iter().for_each(|warning| tracing::warn!(error_code = code::settings::IGNORED.text(), "{warning}"));
    match daemon::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// The result goes to standard output, and how far it is to standard error.
fn verify(config: &Config, options: &ebb::verify::Options, warnings: &[String]) -> ExitCode {
    warn(warnings);
    commands::verify::run(config, options)
}

#[expect(clippy::print_stderr, reason = "what the answer of the command does not say")]
fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning[{}]: {}", code::settings::IGNORED, mask::clean(warning));
    }
}

/// The list goes to standard output; what is found on the way stands in it, so that nothing is logged.
#[expect(clippy::print_stdout, reason = "the answer of the command")]
fn check(config: &Config, warnings: &[String], json: bool) -> ExitCode {
    warn(warnings);
    match daemon::check::run(config, json) {
        Ok((text, is_good)) => {
            print!("{}", mask::clean(&text));
            if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => answer(Err(error)),
    }
}

/// The one place where the error that ends a run is logged.
fn failed(error: &Error) -> ExitCode {
    log::failure(error);
    ExitCode::FAILURE
}
