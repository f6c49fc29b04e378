//! The command line: flags into raw types, raw types into the checked [`Config`].
//!
//! Owns: names, defaults and help of every flag, and which combinations are refused. Does not own: running.

mod duration;
mod exit;
mod flags;
mod groups;
mod help;
mod hooks;
mod ignored;
mod init;
mod layers;
mod mode;
mod nearest;
mod one_shot;
pub mod overrides;
mod replicator;
mod report;
mod resolve;
mod settings_page;
mod show;
mod size;
mod usage;
mod cutback;
mod verify;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use crate::commands::{
    certs, escape_password, explain, generate, make_jwt, man, restore_triggers, revoke, status, support_bundle, trace,
};
use crate::config::Config;
use crate::mask;
pub use exit::Exit;
use flags::{Cli, ConfigCommand, Subcommand, TriggersCommand};
use layers::Layers;

/// What the user wants.
#[derive(Debug)]
pub enum Command {
    /// Replicate; the warnings are for the log, which is not open yet.
    Run(Box<Config>, Vec<String>),
    /// Look at both sides, and change nothing.
    Check { config: Box<Config>, warnings: Vec<String>, json: bool },
    /// Compare both sides.
    Verify { config: Box<Config>, options: crate::verify::Options, warnings: Vec<String> },
    /// Go back to the target.
    Cutback { config: Box<Config>, options: Box<crate::cutback::Options>, warnings: Vec<String> },
    /// Ask a running ebb where it stands.
    Status(status::Options),
    /// Write one file for those who help.
    SupportBundle(support_bundle::Options),
    /// Say what became of one row.
    Trace(trace::Options),
    /// List the plugins in these folders and the built-in places.
    Plugins { dirs: Vec<PathBuf> },
    /// Ask for what a first run needs, and write its files; the folders are searched for plugins.
    Init(crate::commands::init::Options, Vec<PathBuf>),
    /// Make certificates.
    Certs(certs::Options),
    /// Revoke a certificate.
    Revoke(revoke::Options),
    /// Sign a token.
    MakeJwt(make_jwt::Options),
    /// Make the keys that sign reports.
    ReportKey { out: PathBuf },
    /// Say whether a report is as it was signed.
    VerifyReport { report: PathBuf, key: PathBuf },
    /// Put back triggers.
    RestoreTriggers(restore_triggers::Options),
    /// Write the manual pages into this folder.
    Man { dir: PathBuf },
    /// The answer is known already.
    Print(String),
}

