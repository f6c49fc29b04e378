//! Everything that the page says, in words, so that the browser has nothing to judge and little to spell.
//!
//! Owns: what is shown, in which order and form. Does not own: the facts (`json`, without values of rows), their judgement
//! (`verdict`, `headline`), and how it looks (`html`, `page.js`).

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use ebb_sdk::Timestamp;
use serde_json::{Value, json};

use super::TableRates;
use crate::error::visible;
use crate::status::headline::Health;
use crate::status::hour::{Extremes, Hour, Series};
use crate::status::verdict::{grouped, short};
use crate::status::{Snapshot, json};

/// Rows of one table of the page. The others are counted.
const ROWS_MAX: usize = 200;
const UNKNOWN: &str = "not known yet";
const NO_FIX: &str = "";

/// What the page says at one moment.
pub(in crate::status) struct Facts(Value);

impl Facts {
    pub(in crate::status) fn of(snapshot: &Snapshot, hour: &Hour, rates: &TableRates) -> Self {
        let mut status = json::without_values(snapshot);
        let (health, headline) = snapshot.headline();
        let line = snapshot.line();
        let shown = json!({
            "feed": visible(&snapshot.feed, ""),
            "at": moment(snapshot.at),
            "health": health.name(),
            "headline": headline,
            "line": line.split(" · ").collect::<Vec<_>>(),
            "safe": snapshot.reasons().is_empty(),
            // What a person does before cutting back is no step to mend the run.
            "next": (health != Health::Good).then(|| snapshot.next()).flatten(),
            "reasons": status["reasons"],
            "findings": findings(&status, snapshot),
            "trend": trend(hour, snapshot),
            "numbers": numbers(&status, snapshot),
            "tables": tables(&status, snapshot, rates),
            "history": history(&status),
        });
        status["shown"] = shown;
        Self(status)
    }

    /// `/_/status` without values of rows, and with what is shown as `shown`.
    pub(in crate::status) fn json(&self) -> String {
        self.0.to_string()
    }

    pub(super) fn shown(&self) -> &Value {
        &self.0["shown"]
    }
}

/// What is not as it should be, each with what mends it.
fn findings(status: &Value, snapshot: &Snapshot) -> Vec<Value> {
    let finding = |title: String, text: String, fix: String| json!({ "title": title, "text": text, "fix": fix });
    let mut found = Vec::new();
    if let Some((since, code)) = snapshot.target_down {
        let title = format!("The target takes no rows ({code})");
        let text = format!("for {}; rows are received and staged meanwhile", short(since.as_secs_f64()));
        found.push(finding(title, text, format!("ebb explain {code}")));
    }
    if let Some(waiting) = &snapshot.waiting {
        let title = format!("A row is refused ({})", waiting.error.code);
        let fix = status["waiting"]["hint"].as_str().unwrap_or(NO_FIX);
        found.push(finding(title, refused(&status["waiting"]), visible(fix, "")));
    }
    for warning in status["warnings"].as_array().into_iter().flatten() {
        let text = warning.as_str().or(warning["text"].as_str()).unwrap_or_default();
        let fix = warning["fix"].as_str().unwrap_or(NO_FIX);
        found.push(finding("Warning".into(), visible(text, ""), visible(fix, "")));
    }
    found
}

/// Its key stands in the log and in `/_/status`.
fn refused(waiting: &Value) -> String {
    let named = ["table", "column", "constraint", "code"].into_iter().filter_map(|name| {
        let word = if name == "code" { "the database's code" } else { name };
        Some(format!("{word} {}", visible(waiting[name].as_str()?, "")))
    });
    let since = waiting["since_unix_seconds"].as_u64().map(|since| format!("since {}", of_unix(since)));
    let tries = format!(
        "attempts so far {}, the next in {} s",
        waiting["tries"].as_u64().unwrap_or(0),
        waiting["next_try_in_seconds"].as_u64().unwrap_or(0)
    );
    let facts: Vec<_> = named.chain(since).chain([tries]).collect();
    format!("{}. The log and /_/status name the row.", facts.join(", "))
}

/// What the charts show, in words.
fn trend(hour: &Hour, snapshot: &Snapshot) -> Vec<Value> {
    let of = |series: Series, now: Option<f64>, spell: &dyn Fn(f64) -> String| {
        let Some(now) = now else { return format!("now {UNKNOWN}") };
        let present = Extremes { least: now, most: now, most_at: snapshot.at };
        let Extremes { least, most, most_at } = hour.extremes(series).map_or(present, |hour| hour.with(&present));
        format!("now {}; most {} at {}, least {}", spell(now), spell(most), clock(most_at), spell(least))
    };
    let rate = |rate: f64| format!("{} rows/s", grouped(rate));
    let staged = snapshot.staging.usage.row_bytes as f64;
    [
        ("lag_seconds", "Behind", of(Series::Lag, snapshot.lag(), &short)),
        ("rows_per_second", "Rows applied", of(Series::Rate, Some(snapshot.rate), &rate)),
        ("staged_bytes", "Rows staged", of(Series::Staged, Some(staged), &bytes)),
    ]
    .map(|(id, title, text)| json!({ "id": id, "title": title, "text": text }))
    .to_vec()
}

