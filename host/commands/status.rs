//! `ebb status`: asks a running ebb where it stands, or what has happened.
//!
//! Owns: which ebb is meant, and the form of a status on a terminal. Does not own: asking (`pages`), the facts and their judgement
//! (`status`), and the form of a history (`history`).

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::history;
use super::pages::{Pages, Place};
use crate::code;
use crate::config::PagesLogin;
use crate::error::{Error, Result, visible};
use crate::stage;
use crate::threads;

const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    pub pages: Place,
    /// What the pages want to be shown.
    pub login: Option<PagesLogin>,
    /// Of which the ebb that answers must be.
    pub schema: Option<String>,
    pub asked: Asked,
    pub watch: bool,
    /// Also the rows of each table.
    pub tables: bool,
    pub json: bool,
}

/// What is to be shown.
#[derive(Debug)]
pub enum Asked {
    Status,
    /// Where no ebb answers, as the folder of the schema in this folder of staging folders has it.
    History(Option<PathBuf>),
}

/// Prints what is found, once or every second.
///
/// # Errors
/// When no ebb answers, or one of another staging schema.
#[expect(clippy::print_stdout, reason = "the answer of the command")]
pub fn run(options: &Options) -> Result<String> {
    let runtime = threads::runtime(&mut Builder::new_current_thread())?;
    loop {
        let text = match &options.asked {
            Asked::Status => {
                let status = runtime.block_on(ask(options))?.1;
                if options.json { format!("{status:#}\n") } else { shown(&status, options.tables) }
            }
            Asked::History(dir) => history_of(&runtime, options, dir.as_deref())?,
        };
        // JSON leaves some characters as they are that steer a terminal.
        let text = if std::io::stdout().is_terminal() { visible(&text, "\n") } else { text };
        if !options.watch {
            return Ok(text);
        }
        let clear = if std::io::stdout().is_terminal() && !options.json { "\u{1b}[H\u{1b}[2J" } else { "" };
        print!("{clear}{text}");
        // Nobody reads it any more.
        if std::io::stdout().flush().is_err() {
            return Ok(String::new());
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

/// The status of the ebb that is meant, and its pages.
async fn ask(options: &Options) -> Result<(Pages, Value)> {
    let pages = Pages::find(&options.pages, options.login.as_ref())?;
    let status = pages.json("/_/status").await?;
    if status.get("line").is_none() {
        return Err(pages.no_answer("what answers there is something else"));
    }
    check_feed(&status, options, pages.addr)?;
    Ok((pages, status))
}

/// What the ebb says that is meant; else what its folder holds.
fn history_of(runtime: &Runtime, options: &Options, dir: Option<&Path>) -> Result<String> {
    let asked = runtime.block_on(async {
        let (pages, _) = ask(options).await?;
        pages.json("/_/history").await
    });
    match (asked, dir, &options.schema) {
        (Ok(Value::Array(entries)), ..) => Ok(history::shown(&entries, options.json)),
        (Err(error), Some(dir), Some(schema)) => {
            let entries = history::of_folder(&stage::folder(dir, schema))?.ok_or(error)?;
            Ok(history::shown(&entries, options.json))
        }
        (Err(error), ..) => Err(error),
        (Ok(_), ..) => Err(Error::new(code::settings::NO_ANSWER, "the ebb that answers keeps no history")
            .hint("it is of an earlier version: see its log")),
    }
}

/// Another run may have taken the address.
fn check_feed(status: &Value, options: &Options, addr: SocketAddr) -> Result<()> {
    let feed = status["feed"].as_str().unwrap_or_default();
    match &options.schema {
        Some(schema) if schema != feed => {
            let feed = visible(feed, "");
            Err(Error::new(code::settings::NO_ANSWER, format!("the ebb at {addr} is of {feed}, and not of {schema}"))
                .hint("give --metricsAddr of the other one, or the right --stagingSchema"))
        }
        _ => Ok(()),
    }
}

/// The line, and below it what it rests on.
fn shown(status: &Value, with_tables: bool) -> String {
    let mut lines = vec![text(&status["line"]), String::new()];
    let mut row = |name: &str, value: String| lines.push(format!("{name:<20}{value}"));
    row("staging schema", text(&status["feed"]));
    row("resolved", text(&status["resolved"]));
    row("applied", text(&status["applied"]));
    let last_request = &status["last_request_seconds_ago"];
    row(
        "last request",
        if last_request.is_null() { "none yet".into() } else { format!("{} s ago", text(last_request)) },
    );
    row("received, applied", format!("{}, {} rows", text(&status["rows_received"]), text(&status["rows_applied"])));
    let room = status["staging_room_bytes"].as_f64().unwrap_or_default() / 1e6;
    row("staging", format!("{} bytes of rows, room for {room:.0} MB", text(&status["staging_row_bytes"])));
    let changefeed = &status["changefeed"];
    row("changefeed", format!("job {}: {}", text(&changefeed["job"]), text(&changefeed["state"])));
    row("may stay down", format!("until {}", text(&status["may_stay_down_until"])));
    row("held up by", text(&status["bottleneck"]));
    for warning in status["warnings"].as_array().into_iter().flatten() {
        row("warning", text(warning));
    }
    if !status["waiting"].is_null() {
        let waiting = &status["waiting"];
        row("refused row", format!("{} {}", text(&waiting["table"]), text(&waiting["key"])));
        row("", text(&waiting["hint"]));
    }
    let last = &status["last_error"];
    if !last.is_null() {
        row("last error", format!("{} {} ({})", text(&last["time"]), text(&last["code"]), text(&last["text"])));
        row("", format!("ebb explain {}", text(&last["code"])));
    }
    for certificate in status["certificates"].as_array().into_iter().flatten() {
        row("certificate ends", format!("{} {}", text(&certificate["expires"]), text(&certificate["certificate"])));
    }
    for reason in status["reasons"].as_array().into_iter().flatten() {
        row("not safe to cut back", format!(" {} ({})", text(&reason["text"]), text(&reason["id"])));
    }
    row("next", text(&status["next"]));
    if with_tables {
        lines.push(String::new());
        lines.extend(table_lines(status["tables"].as_array().map_or(&[][..], Vec::as_slice)));
    }
    lines.into_iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A line for each table below a heading, in columns as wide as they must be.
fn table_lines(tables: &[Value]) -> impl Iterator<Item = String> {
    let fields = ["received", "applied_upserts", "applied_deletes", "last_change", "table"];
    let heading = ["received", "upserts", "deletes", "last change", "table"].map(str::to_owned);
    let rows: Vec<[String; 5]> =
        std::iter::once(heading).chain(tables.iter().map(|table| fields.map(|field| text(&table[field])))).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
    let widths = [0, 1, 2, 3].map(width);
    rows.into_iter().map(move |[received, upserts, deletes, changed, table]| {
        let [a, b, c, d] = widths;
        format!("{received:>a$}  {upserts:>b$}  {deletes:>c$}  {changed:<d$}  {table}")
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => visible(text, ""),
        other => visible(&other.to_string(), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_an_answer_steers_a_terminal() {
        let status =
            serde_json::json!({ "line": "behind\u{1b}[2J", "feed": "a\nb", "reasons": [{"text": "x", "id": "y"}] });
        let text = shown(&status, false);
        assert!(text.starts_with("behind\\u{1b}[2J\n\n") && text.contains("a\\nb"), "{text}");
        assert!(text.contains("not safe to cut back x (y)\n"), "{text}");
        assert!(text.contains("last request        none yet\n"), "{text}");
        let later = shown(&serde_json::json!({ "last_request_seconds_ago": 3 }), false);
        assert!(later.contains("last request        3 s ago\n"), "{later}");
    }

    #[test]
    fn tables_stand_in_columns_where_they_are_asked_for() {
        let status = serde_json::json!({ "line": "behind", "tables": [
            {"table": "public.a\u{1b}", "received": 12, "applied_upserts": 3, "applied_deletes": 1_234_567_890, "last_change": null},
        ]});
        let text = shown(&status, true);
        let expected = "received  upserts     deletes  last change  table\n      12        3  1234567890  -            public.a\\u{1b}\n";
        assert!(text.ends_with(expected), "{text}");
        assert!(!shown(&status, false).contains("public.a"));
    }
}