/// Parses and checks everything, reading the files that flags name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Exit> {
    let args: Vec<OsString> = args.into_iter().collect();
    let words = args.get(1..).unwrap_or_default().to_vec();
    let (args, mut warnings) = without_ignored(&args)?;
    // The command line behind `config show` is parsed when it is shown.
    let has_settings = args
        .get(1)
        .is_some_and(|command| ["fetch", "check", "verify", "cutback", "start"].iter().any(|known| command == known));
    let layers = if has_settings { Layers::find(&args, &mut warnings)? } else { Layers::default() };
    let cli = layers.parse::<Cli>(args).map_err(|error| {
        let hint = usage::elsewhere(&error).or_else(|| layers.blame(&error));
        Exit::Clap(Box::new(error), hint)
    })?;
    match cli.command {
        Subcommand::Fetch(fetch) => {
            let config = resolve::fetch(&fetch, &layers, &mut warnings)?;
            let (config, warnings) = settled(config, warnings);
            Ok(Command::Run(config, warnings))
        }
        Subcommand::Start(start) => {
            let config = resolve::start(&start, &mut warnings)?;
            let (config, warnings) = settled(config, warnings);
            Ok(Command::Run(config, warnings))
        }
        Subcommand::Check(check) => {
            let (config, warnings) = settled(resolve::fetch(&check.fetch, &layers, &mut warnings)?, warnings);
            Ok(Command::Check { config, warnings, json: check.json })
        }
        Subcommand::Verify(given) => {
            let (config, warnings) = settled(resolve::fetch(&given.fetch, &layers, &mut warnings)?, warnings);
            Ok(Command::Verify { options: verify::options(&given, &config)?, config, warnings })
        }
        Subcommand::Cutback(given) => of_cutback(&given, &words, &layers, warnings),
        Subcommand::Status(given) => resolve::status(&given).map(Command::Status).map_err(Exit::from),
        Subcommand::SupportBundle(given) => {
            let settings =
                (!given.command.is_empty()).then(|| show::show(&given.command, true).map_err(|exit| exit.text()));
            resolve::support_bundle(given, settings).map(Command::SupportBundle).map_err(Exit::from)
        }
        Subcommand::Trace(given) => resolve::trace(given).map(Command::Trace).map_err(Exit::from),
        Subcommand::Plugins(plugins) => Ok(Command::Plugins { dirs: plugins.search.dirs() }),
        Subcommand::Init(given) => {
            let (options, dirs) = given.options();
            Ok(Command::Init(options, dirs))
        }
        Subcommand::Certs(flags::Certs { revoke: Some(certificate), out, .. }) => {
            Ok(Command::Revoke(revoke::Options { dir: out, certificate }))
        }
        Subcommand::Certs(given) => Ok(Command::Certs(one_shot::certs_options(given))),
        Subcommand::MakeJwt(given) => one_shot::make_jwt_options(given).map(Command::MakeJwt),
        Subcommand::ReportKey(given) => Ok(Command::ReportKey { out: given.out }),
        Subcommand::VerifyReport(given) => Ok(Command::VerifyReport { report: given.report, key: given.key }),
        Subcommand::Triggers(TriggersCommand::Restore(given)) => {
            mask::remember_url(&given.target);
            resolve::restore_triggers(&given).map(Command::RestoreTriggers).map_err(Exit::from)
        }
        Subcommand::EscapePassword(given) => {
            escape_password::escape(given.password).map(Command::Print).map_err(Exit::from)
        }
        Subcommand::Config(ConfigCommand::Show { json, command }) => show::show(&command, json).map(Command::Print),
        Subcommand::Completions { shell } => Ok(Command::Print(generate::completions(Cli::command(), shell))),
        Subcommand::Explain { code } => explain::explain(code.as_deref()).map(Command::Print).map_err(Exit::from),
        Subcommand::SettingsPage => settings_page::text().map(Command::Print).map_err(Exit::from),
        Subcommand::Man { dir } => Ok(Command::Man { dir }),
    }
}

/// `words` are what was written behind `ebb`, of which a report shows the settings.
fn of_cutback(
    given: &cutback::Cutback,
    words: &[OsString],
    layers: &Layers,
    mut warnings: Vec<String>,
) -> Result<Command, Exit> {
    let config = resolve::fetch(&given.fetch, layers, &mut warnings)?;
    let settings = given.report.is_some().then(|| show::of_cutback(words)).transpose()?;
    let options = Box::new(cutback::options(given, &config, settings)?);
    let (config, warnings) = settled(config, warnings);
    Ok(Command::Cutback { config, options, warnings })
}

/// From here on its secrets are masked.
fn settled(config: Config, mut warnings: Vec<String>) -> (Box<Config>, Vec<String>) {
    mask::remember(&config);
    warnings.extend(layers::unknown_variables());
    (Box::new(config), warnings)
}

/// Takes out flags of MOLT that mean nothing here.
fn without_ignored(args: &[OsString]) -> crate::error::Result<(Vec<OsString>, Vec<String>)> {
    let ignored = match args.get(1).and_then(|command| command.to_str()) {
        Some("fetch" | "check" | "verify" | "cutback") => ignored::OF_FETCH,
        Some("start") => ignored::OF_REPLICATOR,
        _ => &[],
    };
    ignored::strip(args, ignored)
}

