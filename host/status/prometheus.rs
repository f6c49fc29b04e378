//! `/_/varz`: a snapshot in the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Owns: the names of metrics and their help, which dashboards of others read. Does not own: the facts (`snapshot`).

use std::fmt::{self, Write};

use ebb_sdk::Timestamp;

use super::snapshot::seconds;
use super::{Reason, Snapshot};

/// The whole page.
pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    counts(&mut text, snapshot);
    staging(&mut text, snapshot);
    progress(&mut text, snapshot);
    by_label(&mut text, snapshot);
    text
}

fn counts(text: &mut String, snapshot: &Snapshot) {
    let mut counter = |name, help, value: u64| metric(text, name, "counter", help, value as f64);
    counter("ebb_rows_received_total", "Rows made durable, repeats included.", snapshot.rows_received);
    counter("ebb_rows_applied_total", "Rows committed on the target.", snapshot.rows_applied);
    counter(
        "ebb_transactions_applied_total",
        "Source transactions committed on the target.",
        snapshot.transactions_applied,
    );
    counter("ebb_apply_retries_total", "Attempts that had to be repeated.", snapshot.retries);
    counter("ebb_handshakes_failed_total", "TLS handshakes that failed.", snapshot.handshakes_failed);
}

fn staging(text: &mut String, snapshot: &Snapshot) {
    let (staging, usage) = (snapshot.staging, snapshot.staging.usage);
    let mut gauge = |name, help, value| metric(text, name, "gauge", help, value);
    gauge("ebb_staging_disk_bytes", "Bytes of the staging folder.", usage.disk_bytes() as f64);
    gauge(
        "ebb_staging_fingerprint_bytes",
        "Bytes of it that only tell repeats of applied rows; they give way to rows.",
        usage.fingerprint_bytes as f64,
    );
    gauge(
        "ebb_staging_forgotten_timestamp_seconds",
        "Applied rows up to this time are not remembered any more (--retireOffset, --staging-max-bytes).",
        seconds(usage.forgotten),
    );
    gauge("ebb_staging_room_bytes", "Bytes of rows that staging may still take.", usage.room_bytes as f64);
    gauge(
        "ebb_staging_hours_left",
        "Hours until staging is full at the growth of its rows in the last minute; +Inf while they do not grow.",
        staging.hours_left.unwrap_or(f64::INFINITY),
    );
    gauge("ebb_staging_full", "1 while requests are held for want of room.", flag(staging.is_full));
}

fn progress(text: &mut String, snapshot: &Snapshot) {
    let mut gauge = |name, help, value| metric(text, name, "gauge", help, value);
    gauge(
        "ebb_apply_waiting",
        "1 while applying waits for a row that the target refuses.",
        flag(snapshot.waiting.is_some()),
    );
    gauge("ebb_target_down", "1 while the target takes no rows.", flag(snapshot.target_down.is_some()));
    gauge(
        "ebb_request_age_seconds",
        "Since the last accepted request; before the first, since the start.",
        snapshot.silent_for().as_secs() as f64,
    );
    gauge("ebb_resolved_timestamp_seconds", "Latest resolved timestamp received.", seconds(snapshot.resolved));
    gauge(
        "ebb_applied_timestamp_seconds",
        "The target equals the source at this time.",
        seconds(snapshot.applied.unwrap_or(Timestamp::ZERO)),
    );
    gauge(
        "ebb_apply_lag_seconds",
        "Age of the applied timestamp; NaN before it is known where the target stands.",
        snapshot.lag().unwrap_or(f64::NAN),
    );
}

fn by_label(text: &mut String, snapshot: &Snapshot) {
    let name = "ebb_cut_back_reason";
    head(text, name, "gauge", "1 for each reason against cutting back now.");
    let reasons = snapshot.reasons();
    for reason in Reason::ALL {
        let _ = writeln!(text, "{name}{{reason=\"{}\"}} {}", reason.id(), u8::from(reasons.contains(&reason)));
    }
    let name = "ebb_requests_refused_total";
    head(text, name, "counter", "Requests not answered with 200, by status code.");
    for (code, count) in &snapshot.requests_refused {
        let _ = writeln!(text, "{name}{{code=\"{code}\"}} {count}");
    }
    let name = "ebb_values_rounded_total";
    head(text, name, "counter", "Values that lost digits (--allow-rounding).");
    for ((table, column), count) in &snapshot.values_rounded {
        let (table, column) = (label(table), label(column));
        let _ = writeln!(text, "{name}{{table=\"{table}\",column=\"{column}\"}} {count}");
    }
}

fn metric(text: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    head(text, name, kind, help);
    let _ = writeln!(text, "{name} {}", Number(value));
}

/// Writing to a String does not fail.
fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A name as the value of a label.
fn label(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

/// A number as Prometheus spells it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_infinite() { f.write_str("+Inf") } else { self.0.fmt(f) }
    }
}
