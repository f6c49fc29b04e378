//! Small inputs with what must come of each, from the data files in `tests/cases`: tables that the target holds, source
//! transactions as a changefeed sends them, and the rows afterwards, or the error that ebb must end with.
//!
//! Owns: reading the files, and running a case in both paces. Does not own: the cases; `tests/cases/README.md` says what a
//! case may say.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use ebb_crdb::Crdb;
use ebb_servers::{Dialect, Flavour, Postgres, Server};
use regex::Regex;
use serde::Deserialize;
use serde_json::value::RawValue;
use tempfile::TempDir;

use crate::harness::receiver::{Message, Receiver, Refusal};
use crate::harness::world::{certs, psql, start_source};
use crate::harness::{target, world};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    target: String,
    /// Who writes, with the password `x`; else the administrator does.
    user: Option<String>,
    #[serde(default)]
    source: Vec<String>,
    ddl: Vec<String>,
    /// More flags of `ebb start`.
    #[serde(default)]
    flags: Vec<String>,
    steps: Vec<Vec<Vec<Box<RawValue>>>>,
    show: Vec<String>,
    expect: Option<Vec<Vec<Vec<Option<String>>>>>,
    refuse: Option<String>,
    or_refuse: Option<String>,
    /// What `show` gives after the refusal.
    kept: Option<Vec<Vec<Vec<Option<String>>>>>,
}

/// When the target must have what was sent.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// After each source transaction.
    Each,
    /// After the last one: no timestamp is resolved before, so that they are applied as one.
    Together,
}

/// Runs every case of a file, and tells of all that fail.
fn check(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let only = std::env::var("EBB_CASE").unwrap_or_default();
    let mut failures = Vec::new();
    for case in cases.iter().filter(|case| case.name.contains(&only)) {
        for dialect in dialects(&case.target) {
            for pace in [Pace::Each, Pace::Together] {
                if let Err(why) = run(case, *dialect, pace) {
                    failures.push(format!("{} ({dialect:?}, {pace:?}): {why}", case.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures in {file}:\n{}", failures.len(), failures.join("\n"));
}

fn dialects(name: &str) -> &'static [Dialect] {
    match name {
        "postgres" => &[Dialect::Postgres],
        "mysql" => &target::MYSQLS,
        "mariadb" => &[Dialect::MySql(Flavour::MariaDb)],
        "mysql only" => &[Dialect::MySql(Flavour::MySql)],
        _ => panic!("{name} is no target"),
    }
}

fn run(case: &Case, dialect: Dialect, pace: Pace) -> Result<(), String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let database = format!("case_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let server = target::shared(dialect, certs());
    server.create_database(&database).expect("a database");
    let named = |sql: &str| sql.replace("{db}", &database);
    let ddl = case.ddl.iter().map(|sql| named(sql)).collect::<Vec<_>>().join(";\n");
    target::answer(server, &database, &ddl).map_err(|error| format!("the target refuses its tables: {error}"))?;
    let mut flags = case.flags.clone();
    if !case.source.is_empty() {
        flags.extend(["--sourceConn".into(), source(&database, &case.source.join("; "))]);
    }
    let url = match &case.user {
        Some(user) => server.url_as(&named(user), "x", &database),
        None => server.url(&database),
    };
    let folder = TempDir::new().expect("a temporary folder");
    let outcome = send(case, pace, server, &database, &url, folder.path(), &flags);
    let rows = |sql: &String| target::answer(server, &database, sql).map(|rows| rows.trim_end().to_owned());
    let shown: Result<Vec<String>, _> = case.show.iter().map(rows).collect();
    judge(case, outcome, &shown.map_err(|error| error.to_string())?)
}

fn send(
    case: &Case,
    pace: Pace,
    server: &Server,
    database: &str,
    url: &str,
    folder: &Path,
    flags: &[String],
) -> Result<(), Refusal> {
    let mut receiver = Receiver::start(server, database, url, folder, flags)?;
    for (at, step) in case.steps.iter().enumerate() {
        receiver.rows(&step.iter().map(|parts| message(parts)).collect::<Vec<_>>())?;
        match pace {
            Pace::Together if at + 1 < case.steps.len() => receiver.commit(),
            Pace::Together => receiver.resolve()?,
            Pace::Each => {
                receiver.resolve()?;
                receiver.wait_applied()?;
            }
        }
    }
    receiver.wait_applied()?;
    receiver.stop();
    Ok(())
}

/// `[topic, key, after, before]`, where a string stands for the JSON text that it holds.
fn message(parts: &[Box<RawValue>]) -> Message {
    let text = |raw: &RawValue| -> String {
        if raw.get().starts_with('"') { serde_json::from_str(raw.get()).expect("a string") } else { raw.get().into() }
    };
    let [topic, key, after, rest @ ..] = parts else { panic!("a row has a topic, a key and what it is afterwards") };
    Message { topic: text(topic), key: text(key), after: text(after), before: rest.first().map(|raw| text(raw)) }
}

fn judge(case: &Case, outcome: Result<(), Refusal>, shown: &[String]) -> Result<(), String> {
    let matches = |pattern: &Option<String>, line: &str| {
        pattern.as_ref().is_some_and(|pattern| Regex::new(&format!("(?i){pattern}")).expect("a pattern").is_match(line))
    };
    let same =
        |expected: &Vec<Vec<Vec<Option<String>>>>| expected.iter().map(|rows| text(rows)).eq(shown.iter().cloned());
    match outcome {
        Ok(()) => match &case.expect {
            Some(expected) if same(expected) => Ok(()),
            Some(expected) => Err(format!("the target holds {shown:?} instead of {expected:?}")),
            None => Err(format!("it was applied, and the target holds {shown:?}")),
        },
        Err(Refusal(line))
            if line.starts_with('{') && (matches(&case.refuse, &line) || matches(&case.or_refuse, &line)) =>
        {
            match &case.kept {
                Some(kept) if !same(kept) => Err(format!("refused ({line}), and the target holds {shown:?}")),
                _ => Ok(()),
            }
        }
        Err(Refusal(line)) => Err(format!("refused: {line}")),
    }
}

/// As the target's client prints it.
fn text(rows: &[Vec<Option<String>>]) -> String {
    let row = |row: &Vec<Option<String>>| {
        row.iter().map(|value| value.as_deref().unwrap_or_default()).collect::<Vec<_>>().join("|")
    };
    rows.iter().map(row).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// Makes a database with these tables at the source, and returns its URL.
fn source(database: &str, sql: &str) -> String {
    static SOURCE: OnceLock<(Postgres, Crdb)> = OnceLock::new();
    let (backend, crdb) = SOURCE.get_or_init(start_source);
    backend.psql("postgres", &format!("CREATE DATABASE \"{database}\"")).expect("a database");
    let url = world::crdb_url(crdb, "root", database);
    psql(&url, sql).unwrap_or_else(|error| panic!("the source refuses: {error}\n{sql}"));
    url
}

#[test]
fn keys_of_both_sides() {
    check("keys.json");
}

#[test]
fn keys_that_are_not_one_to_one() {
    check("digits.json");
}

#[test]
fn tables_that_turn_writes_into_something_else() {
    check("shapes.json");
}

#[test]
fn values_read_in_another_sense() {
    check("values.json");
}

#[test]
fn references_and_unique_values() {
    check("references.json");
}

#[test]
fn topics_and_tables() {
    check("topics.json");
}
