//! Memory under a backlog: the target is blocked while rows are staged and resolved, then takes them all.
//!
//! Owns: this one measurement.

use std::time::{Duration, Instant};

use crate::Bench;
use crate::ebb::Ebb;
use crate::generator::{BATCH_ROWS, Batches};
use crate::sender;

/// Batches between two resolved timestamps.
const RESOLVED_BATCHES: usize = 50;

pub(crate) async fn run(bench: &Bench, rows: usize) {
    bench.server.create("backlog");
    let ebb = Ebb::start(bench, "backlog");
    let conninfo = bench.server.postgres().socket_conninfo("backlog");
    let (gate, connection) =
        tokio_postgres::connect(&conninfo, tokio_postgres::NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    gate.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
    let batches = Batches { count: rows.div_ceil(BATCH_ROWS) };
    let epochs = batches.count.div_ceil(RESOLVED_BATCHES);
    let connections = bench.connections;
    let feed = |number: usize| {
        (0..epochs).map(move |epoch| {
            let range = epoch * RESOLVED_BATCHES..batches.count.min((epoch + 1) * RESOLVED_BATCHES);
            range.skip(number).step_by(connections).map(|batch| batches.body(batch)).collect::<Vec<_>>()
        })
    };
    let last_of = |epoch: usize| batches.count.min((epoch + 1) * RESOLVED_BATCHES) - 1;
    let resolved = (0..epochs).map(|epoch| batches.resolved(last_of(epoch))).collect();
    let start = Instant::now();
    let sent = sender::send(bench, &ebb, (0..connections).map(feed).collect(), resolved);
    let (staged, most) = most_memory(&ebb, sent).await;
    let rate = |elapsed: Duration| (batches.count * BATCH_ROWS) as f64 / elapsed.as_secs_f64();
    println!(
        "{rows} changes staged in {:.0} s ({:.0} rows/s): at most {most} MiB resident",
        staged.as_secs_f64(),
        rate(staged)
    );
    gate.batch_execute("ROLLBACK").await.expect("the lock is given back");
    let (applied, most) = most_memory(&ebb, ebb.wait_applied(batches.wall(batches.count - 1))).await;
    println!(
        "applied in {:.0} s ({:.0} rows/s): at most {most} MiB resident, {} MiB at the end; {:.1} us of CPU per change",
        applied.as_secs_f64(),
        rate(applied),
        ebb.usage().rss_bytes >> 20,
        ebb.usage().cpu.as_secs_f64() * 1e6 / (batches.count * BATCH_ROWS) as f64
    );
    println!("altogether {:.0} s", start.elapsed().as_secs_f64());
    batches.compare(bench, "backlog");
    ebb.stop();
}

/// How long the work takes, and the most memory in MiB that ebb has meanwhile.
async fn most_memory(ebb: &Ebb, work: impl Future<Output = ()>) -> (Duration, u64) {
    let (start, mut most) = (Instant::now(), 0);
    tokio::pin!(work);
    while tokio::time::timeout(Duration::from_millis(200), &mut work).await.is_err() {
        most = ebb.usage().rss_bytes.max(most);
    }
    (start.elapsed(), most.max(ebb.usage().rss_bytes) >> 20)
}
