//! `/_/varz`: a snapshot in the text format of Prometheus.
//!
//! Owns: the names of ebb's own metrics and their help, which dashboards of others read. Does not own: the facts (`snapshot`),
//! the format (`exposition`), and names that other programs gave (`molt_metrics`).

use std::time::UNIX_EPOCH;

use ebb_sdk::Timestamp;

use super::exposition::Page;
use super::snapshot::{Build, seconds};
use super::table_counts::TableCounts;
use super::{ChangefeedState, Proof, Reason, Snapshot, molt_metrics};
use crate::measure::ThreadState;

/// The whole page.
pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut page = Page::default();
    build(&mut page, snapshot.build);
    counts(&mut page, snapshot);
    times(&mut page, snapshot);
    staging(&mut page, snapshot);
    progress(&mut page, snapshot);
    parts(&mut page, snapshot);
    by_label(&mut page, snapshot);
    by_table(&mut page, snapshot);
    molt_metrics::write(&mut page, snapshot);
    page.into_text()
}

fn build(page: &mut Page, build: Build) {
    let name = "ebb_build_info";
    page.head(name, "gauge", "Always 1; what this program was built from.");
    let labels = [("version", build.version), ("commit", build.commit), ("abi", &build.abi.to_string())];
    page.sample(name, &labels, 1.0);
}

fn counts(page: &mut Page, snapshot: &Snapshot) {
    page.counter("ebb_rows_received_total", "Rows made durable, repeats included.", snapshot.rows_received);
    page.counter("ebb_rows_applied_total", "Rows committed on the target.", snapshot.rows_applied);
    page.counter(
        "ebb_transactions_applied_total",
        "Source transactions committed on the target.",
        snapshot.transactions_applied,
    );
    page.counter("ebb_apply_retries_total", "Attempts that had to be repeated.", snapshot.retries);
    page.counter("ebb_handshakes_failed_total", "TLS handshakes that failed.", snapshot.handshakes_failed);
}

fn times(page: &mut Page, snapshot: &Snapshot) {
    let distributions = &snapshot.distributions;
    page.histogram(
        "ebb_request_duration_seconds",
        "From the head of an accepted request to its answer.",
        &distributions.requests,
    );
    page.histogram(
        "ebb_staging_sync_duration_seconds",
        "What a sync of the staging log takes, before requests are answered.",
        &distributions.syncs,
    );
    page.histogram(
        "ebb_apply_duration_seconds",
        "From BEGIN to the confirmed COMMIT of a target transaction.",
        &distributions.applies,
    );
    page.histogram(
        "ebb_transaction_lag_seconds",
        "From the commit at the source until the target has it, of the oldest source transaction of each target \
         transaction.",
        &distributions.apply_lag,
    );
}

fn staging(page: &mut Page, snapshot: &Snapshot) {
    let (staging, usage) = (snapshot.staging, snapshot.staging.usage);
    page.gauge("ebb_staging_row_bytes", "Bytes of rows that are staged.", usage.row_bytes as f64);
    page.gauge("ebb_staging_disk_bytes", "Bytes of the staging folder.", usage.disk_bytes() as f64);
    page.gauge(
        "ebb_staging_fingerprint_bytes",
        "Bytes of it that only tell repeats of applied rows; they give way to rows.",
        usage.fingerprint_bytes as f64,
    );
    page.gauge(
        "ebb_staging_forgotten_timestamp_seconds",
        "Applied rows up to this time are not remembered any more (--retireOffset, --staging-max-bytes).",
        seconds(usage.forgotten),
    );
    page.gauge("ebb_staging_room_bytes", "Bytes of rows that staging may still take.", usage.room_bytes as f64);
    page.gauge(
        "ebb_staging_left_seconds",
        "Until staging is full at the growth of its rows in the last minute; +Inf while they do not grow.",
        staging.hours_left.map_or(f64::INFINITY, |hours| hours * 3600.0),
    );
    page.gauge("ebb_staging_full", "1 while requests are held for want of room.", flag(staging.is_full));
}

