//! Where a run stands, as it says itself: never better than it is, whatever part of it fails.

use serde_json::Value;

use crate::harness::client::{Client, hold};
use crate::harness::codes;
use crate::harness::forward::{dead_url, forward, source_port};
use crate::harness::pages::{http_get, status};
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";
const EBB: &str = env!("CARGO_BIN_EXE_ebb");

fn start(world: &World, more: &[&str], flags: &str) -> (Ebb, String) {
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = format!("--stagingSchema _replicator_1 -v {flags}");
    let ebb = world.fetch(&[&["--metrics-listen-addr", &pages, "--replicator-flags", &flags], more].concat());
    wait_for("pages", || ebb.log(), || ebb.log().contains("pages listening"));
    (ebb, pages)
}

/// A run that nothing holds up.
fn start_well(world: &World, flags: &str) -> (Ebb, String) {
    let (ebb, pages) = start(world, &[], flags);
    let ebb = ebb.ready();
    wait_well(&ebb, &pages);
    (ebb, pages)
}

/// Waits until the run gives this as the gravest reason; also which part holds it up, and what is to be done.
fn wait_reason(ebb: &Ebb, pages: &str, id: &str, bottleneck: &str, next: &str) {
    let now = || status(pages);
    let first = |status: &Value| status["reasons"][0]["id"].clone();
    wait_for(id, || format!("{}\n{}", now(), ebb.log()), || first(&now()) == id);
    let now = now();
    let text = |name: &str| now[name].as_str().unwrap_or_default().to_owned();
    assert_eq!((text("bottleneck").as_str(), now["safe_to_cut_back"].as_bool()), (bottleneck, Some(false)), "{now}");
    assert!(text("line").contains("held up by the ") && text("line").contains("safe to cut back: NO, "), "{now}");
    assert!(text("next").contains(next), "{now}");
}

/// Waits until nothing holds it up; what nobody has looked at still stands against cutting back.
fn wait_well(ebb: &Ebb, pages: &str) {
    let is_well = || {
        let status = status(pages);
        let ids = status["reasons"].as_array().expect("a list").iter().map(|reason| reason["id"].as_str());
        ids.eq([Some("not-verified"), Some("sequences-not-checked")])
    };
    wait_for("a run that is well", || format!("{}\n{}", status(pages), ebb.log()), is_well);
}

#[test]
fn a_run_says_where_it_stands() {
    let world = World::new("status_line", TABLE);
    let (ebb, pages) = start(&world, &[], "");
    let ebb = ebb.ready();
    world.source("INSERT INTO t VALUES (1, 'a')");
    world.wait_equal(&ebb, &["t"]);
    wait_well(&ebb, &pages);
    let runs = || status(&pages)["changefeed"]["state"] == "runs";
    wait_for("a look at the changefeed", || ebb.log(), runs);
    let said = world.run(&["status", "--stagingSchema", "_replicator_1"]);
    assert!(said.starts_with("behind ") && said.contains(" · caught up · 0 refused · not verified · "), "{said}");
    for text in
        ["safe to cut back: NO, not verified", "changefeed          job ", ": runs\n", "held up by          none"]
    {
        assert!(said.contains(text), "{text:?} is not in {said}");
    }
    let json: Value = serde_json::from_str(&world.run(&["status", "--json", "--metricsAddr", &pages])).expect("JSON");
    assert_eq!((json["rows_applied"].as_u64(), json["feed"].as_str()), (Some(1), Some("_replicator_1")));
    assert!(http_get(&pages, "/_/caughtup").contains("OK, "));
    assert!(http_get(&pages, "/_/caughtup?max=0").starts_with("HTTP/1.1 503"));
    assert!(http_get(&pages, "/_/caughtup?max=soon").contains("max is a number of seconds"));
    assert!(http_get(&pages, "/_/livez").starts_with("HTTP/1.1 200"));
    // Whoever asks the wrong one is told so.
    let refused = |args: &[&str], expected: &str| {
        let output = codes::output(world.bare(EBB).arg("status").args(args));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(expected), "{expected:?} is not in {error}");
    };
    refused(&["--metricsAddr", &pages, "--stagingSchema", "other"], "is of _replicator_1, and not of other");
    refused(&["--stagingSchema", "other"], "EBB-D040");
    let nobody = format!("127.0.0.1:{}", free_port());
    refused(&["--metricsAddr", &nobody], "refused");
    ebb.stop();
    refused(&["--stagingSchema", "_replicator_1"], "no ebb of this staging folder runs");
}

