//! `ebb status`: asks a running ebb where it stands.
//!
//! Owns: finding it, asking, and the form on a terminal. Does not own: the facts and their judgement (`status`).

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use crate::code;
use crate::error::{Error, Result, visible};
use crate::stage;
use crate::threads;

/// For the whole answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A run may have thousands of tables.
const BODY_BYTES_MAX: usize = 16 << 20;
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    pub pages: PagesPlace,
    /// Of which the ebb that answers must be.
    pub schema: Option<String>,
    pub watch: bool,
    /// Also the rows of each table.
    pub tables: bool,
    pub json: bool,
}

/// How the pages are found.
#[derive(Debug)]
pub enum PagesPlace {
    Addr(SocketAddr),
    /// The staging folder of this run says it.
    Run {
        staging_dir: PathBuf,
        schema: String,
    },
}

/// Prints what is found, once or every second.
///
/// # Errors
/// When no ebb answers, or one of another staging schema.
#[expect(clippy::print_stdout, reason = "the answer of the command")]
pub fn run(options: &Options) -> Result<String> {
    let addr = place(&options.pages)?;
    let runtime = threads::runtime(&mut Builder::new_current_thread())?;
    loop {
        let status = runtime.block_on(ask(addr))?;
        check_feed(&status, options, addr)?;
        let text = if options.json { format!("{status:#}\n") } else { shown(&status, options.tables) };
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

fn place(pages: &PagesPlace) -> Result<SocketAddr> {
    match pages {
        PagesPlace::Addr(addr) => Ok(*addr),
        PagesPlace::Run { staging_dir, schema } => {
            let folder = stage::folder(staging_dir, schema);
            stage::pages_of(&folder)?.ok_or_else(|| {
                let message = format!("nothing says where the pages of {schema} are: no {}/pages", folder.display());
                Error::new(code::settings::NO_PAGES, message)
                    .hint("give --metricsAddr of the running ebb; ebb start serves pages only with it")
            })
        }
    }
}

async fn ask(addr: SocketAddr) -> Result<Value> {
    let failed = |why: &str| {
        Error::new(code::settings::NO_ANSWER, format!("no ebb answers at {addr}: {why}"))
            .hint("see whether it runs; --metricsAddr or --stagingSchema says where its pages are")
    };
    let answer = tokio::time::timeout(ANSWER_MAX, get(addr)).await.map_err(|_| failed("it took too long"))?;
    let body = answer.map_err(|error| failed(&error.to_string()))?;
    let status = serde_json::from_slice(&body).ok().filter(|status: &Value| status.get("line").is_some());
    status.ok_or_else(|| failed("what answers there is something else"))
}

async fn get(addr: SocketAddr) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(addr).await?)).await?;
    let request = Request::get("/_/status").header("host", addr.to_string()).body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        Ok(Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await?.to_bytes())
    };
    tokio::select! {
        answer = answer => answer,
        ended = connection => Err(ended.err().map_or_else(|| "the connection was closed".into(), Into::into)),
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
    row("last request", format!("{} s ago", text(&status["last_request_seconds_ago"])));
    row("received, applied", format!("{}, {} rows", text(&status["rows_received"]), text(&status["rows_applied"])));
    let room = status["staging_room_bytes"].as_f64().unwrap_or_default() / 1e6;
    row("staging", format!("{} bytes of rows, room for {room:.0} MB", text(&status["staging_row_bytes"])));
    let changefeed = &status["changefeed"];
    row("changefeed", format!("job {}: {}", text(&changefeed["job"]), text(&changefeed["state"])));
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
