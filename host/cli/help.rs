//! The texts below the flags in `--help`: examples, exit codes, what else is accepted.
//!
//! Owns: these texts. Does not own: the help of single flags (`flags`, `replicator`).

use super::ignored;

pub(super) const FETCH: &str = "\
Examples:
  ebb certs
  ebb fetch \\
    --source 'postgres://root@localhost:26257/defaultdb?sslmode=verify-full' \\
    --target 'postgres://postgres:postgres@localhost:5432/molt?sslmode=verify-full' \\
    --table-filter 'employees' --non-interactive \\
    --replicator-flags \"--stagingSchema _replicator_1739996035106984000\" \\
    --mode failback --changefeeds-path 'changefeed-secure.json'

  On one machine, for a trial, without certificates:
  ebb fetch --mode failback --source … --target … --allow-tls-mode-disable \\
    --replicator-flags '--tlsSelfSigned --disableAuthentication'

What --replicator-flags may hold: ebb start --help.";

pub(super) const START: &str = "\
Example:
  ebb start --targetConn 'postgres://app@db:5432/molt?sslmode=verify-full' \\
    --stagingSchema _replicator_1 --bindAddr :30004 --metricsAddr 127.0.0.1:30005 \\
    --tlsCertificate certs/server.crt --tlsPrivateKey certs/server.key --tlsClientCA certs/ca.crt

  and on CockroachDB, with the time from SELECT cluster_logical_timestamp():
  CREATE CHANGEFEED FOR TABLE employees
    INTO 'webhook-https://HOST:30004/molt/public?client_cert=…&client_key=…&ca_cert=…'
    WITH updated, resolved = '1s', min_checkpoint_frequency = '1s', initial_scan = 'no',
      cursor = '…', webhook_client_timeout = '10s',
      webhook_sink_config = '{\"Flush\":{\"Bytes\":1048576,\"Frequency\":\"1s\"}}';";