#[test]
fn a_target_that_takes_no_rows_is_no_good_sign() {
    let world = World::with_schemas("status_target", TABLE, "CREATE TABLE t (id int PRIMARY KEY, v varchar(3))");
    let (ebb, pages) = start_well(&world, "--on-row-error wait");
    let database = world.database();
    world.target(&format!(
        "ALTER DATABASE {database} SET default_transaction_read_only = on;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ebb' AND datname = '{database}'"
    ));
    wait_reason(&ebb, &pages, "target-down", "target", "ebb explain EBB-T01");
    let mut administrator = Client::connect(Dialect::Postgres, &world.target_url());
    administrator.ask("SET default_transaction_read_only = off").expect("a setting");
    administrator.ask(&format!("ALTER DATABASE {database} RESET default_transaction_read_only")).expect("a setting");
    wait_well(&ebb, &pages);
    world.source("INSERT INTO t VALUES (1, 'long')");
    wait_reason(&ebb, &pages, "row-refused", "target", "see the log");
    world.source("DELETE FROM t WHERE id = 1");
    wait_well(&ebb, &pages);
    ebb.stop();
}

#[test]
fn a_changefeed_that_sends_nothing_is_no_good_sign() {
    let world = World::new("status_changefeed", TABLE);
    let (ebb, pages) = start_well(&world, "");
    wait_for("a look at the changefeed", || ebb.log(), || status(&pages)["changefeed"]["job"].is_i64());
    let job = status(&pages)["changefeed"]["job"].to_string();
    world.source(&format!("PAUSE JOB {job}"));
    wait_reason(&ebb, &pages, "changefeed-paused", "source", &format!("RESUME JOB {job}"));
    world.source(&format!("RESUME JOB {job}"));
    wait_well(&ebb, &pages);
    ebb.stop();
}

#[test]
fn a_source_that_is_gone_is_no_good_sign() {
    let world = World::new("status_source", TABLE);
    let (ebb, _) = start(&world, &[], "");
    ebb.ready().stop();
    let port = free_port();
    let (ebb, pages) = start(&world, &["--source", &dead_url(&world, port)], "");
    wait_reason(&ebb, &pages, "source-unreachable", "source", "CockroachDB runs");
    forward(port, source_port(&world));
    wait_well(&ebb, &pages);
    ebb.stop();
}

#[test]
fn a_full_staging_is_no_good_sign() {
    let world = World::new("status_staging", TABLE);
    let (ebb, pages) = start_well(&world, "--staging-max-bytes 4000000");
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    for first in (0..6000).step_by(100) {
        let last = first + 99;
        world.source(&format!("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series({first}, {last}) AS i"));
    }
    // While the target's lock lasts, both are in the way.
    let is_full = || status(&pages)["reasons"].to_string().contains("staging-full");
    wait_for("a full staging", || ebb.log(), is_full);
    assert!(http_get(&pages, "/_/readyz").starts_with("HTTP/1.1 503"));
    drop(gate);
    wait_well(&ebb, &pages);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

/// Until when ebb may stay down follows from the source's own setting.
#[test]
fn how_long_ebb_may_stay_down_is_said() {
    let world = World::new("status_down", "CREATE TABLE t (id int PRIMARY KEY)");
    world.source("SET CLUSTER SETTING changefeed.protect_timestamp.max_age = '48h'");
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    let until = || status(&pages)["may_stay_down_until"].as_str().map(str::to_owned);
    wait_for("the time", || ebb.log(), || until().is_some());
    let until = chrono::DateTime::parse_from_rfc3339(&until().expect("a time")).expect("RFC 3339");
    let hours = (until.with_timezone(&chrono::Utc) - chrono::Utc::now()).num_minutes() as f64 / 60.0;
    assert!((47.0..47.7).contains(&hours), "{hours} hours: 48 less 20 minutes\n{}", ebb.log());
    ebb.stop();
}
