//! Simulation: staging, ordering and applying, the real code, between a disk and a target that fail as a seed says.
//!
//! Owns: which seeds are run, and saying which one failed. Does not own: a run (`world`). `cargo test --test sim` runs some
//! thousand seeds; `EBB_SIM_SEED=7` replays one, and `EBB_SIM_SEEDS=100000` runs as many.

mod counts;
mod disk;
mod feed;
mod process;
mod source;
mod target;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use counts::Counts;
use world::World;

const SEEDS: u64 = 3000;

#[test]
fn seeds() {
    if let Some(seed) = number("EBB_SIM_SEED") {
        let mut world = World::new(seed);
        world.tell = true;
        world.run();
        return;
    }
    let seeds = number("EBB_SIM_SEEDS").unwrap_or(SEEDS);
    let first = number("EBB_SIM_FIRST").unwrap_or(1);
    let start = Instant::now();
    let mut counts = Counts::default();
    for seed in first..first + seeds {
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::new(seed);
            world.run();
            world.counts
        }));
        match run {
            Ok(of_this) => counts.add(&of_this),
            Err(_) => panic!("seed {seed} failed; replay it: EBB_SIM_SEED={seed} cargo test --test sim -- --nocapture"),
        }
    }
    counts.check_that_everything_happened();
    println!("{seeds} seeds in {:.1} s: {counts}", start.elapsed().as_secs_f64());
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}