fn progress(page: &mut Page, snapshot: &Snapshot) {
    page.gauge(
        "ebb_apply_waiting",
        "1 while applying waits for a row that the target refuses.",
        flag(snapshot.waiting.is_some()),
    );
    page.gauge(
        "ebb_apply_waiting_seconds",
        "For how long applying has waited for a row that the target refuses.",
        snapshot
            .waiting
            .as_ref()
            .map_or(0.0, |waiting| snapshot.at.duration_since(waiting.since).unwrap_or_default().as_secs_f64().floor()),
    );
    let verification = snapshot.verification.as_ref();
    page.gauge(
        "ebb_verified_timestamp_seconds",
        "Both sides were equal up to this time of the source; 0 without a proof that counts.",
        match snapshot.proof() {
            Proof::UpTo(at) => seconds(at),
            _ => 0.0,
        },
    );
    page.gauge(
        "ebb_verify_differences",
        "Rows that differ, as the last comparison has found.",
        verification.map_or(0.0, |found| found.differences as f64),
    );
    page.gauge("ebb_target_down", "1 while the target takes no rows.", flag(snapshot.target_down.is_some()));
    page.gauge(
        "ebb_request_age_seconds",
        "Since the last accepted request; before the first, since the start.",
        snapshot.silent_for().as_secs() as f64,
    );
    page.gauge("ebb_resolved_timestamp_seconds", "Latest resolved timestamp received.", seconds(snapshot.resolved));
    page.gauge(
        "ebb_applied_timestamp_seconds",
        "The target equals the source at this time.",
        seconds(snapshot.applied.unwrap_or(Timestamp::ZERO)),
    );
    page.gauge(
        "ebb_apply_lag_seconds",
        "Age of the applied timestamp; NaN before it is known where the target stands.",
        snapshot.lag().unwrap_or(f64::NAN),
    );
}

/// What the run stands on: threads, certificates, the changefeed's job.
fn parts(page: &mut Page, snapshot: &Snapshot) {
    let name = "ebb_thread_alive";
    page.head(name, "gauge", "1 for a thread that works or waits, 0 for one that is stuck or has ended.");
    for thread in &snapshot.threads {
        let is_alive = matches!(thread.state, ThreadState::Rests | ThreadState::Works);
        page.sample(name, &[("thread", thread.name)], flag(is_alive));
    }
    let name = "ebb_certificate_expiry_timestamp_seconds";
    page.head(name, "gauge", "When a certificate ends.");
    for (certificate, end) in &snapshot.certificates {
        let end = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        page.sample(name, &[("certificate", certificate)], end);
    }
    let name = "ebb_changefeed_state";
    page.head(name, "gauge", "1 for the state of the changefeed's job, as ebb saw it last.");
    for state in ChangefeedState::ALL {
        page.sample(name, &[("state", state.id())], flag(state == snapshot.changefeed));
    }
    let name = "ebb_last_error_timestamp_seconds";
    page.head(name, "gauge", "When the last error or warning was logged, with its code.");
    if let Some(last) = snapshot.logged.last {
        let at = last.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as f64;
        page.sample(name, &[("code", last.code.text()), ("severity", last.severity.name())], at);
    }
}

fn by_label(page: &mut Page, snapshot: &Snapshot) {
    let name = "ebb_cut_back_reason";
    page.head(name, "gauge", "1 for each reason against cutting back now.");
    let reasons = snapshot.reasons();
    for reason in Reason::ALL {
        page.sample(name, &[("reason", reason.id())], flag(reasons.contains(&reason)));
    }
    let name = "ebb_requests_refused_total";
    page.head(name, "counter", "Requests not answered with 200, by status code.");
    for (code, count) in &snapshot.requests_refused {
        page.sample(name, &[("code", &code.to_string())], *count as f64);
    }
    let name = "ebb_errors_logged_total";
    page.head(name, "counter", "Errors and warnings that were logged, by code.");
    for (code, count) in &snapshot.logged.counts {
        page.sample(name, &[("code", code)], *count as f64);
    }
    let name = "ebb_values_rounded_total";
    page.head(name, "counter", "Values that lost digits (--allow-rounding).");
    for ((table, column), count) in &snapshot.values_rounded {
        page.sample(name, &[("table", table), ("column", column)], *count as f64);
    }
}

fn by_table(page: &mut Page, snapshot: &Snapshot) {
    type Count = fn(&TableCounts) -> u64;
    let counts: [(&str, &str, Count); 3] = [
        ("ebb_table_rows_received_total", "Rows made durable, repeats included, by table.", |table| table.received),
        ("ebb_table_upserts_applied_total", "Rows written to a table of the target.", |table| table.upserts),
        ("ebb_table_deletes_applied_total", "Rows deleted from a table of the target.", |table| table.deletes),
    ];
    for (name, help, count) in counts {
        page.head(name, "counter", help);
        for table in &snapshot.tables {
            page.sample(name, &[("table", &table.name.shown)], count(table) as f64);
        }
    }
    let name = "ebb_table_last_change_timestamp_seconds";
    page.head(name, "gauge", "When a change of a table was last committed on the target.");
    for table in &snapshot.tables {
        if let Some(at) = table.last_change {
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            page.sample(name, &[("table", &table.name.shown)], at);
        }
    }
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}
