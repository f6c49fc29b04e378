//! What a run counts and measures: rows by table, times, certificates, the last error.
//!
//! Owns: that the numbers are right on real servers. Does not own: that every metric is documented (`docs`), and what is made of
//! them (`monitoring`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::pages::{http_get, status};
use crate::harness::promtool::promtool;
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

const TABLES: &str = "CREATE TABLE parent (id int PRIMARY KEY, v int);
    CREATE TABLE \"Child\" (id int PRIMARY KEY, parent int REFERENCES parent (id))";

fn start(world: &World, flags: &str) -> (Ebb, String) {
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = format!("--stagingSchema _replicator_1 {flags}");
    let ebb = world.fetch(&["--metrics-listen-addr", &pages, "--replicator-flags", &flags]).ready();
    (ebb, pages)
}

/// Every sample of the page, by name and labels.
fn samples(pages: &str) -> BTreeMap<String, f64> {
    let page = http_get(pages, "/metrics");
    let body = page.split_once("\r\n\r\n").expect("a body").1;
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(name, value)| (name.to_owned(), number(value))).collect()
}

fn number(text: &str) -> f64 {
    text.trim_start_matches('+').parse().expect("a number")
}

fn wait_applied(ebb: &Ebb, pages: &str, rows: u64) {
    wait_for(&format!("{rows} rows"), || ebb.log(), || status(pages)["rows_applied"] == rows);
}

fn counts(pages: &str) -> Vec<(Value, Value, Value, Value, bool)> {
    let status = status(pages);
    let tables = status["tables"].as_array().expect("a list");
    let field = |table: &Value, name: &str| table[name].clone();
    let counts = tables.iter().map(|table| {
        let (received, upserts, deletes) =
            (field(table, "received"), field(table, "applied_upserts"), field(table, "applied_deletes"));
        (field(table, "table"), received, upserts, deletes, table["last_change"].is_string())
    });
    counts.collect()
}

fn count(table: &str, received: u64, upserts: u64, deletes: u64) -> (Value, Value, Value, Value, bool) {
    (json!(table), json!(received), json!(upserts), json!(deletes), upserts + deletes > 0)
}

/// Held in memory, planned anew, and read from staging as it is written: every row counts once.
#[test]
fn rows_are_counted_for_their_table() {
    for (name, limit) in [("metrics_tables", ""), ("metrics_streamed", "--transaction-rows-max 3")] {
        let world = World::new(name, TABLES);
        let (ebb, pages) = start(&world, limit);
        assert_eq!(counts(&pages), [count("public.Child", 0, 0, 0), count("public.parent", 0, 0, 0)]);
        world.source(
            "BEGIN; INSERT INTO parent SELECT i, 0 FROM generate_series(1, 20) AS i; \
             INSERT INTO \"Child\" SELECT i, i FROM generate_series(1, 10) AS i; COMMIT",
        );
        wait_applied(&ebb, &pages, 30);
        world.source("BEGIN; DELETE FROM \"Child\" WHERE id > 4; DELETE FROM parent WHERE id > 18; UPDATE parent SET v = 1 WHERE id = 1; COMMIT");
        wait_applied(&ebb, &pages, 39);
        assert_eq!(counts(&pages), [count("public.Child", 16, 10, 6), count("public.parent", 23, 21, 2)], "{name}");
        let samples = samples(&pages);
        let labels = format!("{{schema=\"{name}.public\",table=\"parent\"}}");
        let ours = "{table=\"public.parent\"}";
        for (metric, value) in [
            (format!("stage_mutations_total{labels}"), 23.0),
            (format!("apply_upserts_total{labels}"), 21.0),
            (format!("apply_deletes_total{labels}"), 2.0),
            (format!("apply_errors_total{labels}"), 0.0),
            (format!("ebb_table_rows_received_total{ours}"), 23.0),
            (format!("ebb_table_upserts_applied_total{ours}"), 21.0),
            (format!("ebb_table_deletes_applied_total{ours}"), 2.0),
        ] {
            assert_eq!(samples.get(&metric), Some(&value), "{metric}");
        }
        let shown = world.run(&["status", "--tables", "--metricsAddr", &pages]);
        let rows: Vec<Vec<&str>> = shown.lines().rev().take(3).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[2], ["received", "upserts", "deletes", "last", "change", "table"]);
        assert_eq!((rows[1][..3].join(" "), rows[0][..3].join(" ")), ("16 10 6".into(), "23 21 2".into()));
        assert_eq!((rows[1][4], rows[0][4]), ("public.Child", "public.parent"));
        assert!(!world.run(&["status", "--metricsAddr", &pages]).contains("public.parent"));
        ebb.stop();
    }
}