/// Names and values.
fn numbers(status: &Value, snapshot: &Snapshot) -> Vec<[String; 2]> {
    let usage = snapshot.staging.usage;
    let count = |number: u64| grouped(number as f64);
    let of_time = |timestamp: Timestamp| match timestamp {
        Timestamp::ZERO => UNKNOWN.to_owned(),
        Timestamp { wall, .. } => at_wall(wall),
    };
    let changefeed = match snapshot.job {
        Some(job) => format!("job {job}: {}", snapshot.changefeed.name()),
        None => snapshot.changefeed.name().to_owned(),
    };
    let request = snapshot.arrived_ago.map_or_else(|| "none yet".into(), |ago| format!("{} s ago", ago.as_secs()));
    let clients = match snapshot.authentication.as_slice() {
        [] => "nothing: authentication is disabled".to_owned(),
        ways => ways.join(", "),
    };
    let full = snapshot.staging.hours_left.map_or_else(|| "it does not grow".into(), |hours| short(hours * 3600.0));
    let last_error = snapshot.logged.last.map_or_else(
        || "none".into(),
        |last| format!("{}, {}: {} (ebb explain {})", last.code, moment(last.at), last.sentence(), last.code),
    );
    let refused = status["requests_refused"].as_u64().unwrap_or(0);
    [
        ("Target equals source as of", snapshot.applied.map_or_else(|| UNKNOWN.into(), of_time)),
        ("Received completely up to", of_time(snapshot.resolved)),
        ("Last request", request),
        ("Changefeed", changefeed),
        ("ebb may stay down until", snapshot.may_stay_down_until().map_or_else(|| UNKNOWN.into(), moment)),
        ("Rows received", count(snapshot.rows_received)),
        ("Rows applied", count(snapshot.rows_applied)),
        ("Source transactions applied", count(snapshot.transactions_applied)),
        ("Attempts repeated", count(snapshot.retries)),
        ("Requests refused", count(refused)),
        ("Values rounded", count(snapshot.values_rounded.values().sum())),
        ("Rows staged", bytes(usage.row_bytes as f64)),
        ("Staging folder", bytes(usage.disk_bytes() as f64)),
        ("Room in staging", bytes(usage.room_bytes as f64)),
        ("Staging is full in", full),
        ("Clients show", clients),
        ("Last error or warning", last_error),
        ("Running for", short(snapshot.running_for.as_secs_f64())),
    ]
    .map(|(name, value)| [name.to_owned(), value])
    .to_vec()
}

/// The rows of a table that were applied.
pub(super) fn counted(table: &Value) -> u64 {
    let count = |name: &str| table[name].as_u64().unwrap_or(0);
    count("applied_upserts").saturating_add(count("applied_deletes"))
}

/// Null where the tables are not known.
fn tables(status: &Value, snapshot: &Snapshot, rates: &TableRates) -> Value {
    let Some(tables) = status["tables"].as_array() else { return Value::Null };
    let waiting = snapshot.waiting.as_ref().and_then(|waiting| waiting.error.fact("table"));
    let row = |table: &Value| {
        let name = table["table"].as_str().unwrap_or_default();
        let number = |name: &str| grouped(table[name].as_f64().unwrap_or(0.0));
        let rate = rates.of(name, counted(table), snapshot.at).map_or_else(|| "…".into(), grouped);
        let refused = if waiting == Some(name) { "a row is refused" } else { "none" };
        let verified = table["verified_to"].as_str().unwrap_or("not verified");
        let changed = table["last_change"].as_str().unwrap_or("none yet");
        let cells = [
            name,
            &number("received"),
            &number("applied_upserts"),
            &number("applied_deletes"),
            &rate,
            changed,
            refused,
            verified,
        ];
        cells.map(|cell| visible(cell, ""))
    };
    let rows: Vec<_> = tables.iter().take(ROWS_MAX).map(row).collect();
    json!({ "rows": rows, "more": more(tables.len()) })
}

/// The newest first. Null where nothing is kept.
fn history(status: &Value) -> Value {
    let Some(events) = status["history"].as_array() else { return Value::Null };
    let text = |value: &Value| match value {
        Value::Number(seconds) => seconds.as_u64().map(of_unix).unwrap_or_default(),
        other => visible(other.as_str().unwrap_or_default(), ""),
    };
    let row = |event: &Value| [&event["at"], &event["event"], &event["text"]].map(text);
    let rows: Vec<_> = events.iter().rev().take(ROWS_MAX).map(row).collect();
    json!({ "rows": rows, "more": more(events.len()) })
}

fn more(all: usize) -> String {
    match all.saturating_sub(ROWS_MAX) {
        0 => String::new(),
        more => format!("and {more} more: see /_/status"),
    }
}

