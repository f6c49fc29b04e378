//! The page as HTML, complete without JavaScript.
//!
//! Owns: where each fact stands in `page.html`, and that none of them becomes markup. Does not own: the facts (`facts`).

use serde_json::Value;

use super::Facts;

const TEMPLATE: &str = include_str!("page.html");

/// `page.html`, whose places `{{name}}` are filled.
pub(in crate::status) fn html(facts: &Facts) -> String {
    let shown = facts.shown();
    let mut page = String::with_capacity(TEMPLATE.len() * 2);
    let mut rest = TEMPLATE;
    while let Some((before, place)) = rest.split_once("{{") {
        let (name, after) = place.split_once("}}").unwrap_or((place, ""));
        page.push_str(before);
        page.push_str(&filled(name, shown));
        rest = after;
    }
    page + rest
}

fn filled(name: &str, shown: &Value) -> String {
    match name {
        "line" => list(&shown["line"]).map(|part| format!("<li>{}</li>", text(part))).collect(),
        "safe" => if shown["safe"] == true { "yes" } else { "no" }.to_owned(),
        "answer" => if shown["safe"] == true { "YES" } else { "NO" }.to_owned(),
        "reasons" => list(&shown["reasons"]).map(reason).collect(),
        "findings" => list(&shown["findings"]).map(finding).collect(),
        "without_next" => hidden(shown["next"].is_null()),
        "without_findings" => hidden(list(&shown["findings"]).next().is_none()),
        "numbers" => list(&shown["numbers"]).map(number).collect(),
        "trend" => list(&shown["trend"]).map(chart).collect(),
        "tables" | "history" => list(&shown[name]["rows"]).map(row).collect(),
        "more_tables" => text(&shown["tables"]["more"]),
        "more_history" => text(&shown["history"]["more"]),
        "without_tables" => hidden(shown["tables"].is_null()),
        "without_history" => hidden(shown["history"].is_null()),
        _ => text(&shown[name]),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn hidden(is_hidden: bool) -> String {
    if is_hidden { "hidden".to_owned() } else { String::new() }
}

fn reason(reason: &Value) -> String {
    let (said, id, next) = (text(&reason["text"]), text(&reason["id"]), text(&reason["next"]));
    format!("<li><p class=\"what\">{said} <span class=\"id\">{id}</span></p><p class=\"fix\">{next}</p></li>")
}

fn finding(finding: &Value) -> String {
    let (title, said, fix) = (text(&finding["title"]), text(&finding["text"]), text(&finding["fix"]));
    format!("<li><p class=\"what\">{title}</p><p>{said}</p><p class=\"fix\">{fix}</p></li>")
}

fn number(pair: &Value) -> String {
    format!("<div><dt>{}</dt><dd>{}</dd></div>", text(&pair[0]), text(&pair[1]))
}

fn chart(series: &Value) -> String {
    let (id, title, said) = (text(&series["id"]), text(&series["title"]), text(&series["text"]));
    format!(
        "<figure id=\"{id}\"><figcaption><span class=\"what\">{title}</span> <span class=\"text\">{said}</span></figcaption>\
         </figure>"
    )
}

/// The first cell names the row.
fn row(cells: &Value) -> String {
    let mut cells = list(cells).map(text);
    let name = cells.next().unwrap_or_default();
    let others: String = cells.map(|cell| format!("<td>{cell}</td>")).collect();
    format!("<tr><th scope=\"row\">{name}</th>{others}</tr>")
}

fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
