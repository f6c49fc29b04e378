//! Hours of faults on real servers: all workloads in turn, each on servers of its own, until the time is over. The first
//! thing that is wrong ends it, with the seed, what was done, and what ebb has said.
//!
//! Owns: how long, and the summary. `make soak`; MINUTES and SEED choose.

#[path = "../it/harness/mod.rs"]
#[expect(dead_code, reason = "shared with tests that do more")]
mod harness;

use std::time::{Duration, Instant};

use ebb_servers::Dialect;
use harness::chaos::{Chaos, Report};
use harness::target::MYSQLS;
use harness::workloads::{BANK, FAMILY, SEATS};

const DIALECTS: [Dialect; 3] = [Dialect::Postgres, MYSQLS[0], MYSQLS[1]];

/// Rounds in one world, before another begins with empty tables.
const ROUNDS: u32 = 60;

fn main() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let duration = Duration::from_secs(number("MINUTES", 60) * 60);
    let mut seed = number("SEED", 1);
    let start = Instant::now();
    let mut total = Report::default();
    let workloads = [&BANK, &FAMILY, &SEATS];
    let pairs = workloads.into_iter().flat_map(|workload| DIALECTS.map(|dialect| (workload, dialect)));
    for (workload, dialect) in pairs.collect::<Vec<_>>().into_iter().cycle() {
        if start.elapsed() >= duration {
            break;
        }
        let mut chaos = Chaos::start(dialect, &format!("soak_{}_{seed}", workload.name), workload, seed);
        let mut rounds = 0;
        while rounds < ROUNDS && start.elapsed() < duration {
            chaos.round();
            rounds += 1;
        }
        let report = chaos.finish();
        println!("{:>5} s {:<7} {dialect:?} seed {seed}: {report}", start.elapsed().as_secs(), workload.name);
        total.add(&report);
        seed += 1;
    }
    println!("{} minutes: {total}; lost 0, twice 0, torn 0", start.elapsed().as_secs() / 60);
}