fn bytes(bytes: f64) -> String {
    match bytes {
        b if b < 1024.0 => format!("{b:.0} B"),
        b if b < 1024.0 * 1024.0 => format!("{:.1} KiB", b / 1024.0),
        b if b < 1024.0 * 1024.0 * 1024.0 => format!("{:.1} MiB", b / (1024.0 * 1024.0)),
        b => format!("{:.1} GiB", b / (1024.0 * 1024.0 * 1024.0)),
    }
}

fn at_wall(wall: i64) -> String {
    DateTime::from_timestamp_nanos(wall).format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn of_unix(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default()
}

fn moment(at: SystemTime) -> String {
    of_unix(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// Without the day.
fn clock(at: SystemTime) -> String {
    moment(at).split_once(' ').map(|(_, clock)| clock.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code;
    use crate::error::Error;
    use crate::stage::Forecast;
    use crate::status::{Status, Waiting, page};

    fn refused() -> Snapshot {
        refused_with("make room for 'confidential' in <t>", r#"["confidential", 4711]"#)
    }

    fn refused_with(hint: &str, key: &str) -> Snapshot {
        let error = Error::new(code::target::GRACE_PERIOD, "the row ['confidential'] is refused")
            .hint(hint)
            .field("table", "<t>")
            .field("key", key)
            .field("behind_key", key);
        let (at, now) = (Timestamp::ZERO, SystemTime::now());
        let status = Status::default();
        status.waiting(Some(Waiting { since: UNIX_EPOCH, at, error, tries: 2, next_try: now }));
        status.snapshot("<script>", at, Forecast::default())
    }

    #[test]
    fn no_value_of_a_row_is_shown_and_nothing_becomes_markup() {
        let facts = Facts::of(&refused(), &Hour::default(), &TableRates::default());
        let html = page::html(&facts);
        for text in [&facts.json(), &html] {
            assert!(!text.contains("confidential"), "{text}");
            assert!(text.contains(": see the log") && !text.contains("make room"), "{text}");
        }
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"), "{html}");
        assert!(!html.contains("{{"), "{html}");
    }

    #[test]
    fn a_hint_that_quotes_a_value_of_the_key_gives_way() {
        let hint = |hint: &str, key: &str| {
            let shown = json::without_values(&refused_with(hint, key));
            shown["waiting"]["hint"].as_str().unwrap_or_default().to_owned()
        };
        let key = r#"["confidential", 4711, "o'neill", ["in\\ner"]]"#;
        for quoting in ["a confidential one", "id=4711", "'o''neill' is there", "o'neill", r"in\\ner", r"(in\ner)"] {
            assert!(hint(quoting, key).ends_with(": see the log"), "{quoting}");
        }
        let of_plugin = r#"name=confidential, id=4711, owner=o'neill, note=a "b", c=d"#;
        for quoting in ["a confidential one", "id=4711", "'o''neill'", r#"a \"b\", c=d"#, r#"is a "b", c=d there"#] {
            assert!(hint(quoting, of_plugin).ends_with(": see the log"), "{quoting}");
        }
        assert!(hint("make room in t", "name=a long o…").ends_with(": see the log"));
        for plain in ["the column confidentiality", "47110 rows", "make room in t", "ALTER COLUMN \"name\" TYPE text"] {
            assert_eq!([hint(plain, key), hint(plain, of_plugin)], [plain, plain]);
        }
    }

    #[test]
    fn tables_and_history_are_shown_where_they_are_known() {
        let snapshot = refused();
        let mut status = json::without_values(&snapshot);
        let rates = TableRates::default();
        status.as_object_mut().unwrap().retain(|name, _| !["tables", "history"].contains(&name.as_str()));
        assert_eq!((tables(&status, &snapshot, &rates), history(&status)), (Value::Null, Value::Null));
        let table = |name: &str| json!({ "table": name, "received": 1234, "applied_upserts": 7, "applied_deletes": 1, "last_change": null });
        status["tables"] = (0..ROWS_MAX + 3).map(|at| table(&format!("t{at}"))).chain([table("<t>")]).collect();
        status["tables"][0] = table("<t>");
        let shown = tables(&status, &snapshot, &rates);
        let expected = ["<t>", "1,234", "7", "1", "…", "none yet", "a row is refused", "not verified"];
        assert_eq!(shown["rows"][0], json!(expected));
        assert_eq!((shown["rows"].as_array().unwrap().len(), shown["rows"][1][6].as_str()), (ROWS_MAX, Some("none")));
        assert_eq!(shown["more"], "and 4 more: see /_/status");
        status["history"] = json!([
            { "at": "2026-11-27T03:00:00Z", "event": "start", "text": "started" },
            { "at": 1_700_000_000, "event": "target-down", "text": "\u{1b}[2J" },
        ]);
        let newest = json!(["2023-11-14 22:13:20 UTC", "target-down", "\\u{1b}[2J"]);
        assert_eq!(history(&status)["rows"][0], newest);
        assert_eq!(history(&status)["rows"][1][0], "2026-11-27T03:00:00Z");
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!([0.0, 2048.0, 1.5e6, 7e10].map(bytes), ["0 B", "2.0 KiB", "1.4 MiB", "65.2 GiB"]);
    }
}
