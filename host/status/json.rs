//! `/_/status`: a snapshot as JSON, and `/_/history`.
//!
//! Owns: the names of its fields, which programs of others read. Does not own: the facts (`snapshot`).

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use ebb_sdk::Timestamp;
use serde_json::{Value, json};

use super::table_counts::TableCounts;
use super::{Proof, Reason, Snapshot, Verification, Waiting};
use crate::code;
use crate::history::{Entry, History};
use crate::logged::LastLogged;
use crate::mask;
use crate::measure::Pulse;

pub(super) fn text(snapshot: &Snapshot) -> String {
    value(snapshot).to_string()
}

/// The same without the keys of rows, for whoever may see no row data.
pub(super) fn without_values(snapshot: &Snapshot) -> Value {
    let mut value = value(snapshot);
    // To index into null would make it an object.
    let Some(waiting) = value.get_mut("waiting").filter(|waiting| waiting.is_object()) else { return value };
    let keys = [waiting["key"].take(), waiting["behind"]["key"].take()];
    // The hints of ebb's own dialects name tables and columns only; others may quote the row.
    let quotes = |hint: &str| keys.iter().filter_map(Value::as_str).any(|key| quotes_key(hint, key));
    if waiting["hint"].as_str().is_some_and(quotes) {
        let title = snapshot.waiting.as_ref().map_or("a row is refused", |waiting| code::title(waiting.error.code));
        waiting["hint"] = format!("{title}: see the log").into();
    }
    value
}

/// Whether a text has a value of a key as a whole word. The host writes a key as a JSON array, a plugin as `id=1, city=rome`.
fn quotes_key(text: &str, key: &str) -> bool {
    match serde_json::from_str(key) {
        Ok(key) => quotes_json(text, key),
        // A long key is shortened: what it ended with may stand in the text.
        Err(_) if key.starts_with('[') || key.ends_with('…') => true,
        // A value may have commas of its own. Then each part of it stands in whatever quotes the whole.
        Err(_) => {
            let mut values = key.split(", ").map(|part| part.split_once('=').map_or(part, |(_, value)| value));
            values.any(|value| quotes(text, value))
        }
    }
}

fn quotes_json(text: &str, key: Value) -> bool {
    let mut rest = vec![key];
    while let Some(value) = rest.pop() {
        let is_quoted = match value {
            Value::Null => false,
            Value::Array(values) => {
                rest.extend(values);
                false
            }
            Value::Object(fields) => {
                rest.extend(fields.into_iter().map(|(_, value)| value));
                false
            }
            Value::String(value) => quotes(text, &value),
            other => has_word(text, &other.to_string()),
        };
        if is_quoted {
            return true;
        }
    }
    false
}

/// Whether a text has a value, as it is or as SQL or JSON writes it.
fn quotes(text: &str, value: &str) -> bool {
    let quoted = json!(value).to_string();
    let forms = [value, quoted.trim_matches('"'), &value.replace('\'', "''")];
    forms.into_iter().any(|form| has_word(text, form))
}

fn has_word(text: &str, word: &str) -> bool {
    let is_inside = |one: Option<char>, other: Option<char>| {
        one.is_some_and(char::is_alphanumeric) && other.is_some_and(char::is_alphanumeric)
    };
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| {
            let (before, behind) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
            !is_inside(before, word.chars().next()) && !is_inside(word.chars().next_back(), behind)
        })
}

