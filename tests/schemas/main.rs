//! Random tables under random transactions: from a seed come tables of a dialect, rows, and source transactions over them.
//! They are sent to the real program as a changefeed would send them. At the end the target equals the model to the
//! letter, or ebb has ended with an error that names the table, where the tables are of a kind that it may refuse.
//!
//! Owns: running the seeds. `EBB_SCHEMA_SEEDS` says how many for each dialect, `EBB_SCHEMA_FIRST` which is the first.

#[path = "../it/harness/mod.rs"]
#[expect(dead_code, reason = "shared with tests that do more")]
mod harness;
mod shape;
mod values;
mod work;

use std::fmt::Write;
use std::sync::OnceLock;

use ebb_crdb::Crdb;
use ebb_servers::{Dialect, Postgres, Server};
use fastrand::Rng;
use harness::receiver::{Message, Receiver, Refusal};
use harness::target;
use harness::world::{certs, crdb_url, psql, start_source};
use shape::{Shape, Trap};
use tempfile::TempDir;
use values::Type;
use work::{LATER_NOTE, Work};

/// For each dialect.
const SEEDS: u64 = 100;
const TRANSACTIONS_MAX: usize = 8;

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Applied,
    Refused,
}

#[test]
fn postgresql() {
    check(Dialect::Postgres);
}

#[test]
fn mariadb() {
    check(target::MYSQLS[0]);
}

#[test]
fn mysql() {
    check(target::MYSQLS[1]);
}

fn check(dialect: Dialect) {
    let number = |name: &str, default| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let first = number("EBB_SCHEMA_FIRST", 1);
    let (mut applied, mut refused) = (0, 0);
    let mut failures = Vec::new();
    for seed in first..first + number("EBB_SCHEMA_SEEDS", SEEDS) {
        match run(dialect, seed) {
            Ok(Outcome::Applied) => applied += 1,
            Ok(Outcome::Refused) => refused += 1,
            Err(why) => failures.push(format!("{dialect:?}, seed {seed}: {why}")),
        }
    }
    println!("{dialect:?}: {applied} seeds applied, {refused} refused");
    assert!(failures.is_empty(), "{} seeds have failed\n{}", failures.len(), failures.join("\n"));
    assert!(applied >= refused / 2, "more is refused than can be meant");
}

fn run(dialect: Dialect, seed: u64) -> Result<Outcome, String> {
    let mut rng = Rng::with_seed(seed);
    let shape = Shape::random(seed, dialect, &mut rng);
    let database = format!("seed_{seed}");
    let server = target::shared(dialect, certs());
    server.create_database(&database).map_err(|error| error.to_string())?;
    let mut told = format!("{:?}\n", shape.trap);
    let ddl = ddl(&shape, dialect);
    let _ = writeln!(told, "{}", ddl.join(";\n"));
    sql(server, &database, &ddl.join(";\n")).map_err(|error| format!("{error}\n{told}"))?;
    let mut feed = Feed { server, database: &database, dialect, shape: &shape, rng, told };
    let mut work = Work::new(&shape);
    if shape.trap == Trap::Inherits
        && let Some(child) = work.inherit(&mut feed.rng)
    {
        let _ = writeln!(feed.told, "{child}");
        sql(server, &database, &child)?;
    }
    let verdict = match feed.send(&mut work) {
        Ok(()) => feed.compare(&work).map(|()| Outcome::Applied),
        Err(Refusal(line)) if shape.may_refuse(&line) => Ok(Outcome::Refused),
        Err(Refusal(line)) => Err(format!("refused: {line}")),
    };
    verdict.map_err(|why| format!("{why}\n{}", feed.told))
}

fn ddl(shape: &Shape, dialect: Dialect) -> Vec<String> {
    let labels = (dialect == Dialect::Postgres).then(Type::labels);
    let tables = shape.tables.iter().flat_map(|table| table.ddl(dialect));
    let references = shape.tables.iter().filter_map(|table| table.reference_ddl(&shape.tables));
    labels.into_iter().chain(tables).chain(references).collect()
}

fn sql(server: &Server, database: &str, sql: &str) -> Result<String, String> {
    target::answer(server, database, sql).map_err(|error| format!("the target refuses: {error}\n{sql}"))
}

/// One seed's run.
struct Feed<'a> {
    server: &'a Server,
    database: &'a str,
    dialect: Dialect,
    shape: &'a Shape,
    rng: Rng,
    /// Tables and transactions, for whoever looks into a failure.
    told: String,
}

