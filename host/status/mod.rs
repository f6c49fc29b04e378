//! What a running ebb can say about itself: counters, timestamps, and the pages that show them.
//!
//! Owns: the numbers and their text. Does not own: any decision; nothing reads a number back.

mod pages;
mod refusals;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ebb_sdk::{Rounded, SHOWN_CHARS_MAX, Timestamp, shortened};
use tokio::sync::watch;

pub use pages::Pages;
pub use refusals::Peer;

use refusals::Refusals;

use crate::config::Access;
use crate::error::Error;
use crate::mask;
use crate::stage::Forecast;

/// Shared by all parts of a run.
#[derive(Debug, Default)]
pub struct Status {
    rows_received: AtomicU64,
    /// By status code.
    requests_refused: Mutex<BTreeMap<u16, u64>>,
    /// How clients show that they may write.
    authentication: Vec<&'static str>,
    handshakes_failed: AtomicU64,
    rows_applied: AtomicU64,
    transactions_applied: AtomicU64,
    retries: AtomicU64,
    /// By table and column: values that lost digits, as `--allow-rounding` lets them.
    values_rounded: Mutex<BTreeMap<(String, String), u64>>,
    applied: watch::Sender<Timestamp>,
    refusals: Refusals,
    waiting: Mutex<Option<Waiting>>,
}

/// A row that applying waits for.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub since: SystemTime,
    /// Of its source transaction.
    pub at: Timestamp,
    pub error: Error,
    pub tries: u32,
    pub next_try: SystemTime,
}

impl Waiting {
    /// Without the row's values, which stand in the log.
    fn json(&self) -> serde_json::Value {
        let fact = |name: &str| self.error.fact(name);
        let next = self.next_try.duration_since(SystemTime::now()).unwrap_or_default();
        serde_json::json!({
            "since_unix_seconds": unix_seconds(self.since),
            "source_timestamp": self.at.to_string(),
            "table": fact("table"),
            "column": fact("column"),
            "key": fact("key"),
            "constraint": fact("constraint"),
            "behind": {
                "table": fact("behind_table"),
                "key": fact("behind_key"),
                "constraint": fact("behind_constraint"),
            },
            "code": fact("code"),
            "hint": self.error.hint.as_deref().map(mask::clean),
            "tries": self.tries,
            "next_try_in_seconds": next.as_secs(),
        })
    }
}

impl Status {
    pub fn new(access: &Access) -> Self {
        let ways = [
            (access.client_ca.is_some(), "client certificate"),
            (access.tokens.is_some(), "token"),
            (access.header.is_some() && access.tokens.is_none(), "header"),
        ];
        let authentication = ways.into_iter().filter(|(is_chosen, _)| *is_chosen).map(|(_, way)| way).collect();
        Self { authentication, ..Self::default() }
    }

    /// How clients show that they may write, for a person.
    pub fn authentication(&self) -> String {
        if self.authentication.is_empty() { "disabled".into() } else { self.authentication.join(", ") }
    }

    pub fn received(&self, rows: u64) {
        self.rows_received.fetch_add(rows, Ordering::Relaxed);
    }

    pub fn applied(&self, to: Timestamp, transactions: u64, rows: u64) {
        self.applied.send_replace(to);
        self.transactions_applied.fetch_add(transactions, Ordering::Relaxed);
        self.rows_applied.fetch_add(rows, Ordering::Relaxed);
    }

    /// How far the target is, as it moves.
    pub fn watch_applied(&self) -> watch::Receiver<Timestamp> {
        self.applied.subscribe()
    }

    pub fn rounded(&self, values: Vec<Rounded>) {
        let mut rounded = lock(&self.values_rounded);
        for Rounded { table, column, values } in values {
            let place = (table, column);
            if !rounded.contains_key(&place) {
                let (table, column) = &place;
                tracing::warn!(table, column, "values have lost digits, as --allow-rounding allows");
            }
            *rounded.entry(place).or_default() += values;
        }
    }

    /// Sets what applying waits for.
    pub fn waiting(&self, waiting: Option<Waiting>) {
        *lock(&self.waiting) = waiting;
    }

    /// For a probe: what a person should look at.
    pub fn summary(&self) -> String {
        match &*lock(&self.waiting) {
            Some(waiting) => format!("OK, but applying waits at {}: see /_/status and the log\n", waiting.at),
            None => "OK\n".to_owned(),
        }
    }

    pub fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub fn handshake_failed(&self, why: &str) {
        self.handshakes_failed.fetch_add(1, Ordering::Relaxed);
        if let Some(more) = self.refusals.news(Peer::NoHandshake, why) {
            tracing::warn!("a TLS handshake failed: {why}{more}");
        }
    }

    pub fn refused(&self, peer: Peer, cause: &str, path: &str, status: u16) {
        *lock(&self.requests_refused).entry(status).or_default() += 1;
        if let Some(more) = self.refusals.news(peer, cause) {
            let path = shortened(path, SHOWN_CHARS_MAX);
            tracing::warn!(status = u64::from(status), path, "a request was refused: {cause}{more}");
        }
    }