/// Writes the manual pages of all commands, with the defaults that no settings have changed.
pub fn write_manual_pages(dir: &Path) -> crate::error::Result<()> {
    man::write(Layers::default().behind(Cli::command()), dir, &help::sections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClientCa, Identity, InitialScan, LogDestination, OnRowError};

    const SEED: &[&str] = &[
        "fetch",
        "--source",
        "postgres://root@localhost:26257/defaultdb?sslmode=verify-full",
        "--target",
        "postgres://postgres:geheim@localhost:5432/molt?sslmode=verify-full",
        "--table-filter",
        "employees",
        "--non-interactive",
        "--mode",
        "failback",
    ];

    fn run(args: &[&str]) -> Result<Command, Exit> {
        parse(std::iter::once("ebb").chain(args.iter().copied()).map(OsString::from))
    }

    fn config(more: &[&str]) -> Config {
        match run(&[SEED, more].concat()) {
            Ok(Command::Run(config, _)) => *config,
            other => panic!("{other:?}"),
        }
    }

    fn refused(args: &[&str]) -> String {
        match run(args) {
            Err(Exit::Usage(error)) => format!("{error} | {}", error.hint.as_deref().unwrap_or_default()),
            Err(Exit::Clap(error, _)) => error.to_string(),
            Ok(command) => panic!("{command:?}"),
        }
    }

    #[test]
    fn the_insecure_default_runs() {
        let config = config(&[
            "--allow-tls-mode-disable",
            "--replicator-flags",
            "--tlsSelfSigned --disableAuthentication --stagingSchema _replicator_1 --applyTimeout 1m30s -v",
        ]);
        let changefeed = config.changefeed.as_ref().unwrap();
        assert_eq!((changefeed.host.as_str(), changefeed.port), ("localhost", 30004));
        assert_eq!(changefeed.initial_scan, InitialScan::No);
        assert_eq!(config.receiver.bind_addr.port(), 30004);
        assert!(matches!(config.receiver.identity, Identity::SelfSigned));
        assert!(config.receiver.access.is_open());
        assert_eq!(config.apply.on_row_error, OnRowError::Wait);
        assert_eq!(config.staging.schema, "_replicator_1");
        assert_eq!(config.target.apply_timeout.as_secs(), 90);
        assert!(!format!("{config:?}").contains("geheim"));
    }

    #[test]
    fn every_refusal_says_what_mends_it() {
        let check = |more: &[&str], expected: &str| {
            let text = refused(&[SEED, more].concat());
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains("geheim"), "{text}");
        };
        check(&[], "--allow-tls-mode-disable");
        check(&["--allow-tls-mode-disable"], "--tlsSelfSigned");
        check(&["--allow-tls-mode-disable", "--replicator-flags", "--tlsSelfSigned"], "--disableAuthentication");
        check(&["--allow-tls-mode-disable", "--replicator-flags", "--nonsense 3"], "--nonsense");
        check(&["--allow-tls-mode-disable", "--replicator-flags", "'"], "--replicator-flags");
        check(&["--changefeeds-path", "/nowhere.json"], "/nowhere.json");
        check(&["--allow-tls-mode-disable", "--table-exclusion-filter", ".*"], "--table-exclusion-filter");
        check(&["--allow-tls-mode-disable", "--schema-filter", "("], "--schema-filter");
        let check = |flags: &str, expected: &str| {
            let flags = format!("--tlsSelfSigned --disableAuthentication {flags}");
            check(&["--allow-tls-mode-disable", "--replicator-flags", &flags], expected);
        };
        check("--applyTimeout 5", "is not a duration");
        check("--staging-max-bytes 10GX", "10GX is not a size; write 10737418240 or 10GiB");
        check("--tlsSelfSignd", "did you mean --tlsSelfSigned?");
        check("--userscript a.ts", "would change what is written");
        check("--httpResponseTimeout 0s", "--httpResponseTimeout");
        check("--bindAddr 30004", "--bindAddr is not an address: ");
        check("--bindAddr 30004", "--bindAddr as host:port or :port");
        check("--connections-max 0", "at least 1");
        check("--tlsCertificate a", "leave out --tlsSelfSigned");
        check("--tlsCertificate a --tlsSelfSigned=false", "cannot be used multiple times");
    }

    #[test]
    fn connection_strings_are_looked_at_first() {
        let check = |source: &str, target: &str, expected: &str| {
            let flags = ["--mode", "failback", "--replicator-flags", "--tlsSelfSigned --disableAuthentication"];
            let base = ["fetch", "--source", source, "--target", target, "--allow-tls-mode-disable"];
            let text = refused(&[&base[..], &flags].concat());
            assert!(text.contains(expected) && !text.contains("geheim"), "{text}");
        };
        check("other://root:geheim@h/db", "postgres://h/db", "swapped");
        check("postgres://root:geheim@h/db?nonsense=1", "postgres://h/db", "known are");
        check("postgres://root:geheim@h/db", "root:geheim@h/db", "the target: ");
    }

    /// The documented way: certificates in the file, and no word about who the receiver's clients are.
    #[test]
    fn the_secure_seed_runs_with_the_changefeeds_own_authority() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("changefeed-secure.json");
        // "-----BEGIN X>>>" in base64, URL-encoded.
        let pem = "LS0tLS1CRUdJTiBYPj4%2B";
        let query = format!("client_cert={pem}&client_key={pem}&ca_cert={pem}");
        std::fs::write(&path, serde_json::json!({ "sink_query_parameters": query }).to_string()).unwrap();
        let file = ["--changefeeds-path", path.to_str().unwrap()];
        let text = refused(&[SEED, &file].concat());
        assert!(text.contains("--tlsCertificate") && text.contains("EBB_TLS_CERTIFICATE"), "{text}");
        let flags = ["--replicator-flags", "--tlsCertificate server.crt --tlsPrivateKey server.key"];
        let config = config(&[file, flags].concat());
        assert!(matches!(config.receiver.identity, Identity::Files { .. }));
        assert!(
            matches!(&config.receiver.access.client_ca, Some(ClientCa::Changefeed(settings)) if settings.ca_cert().unwrap() == b"-----BEGIN X>>>")
        );
        assert!(!format!("{:?}", config.changefeed).contains(pem));
    }

    #[test]
    fn of_twins_the_flag_of_fetch_counts() {
        let flags = "--tlsSelfSigned --disableAuthentication --metricsAddr 127.0.0.1:1 --logDestination b.log -vv";
        let base = ["--allow-tls-mode-disable", "--replicator-flags", flags];
        let inner = config(&base);
        assert_eq!((inner.pages.unwrap().addr.port(), inner.log.level), (1, tracing::Level::TRACE));
        assert!(matches!(inner.log.destination, LogDestination::File(path) if path == Path::new("b.log")));
        let own = ["--metrics-listen-addr", "127.0.0.1:2", "--log-file", "a.log", "--logging", "warn"];
        let both = config(&[&base[..], &own].concat());
        assert_eq!((both.pages.unwrap().addr.port(), both.log.level), (2, tracing::Level::WARN));
        assert!(matches!(both.log.destination, LogDestination::File(path) if path == Path::new("a.log")));
    }

    #[test]
    fn flags_may_be_written_as_go_writes_them() {
        let flags = "--tlsSelfSigned=true --disableAuthentication=true --bindAddr=:0";
        let config = config(&[
            "--allow-tls-mode-disable=true",
            "--case-sensitive=false",
            "--log-file",
            "--use-console-writer",
            "--replicator-flags",
            flags,
        ]);
        assert!(config.target.allow_insecure && !config.target.case_sensitive);
        assert_eq!(config.receiver.bind_addr.port(), 0);
        let LogDestination::File(path) = config.log.destination else { panic!("no file") };
        assert!(path.to_str().unwrap().starts_with("fetch-"), "{path:?}");
    }

    #[test]
    fn other_modes_are_recognised_and_refused() {
        for mode in ["data-load", "data-load-and-replication", "replication-only", "export-only", "import-only"] {
            let text = refused(&["fetch", "--source", "a://b", "--target", "a://b", "--mode", mode]);
            assert!(text.contains("--mode failback"), "{text}");
        }
        assert!(refused(&["fetch", "--source", "a://b", "--target", "a://b"]).contains("--mode failback"));
        assert!(
            refused(&["fetch", "--source", "a://b", "--target", "a://b", "--mode", "x"]).contains("--mode is none")
        );
    }

    #[test]
    fn flags_without_meaning_are_accepted_with_a_warning() {
        let flags = "--tlsSelfSigned --disableAuthentication --stagingCreateSchema --parallelism 16 --scanSize=1";
        let args =
            [SEED, &["--allow-tls-mode-disable", "--table-handling", "none", "--replicator-flags", flags]].concat();
        let Ok(Command::Run(_, warnings)) = run(&args) else { panic!("refused") };
        for flag in ["--table-handling", "--stagingCreateSchema", "--parallelism", "--scanSize"] {
            assert!(warnings.iter().any(|warning| warning.contains(flag)), "{flag}: {warnings:?}");
        }
    }

    #[test]
    fn start_needs_little() {
        let args = ["start", "--targetConn", "postgres://a@b/c", "--stagingSchema", "s", "--tlsSelfSigned"];
        let args =
            [&args[..], &["--disableAuthentication", "--bindAddr", "127.0.0.1:0", "--metricsAddr", ":0"]].concat();
        let Ok(Command::Run(config, _)) = run(&args) else { panic!("refused") };
        assert!(config.changefeed.is_none() && config.source.is_none());
        assert_eq!(config.receiver.bind_addr.to_string(), "127.0.0.1:0");
        assert!(refused(&["start", "--tlsSelfSigned"]).contains("--targetConn"));
    }
}
