//! The report as one page for a person: no script, and nothing that it would have to load.
//!
//! Owns: where each fact stands, and that none of them becomes markup. Does not own: the facts (`mod`), how it looks (`page.css`).

use std::fmt::Write;

use chrono::DateTime;
use ebb_sdk::Timestamp;
use serde_json::Value;

use crate::error::visible;

const STYLE: &str = include_str!("page.css");
/// Nothing is loaded or run, whatever the page may say.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The page of a report; `digest` is the SHA-256 of its JSON, whose file is called `name`.
pub fn page(report: &Value, name: &str, digest: &str) -> String {
    let record = &report["record"];
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\
         <title>Cut back of {}: {}</title>\n<style>\n{STYLE}</style></head>\n<body>\n",
        text(&record["staging_schema"]),
        verdict(record),
    );
    page += &head(report);
    page +=
        &section("Criteria", &table(&["criterion", "limit", "value", "result"], rows(&record["criteria"], criterion)));
    page += &section(
        "Steps",
        &table(&["step", "outcome", "what was seen or done", "seconds"], rows(&record["steps"], step)),
    );
    page += &proof(&report["proof"]);
    for (title, server) in [("Source", &report["source"]), ("Target", &report["target"])] {
        page += &section(title, &of_server(server));
    }
    page += &section("Settings", &table(&["setting", "value", "from"], settings(&report["settings"])));
    page += &section("History of the run", &table(&["at", "event", "text"], rows(&report["history"], event)));
    let left_out = list(&report["left_out"], |part| format!("{}: {}", text(&part["what"]), text(&part["why"])));
    page += &section("Left out", if left_out.is_empty() { "<p class=\"muted\">nothing</p>" } else { &left_out });
    let _ = writeln!(
        page,
        "<p class=\"muted\">The same as {}, SHA-256 {}. To see that nobody has changed it: ebb verify-report.</p>\n</body></html>",
        escaped(name),
        escaped(digest)
    );
    page
}

fn verdict(record: &Value) -> String {
    record["verdict"].as_str().map_or_else(|| "broken off".to_owned(), escaped)
}

/// The verdict, why, when and by whom.
fn head(report: &Value) -> String {
    let record = &report["record"];
    let is_go = record["verdict"] == "GO";
    let dry = if record["dry_run"] == true { " (a dry run: nothing was changed)" } else { "" };
    let mut html = format!(
        "<section class=\"{}\"><h1>{}{dry}</h1>\n<p>Cut back of {}</p>\n",
        if is_go { "good" } else { "bad" },
        verdict(record),
        text(&record["staging_schema"])
    );
    html += &list(&record["reasons"], text);
    let to_do = list(&record["to_do"], text);
    if record["to_do"].as_array().is_some_and(|list| !list.is_empty()) {
        let _ = write!(html, "<h2>Still to be done</h2>{to_do}");
    }
    let ebb = &report["ebb"];
    let who = format!("{} on {}", text(&record["user"]), text(&record["host"]));
    let facts = [
        ("decided by", text(&record["decided_by"])),
        ("run by", who),
        ("begun", text(&record["begun"])),
        ("ended", text(&record["ended"])),
        ("final time T", time(&record["final_time"])),
        ("both sides were equal as of", time(&record["verified_to"])),
        ("ebb", format!("{} ({})", text(&ebb["version"]), text(&ebb["commit"]))),
        ("report made", text(&report["made_at"])),
    ];
    let facts = facts.iter().map(|(name, value)| format!("<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>"));
    let _ = writeln!(html, "<table><tbody>{}</tbody></table></section>", facts.collect::<String>());
    html
}

fn criterion(judged: &Value) -> String {
    let (class, word) = if judged["passed"] == true { ("pass", "PASS") } else { ("fail", "FAIL") };
    let value = judged["value"].as_str().map_or_else(|| "it did not come to it".to_owned(), escaped);
    let (name, limit) = (text(&judged["criterion"]), text(&judged["limit"]));
    format!("<th scope=\"row\">{name}</th><td>{limit}</td><td>{value}</td><td class=\"{class}\">{word}</td>")
}