fn value(snapshot: &Snapshot) -> Value {
    let usage = snapshot.staging.usage;
    json!({
        "feed": snapshot.feed,
        "line": snapshot.line(),
        "safe_to_cut_back": snapshot.reasons().is_empty(),
        "reasons": snapshot.reasons().into_iter().map(|reason| judged(reason, snapshot)).collect::<Vec<_>>(),
        "next": snapshot.next(),
        "bottleneck": snapshot.bottleneck().name(),
        "rows_per_second": snapshot.rate,
        "caught_up_in_seconds": snapshot.caught_up_in,
        "last_request_seconds_ago": snapshot.arrived_ago.map(|ago| ago.as_secs()),
        "running_seconds": snapshot.running_for.as_secs(),
        "may_stay_down_until": snapshot.may_stay_down_until().map(rfc3339),
        "changefeed": { "job": snapshot.job, "state": snapshot.changefeed.name() },
        "target_down": snapshot.target_down.map(|(since, why)| json!({
            "seconds": since.as_secs(),
            "error_code": why.text(),
        })),
        "staging_row_bytes": usage.row_bytes,
        "resolved": snapshot.resolved.to_string(),
        "applied": snapshot.applied.map(|applied| applied.to_string()),
        "apply_lag_seconds": snapshot.lag(),
        "rows_received": snapshot.rows_received,
        "rows_applied": snapshot.rows_applied,
        "transactions_applied": snapshot.transactions_applied,
        "waiting": snapshot.waiting.as_ref().map(|waiting| waited(waiting, snapshot.at)),
        "apply_retries": snapshot.retries,
        "requests_refused": snapshot.requests_refused.values().sum::<u64>(),
        "values_rounded": snapshot.values_rounded.values().sum::<u64>(),
        "authentication": snapshot.authentication,
        "warnings": snapshot.warnings(),
        "staging_disk_bytes": usage.disk_bytes(),
        "staging_fingerprint_bytes": usage.fingerprint_bytes,
        "staging_forgotten": (usage.forgotten != Timestamp::ZERO).then(|| usage.forgotten.to_string()),
        "staging_room_bytes": usage.room_bytes,
        "staging_hours_left": snapshot.staging.hours_left,
        "staging_full": snapshot.staging.is_full,
        "verification": snapshot.verification.as_ref().map(|found| verified(found, snapshot)),
        "history": snapshot.history.iter().map(AsRef::as_ref).collect::<Vec<&Entry>>(),
        "tables": snapshot.tables.iter().map(|table| counted(table, snapshot)).collect::<Vec<_>>(),
        "last_error": snapshot.logged.last.as_ref().map(logged),
        "certificates": snapshot.certificates.iter().map(|(name, end)| json!({
            "certificate": name,
            "expires": rfc3339(*end),
        })).collect::<Vec<_>>(),
        "threads": snapshot.threads.iter().map(thread).collect::<Vec<_>>(),
    })
}

/// `/_/history`: everything that is known of what has happened, the newest last.
pub(super) fn history(history: &History) -> String {
    let entries = history.all();
    json!(entries.iter().map(AsRef::as_ref).collect::<Vec<&Entry>>()).to_string()
}

fn verified(found: &Verification, snapshot: &Snapshot) -> Value {
    let up_to = match snapshot.proof() {
        Proof::UpTo(at) => Some(at.to_string()),
        _ => None,
    };
    json!({
        "verified_to": up_to,
        "differences": found.differences,
        "finished": found.is_finished,
        "whole": found.is_whole,
        "of_these_tables": found.is_of_these_tables,
        "time": rfc3339(found.ended),
    })
}

fn counted(table: &TableCounts, snapshot: &Snapshot) -> Value {
    let name = &*table.name.shown;
    let up_to = snapshot.verification.as_ref().and_then(|found| found.tables.get(name));
    json!({
        "verified_to": up_to.map(|at| DateTime::from_timestamp_nanos(at.wall).to_rfc3339_opts(SecondsFormat::Secs, true)),
        "table": &*table.name.shown,
        "received": table.received,
        "applied_upserts": table.upserts,
        "applied_deletes": table.deletes,
        "last_change": table.last_change.map(rfc3339),
    })
}

fn logged(last: &LastLogged) -> Value {
    json!({
        "code": last.code.text(),
        "severity": last.severity.name(),
        "time": rfc3339(last.at),
        "text": last.sentence(),
    })
}

fn thread(pulse: &Pulse) -> Value {
    json!({
        "thread": pulse.name,
        "state": pulse.state.name(),
        "quiet_seconds": pulse.quiet.as_secs(),
        "limit_seconds": pulse.limit.as_secs(),
    })
}

fn rfc3339(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn judged(reason: Reason, snapshot: &Snapshot) -> Value {
    json!({ "id": reason.id(), "text": reason.words(), "next": reason.next(snapshot) })
}

/// Without the row's values, which stand in the log.
fn waited(waiting: &Waiting, now: SystemTime) -> Value {
    let fact = |name: &str| waiting.error.fact(name);
    let next = waiting.next_try.duration_since(now).unwrap_or_default();
    json!({
        "since_unix_seconds": waiting.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        "source_timestamp": waiting.at.to_string(),
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
        "hint": waiting.error.hint.as_deref().map(mask::clean),
        "tries": waiting.tries,
        "next_try_in_seconds": next.as_secs(),
    })
}
