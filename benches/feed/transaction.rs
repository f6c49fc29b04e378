//! One large source transaction that inserts, updates and deletes: a second connection looks at the target all the while,
//! and sees none of it or all.
//!
//! Owns: this one measurement.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::Bench;
use crate::ebb::Ebb;
use crate::generator::{BATCH_ROWS, Change, WALL, body, resolved, values};
use crate::sender;

/// Keys that each look asks for.
const PROBES: u64 = 40;

/// Rows by their keys: the first half is there before and changed, the second is new, and behind them stand rows that are
/// deleted.
#[derive(Clone, Copy)]
struct Rows {
    kept: u64,
    deleted: u64,
}

impl Rows {
    fn was_there(self, id: u64) -> bool {
        id < self.kept / 2 || id >= self.kept
    }

    fn change(self, id: u64) -> Change {
        let mut rng = Rng::with_seed(id);
        Change { id, values: (id < self.kept).then(|| values(id, &mut rng)) }
    }
}

pub(crate) async fn run(bench: &Bench, rows: usize) {
    bench.server.create("large");
    let batches = rows.div_ceil(BATCH_ROWS).max(2);
    let deleted = (batches / 10).max(1);
    let rows = Rows { kept: ((batches - deleted) * BATCH_ROWS) as u64, deleted: (deleted * BATCH_ROWS) as u64 };
    bench.server.sql(
        "large",
        &format!("INSERT INTO t SELECT i, 'c', NULL, 'old' FROM generate_series(0, {} - 1) AS i", rows.kept / 2),
    );
    let gone = format!("generate_series({}, {} - 1)", rows.kept, rows.kept + rows.deleted);
    bench.server.sql("large", &format!("INSERT INTO t SELECT i, 'c', NULL, 'old' FROM {gone} AS i"));
    let ebb = Ebb::start(bench, "large");
    let conninfo = bench.server.postgres().socket_conninfo("large");
    let observer = tokio::spawn(async move { observe(&conninfo, rows).await });
    let connections = bench.connections;
    let feed = |number: usize| {
        let bodies = (number..batches).step_by(connections).map(move |batch| {
            let first = (batch * BATCH_ROWS) as u64;
            let changes: Vec<_> = (first..first + BATCH_ROWS as u64).map(|id| rows.change(id)).collect();
            body(&changes.iter().map(|change| (WALL, change)).collect::<Vec<_>>())
        });
        bodies.map(|body| vec![body])
    };
    let start = Instant::now();
    sender::send_rows(bench, &ebb, (0..connections).map(feed).collect()).await;
    let staged = start.elapsed();
    let start = Instant::now();
    sender::Client::connect(bench, ebb.port, &ebb.path).await.post(resolved(WALL)).await;
    ebb.wait_applied(WALL).await;
    let applied = start.elapsed();
    let (looks, partial) = observer.await.expect("the observer ends");
    println!(
        "one transaction of {} rows: staged in {:.1} s, applied in {:.1} s, at most {} MiB resident; {looks} looks, {partial} of them saw a part",
        rows.kept + rows.deleted,
        staged.as_secs_f64(),
        applied.as_secs_f64(),
        ebb.usage().rss_peak_bytes >> 20
    );
    let found = bench.server.sql("large", "SELECT count(*), count(*) FILTER (WHERE status = 'old'), max(id) FROM t");
    assert_eq!((found, partial), (format!("{}|0|{}", rows.kept, rows.kept - 1), 0));
    ebb.stop();
}

/// Looks at the first, the last and some keys between in one statement, until all is done.
async fn observe(conninfo: &str, rows: Rows) -> (u64, u64) {
    let (client, connection) =
        tokio_postgres::connect(conninfo, tokio_postgres::NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    let sql = "SELECT count(*) FILTER (WHERE status = 'old'), count(*) FILTER (WHERE status <> 'old') FROM t WHERE id = ANY ($1)";
    let look = client.prepare(sql).await.expect("the statement is sound");
    let mut rng = Rng::with_seed(7);
    let (mut looks, mut partial, end) = (0, 0, rows.kept + rows.deleted);
    loop {
        let mut keys: Vec<u64> = (0..PROBES - 2).map(|_| rng.u64(0..end)).chain([0, end - 1]).collect();
        keys.sort_unstable();
        keys.dedup();
        let count = |is_counted: &dyn Fn(u64) -> bool| keys.iter().filter(|&&id| is_counted(id)).count() as i64;
        let (before, after) = ((count(&|id| rows.was_there(id)), 0), (0, count(&|id| id < rows.kept)));
        let row = client.query_one(&look, &[&keys.iter().map(|&id| id as i64).collect::<Vec<_>>()]).await;
        let row = row.expect("an answer");
        let found: (i64, i64) = (row.get(0), row.get(1));
        looks += 1;
        partial += u64::from(found != before && found != after);
        if found == after {
            return (looks, partial);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