fn step(step: &Value) -> String {
    let class = if step["outcome"] == "failed" { "fail" } else { "pass" };
    format!(
        "<th scope=\"row\">{}</th><td class=\"{class}\">{}</td><td class=\"long\">{}</td><td class=\"number\">{:.1}</td>",
        text(&step["step"]),
        text(&step["outcome"]),
        text(&step["said"]),
        step["seconds"].as_f64().unwrap_or_default()
    )
}

fn event(event: &Value) -> String {
    let (at, name, said) = (text(&event["at"]), text(&event["event"]), text(&event["text"]));
    format!("<td>{at}</td><td>{name}</td><td class=\"long\">{said}</td>")
}

/// What was compared of each table, and the rows that differ.
fn proof(proof: &Value) -> String {
    if proof.is_null() {
        return section("Proof", "<p>It did not come to it.</p>");
    }
    let heads = ["table", "source rows", "target rows", "compared", "missing", "extra", "different", "at"];
    let one = |table: &Value| {
        let mut html = format!("<th scope=\"row\">{}</th>", text(&table["table"]));
        for name in ["source_rows", "target_rows", "compared", "missing", "extra", "different"] {
            let _ = write!(html, "<td class=\"number\">{}</td>", text(&table[name]));
        }
        let at: Vec<String> = table["at"].as_array().into_iter().flatten().map(time).collect();
        html + &format!("<td class=\"long\">{}</td>", at.join(", "))
    };
    let how = if proof["only_keys"] == true { "Keys only were compared" } else { "Every column was compared" };
    let mut html = format!("<p>{}. {how}.</p>{}", text(&proof["verdict"]), table(&heads, rows(&proof["tables"], one)));
    if proof["shown"].as_array().is_some_and(|shown| !shown.is_empty()) {
        let row = |row: &Value| {
            let key: Vec<String> = row["key"].as_array().into_iter().flatten().map(pair).collect();
            let columns: Vec<String> = row["columns"].as_array().into_iter().flatten().map(text).collect();
            let (table, kind) = (text(&row["table"]), text(&row["kind"]));
            format!("<td>{table}</td><td>{kind}</td><td>{}</td><td>{}</td>", key.join(", "), columns.join(", "))
        };
        let shown = table(&["table", "what", "key", "columns"], rows(&proof["shown"], row));
        let _ = write!(html, "<h2>Rows that differ, the first ones</h2>{shown}");
    }
    section("Proof", &html)
}

/// `["id", "7"]`.
fn pair(pair: &Value) -> String {
    format!("{}={}", text(&pair[0]), text(&pair[1]))
}

fn of_server(server: &Value) -> String {
    let digests = server["tables"].as_object().into_iter().flatten();
    let digests = digests.map(|(name, digest)| {
        format!("<th scope=\"row\">{}</th><td class=\"long\">{}</td>", escaped(name), text(digest))
    });
    let place = format!("<p>{}</p><p>{}</p>", text(&server["place"]), text(&server["version"]));
    place + &table(&["table", "SHA-256 of its columns, types and keys"], digests)
}

fn settings(settings: &Value) -> impl Iterator<Item = String> {
    settings.as_object().into_iter().flatten().map(|(name, setting)| {
        // Those of the changefeed are one object.
        let (value, from) = match setting.get("from") {
            Some(from) => (&setting["value"], text(from)),
            None => (setting, String::new()),
        };
        format!("<th scope=\"row\">{}</th><td class=\"long\">{}</td><td>{from}</td>", escaped(name), text(value))
    })
}

fn section(title: &str, html: &str) -> String {
    format!("<section><h2>{title}</h2>\n{html}</section>\n")
}

fn rows(list: &Value, row: impl Fn(&Value) -> String) -> impl Iterator<Item = String> {
    list.as_array().into_iter().flatten().map(row)
}