pub(super) const LAYERS: &str = "\
A setting comes from its flag, else from its variable of the environment, else from the file of
--config (the flag's name is the key; the table [changefeed] may stand for --changefeeds-path), else
it has its default. ebb config show tells which.
Exit codes: 0 after SIGTERM or ctrl-c, and once --apply-only has applied everything that is
complete; 1 after a failure, also where a signal ended --apply-only before that; 2 for wrong usage.
Signals: SIGTERM and ctrl-c end the run in an orderly way, a second one at once; SIGHUP reads
certificates and keys again, and has a refused row tried again.";

pub(super) const CHECK: &str = "\
Examples:
  ebb check --config ebb.toml       what would keep ebb fetch from starting, or stop it later
  ebb check --json --config ebb.toml | jq .findings

What was not looked at stands at the end of the list.
Exit codes: 0 when nothing fatal was found, 1 when something is fatal, 2 for wrong usage.";

pub(super) const VERIFY: &str = "\
Examples:
  ebb verify --config ebb.toml                     every row of every table that is replicated
  ebb verify --config ebb.toml --only-keys         rows that are missing or too many, quicker
  ebb verify --config ebb.toml --tables orders,customers --rate 20000
  ebb verify --config ebb.toml --resume            goes on where it was interrupted
  ebb verify --config ebb.toml --continuous --rate 20000   round after round, for ebb status
  ebb verify --config ebb.toml --json | jq .verdict

It takes the flags, settings and files of ebb fetch, needs no running ebb, and writes to neither
side.
Exit codes: 0 when both sides are equal, 1 after a failure, 2 for wrong usage, 3 when rows differ,
4 when it was interrupted before a difference was found.";

pub(super) const CUTBACK: &str = "\
Examples:
  ebb cutback --config ebb.toml --dry-run          every step, and nothing is changed
  ebb cutback --config ebb.toml --criteria night.toml --report cutback.json \\
    --report-html cutback.html --sign-key report.key

Stop the application first, and let ebb fetch go on. It may be run again at any time: after a NO-GO
or a crash everything is as it was, or done already.
Exit codes: 0 for GO, 1 after a failure, 2 for wrong usage, 3 for NO-GO.";

pub(super) const TRACE: &str = "\
Examples:
  ebb trace employees 7 --stagingSchema _replicator_1                 the row with id 7
  ebb trace public.prices '[7,\"EUR\"]' --stagingSchema _replicator_1   a key of two columns

Each version of the row that is staged or remembered is listed with the time of its transaction.
Values are not shown.
Exit codes: 0 when the folder could be read, whatever it holds; 1 when not; 2 for wrong usage.";

pub(super) const SUPPORT_BUNDLE: &str = "\
Examples:
  ebb support-bundle --stagingSchema _replicator_1 --log ebb.log -- fetch --config ebb.toml

It may be made while ebb runs and after it has ended.
Exit codes: 0 when the file is written, 1 when not, 2 for wrong usage.";

pub(super) const STATUS: &str = "\
Examples:
  ebb status                                   the run of this machine, on 127.0.0.1:3030
  ebb status --stagingSchema _replicator_1     the run of that staging schema, wherever it serves
  ebb status --metricsAddr ebb.example.com:3030 --metricsAuth pages.auth --metricsCA certs/ca.crt
                                               a run on another machine, over HTTPS
  ebb status --watch                           again every second
  ebb status --tables                          also the rows of each table
  ebb status --json | jq .reasons              for a script: what is against cutting back
  ebb status --history --stagingSchema NAME    what has happened to that run, also while no ebb runs

Exit codes: 0 when an ebb has answered, whatever it said, or the folder has a history; 1 otherwise;
2 for wrong usage.";

pub(super) const INIT: &str = "\
Examples:
  ebb init                                     asks, and tries every connection
  ebb init --yes --source 'postgres://…' --target 'postgres://…' --tables '^employees$' \\
    --host ebb.example.com

Then: ebb fetch --config ebb.toml";

pub(super) const CERTS: &str = "\
Examples:
  ebb certs                                    for one machine
  ebb certs --host ebb.example.com --days 90   CockroachDB reaches the receiver under that name
  ebb certs --renew                            new certificates of the same authority and hosts
  ebb certs --revoke certs/client.crt          adds it to certs/revoked.crl (--tlsClientCRL)

A running ebb takes up new certificates by itself. ebb fetch finds certs/server.crt and
certs/server.key when it is started in the same folder. Keep ca.key away from the receiver:
whoever has it can make certificates that may write.
Exit codes: 0 when the files are written, 1 when not, 2 for wrong usage.";

pub(super) const MAKE_JWT: &str = "\
Examples:
  ebb make-jwt --new-key jwt.key --allow molt.public --out changefeed.jwt
  ebb start … --jwt-public-keys jwt.key.pub
  CREATE CHANGEFEED … WITH webhook_auth_header = 'Bearer <the token>', …

  with a key that is there:
  ebb make-jwt -k ec.key -a ycsb.public -o out.jwt";

pub(super) const REPORT_KEY: &str = "\
Examples:
  ebb report-key --out report.key
  ebb cutback … --report cutback.json --sign-key report.key
  ebb verify-report cutback.json --key report.key.pub

Exit codes: 0 when both files are written, 1 when not, 2 for wrong usage.";

pub(super) const VERIFY_REPORT: &str = "\
Examples:
  ebb verify-report cutback.json --key report.key.pub
  ebb verify-report cutback.html --key report.key.pub

It reads the report and its signature, cutback.json.sig, and needs no server. Take the public key
from who has signed, and not from where the report was.
Exit codes: 0 when the report is as it was signed by this key, 1 when not, 2 for wrong usage.";

pub(super) const TRIGGERS_RESTORE: &str = "\
Example:
  ebb triggers restore --target 'postgres://postgres@db:5432/molt?sslmode=verify-full' \\
    --stagingSchema _replicator_1

End the run first. The definitions are in the run's staging folder and in the target (table
ebb_triggers); a trigger that is there already stays as it is. Others may be able to write to that
table, so that only the folder proves which of its records are ebb's: without the folder, or where a
record is not ebb's, the statements are printed to be read and nothing is run.
Exit codes: 0 when no trigger is missing any more, 1 after a failure or when nothing was run, 2 for
wrong usage.";

pub(super) const TRIGGERS: &str = "\
Example:
  ebb triggers restore --target 'postgres://postgres@db:5432/molt?sslmode=verify-full' \\
    --stagingSchema _replicator_1

Exit codes: 0 when no trigger is missing any more, 1 after a failure or when nothing was run, 2 for
wrong usage.";

pub(super) const EXPLAIN: &str = "\
Examples:
  ebb explain EBB-T014       cause and remedy of one code
  ebb explain c010           EBB- and capitals may be left out
  ebb explain D              the codes of staging
  ebb explain                the letters

Exit codes: 0 when the code is known, 1 when not, 2 for wrong usage.";

pub(super) const ESCAPE_PASSWORD: &str = "\
Examples:
  ebb escape-password --password 'a$52&'
  ebb escape-password < password.txt";

