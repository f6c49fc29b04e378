//! The report of a cut back: what an auditor wants to know of it, as JSON.
//!
//! Owns: what stands in it. Does not own: the page (`page`), its signature (`signature`), writing files (`commands/cutback`), what was
//! done (`cutback`), the proof (`verify`).
//!
//! It holds no secret, and of rows only the keys of those that differ.

mod page;
pub mod signature;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::cutback::{Facts, Record};
use crate::mask;
use crate::verify::Outcome;

pub use page::page;

/// Of this form; a later one has another number.
pub const FORMAT: &str = "ebb cutback report 1";
/// A report is far smaller.
pub const BYTES_MAX: u64 = 64 << 20;
/// The newest events of the run.
const EVENTS_MAX: usize = 200;

/// What a report is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    pub record: &'a Record,
    pub facts: &'a Facts,
    /// As `ebb config show --json` prints them.
    pub settings: &'a str,
    /// `None` where it did not come to it.
    pub proof: Option<&'a Outcome>,
    /// The oldest first, without names of rows; or why there are none.
    pub history: Result<Vec<Value>, String>,
}

/// The whole of it.
pub fn document(parts: Parts<'_>) -> Value {
    let mut left_out = Vec::new();
    let mut leave_out = |what: &str, why: String| left_out.push(json!({ "what": what, "why": why }));
    let mut history = parts.history.unwrap_or_else(|why| {
        leave_out("history", why);
        Vec::new()
    });
    let older = history.len().saturating_sub(EVENTS_MAX);
    history.drain(..older);
    if older > 0 {
        leave_out("history", format!("{older} older events; ebb status --history has them"));
    }
    if parts.proof.is_none() {
        leave_out("proof", "it did not come to it".into());
    }
    let settings: Value = serde_json::from_str(parts.settings).unwrap_or_default();
    mask::clean_json(json!({
        "format": FORMAT,
        "made_at": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "ebb": { "version": env!("CARGO_PKG_VERSION"), "commit": option_env!("EBB_COMMIT") },
        "record": parts.record,
        "source": parts.facts.source,
        "target": parts.facts.target,
        "settings": settings,
        "proof": parts.proof.map(proof),
        "history": history,
        "left_out": left_out,
    }))
}

/// As `ebb verify --json` prints it, without values.
fn proof(outcome: &Outcome) -> Value {
    let mut all: Value = serde_json::from_str(&outcome.json()).unwrap_or_default();
    let rows = outcome.saved.mismatches.shown.iter().map(|row| {
        let columns: Vec<&String> = row.columns.iter().map(|values| &values.column).collect();
        json!({ "table": row.table, "kind": row.kind, "key": row.key, "columns": columns })
    });
    all["shown"] = rows.collect();
    all["columns"] = json!(outcome.saved.compares.tables);
    // The target's tables may have been changed since the round began.
    all["target_tables"] = json!(outcome.saved.compares.described);
    all
}

#[cfg(test)]
mod tests {
    use ebb_sdk::Timestamp;

    use super::*;
    use crate::verify::Saved;

    fn outcome() -> Outcome {
        let mut saved: Saved = serde_json::from_value(json!({
            "compares": { "source": "s", "target": "t", "only_keys": false, "every_table": true,
                "described": { "public.t": "ab" }, "tables": { "public.t": ["id", "name"] } },
            "tables": {}, "begun": 1, "saved": 2, "is_finished": true,
            "mismatches": { "shown": [{ "table": "public.t", "kind": "different", "key": [["id", "77"]],
                "columns": [{ "column": "name", "source": "hers", "target": "his" }],
                "source_sql": "SELECT 'hers'", "target_sql": "SELECT 'his'" }] },
        }))
        .expect("a comparison");
        let table = saved.tables.entry("public.t".into()).or_default();
        table.different = 1;
        table.proved_at.push(Timestamp { wall: 1, logical: 0 });
        let order = vec!["public.t".to_owned()];
        Outcome { saved, order, seconds: 1.0, rows: 1, frozen_milliseconds: 0.0, history: String::new() }
    }

    #[test]
    fn it_names_rows_and_shows_no_value() {
        let (record, facts, outcome) = (Record::default(), Facts::default(), outcome());
        let parts = |history| Parts { record: &record, facts: &facts, settings: "{}", proof: Some(&outcome), history };
        let report = document(parts(Ok(vec![json!({ "event": "started" }); EVENTS_MAX + 7])));
        let text = report.to_string();
        assert_eq!(report["proof"]["shown"][0]["key"], json!([["id", "77"]]));
        assert_eq!(report["proof"]["shown"][0]["columns"], json!(["name"]));
        assert!(!text.contains("hers") && !text.contains("his\""), "{text}");
        assert_eq!(report["proof"]["tables"][0]["different"], 1);
        assert_eq!(report["history"].as_array().map(Vec::len), Some(EVENTS_MAX));
        assert!(report["left_out"][0]["why"].as_str().is_some_and(|why| why.starts_with("7 older")), "{report:#}");
        // What is missing is said.
        let report = document(Parts { proof: None, ..parts(Err("gone".into())) });
        assert_eq!(report["left_out"].as_array().map(Vec::len), Some(2), "{report:#}");
    }
}
