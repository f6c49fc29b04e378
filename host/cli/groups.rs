//! How help shows the flags of `fetch` and `start`: ten of them on one screen with `-h`, all of them under headings with
//! `--help`.
//!
//! Owns: which heading a flag stands under, and which flags `-h` shows with which short text. Does not own: the flags
//! (`flags`, `replicator`), and the texts around them (`help`).

use clap::{Arg, Command};

use super::help;

/// Headings and their flags; a flag of neither stands under "Options".
const HEADINGS: &[(&str, &[&str])] = &[
    (
        "Connections",
        &[
            "source",
            "target",
            "sourceConn",
            "targetConn",
            "target-plugin",
            "plugin-dir",
            "plugin-path",
            "allow-tls-mode-disable",
            "target-wait",
        ],
    ),
    (
        "Tables",
        &[
            "table-filter",
            "table-exclusion-filter",
            "schema-filter",
            "new-tables",
            "case-sensitive",
            "ignore-columns",
            "allow-rounding",
        ],
    ),
    ("Changefeed", &["changefeeds-path", "cursor", "on-exit"]),
    (
        "Who may write",
        &[
            "bindAddr",
            "tlsCertificate",
            "tlsPrivateKey",
            "tlsSelfSigned",
            "tlsClientCA",
            "tlsClientCRL",
            "webhook-auth-header",
            "jwt-public-keys",
            "jwt-revoked-ids",
            "disableAuthentication",
        ],
    ),
    (
        "Staging",
        &[
            "stagingSchema",
            "staging-dir",
            "staging-unsafe-filesystem",
            "staging-max-bytes",
            "take-over",
            "retireOffset",
        ],
    ),
    ("Apply", &["apply-only", "triggers", "on-row-error", "applyTimeout", "gracePeriod"]),
    (
        "Tuning",
        &[
            "httpResponseTimeout",
            "retryInitialBackoff",
            "retryMaxBackoff",
            "transaction-rows-max",
            "transaction-bytes-max",
            "body-bytes-max",
            "in-flight-bytes-max",
            "connections-max",
            "untrusted-connections-max",
            "header-bytes-max",
            "handshake-timeout",
            "idle-timeout",
            "body-idle-timeout",
            "body-timeout",
        ],
    ),
    ("Hooks", &["hook", "hook-timeout", "stalled-after"]),
    (
        "Log",
        &[
            "log-values",
            "logging",
            "log-file",
            "use-console-writer",
            "log-format",
            "verbose",
            "logDestination",
            "metrics-listen-addr",
            "metricsAddr",
            "metricsAuth",
            "metricsTls",
        ],
    ),
];

/// What `ebb fetch -h` shows.
const OF_FETCH: &[(&str, &str)] = &[
    ("source", "CockroachDB"),
    ("target", "The database that was migrated from"),
    ("mode", "failback"),
    ("table-filter", "Tables to replicate: a regular expression on the name"),
    ("changefeeds-path", "Settings of the changefeed, as `ebb certs` writes them"),
    ("cursor", "Where a new run begins [default: now]"),
    ("replicator-flags", "Flags of `ebb start`, such as --stagingSchema, in one text"),
    ("config", "TOML file with settings under the names of the flags"),
    ("non-interactive", "Ask nothing"),
    ("on-exit", "The changefeed at the end: leave, pause or cancel"),
];

/// What `ebb start -h` shows.
const OF_START: &[(&str, &str)] = &[
    ("targetConn", "The database that was migrated from"),
    ("sourceConn", "CockroachDB, to read the order of primary keys"),
    ("bindAddr", "Address to listen on [default: :26258]"),
    ("stagingSchema", "Name of the run's staging; give it again to resume"),
    ("staging-dir", "Folder of the staging store"),
    ("tlsCertificate", "Certificate of the receiver, as `ebb certs` makes it"),
    ("tlsPrivateKey", "Its private key"),
    ("tlsClientCA", "Authority that clients must have a certificate of"),
    ("metricsAddr", "Address of the pages for health, metrics and status"),
    ("config", "TOML file with settings under the names of the flags"),
];