pub(super) const CONFIG_SHOW: &str = "\
Examples:
  ebb config show fetch --config ebb.toml
  ebb config show --json start --targetConn postgres://app@db/molt --tlsSelfSigned \\
    --disableAuthentication

Exit codes: 0 when the command could run with these settings, 2 when not.";

pub(super) const COMPLETIONS: &str = "\
Examples:
  ebb completions bash > /etc/bash_completion.d/ebb
  ebb completions zsh > \"${fpath[1]}/_ebb\"";

/// What stands between usage and flags in `--help`.
pub(super) const TEMPLATE: &str =
    "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}{all-args}{after-help}";

pub(super) const FETCH_USAGE: &str =
    "ebb fetch --source <URL> --target <URL> --mode failback --changefeeds-path <FILE> [OPTIONS]";
pub(super) const START_USAGE: &str =
    "ebb start --targetConn <URL> --tlsCertificate <FILE> --tlsPrivateKey <FILE> [OPTIONS]";

/// Where the rest of a command's help is.
pub(super) fn more(command: &str) -> String {
    format!(
        "A value may also come from a variable (EBB_…) or from the file of --config.\n\
         All flags, with examples: ebb {command} --help. Manual pages: ebb man DIR."
    )
}

const EXIT_STATUS: &str = "\
0  done: after SIGTERM or ctrl-c, or an answer was printed
1  a failure
2  wrong usage";

const ENVIRONMENT: &str = "\
A setting comes from its flag, else from its variable, else from the file of --config, else it has its default.
A variable is EBB_ and the flag's name in capitals: EBB_STAGING_DIR for --staging-dir, EBB_TLS_CERTIFICATE for --tlsCertificate.
EBB_SOURCE and EBB_TARGET are the connection strings, EBB_CONFIG is the file of --config.
EBB_PLUGIN_PATH names folders of plugins, separated by colons.";

const FILES: &str = "\
certs/server.crt, certs/server.key  the receiver's certificate and key, as ebb certs makes them
changefeed-secure.json              settings of the changefeed, for --changefeeds-path
$XDG_STATE_HOME/ebb, else ~/.local/state/ebb
                                    the staging folders";

/// What stands behind the options in the manual page of a command.
pub(super) fn sections(command: &clap::Command, name: &str) -> Vec<(&'static str, String)> {
    let of_help = command.get_before_long_help().or(command.get_after_help()).map(ToString::to_string);
    let mut all = Vec::new();
    all.extend(of_help.map(|text| ("EXAMPLES", text)));
    let accepted = match name {
        "ebb fetch" => Some(ignored::names(ignored::OF_FETCH)),
        "ebb start" => Some(ignored::names(ignored::OF_REPLICATOR)),
        _ => None,
    };
    let accepted = accepted.map(|names| names.replace(", ", "\n"));
    all.extend(accepted.map(|names| {
        (
            "\"FLAGS OF MOLT WITHOUT EFFECT\"",
            format!("Each is accepted with a warning that says what ebb does instead.\n{names}"),
        )
    }));
    all.push(("\"EXIT STATUS\"", EXIT_STATUS.into()));
    if matches!(name, "ebb" | "ebb fetch" | "ebb start") {
        all.extend([("ENVIRONMENT", ENVIRONMENT.to_owned()), ("FILES", FILES.to_owned())]);
    }
    all
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::flags::Cli;

    /// clap breaks a longer line into two, the second of which is a scrap.
    const WIDTH: usize = 100;

    fn check(command: &clap::Command) {
        let texts = [command.get_before_long_help(), command.get_after_help(), command.get_after_long_help()];
        for text in texts.into_iter().flatten().map(ToString::to_string) {
            let long: Vec<_> = text.lines().filter(|line| line.chars().count() > WIDTH).collect();
            assert!(long.is_empty(), "{}: {long:#?}", command.get_name());
        }
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn no_line_of_a_help_is_broken_in_two() {
        check(&Cli::command());
    }

    #[test]
    fn commands_that_answer_have_examples_and_exit_codes() {
        let cli = Cli::command();
        for name in [
            "explain",
            "config",
            "triggers",
            "check",
            "verify",
            "cutback",
            "status",
            "trace",
            "certs",
            "report-key",
            "verify-report",
        ] {
            let command = cli.find_subcommand(name).expect("a command");
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(text.starts_with("Example") && text.contains("Exit codes: 0 "), "{name}: {text}");
        }
    }
}