impl Feed<'_> {
    fn send(&mut self, work: &mut Work<'_>) -> Result<(), Refusal> {
        let folder = TempDir::new().expect("a temporary folder");
        let mut flags: Vec<String> = Vec::new();
        if self.shape.has_source() {
            flags.extend(["--sourceConn".into(), source(self.database, self.dialect, self.shape)]);
        }
        if self.rng.u8(0..3) == 0 {
            flags.extend(["--transaction-rows-max".into(), "2".into()]);
        }
        let url = self.server.url(self.database);
        let mut receiver = Receiver::start(self.server, self.database, &url, folder.path(), &flags)?;
        let count = self.rng.usize(2..TRANSACTIONS_MAX);
        let waits = self.rng.bool();
        for at in 0..count {
            if at == count / 2 {
                work.rekey();
            }
            let messages = work.transaction(&mut self.rng, at == 0);
            self.transaction(&mut receiver, &messages)?;
            if waits || at == 0 {
                receiver.wait_applied()?;
            }
            if at == 0 {
                self.annotate(work);
            }
        }
        receiver.wait_applied()?;
        receiver.stop();
        Ok(())
    }

    /// In one request or several, some of them again.
    fn transaction(&mut self, receiver: &mut Receiver, messages: &[Message]) -> Result<(), Refusal> {
        let _ = writeln!(self.told, "-- a transaction");
        for message in messages {
            let Message { topic, key, after, .. } = message;
            let _ = writeln!(self.told, "{topic} {key} {after}");
        }
        let size = self.rng.usize(1..=messages.len().max(1));
        for batch in messages.chunks(size) {
            for _ in 0..self.rng.usize(1..3) {
                receiver.rows(batch)?;
            }
        }
        receiver.resolve()
    }

    fn annotate(&self, work: &mut Work<'_>) {
        for table in self.shape.tables.iter().filter(|table| table.has_target_only) {
            let sql = format!("UPDATE {} SET only_here = '{LATER_NOTE}'", table.name);
            self::sql(self.server, self.database, &sql).expect("somebody may write");
        }
        work.annotate();
    }

    fn compare(&self, work: &Work<'_>) -> Result<(), String> {
        for (table, rows) in self.shape.tables.iter().zip(&work.rows) {
            let answer = sql(self.server, self.database, &table.show(self.dialect))?;
            let mut found: Vec<&str> = answer.lines().collect();
            found.sort_unstable();
            let from = usize::from(table.trap == Trap::LossyKey);
            let mut expected: Vec<(String, Option<&str>)> = rows
                .values()
                .map(|row| {
                    let texts: Vec<&str> = row.values[from..].iter().map(|value| value.text.as_str()).collect();
                    (texts.iter().map(|text| format!("{text}|")).collect(), row.note.filter(|_| table.has_target_only))
                })
                .collect();
            expected.sort_unstable();
            let is_same = |((row, note), found): (&(String, Option<&str>), &&str)| {
                found.strip_prefix(row.as_str()).is_some_and(|last| note.is_none_or(|note| note == last))
            };
            if expected.len() != found.len() || !expected.iter().zip(&found).all(is_same) {
                return Err(format!("{} holds\n{found:#?}\ninstead of\n{expected:#?}", table.name));
            }
        }
        if self.shape.trap == Trap::Orphans {
            let orphans = format!("SELECT r FROM {}_orphans", self.shape.tables[0].name);
            let found = sql(self.server, self.database, &orphans)?;
            return (found.trim() == "999").then_some(()).ok_or(format!("the orphan is gone: {found:?}"));
        }
        Ok(())
    }
}

/// A database with the seed's tables at the source.
fn source(database: &str, dialect: Dialect, shape: &Shape) -> String {
    static SOURCE: OnceLock<(Postgres, Crdb)> = OnceLock::new();
    let (backend, crdb) = SOURCE.get_or_init(start_source);
    let name = format!(
        "{database}_{}",
        if dialect == Dialect::Postgres {
            'p'
        } else if dialect == target::MYSQLS[0] {
            'm'
        } else {
            'o'
        }
    );
    backend.psql("postgres", &format!("CREATE DATABASE {name}")).expect("a database");
    let url = crdb_url(crdb, "root", &name);
    let ddl: Vec<String> = shape.tables.iter().map(shape::Table::source_ddl).collect();
    psql(&url, &ddl.join("; ")).unwrap_or_else(|error| panic!("the source refuses: {error}"));
    url
}