fn of_command(name: &str) -> Option<&'static [(&'static str, &'static str)]> {
    match name {
        "fetch" => Some(OF_FETCH),
        "start" => Some(OF_START),
        _ => None,
    }
}

fn heading(arg: &Arg) -> Option<&'static str> {
    let long = arg.get_long()?;
    HEADINGS.iter().find(|(_, flags)| flags.contains(&long)).map(|(heading, _)| *heading)
}

/// Every flag of `fetch` and `start` under its heading.
pub(super) fn under_headings(command: Command) -> Command {
    command.mut_subcommands(|command| match of_command(command.get_name()) {
        Some(_) => command.mut_args(|arg| match heading(&arg) {
            Some(heading) => arg.help_heading(heading),
            None => arg,
        }),
        None => command,
    })
}

/// The flags of `fetch` and `start` that matter, and where the rest is.
pub(super) fn on_one_screen(command: Command) -> Command {
    command.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        let Some(shown) = of_command(&name) else { return command };
        let short = |arg: Arg| {
            let long = arg.get_long().unwrap_or_default().to_owned();
            let Some((_, text)) = shown.iter().find(|(flag, _)| *flag == long) else { return arg.hide(long != "help") };
            let takes_value = arg.get_action().takes_values();
            let arg = arg.help_heading(None::<&str>).help(*text).hide_env(true);
            if takes_value { arg.hide_possible_values(true).hide_default_value(true) } else { arg }
        };
        command.mut_args(short).after_help(help::more(&name))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::flags::Cli;

    const UNDER_OPTIONS: [&str; 5] = ["mode", "replicator-flags", "non-interactive", "config", "help"];

    fn help(name: &str, change: impl Fn(Command) -> Command, is_long: bool) -> String {
        let mut cli = change(Cli::command());
        cli.build();
        let command = cli.find_subcommand_mut(name).unwrap();
        if is_long { command.render_long_help().to_string() } else { command.render_help().to_string() }
    }

    #[test]
    fn every_flag_has_a_heading() {
        let cli = Cli::command();
        let mut known = Vec::new();
        for name in ["fetch", "start"] {
            let longs = cli.find_subcommand(name).unwrap().get_arguments().filter_map(Arg::get_long);
            known.extend(longs);
        }
        for long in &known {
            let headings = HEADINGS.iter().filter(|(_, flags)| flags.contains(long)).count();
            assert_eq!(headings, usize::from(!UNDER_OPTIONS.contains(long)), "{long}");
        }
        let headed = HEADINGS.iter().flat_map(|(_, flags)| flags.iter());
        let shown = OF_FETCH.iter().chain(OF_START).map(|(long, _)| long);
        headed.chain(shown).for_each(|long| assert!(known.contains(long), "{long}"));
    }

    #[test]
    fn short_help_is_one_screen_and_names_what_is_mandatory() {
        for (name, mandatory) in
            [("fetch", "--source <URL> --target <URL> --mode failback"), ("start", "--targetConn <URL>")]
        {
            let text = help(name, on_one_screen, false);
            assert!(text.lines().count() <= 24, "{} lines:\n{text}", text.lines().count());
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
            for part in [mandatory, "--help", "ebb man"] {
                assert!(text.contains(part), "{part} is not in\n{text}");
            }
        }
    }

    #[test]
    fn long_help_is_whole_with_examples_first() {
        let text = help("start", under_headings, true);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is not in\n{text}"));
        assert!(at("Example:") < at("\nConnections:") && at("\nStaging:") < at("\nTuning:"));
        let all = help("fetch", under_headings, true);
        assert!(!text.contains("--parallelism") && !all.contains("--table-handling"), "{all}");
        for (heading, _) in &HEADINGS[..3] {
            assert!(all.contains(&format!("\n{heading}:\n")), "{heading}");
        }
    }
}
