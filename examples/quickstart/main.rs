//! What `make demo` runs: a shop that was migrated to CockroachDB goes on selling there, ebb brings every change back to
//! the database it came from, is killed with -9 in the middle, and in the end both sides hold the same rows.
//!
//! Owns: the story. Does not own: the shop (`shop`), the database it came from (`target`), running ebb (`replicator`), what is shown
//! meanwhile (`live`, `screen`) and signals (`interrupt`). The CockroachDB is the stand-in of the tests, in front of a PostgreSQL of
//! its own; everything else is as in a real migration.

mod interrupt;
mod live;
mod replicator;
mod screen;
mod shop;
mod target;

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ebb_crdb::{Crdb, CrdbOptions, Tls};
use ebb_servers::{Authentication, Certs, Postgres, Watcher};
use tempfile::TempDir;
use tokio_postgres::Client;

use interrupt::Interrupted;
use live::Live;
use replicator::Replicator;
use screen::Screen;
use shop::{Comparison, Sold, Writer};
use target::Target;

/// How long the shop sells before and after the fault.
const SELLING: Duration = Duration::from_secs(4);
/// How much later than a failure the signal may be known that has caused it.
const SIGNAL_WAIT: Duration = Duration::from_millis(100);
const CATCH_UP_MAX: Duration = Duration::from_secs(60);

const STEPS: &[&str] = &[
    "start the target and a stand-in for CockroachDB, with certificates: up to 10 s",
    "make ebb's certificates, start ebb, let it create its changefeed: 2 s",
    "sell, while ebb is killed with -9 and started again: 10 s",
    "let the target catch up, and compare every row: 2 s",
    "end ebb with SIGTERM, and the servers: 1 s",
];

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let screen = match Screen::open(STEPS) {
        Ok(screen) => Arc::new(screen),
        Err(error) => {
            println!("FAIL before the first step: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(run(&screen))
}

/// What was started is ended before the last line is said: its values are dropped with the story.
async fn run(screen: &Arc<Screen>) -> ExitCode {
    let interrupted = match interrupt::listen(screen) {
        Ok(interrupted) => interrupted,
        Err(error) => return fail(screen, &format!("cannot listen to signals: {error}")),
    };
    let mut interrupted = pin!(interrupted);
    let outcome = tokio::select! {
        outcome = story(screen) => outcome,
        interrupted = &mut interrupted => return leave(screen, interrupted),
    };
    match outcome {
        Ok(true) => {
            screen.line("\nPASS: every row is the same on both sides");
            ExitCode::SUCCESS
        }
        Ok(false) => fail(screen, "the sides differ, or ebb did not end well"),
        // A terminal interrupts all that was started too, whose failure may be known first.
        Err(error) => match tokio::time::timeout(SIGNAL_WAIT, interrupted).await {
            Ok(interrupted) => leave(screen, interrupted),
            Err(_) => fail(screen, &error.to_string()),
        },
    }
}

fn leave(screen: &Screen, interrupted: Interrupted) -> ExitCode {
    fail(screen, &format!("{} has come", interrupted.name));
    interrupted.exit_code()
}

fn fail(screen: &Screen, why: &str) -> ExitCode {
    screen.line(&format!("\nerror: {why}\nFAIL {}", screen.place()));
    ExitCode::FAILURE
}

async fn story(screen: &Arc<Screen>) -> Result<bool> {
    let dir = TempDir::new()?;
    let _removes_it_after_a_kill = Watcher::start(dir.path())?;
    screen.step();
    let certs = Certs::create(&dir.path().join("databases"))?;
    let target = Target::start(&certs)?;
    let backend = Postgres::start(&ebb_servers::PostgresOptions {
        authentication: Authentication::Trust,
        ..ebb_servers::PostgresOptions::default()
    })?;
    let crdb = start_crdb(&certs, &backend).await?;
    let source = shop::connect(&crdb, &certs).await?;
    source.batch_execute("SET CLUSTER SETTING kv.rangefeed.enabled = true").await?;
    source.batch_execute(shop::SCHEMA).await?;

    screen.step();
    let replicator = Replicator::new(screen, dir.path(), &certs, crdb.addr().port(), &target.url(&certs))?;
    screen.line(&format!("\n{}\n", replicator.command_line()));
    let mut ebb = replicator.start()?;
    ebb.wait_for("changefeed created").await?;

    screen.step();
    let live = Live::new(screen, shop::connect(&crdb, &certs).await?, &target);
    let writer = Writer::start(source, shop::connect(&crdb, &certs).await?);
    live.watch(SELLING).await?;
    screen.line("ebb is killed with -9 …");
    ebb.kill()?;
    live.watch(SELLING / 4).await?;
    screen.line("… and the same command is started again");
    let mut ebb = replicator.start()?;
    ebb.wait_for("using the running changefeed").await?;
    live.watch(SELLING).await?;
    let (source, sold) = writer.stop().await?;

    screen.step();
    let is_equal = compare(screen, &live, &source, &target, sold).await?;

    screen.step();
    let status = ebb.stop().await?;
    screen.line(&format!("ebb ended with exit code {status} after SIGTERM."));
    crdb.stop().await;
    Ok(status == 0 && is_equal)
}

/// Waits for the target to hold the same rows, and shows both sides.
async fn compare(screen: &Screen, live: &Live<'_>, source: &Client, target: &Target, sold: Sold) -> Result<bool> {
    screen
        .line(&format!("The shop has closed after {} transactions and {} changed rows.", sold.transactions, sold.rows));
    let closed = Instant::now();
    let comparison = loop {
        live.show().await?;
        let comparison = shop::compare(source, target).await?;
        if comparison.iter().all(Comparison::is_equal) || closed.elapsed() > CATCH_UP_MAX {
            break comparison;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    screen.line(&format!("{} has caught up {:.1} s later.\n", target.name(), closed.elapsed().as_secs_f64()));
    screen.line(&format!("{:<14} {:>10} {:>10}   same", "table", "source", "target"));
    for table in &comparison {
        let (source_rows, target_rows) = (table.source_rows, table.target_rows);
        screen.line(&format!("{:<14} {source_rows:>10} {target_rows:>10}   {}", table.name, table.verdict()));
    }
    Ok(comparison.iter().all(Comparison::is_equal))
}

async fn start_crdb(certs: &Certs, backend: &Postgres) -> Result<Crdb> {
    let node = certs.server();
    let tls = Tls { cert: node.cert, key: node.key, ca: certs.ca(), require_client_cert: false };
    let options =
        CrdbOptions { backend: backend.socket_conninfo("postgres"), tls: Some(tls), ..CrdbOptions::default() };
    Ok(Crdb::start(options).await?)
}