#[test]
fn times_and_certificates_are_measured() {
    let world = World::new("metrics_times", TABLES);
    let (ebb, pages) = start(&world, "");
    world.source("INSERT INTO parent VALUES (1, 1)");
    wait_applied(&ebb, &pages, 1);
    let page = http_get(&pages, "/metrics");
    promtool(&["check", "metrics"], page.split_once("\r\n\r\n").expect("a body").1);
    let samples = samples(&pages);
    for histogram in [
        "ebb_request_duration_seconds",
        "ebb_staging_sync_duration_seconds",
        "ebb_apply_duration_seconds",
        "ebb_transaction_lag_seconds",
        "core_source_lag_seconds",
        "stage_commit_lag_seconds",
        "source_commit_to_apply_lag_seconds",
        "target_apply_transaction_lag_seconds",
    ] {
        let of = |part: &str| samples.get(&format!("{histogram}{part}")).copied().unwrap_or(f64::NAN);
        assert!(of("_count") > 0.0 && of("_sum") > 0.0, "{histogram} counts nothing: {page}");
        assert_eq!(of("_bucket{le=\"60\"}"), of("_bucket{le=\"+Inf\"}"), "{histogram} has more than a minute: {page}");
        assert_eq!(of("_bucket{le=\"+Inf\"}"), of("_count"), "{histogram}");
    }
    // The one target transaction with rows.
    assert_eq!(samples.get("ebb_transaction_lag_seconds_count"), Some(&1.0));
    let labels = format!("{{target=\"{}.public\"}}", world.database());
    let of_schema = |name: &str| samples.get(&format!("{name}{labels}")).copied();
    assert!(of_schema("target_pending_timestamp_seconds").is_some_and(|seconds| seconds > 1.7e9), "{page}");
    assert!(of_schema("target_applied_timestamp_seconds").is_some_and(|seconds| seconds > 1.7e9), "{page}");
    let version = format!("ebb_build_info{{version=\"{}\",commit=", env!("CARGO_PKG_VERSION"));
    assert!(samples.keys().any(|name| name.starts_with(&version)), "{page}");
    let status = status(&pages);
    let ends = status["certificates"].as_array().expect("a list");
    assert_eq!(ends.iter().map(|end| &end["certificate"]).collect::<Vec<_>>(), ["receiver", "changefeed"]);
    for end in ends {
        let name = format!("ebb_certificate_expiry_timestamp_seconds{{certificate={}}}", end["certificate"]);
        let shown = end["expires"].as_str().expect("a time");
        let shown = chrono::DateTime::parse_from_rfc3339(shown).expect("RFC 3339").timestamp();
        assert_eq!(samples.get(&name), Some(&(shown as f64)), "{page}");
    }
    let receiver = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in"])
        .arg(world.certs().server().cert)
        .output()
        .expect("openssl is installed");
    let receiver = String::from_utf8_lossy(&receiver.stdout).trim().replace("notAfter=", "").replace(' ', "T");
    assert_eq!(ends[0]["expires"], receiver);
    ebb.stop();
}

#[test]
fn the_last_error_is_told_without_values() {
    let target = "CREATE TABLE t (id int PRIMARY KEY, v varchar(3))";
    let world = World::with_schemas("metrics_error", "CREATE TABLE t (id int PRIMARY KEY, v text)", target);
    let (ebb, pages) = start(&world, "--on-row-error wait");
    assert_eq!(status(&pages)["last_error"]["severity"], "warning", "the type does not fit");
    world.source("INSERT INTO t VALUES (1, 'secret value')");
    wait_for("the refused row", || ebb.log(), || status(&pages)["waiting"].is_object());
    wait_for("its line", || ebb.log(), || ebb.log().contains("applying waits, and receiving goes on"));
    let now = status(&pages);
    let last = &now["last_error"];
    let code = last["code"].as_str().expect("a code");
    assert!(ebb.log().lines().last().is_some_and(|line| line.contains(code)), "{last}\n{}", ebb.log());
    assert_eq!(last["severity"], "error");
    assert!(world.run(&["explain", code]).starts_with(&format!("{code}: {}", last["text"].as_str().expect("a text"))));
    assert!(!now.to_string().contains("secret value"), "{now}");
    let samples = samples(&pages);
    assert!(samples[&format!("ebb_errors_logged_total{{code=\"{code}\"}}")] >= 1.0);
    let labels = format!("{{schema=\"{}.public\",table=\"t\"}}", world.database());
    assert!(samples[&format!("apply_errors_total{labels}")] >= 1.0, "{samples:?}");
    assert!(world.run(&["status", "--metricsAddr", &pages]).contains(&format!(" {code} (")), "{last}");
    // It is mended, and stays the last.
    let mut owner = Client::connect(Dialect::Postgres, &world.target_url());
    world.source("DELETE FROM t WHERE id = 1");
    wait_for("the row to be gone", || ebb.log(), || status(&pages)["waiting"].is_null());
    assert_eq!(owner.ask("SELECT count(*) FROM t").as_deref(), Some("0"));
    assert_eq!(status(&pages)["last_error"]["code"], code);
    ebb.stop();
}
