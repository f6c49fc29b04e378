//! Memory under a backlog: the target is blocked while rows are staged, then takes them all.
//!
//! Owns: this one measurement.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::Bench;
use crate::ebb::Ebb;
use crate::generator::{Change, body, resolved, values};
use crate::sender::Client;

const BATCH_ROWS: usize = 1_000;
/// Batches between two resolved timestamps.
const RESOLVED_BATCHES: usize = 50;

pub async fn run(bench: &Bench, rows: usize) {
    bench.create("backlog");
    let ebb = Ebb::start(bench, "backlog");
    let conninfo = bench.postgres.socket_conninfo("backlog");
    let (gate, connection) =
        tokio_postgres::connect(&conninfo, tokio_postgres::NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    gate.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
    let batches = rows.div_ceil(BATCH_ROWS);
    let start = Instant::now();
    let mut tasks = Vec::new();
    for number in 0..bench.connections {
        let mut client = Client::connect(bench, ebb.port, "/backlog/public").await;
        let connections = bench.connections;
        tasks.push(tokio::spawn(async move {
            let mut rng = Rng::with_seed(number as u64);
            for batch in (number..batches).step_by(connections) {
                client.post(rows_of(batch, &mut rng)).await;
            }
        }));
    }
    let mut most = 0;
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        most = ebb.usage().rss_bytes.max(most);
    }
    let staged = start.elapsed();
    println!(
        "{rows} rows staged in {:.0} s ({:.0} rows/s): at most {} MiB resident",
        staged.as_secs_f64(),
        rows as f64 / staged.as_secs_f64(),
        most >> 20
    );
    let mut client = Client::connect(bench, ebb.port, "/backlog/public").await;
    for batch in (0..batches).step_by(RESOLVED_BATCHES).chain([batches - 1]) {
        client.post(resolved(wall_of(batch))).await;
    }
    gate.batch_execute("ROLLBACK").await.expect("the lock is given back");
    let start = Instant::now();
    let (mut most, last) = (0, wall_of(batches - 1));
    while tokio::time::timeout(Duration::from_millis(200), ebb.wait_applied(last)).await.is_err() {
        most = ebb.usage().rss_bytes.max(most);
    }
    let elapsed = start.elapsed();
    println!(
        "applied in {:.0} s ({:.0} rows/s): at most {} MiB resident, {} MiB at the end",
        elapsed.as_secs_f64(),
        rows as f64 / elapsed.as_secs_f64(),
        most >> 20,
        ebb.usage().rss_bytes >> 20
    );
    assert_eq!(bench.sql("backlog", "SELECT count(*) FROM t"), (batches * BATCH_ROWS).to_string(), "rows are missing");
    ebb.stop();
}

/// Every batch is a source transaction of its own.
fn wall_of(batch: usize) -> i64 {
    1_700_000_000_000_000_000 + batch as i64 * 1_000_000
}

fn rows_of(batch: usize, rng: &mut Rng) -> Vec<u8> {
    let first = (batch * BATCH_ROWS) as u64;
    let changes: Vec<_> =
        (first..first + BATCH_ROWS as u64).map(|id| Change { id, values: Some(values(id, rng)) }).collect();
    body(&changes.iter().map(|change| (wall_of(batch), change)).collect::<Vec<_>>())
}
