//! Metrics under the names that MOLT Replicator gives them, so that its dashboards and alerts go on.
//!
//! Owns: these names and labels, where they mean the same here. Does not own: ebb's own names (`prometheus`), the facts
//! (`snapshot`). What has no counterpart here is not served at all.

use super::Snapshot;
use super::exposition::Page;
use super::snapshot::seconds;
use super::table_counts::TableCounts;

pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let distributions = &snapshot.distributions;
    page.histogram(
        "core_source_lag_seconds",
        "Age of each resolved timestamp as it arrives.",
        &distributions.source_lag,
    );
    page.histogram(
        "stage_commit_lag_seconds",
        "From the commit at the source until rows are durable, of the oldest row of each request.",
        &distributions.stage_lag,
    );
    let apply_lag = "From the commit at the source until the target has it, of the oldest source transaction of each \
                     target transaction.";
    for name in ["source_commit_to_apply_lag_seconds", "target_apply_transaction_lag_seconds"] {
        page.histogram(name, apply_lag, &distributions.apply_lag);
    }
    by_schema(page, snapshot);
    by_table(page, snapshot);
}

fn by_schema(page: &mut Page, snapshot: &Snapshot) {
    let mut schemas: Vec<&str> = snapshot.tables.iter().map(|table| &*table.name.schema).collect();
    schemas.sort_unstable();
    schemas.dedup();
    let applied = snapshot.applied.map_or(0.0, seconds);
    for (name, help, value) in [
        ("target_applied_timestamp_seconds", "The last resolved timestamp that is applied.", applied),
        ("target_pending_timestamp_seconds", "The last resolved timestamp received.", seconds(snapshot.resolved)),
    ] {
        page.head(name, "gauge", help);
        for schema in &schemas {
            page.sample(name, &[("target", schema)], value);
        }
    }
}

fn by_table(page: &mut Page, snapshot: &Snapshot) {
    type Count = fn(&TableCounts) -> u64;
    let counts: [(&str, &str, Count); 4] = [
        ("stage_mutations_total", "Rows made durable, repeats included.", |table| table.received),
        ("apply_upserts_total", "Rows upserted.", |table| table.upserts),
        ("apply_deletes_total", "Rows deleted.", |table| table.deletes),
        ("apply_errors_total", "Attempts to write that failed; without a table where none is named.", |table| {
            table.failures
        }),
    ];
    for (name, help, count) in counts {
        page.head(name, "counter", help);
        for table in &snapshot.tables {
            let labels = [("schema", &*table.name.schema), ("table", &*table.name.table)];
            page.sample(name, &labels, count(table) as f64);
        }
        if name == "apply_errors_total" {
            page.sample(name, &[("schema", ""), ("table", "")], snapshot.other_failures as f64);
        }
    }
}
