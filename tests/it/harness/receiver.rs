//! `ebb start` on one database of a shared server, fed by hand: rows and resolved timestamps are posted as a changefeed
//! would, and the test waits until they are applied or ebb has ended with an error.
//!
//! Owns: the process and its feed. Does not own: which rows are posted, or what should come of them.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ebb_servers::{Server, Webhook};

use super::ebb::Ebb;
use super::pages::try_http_get;
use super::world::{POLL, WAIT_MAX, certs, plugin_path};

/// The time of the first source transaction, in seconds since 1970; each further one is a second later.
const FIRST_SECOND: u64 = 1_700_000_000;
/// How long the same request may be refused while ebb goes on running. A changefeed would repeat it for ever.
const REFUSALS_MAX: Duration = Duration::from_secs(8);

/// One row message; all but the topic are JSON texts.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub topic: String,
    pub key: String,
    /// `null` for a delete.
    pub after: String,
    /// Only in a changefeed WITH diff.
    pub before: Option<String>,
}

/// Why the rows that were posted did not all arrive: the error line with which ebb has ended.
#[derive(Debug)]
pub(crate) struct Refusal(pub String);

pub(crate) struct Receiver {
    ebb: Ebb,
    hook: Webhook,
    pages: String,
    /// Source transactions that were resolved.
    transactions: u64,
}

impl Receiver {
    /// Starts ebb on the database and waits until it listens. `folder` holds its staging.
    pub(crate) fn start(
        server: &Server,
        database: &str,
        target: &str,
        folder: &Path,
        more: &[String],
    ) -> Result<Self, Refusal> {
        let pair = certs().server();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ebb"));
        command.args(["start", "--targetConn", target, "--stagingSchema", "_replicator_1"]);
        command.args(["--bindAddr", "127.0.0.1:0", "--metricsAddr", "127.0.0.1:0", "--tlsClientCA"]).arg(certs().ca());
        command.args(more).env("EBB_TLS_CERTIFICATE", pair.cert).env("EBB_TLS_PRIVATE_KEY", pair.key);
        command
            .env("EBB_STAGING_DIR", folder)
            .env("EBB_ON_ROW_ERROR", "exit")
            .env("EBB_PLUGIN_PATH", plugin_path())
            .env("HOME", folder)
            .current_dir(folder);
        let mut ebb = Ebb::spawn(command);
        let listening = |log: &str, what: &str| {
            let line = log.lines().find(|line| line.contains(what))?;
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            line["address"].as_str().map(str::to_owned)
        };
        let deadline = Instant::now() + WAIT_MAX;
        let (address, pages) = loop {
            let log = ebb.log();
            if let (Some(rows), Some(pages)) =
                (listening(&log, "receiver listening"), listening(&log, "pages listening"))
            {
                break (rows, pages);
            }
            if ebb.ended().is_some() {
                return Err(Refusal(error_line(&ebb)));
            }
            assert!(Instant::now() < deadline, "it never listened\n{}", ebb.log());
            std::thread::sleep(POLL);
        };
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
        let path = match server {
            Server::Postgres(_) => format!("{database}/public"),
            Server::MySql(_) => database.to_owned(),
        };
        let hook = Webhook::new(certs(), "changefeed", port, &path).expect("a client certificate");
        Ok(Self { ebb, hook, pages, transactions: 0 })
    }

    /// Rows of the present source transaction.
    pub(crate) fn rows(&mut self, messages: &[Message]) -> Result<(), Refusal> {
        let body = body(messages, &self.time());
        self.post(&body)
    }

    /// Ends the present source transaction; no resolved timestamp follows it.
    pub(crate) fn commit(&mut self) {
        self.transactions += 1;
    }

    /// Ends the present source transaction, and says that it and all before are complete.
    pub(crate) fn resolve(&mut self) -> Result<(), Refusal> {
        let body = format!(r#"{{"resolved":"{}"}}"#, self.time());
        self.post(&body)?;
        self.commit();
        Ok(())
    }

    fn time(&self) -> String {
        format!("{}000000000.0000000000", FIRST_SECOND + self.transactions)
    }

    /// Again and again until it is taken, as CockroachDB does.
    fn post(&mut self, body: &str) -> Result<(), Refusal> {
        let deadline = Instant::now() + REFUSALS_MAX;
        loop {
            let answer = self.hook.post(body);
            if answer.as_ref().is_ok_and(|(status, _)| (200..300).contains(status)) {
                return Ok(());
            }
            if self.ebb.ended().is_some() {
                return Err(Refusal(error_line(&self.ebb)));
            }
            if Instant::now() > deadline {
                return Err(Refusal(format!("for ever, while ebb runs: {answer:?}\n{}", self.ebb.log())));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until the target has everything that was resolved.
    pub(crate) fn wait_applied(&mut self) -> Result<(), Refusal> {
        let wanted = FIRST_SECOND + self.transactions - 1;
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            if self.ebb.ended().is_some() {
                return Err(Refusal(error_line(&self.ebb)));
            }
            let pages = try_http_get(&self.pages, "/_/varz").unwrap_or_default();
            let applied = pages.lines().find_map(|line| line.strip_prefix("ebb_applied_timestamp_seconds "));
            if applied.and_then(|text| text.parse::<f64>().ok()).is_some_and(|applied| applied >= wanted as f64) {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "the rows were never applied\n{}", self.ebb.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn stop(self) {
        self.ebb.stop();
    }
}

/// In the order given, as one request.
fn body(messages: &[Message], time: &str) -> String {
    let mut body = String::from(r#"{"payload":["#);
    for (at, message) in messages.iter().enumerate() {
        let Message { topic, key, after, before } = message;
        let comma = if at > 0 { "," } else { "" };
        let before = before.as_ref().map(|before| format!(r#""before": {before}, "#)).unwrap_or_default();
        let topic = serde_json::Value::from(topic.as_str());
        let _ =
            write!(body, r#"{comma}{{"after": {after}, {before}"key": {key}, "topic": {topic}, "updated": "{time}"}}"#);
    }
    let _ = write!(body, r#"],"length":{}}}"#, messages.len());
    body
}

/// The error with which it has ended; everything it has said where there is none.
fn error_line(ebb: &Ebb) -> String {
    let log = ebb.log();
    let line = log.lines().find(|line| line.starts_with("{\"level\":\"error\"")).map(str::to_owned);
    line.unwrap_or_else(|| format!("no error line\n{log}"))
}
