//! What `make demo` runs: a shop that was migrated to CockroachDB goes on selling there, ebb brings every change back to
//! the database it came from, is killed with -9 in the middle, and in the end both sides hold the same rows.
//!
//! Owns: the story. Does not own: the shop (`shop`), the database it came from (`target`), running ebb (`replicator`). The CockroachDB is the
//! stand-in of the tests, in front of a PostgreSQL of its own; everything else is as in a real migration.

mod replicator;
mod shop;
mod target;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ebb_crdb::{Crdb, Options, Tls};
use ebb_servers::{Authentication, Certs, Postgres};
use tempfile::TempDir;

use replicator::Replicator;
use shop::Writer;
use target::Target;

/// How long the shop sells before, between and after the faults.
const SELLING: Duration = Duration::from_secs(4);
const CATCH_UP_MAX: Duration = Duration::from_secs(60);

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(story()) {
        Ok(true) => {
            println!("\nPASS: every row is the same on both sides");
            ExitCode::SUCCESS
        }
        Ok(false) => {
            println!("\nFAIL: the sides differ");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("\nFAIL: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn story() -> Result<bool> {
    let dir = TempDir::new()?;
    let certs = Certs::create(&dir.path().join("databases"))?;
    println!("Starting the target and a stand-in for CockroachDB, with certificates …");
    let target = Target::start(&certs)?;
    let backend = Postgres::start(&ebb_servers::Options {
        authentication: Authentication::Trust,
        ..ebb_servers::Options::default()
    })?;
    let crdb = start_crdb(&certs, &backend).await?;
    let source = shop::connect(&crdb, &certs).await?;
    source.batch_execute("SET CLUSTER SETTING kv.rangefeed.enabled = true").await?;
    source.batch_execute(shop::SCHEMA).await?;

    let replicator = Replicator::new(dir.path(), &certs, crdb.addr().port(), &target.url(&certs))?;
    println!("\n{}\n", replicator.command_line());
    let mut ebb = replicator.start()?;
    ebb.wait_for("changefeed created")?;

    println!("\nThe shop sells …");
    let writer = Writer::start(source, shop::connect(&crdb, &certs).await?);
    tokio::time::sleep(SELLING).await;
    println!("ebb is killed with -9 …");
    ebb.kill()?;
    tokio::time::sleep(SELLING / 4).await;
    println!("… and the same command is started again");
    let mut ebb = replicator.start()?;
    ebb.wait_for("using the running changefeed")?;
    tokio::time::sleep(SELLING).await;
    let (source, sold) = writer.stop().await?;
    println!("\nThe shop closes after {} transactions and {} changed rows.", sold.transactions, sold.rows);

    let closed = Instant::now();
    let comparison = loop {
        let comparison = shop::compare(&source, &target).await?;
        if comparison.iter().all(shop::Comparison::is_equal) || closed.elapsed() > CATCH_UP_MAX {
            break comparison;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    println!("{} has caught up {:.1} s later.\n", target.name(), closed.elapsed().as_secs_f64());
    println!("{:<14} {:>10} {:>10}   same", "table", "source", "target");
    for table in &comparison {
        println!("{:<14} {:>10} {:>10}   {}", table.name, table.source_rows, table.target_rows, table.verdict());
    }
    let status = ebb.stop()?;
    println!("\nebb ended with exit code {status} after SIGTERM.");
    crdb.stop().await;
    Ok(status == 0 && comparison.iter().all(shop::Comparison::is_equal))
}

async fn start_crdb(certs: &Certs, backend: &Postgres) -> Result<Crdb> {
    let node = certs.server();
    let tls = Tls { cert: node.cert, key: node.key, ca: certs.ca(), require_client_cert: false };
    let options = Options { backend: backend.socket_conninfo("postgres"), tls: Some(tls), ..Options::default() };
    Ok(Crdb::start(options).await?)
}