    /// Prometheus text for `/_/varz`.
    pub fn metrics(&self, resolved: Timestamp, staging: Forecast) -> String {
        let (applied, usage) = (*self.applied.borrow(), staging.usage);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let rows = [
            ("ebb_rows_received_total", "counter", "Rows made durable, repeats included.", count(&self.rows_received)),
            ("ebb_rows_applied_total", "counter", "Rows committed on the target.", count(&self.rows_applied)),
            (
                "ebb_transactions_applied_total",
                "counter",
                "Source transactions committed on the target.",
                count(&self.transactions_applied),
            ),
            ("ebb_apply_retries_total", "counter", "Attempts that had to be repeated.", count(&self.retries)),
            ("ebb_handshakes_failed_total", "counter", "TLS handshakes that failed.", count(&self.handshakes_failed)),
            ("ebb_staging_disk_bytes", "gauge", "Bytes of the staging folder.", usage.disk_bytes() as f64),
            (
                "ebb_staging_fingerprint_bytes",
                "gauge",
                "Bytes of it that only tell repeats of applied rows; they give way to rows.",
                usage.fingerprint_bytes as f64,
            ),
            (
                "ebb_staging_forgotten_timestamp_seconds",
                "gauge",
                "Applied rows up to this time are not remembered any more (--retireOffset, --staging-max-bytes).",
                seconds(usage.forgotten),
            ),
            ("ebb_staging_room_bytes", "gauge", "Bytes of rows that staging may still take.", usage.room_bytes as f64),
            (
                "ebb_staging_hours_left",
                "gauge",
                "Hours until staging is full at the growth of its rows in the last minute; +Inf while they do not grow.",
                staging.hours_left.unwrap_or(f64::INFINITY),
            ),
            (
                "ebb_staging_full",
                "gauge",
                "1 while requests are held for want of room.",
                f64::from(u8::from(staging.is_full)),
            ),
            (
                "ebb_apply_waiting",
                "gauge",
                "1 while applying waits for a row that the target refuses.",
                f64::from(u8::from(lock(&self.waiting).is_some())),
            ),
            ("ebb_resolved_timestamp_seconds", "gauge", "Latest resolved timestamp received.", seconds(resolved)),
            ("ebb_applied_timestamp_seconds", "gauge", "The target equals the source at this time.", seconds(applied)),
            (
                "ebb_apply_lag_seconds",
                "gauge",
                "Age of the applied timestamp; NaN before it is known where the target stands.",
                lag(applied).unwrap_or(f64::NAN),
            ),
        ];
        let mut text = String::new();
        for (name, kind, help, value) in rows {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}", Prometheus(value));
        }
        let name = "ebb_requests_refused_total";
        let _ = writeln!(text, "# HELP {name} Requests not answered with 200, by status code.\n# TYPE {name} counter");
        for (code, count) in lock(&self.requests_refused).iter() {
            let _ = writeln!(text, "{name}{{code=\"{code}\"}} {count}");
        }
        let name = "ebb_values_rounded_total";
        let _ = writeln!(text, "# HELP {name} Values that lost digits (--allow-rounding).\n# TYPE {name} counter");
        for ((table, column), count) in lock(&self.values_rounded).iter() {
            let (table, column) = (label(table), label(column));
            let _ = writeln!(text, "{name}{{table=\"{table}\",column=\"{column}\"}} {count}");
        }
        text
    }

    /// JSON for `/_/status`.
    pub fn json(&self, feed: &str, resolved: Timestamp, staging: Forecast) -> String {
        let (applied, usage) = (*self.applied.borrow(), staging.usage);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        serde_json::json!({
            "feed": feed,
            "resolved": resolved.to_string(),
            "applied": (applied != Timestamp::ZERO).then(|| applied.to_string()),
            "apply_lag_seconds": lag(applied),
            "rows_received": count(&self.rows_received),
            "rows_applied": count(&self.rows_applied),
            "transactions_applied": count(&self.transactions_applied),
            "waiting": lock(&self.waiting).as_ref().map(Waiting::json),
            "apply_retries": count(&self.retries),
            "requests_refused": lock(&self.requests_refused).values().sum::<u64>(),
            "values_rounded": lock(&self.values_rounded).values().sum::<u64>(),
            "authentication": self.authentication,
            "warnings": self.warnings(),
            "staging_disk_bytes": usage.disk_bytes(),
            "staging_fingerprint_bytes": usage.fingerprint_bytes,
            "staging_forgotten": (usage.forgotten != Timestamp::ZERO).then(|| usage.forgotten.to_string()),
            "staging_room_bytes": usage.room_bytes,
            "staging_hours_left": staging.hours_left,
            "staging_full": staging.is_full,
        })
        .to_string()
    }

    /// What should not stay as it is.
    fn warnings(&self) -> Vec<&'static str> {
        let is_open = self.authentication.is_empty();
        is_open.then_some("authentication disabled, any caller may write to the target database").into_iter().collect()
    }
}

/// A name as the value of a label (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
fn label(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A number as Prometheus spells it.
struct Prometheus(f64);

impl std::fmt::Display for Prometheus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_infinite() { f.write_str("+Inf") } else { self.0.fmt(f) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn seconds(timestamp: Timestamp) -> f64 {
    timestamp.wall as f64 / 1e9
}

/// The one place where the local clock meets the source's: for display only. `None` before it is known where the target
/// stands.
fn lag(applied: Timestamp) -> Option<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
    (applied != Timestamp::ZERO).then(|| (now - seconds(applied)).max(0.0))
}
