//! `ebb status`: asks a running ebb where it stands.
//!
//! Owns: finding it, asking, and the form on a terminal. Does not own: the facts and their judgement (`status`).

mod tls;

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use crate::code;
use crate::config::PagesLogin;
use crate::error::{Error, Result, visible};
use crate::stage;
use crate::threads;
use tls::Tls;

/// For the whole answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 1 << 20;
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    pub pages: Place,
    /// What the pages want to be shown.
    pub login: Option<PagesLogin>,
    /// Of which the ebb that answers must be.
    pub schema: Option<String>,
    pub watch: bool,
    pub json: bool,
}

/// How the pages are found.
#[derive(Debug)]
pub enum Place {
    Addr {
        addr: SocketAddr,
        /// What their certificate must be of.
        host: String,
        /// They are served over HTTPS, with a certificate of this authority.
        ca: Option<PathBuf>,
    },
    /// The staging folder of this run says it.
    Run { staging_dir: PathBuf, schema: String },
}

/// Prints what is found, once or every second.
///
/// # Errors
/// When no ebb answers, or one of another staging schema.
#[expect(clippy::print_stdout, reason = "the answer of the command")]
pub fn run(options: &Options) -> Result<String> {
    let pages = found(options)?;
    let addr = pages.addr;
    let runtime = threads::runtime(&mut Builder::new_current_thread())?;
    loop {
        let status = runtime.block_on(ask(&pages))?;
        check_feed(&status, options, addr)?;
        let text = if options.json { format!("{status:#}\n") } else { shown(&status) };
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

/// The pages, and what opens them.
struct Found {
    addr: SocketAddr,
    /// What `Authorization` is to be.
    header: Option<String>,
    tls: Option<Tls>,
}

fn found(options: &Options) -> Result<Found> {
    let given = options.login.as_ref().map(|login| login.header.reveal().to_owned());
    match &options.pages {
        Place::Addr { addr, host, ca } => {
            let tls = ca.as_ref().map(|ca| Tls::of_authority(ca, host)).transpose()?;
            Ok(Found { addr: *addr, header: given, tls })
        }
        Place::Run { staging_dir, schema } => {
            let folder = stage::folder(staging_dir, schema);
            let noted = stage::pages_of(&folder)?.ok_or_else(|| {
                let message = format!("nothing says where the pages of {schema} are: no {}/pages", folder.display());
                Error::new(code::settings::NO_PAGES, message)
                    .hint("give --metricsAddr of the running ebb; ebb start serves pages only with it")
            })?;
            let header = noted.token.map(|token| format!("Bearer {token}")).or(given);
            Ok(Found { addr: noted.addr, header, tls: noted.certificate.map(Tls::of_certificate).transpose()? })
        }
    }
}

async fn ask(pages: &Found) -> Result<Value> {
    let addr = pages.addr;
    let failed = |why: &str| {
        Error::new(code::settings::NO_ANSWER, format!("no ebb answers at {addr}: {why}"))
            .hint("see whether it runs; --metricsAddr or --stagingSchema says where its pages are")
    };
    let answer = tokio::time::timeout(ANSWER_MAX, get(pages)).await.map_err(|_| failed("it took too long"))?;
    let (status, body) = answer.map_err(|error| failed(&error.to_string()))?;
    if status == StatusCode::UNAUTHORIZED {
        let error = Error::new(code::settings::NO_ANSWER, format!("the pages at {addr} want a password or token"));
        return Err(error.hint("give --metricsAuth as the running ebb has it, or its --stagingSchema on its machine"));
    }
    let status = serde_json::from_slice(&body).ok().filter(|status: &Value| status.get("line").is_some());
    status.ok_or_else(|| failed("what answers there is something else"))
}

async fn get(pages: &Found) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let socket = TcpStream::connect(own(pages.addr)).await?;
    match &pages.tls {
        Some(tls) => exchange(tls.connect(socket).await?, pages).await,
        None => exchange(socket, pages).await,
    }
}

/// What listens everywhere is asked here.
fn own(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, addr.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, addr.port()).into(),
        _ => addr,
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    pages: &Found,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::get("/_/status").header(HOST, own(pages.addr).to_string());
    if let Some(header) = &pages.header {
        request = request.header(AUTHORIZATION, header);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await?.to_bytes()))
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
fn shown(status: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => visible(text, ""),
        other => visible(&other.to_string(), ""),
    };
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
    for reason in status["reasons"].as_array().into_iter().flatten() {
        row("not safe to cut back", format!(" {} ({})", text(&reason["text"]), text(&reason["id"])));
    }
    row("next", text(&status["next"]));
    lines.into_iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_an_answer_steers_a_terminal() {
        let status =
            serde_json::json!({ "line": "behind\u{1b}[2J", "feed": "a\nb", "reasons": [{"text": "x", "id": "y"}] });
        let text = shown(&status);
        assert!(text.starts_with("behind\\u{1b}[2J\n\n") && text.contains("a\\nb"), "{text}");
        assert!(text.contains("not safe to cut back x (y)\n"), "{text}");
    }
}
