//! Measures ebb end to end: a generated changefeed over TLS, the real program, a real PostgreSQL that syncs to disk. Beside
//! it, in the same minute, the same rows by a raw loop of the same statements; what counts is the ratio of the two.
//!
//! Owns: the modes and what is printed. Does not own: making rows (`generator`), sending them (`sender`), the process
//! (`ebb`), the raw loop (`baseline`).

mod generator;
mod server;
mod ebb;
mod sender;

mod baseline;
mod baseline_mysql;

mod backlog;
mod transaction;
mod hostile;

use std::time::{Duration, Instant};

use clap::Parser;
use ebb_servers::{Certs, Protocol};
use tempfile::TempDir;

use ebb::Ebb;
use generator::History;
use server::{Server, Target};

/// Each mode prints what it measured, and fails when a row is missing or altered.
#[derive(Parser)]
#[command(about = "Measures ebb end to end, on servers of its own")]
struct Flags {
    /// What is written to
    #[arg(long, value_enum, default_value_t = Target::Postgres)]
    target: Target,
    /// Rows that are changed in each round
    #[arg(long, default_value_t = 300_000)]
    rows: usize,
    /// Rounds of baseline and ebb
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// TLS connections of the changefeed
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Instead: rows a second to send for 20 s, to see how long a change takes
    #[arg(long, value_name = "ROWS_PER_SECOND")]
    steady: Option<usize>,
    /// Instead: rows to stage while the target is blocked, to see the memory
    #[arg(long, value_name = "ROWS")]
    backlog: Option<usize>,
    /// Instead: rows of one source transaction, watched by a second connection
    #[arg(long, value_name = "ROWS")]
    transaction: Option<usize>,
    /// Instead: hostile connections, beside a feed whose rate is compared with that of a quiet one
    #[arg(long, value_name = "CONNECTIONS")]
    hostile: Option<usize>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// The servers and certificates of a run.
pub struct Bench {
    pub target: Target,
    pub server: Server,
    pub certs: Certs,
    /// On a disk: many machines have /tmp in memory, where a sync costs nothing.
    pub staging: TempDir,
    pub connections: usize,
}

fn main() {
    let flags = Flags::parse();
    let dir = TempDir::new().expect("a temporary folder");
    let certs = Certs::create(&dir.path().join("certs")).expect("certificates");
    let staging = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let bench = Bench {
        target: flags.target,
        server: Server::start(flags.target),
        certs,
        staging,
        connections: flags.connections,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    match (flags.steady, flags.backlog, flags.transaction, flags.hostile) {
        (Some(rate), ..) => runtime.block_on(steady(&bench, rate)),
        (_, Some(rows), ..) => runtime.block_on(backlog::run(&bench, rows)),
        (_, _, Some(rows), _) => runtime.block_on(transaction::run(&bench, rows)),
        (.., Some(count)) => runtime.block_on(hostile::run(&bench, flags.rows, flags.rounds, count)),
        _ => runtime.block_on(rates(&bench, flags.rows, flags.rounds)),
    }
}

/// Rounds of both, one after the other, since the machine is not the same from minute to minute.
async fn rates(bench: &Bench, rows: usize, rounds: usize) {
    println!(
        "{:?}: {rows} rows of 300 bytes, transactions of 1 to 1,000 rows, {} connections",
        bench.target, bench.connections
    );
    println!(
        "{:>6} {:>16} {:>12} {:>7} {:>18} {:>12}",
        "round", "raw loop rows/s", "ebb rows/s", "ratio", "ebb CPU us/row", "ebb RSS MiB"
    );
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let history = History::generate(rows, round as u64);
        let (raw, expected) = raw(bench, &history, &format!("raw_{round}")).await;
        let (rate, usage) = through_ebb(bench, &history, &format!("ebb_{round}"), &expected, None).await;
        let cpu_us = usage.cpu.as_secs_f64() * 1e6 / rows as f64;
        println!(
            "{round:>6} {raw:>16.0} {rate:>12.0} {:>7.2} {cpu_us:>18.1} {:>12}",
            rate / raw,
            usage.rss_peak_bytes >> 20
        );
        ratios.push(rate / raw);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[(ratios.len() - 1) / 2];
    println!("ratio {median:.2} (median of {rounds})");
    println!(
        "{}",
        serde_json::json!({"target": format!("{:?}", bench.target), "rows": rows, "ratio_median": median, "ratios": ratios})
    );
}

/// The best that one connection can do.
async fn raw(bench: &Bench, history: &History, database: &str) -> (f64, String) {
    match bench.server.protocol() {
        Protocol::Postgres => baseline::run(bench, history, database).await,
        Protocol::MySql => baseline_mysql::run(bench, history, database).await,
    }
}

/// Rows a second from the first byte sent until the target stands at the last resolved timestamp.
async fn through_ebb(
    bench: &Bench,
    history: &History,
    database: &str,
    expected: &str,
    crowd: Option<&hostile::Crowd>,
) -> (f64, ebb::Usage) {
    bench.server.create(database);
    let ebb = Ebb::start(bench, database);
    let bodies = history.bodies(bench, database);
    let attack = match crowd {
        Some(crowd) => Some(crowd.attack(bench, &ebb).await),
        None => None,
    };
    let before = ebb.usage();
    let start = Instant::now();
    let feeds = bodies.connections.into_iter().map(Vec::into_iter).collect();
    sender::send(bench, &ebb, feeds, bodies.resolved).await;
    ebb.wait_applied(history.end()).await;
    let elapsed = start.elapsed();
    let usage = ebb.usage().since(&before);
    drop(attack);
    if std::env::var_os("EBB_BENCH_THREADS").is_some() {
        ebb.print_threads();
    }
    assert_eq!(bench.server.checksum(database), expected, "the target is not what the raw loop made");
    ebb.stop();
    (history.rows() as f64 / elapsed.as_secs_f64(), usage)
}

/// How long a change takes at a rate far below the limit, whether or not those before it have arrived.
async fn steady(bench: &Bench, rate: usize) {
    const SECONDS: usize = 20;
    let history = History::generate(rate * SECONDS, 1);
    let (_, expected) = raw(bench, &history, "raw").await;
    bench.server.create("steady");
    let ebb = Ebb::start(bench, "steady");
    let before = ebb.usage();
    let delays = sender::send_steadily(bench, &ebb, &history, Duration::from_secs(SECONDS as u64)).await;
    let usage = ebb.usage().since(&before);
    println!("{rate} rows/s for {SECONDS} s, {} resolved timestamps", delays.len());
    for (name, delay) in
        [("its rows were due", sender::Delay::since_due as fn(&_) -> _), ("it was sent", sender::Delay::since_sent)]
    {
        let mut delays: Vec<_> = delays.iter().map(delay).collect();
        delays.sort();
        let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize].as_millis();
        println!("visible after {name}: {} ms (p50), {} ms (p99), {} ms (most)", at(0.5), at(0.99), at(1.0));
    }
    println!("{:.1} us of CPU per row", usage.cpu.as_secs_f64() * 1e6 / history.rows() as f64);
    assert_eq!(bench.server.checksum("steady"), expected, "the target is not what the raw loop made");
    ebb.stop();
}
