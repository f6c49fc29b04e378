//! How fast `ebb verify` compares, beside a plain SELECT of the same table; `make bench-verify` runs it.
//!
//! Ignored, since it measures and proves nothing that the other tests do not.

use std::time::Instant;

use crate::harness::comparison::{DIALECTS, must_be_equal};
use crate::harness::pages::status;
use crate::harness::world::{Dialect, World, free_port, wait_for};

const COLUMNS: &str =
    "i, 'name ' || i, i % 1000, i / 7.0, 'some words that are not very short ' || i, i % 2, i * 3, 'x'";

#[test]
#[ignore = "a measurement"]
fn rows_a_second() {
    let rows: u64 = std::env::var("VERIFY_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(500_000);
    for dialect in DIALECTS {
        let table = |text: &str| {
            format!(
                "CREATE TABLE t (id BIGINT PRIMARY KEY, name {text}, n INT, d DECIMAL(20,6), words {text}, b SMALLINT, big BIGINT, \
                 c CHAR(1))"
            )
        };
        let world = World::with_target(dialect, "verify_speed", &table("text"), &table("VARCHAR(100)"));
        world.source(&format!("INSERT INTO t SELECT {COLUMNS} FROM generate_series(1, {rows}) AS i"));
        match dialect {
            Dialect::Postgres => {
                world.target(&format!("INSERT INTO t SELECT {COLUMNS} FROM generate_series(1, {rows}) AS i; ANALYZE t"))
            }
            _ => {
                let columns = COLUMNS.replace("'name ' || i", "CONCAT('name ', i)").replace(
                    "'some words that are not very short ' || i",
                    "CONCAT('some words that are not very short ', i)",
                );
                let digits = "(SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 \
                     UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)";
                let all = ["a", "b", "c", "e", "f", "g"].map(|name| format!("{digits} AS {name}")).join(", ");
                let number = "a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d + 100000 * g.d + 1";
                world.target(&format!(
                    "INSERT INTO t SELECT {columns} FROM (SELECT {number} AS i FROM {all}) AS numbers WHERE i <= {rows}; \
                     ANALYZE TABLE t"
                ))
            }
        };
        let pages = format!("127.0.0.1:{}", free_port());
        let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
        wait_for("a state to compare", || ebb.log(), || status(&pages)["applied"].is_string());
        let begun = Instant::now();
        world.target("SELECT * FROM t");
        let plain = rows as f64 / begun.elapsed().as_secs_f64();
        println!("{dialect:?}: {rows} rows, plain SELECT by the server's own client {plain:.0} rows/s");
        for sessions in ["1", "2"] {
            let found = must_be_equal(&world, &["--parallelism", sessions]);
            let (rate, frozen) = (&found["rows_per_second"], &found["frozen_milliseconds"]);
            let lag = &status(&pages)["apply_lag_seconds"];
            let rate = rate.as_f64().unwrap_or(0.0);
            println!(
                "  --parallelism {sessions}: {rate:.0} rows/s, frozen for {frozen} ms, replication {lag} s behind"
            );
        }
        ebb.stop();
    }
}
