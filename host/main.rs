//! The program: parses, runs, and turns the outcome into an exit code. 0 done, 1 failed, 2 wrong usage.

use std::process::ExitCode;

use ebb::access::{certs, make_jwt, revoke};
use ebb::cli::{self, Command};
use ebb::error::Error;
use ebb::{daemon, log, plugin, triggers};

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(exit) => return exit.report(),
    };
    match command {
        Command::Run(config, warnings) => {
            if let Err(error) = log::init(&config.log) {
                return report(&error);
            }
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            match daemon::run(*config) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => report(&error),
            }
        }
        Command::Plugins { dirs } => list_plugins(&dirs),
        Command::Certs(order) => answer(certs::make(&order)),
        Command::Revoke(order) => answer(revoke::revoke(&order)),
        Command::MakeJwt(order) => make_token(&order),
        Command::RestoreTriggers(order) => restore(&order),
        Command::Man { dir } => answer(cli::write_man_pages(&dir).map(|()| String::new())),
        Command::Print(text) => answer(Ok(text)),
    }
}

/// For commands that say one thing and end.
#[expect(clippy::print_stdout, reason = "the answer of the command")]
fn answer(outcome: ebb::error::Result<String>) -> ExitCode {
    match outcome {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            cli::Exit::Usage(error).report();
            ExitCode::FAILURE
        }
    }
}

/// The token may go into a file or a variable, so that nothing else is on standard output.
#[expect(clippy::print_stderr, reason = "what is not the answer of the command")]
fn make_token(order: &make_jwt::Order) -> ExitCode {
    let made = make_jwt::make(order);
    if made.is_ok() {
        eprint!("{}", make_jwt::note(order));
    }
    answer(made)
}

/// What is to be read comes before the reason.
fn restore(order: &triggers::Restore) -> ExitCode {
    match triggers::restore(order) {
        Ok(text) => answer(Ok(text)),
        Err(triggers::Unrestored { review, error }) => {
            answer(Ok(review));
            answer(Err(error))
        }
    }
}

/// The one place where the error that ends a run is logged.
fn report(error: &Error) -> ExitCode {
    log::failure(error);
    ExitCode::FAILURE
}

#[expect(clippy::print_stdout, reason = "the answer of the command")]
fn list_plugins(dirs: &[std::path::PathBuf]) -> ExitCode {
    for (path, loaded) in plugin::list(dirs) {
        match loaded {
            Ok(plugin) => {
                let (info, schemes) = (&plugin.info, plugin.info.url_schemes.join(", "));
                println!("{}\t{}\t{schemes}\t{}", info.name, info.version, path.display());
            }
            Err(error) => println!("-\t-\t-\t{}\t{error}", path.display()),
        }
    }
    ExitCode::SUCCESS
}
