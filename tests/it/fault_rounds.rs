//! Some rounds of every fault, in the time that a test has; `make soak` goes on for hours.

use crate::harness::chaos::Chaos;
use crate::harness::target::MYSQLS;
use crate::harness::workloads::{BANK, FAMILY, SEATS, Workload};
use crate::harness::world::Dialect;

fn run(dialect: Dialect, workload: &'static Workload, rounds: u32, seed: u64) {
    let mut chaos = Chaos::start(dialect, &format!("chaos_{}", workload.name), workload, seed);
    for _ in 0..rounds {
        chaos.round();
    }
    let report = chaos.finish();
    println!("{dialect:?} {}: {report}", workload.name);
    assert!(report.looks > 100 && report.transactions > u64::from(rounds) * 5, "too little has happened: {report}");
}

#[test]
fn the_bank_keeps_its_money_through_fifty_faults() {
    run(Dialect::Postgres, &BANK, 50, 1);
}

#[test]
fn the_family_keeps_its_shape() {
    run(Dialect::Postgres, &FAMILY, 10, 2);
}

#[test]
fn every_seat_stays_taken_once() {
    run(Dialect::Postgres, &SEATS, 10, 3);
}

fn run_all(dialect: Dialect, seed: u64) {
    run(dialect, &BANK, 16, seed);
    run(dialect, &FAMILY, 10, seed);
    run(dialect, &SEATS, 10, seed);
}

#[test]
fn the_same_on_mysql() {
    run_all(MYSQLS[1], 4);
}

#[test]
fn the_same_on_mariadb() {
    run_all(MYSQLS[0], 5);
}
