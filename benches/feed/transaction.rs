//! One large source transaction: a second connection looks at the target all the while, and sees none of it or all.
//!
//! Owns: this one measurement.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::Bench;
use crate::ebb::Ebb;
use crate::generator::{Change, body, resolved, values};
use crate::sender::Client;

const BATCH_ROWS: usize = 1_000;
const WALL: i64 = 1_700_000_000_000_000_000;
/// Keys that each look asks for.
const PROBES: u64 = 40;

pub async fn run(bench: &Bench, rows: usize) {
    bench.create("large");
    let ebb = Ebb::start(bench, "large");
    let batches = rows.div_ceil(BATCH_ROWS);
    let total = (batches * BATCH_ROWS) as u64;
    let conninfo = bench.postgres.socket_conninfo("large");
    let observer = tokio::spawn(async move { observe(&conninfo, total).await });
    let start = Instant::now();
    let mut tasks = Vec::new();
    for number in 0..bench.connections {
        let mut client = Client::connect(bench, ebb.port, "/large/public").await;
        let connections = bench.connections;
        tasks.push(tokio::spawn(async move {
            let mut rng = Rng::with_seed(number as u64);
            for batch in (number..batches).step_by(connections) {
                let first = (batch * BATCH_ROWS) as u64;
                let changes: Vec<_> = (first..first + BATCH_ROWS as u64)
                    .map(|id| Change { id, values: Some(values(id, &mut rng)) })
                    .collect();
                client.post(body(&changes.iter().map(|change| (WALL, change)).collect::<Vec<_>>())).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("every batch is taken");
    }
    let staged = start.elapsed();
    Client::connect(bench, ebb.port, "/large/public").await.post(resolved(WALL)).await;
    let start = Instant::now();
    ebb.wait_applied(WALL).await;
    let applied = start.elapsed();
    let (looks, partial) = observer.await.expect("the observer ends");
    let count = bench.sql("large", "SELECT count(*) FROM t");
    println!(
        "one transaction of {total} rows: staged in {:.1} s, applied in {:.1} s, at most {} MiB resident; {looks} looks, {partial} of them saw a part",
        staged.as_secs_f64(),
        applied.as_secs_f64(),
        ebb.usage().rss_peak_bytes >> 20
    );
    assert_eq!((count, partial), (total.to_string(), 0));
    ebb.stop();
}

/// Looks at the first, the last and some keys between in one statement, until all are there.
async fn observe(conninfo: &str, total: u64) -> (u64, u64) {
    let (client, connection) =
        tokio_postgres::connect(conninfo, tokio_postgres::NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    let sql = "SELECT count(*) FROM t WHERE id = ANY ($1)";
    let look = client.prepare(sql).await.expect("the statement is sound");
    let mut rng = Rng::with_seed(7);
    let (mut looks, mut partial) = (0, 0);
    loop {
        let mut keys: Vec<i64> =
            (0..PROBES - 2).map(|_| rng.i64(0..total as i64)).chain([0, total as i64 - 1]).collect();
        keys.sort_unstable();
        keys.dedup();
        let found: i64 = client.query_one(&look, &[&keys]).await.expect("an answer").get(0);
        looks += 1;
        partial += u64::from(found != 0 && found != keys.len() as i64);
        if found == keys.len() as i64 {
            return (looks, partial);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