/// The heads are ebb's own words; each row is HTML.
fn table(heads: &[&str], rows: impl Iterator<Item = String>) -> String {
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let rows: String = rows.map(|row| format!("<tr>{row}</tr>\n")).collect();
    if rows.is_empty() {
        return "<p class=\"muted\">none</p>".to_owned();
    }
    format!("<div class=\"wide\"><table><thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>")
}

fn list(list: &Value, item: impl Fn(&Value) -> String) -> String {
    let items: String = list.as_array().into_iter().flatten().map(|one| format!("<li>{}</li>", item(one))).collect();
    if items.is_empty() { String::new() } else { format!("<ul>{items}</ul>") }
}

/// A time of CockroachDB, as a person reads it, too.
fn time(value: &Value) -> String {
    match value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(at) => {
            let utc = DateTime::from_timestamp_nanos(at.wall).format("%Y-%m-%d %H:%M:%S%.3fZ");
            format!("{utc} ({at})")
        }
        None => text(value),
    }
}

/// A text as it is, and anything else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => escaped(text),
        other => escaped(&other.to_string()),
    }
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in visible(text, "").chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The same shape, with markup in the place of every text.
    fn hostile(value: Value) -> Value {
        match value {
            Value::String(text) if text == "GO" => Value::String(text),
            Value::String(_) => Value::from("<script>'\"&\u{202e}"),
            Value::Array(list) => list.into_iter().map(hostile).collect(),
            Value::Object(fields) => {
                Value::Object(fields.into_iter().map(|(name, value)| (name, hostile(value))).collect())
            }
            other => other,
        }
    }

    fn report() -> Value {
        json!({
            "made_at": "2026-05-04T12:03:10Z", "ebb": { "version": "0.1.0", "commit": null },
            "record": { "verdict": "GO", "staging_schema": "_r", "user": "ada", "host": "h", "decided_by": "Ada",
                "criteria": [{ "criterion": "time", "limit": "60 s", "value": "3 s", "passed": true }],
                "steps": [{ "step": "proof", "outcome": "passed", "said": "500 rows", "seconds": 1.25 }],
                "reasons": ["a reason"], "to_do": ["a thing"] },
            "proof": { "verdict": "equal", "tables": [{ "table": "public.t", "compared": 500, "at": ["1795770377267199000.0000000000"] }],
                "shown": [{ "table": "public.t", "kind": "extra", "key": [["id", "7"]], "columns": ["name"] }] },
            "source": { "place": "p", "version": "v", "tables": { "<b>": "ab" } },
            "target": { "place": "p", "version": "v", "tables": {} },
            "settings": { "<i>": { "value": ["a"], "from": "flag" }, "changefeed": { "host": "h" } },
            "history": [{ "at": "a", "event": "started", "text": "ebb has started" }],
            "left_out": [{ "what": "history", "why": "older" }],
        })
    }

    #[test]
    fn it_shows_what_the_report_says() {
        let page = page(&report(), "cutback.json", "abcd");
        for part in [
            "<h1>GO</h1>",
            "PASS",
            "500 rows",
            "id=7",
            "a reason",
            "a thing",
            "Ada",
            "SHA-256 abcd",
            ">1.2<",
            "2026-11-27 09:06:17.267Z (1795770377267199000.0000000000)",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn no_text_becomes_markup() {
        let hostile = page(&hostile(report()), "<u>.json", "abcd");
        for markup in ["<script", "<b>", "<i>", "<u>", "\u{202e}"] {
            assert!(!hostile.contains(markup), "{markup} is in {hostile}");
        }
        // Both have the same elements.
        let tags = |page: &str| page.matches('<').count();
        assert_eq!(tags(&hostile), tags(&page(&report(), "u.json", "abcd")));
    }

    #[test]
    fn nothing_is_loaded_and_a_missing_verdict_is_no_go() {
        let page = page(&json!({}), "cutback.json", "abcd");
        assert!(page.contains("<h1>broken off</h1>") && page.contains("section class=\"bad\""), "{page}");
        for loading in ["src=", "href=", "url(", "@import", "<script"] {
            assert!(!page.contains(loading), "{loading}");
        }
    }
}
