//! The webhook receiver: HTTPS requests in, staged rows out.
//!
//! Owns: paths and answers. A 200 is written in one place, from a [`Staged`]. Does not own: connections (`connection`,
//! `doors`), who may write (`access`), the body's bytes (`body`) and meaning (`payload`), durability (`stage`).

mod body;
mod connection;
mod doors;
mod origin;
pub mod payload;
mod reload;
mod tables;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

pub use origin::Origins;
pub use reload::Reloader;
pub use tables::{Table, Tables};

use crate::access::{Denied, Gate};
use crate::config::{self, Limits};
use crate::error::{Error, Result, visible};
use crate::source::STAGING;
use crate::stage::{Change, RowBatch, Stage, Staged};
use crate::status::Status;
use crate::tables::{KeyWatch, Unreadable};
use body::Budget;
use doors::Visitor;
use payload::{Body, Message, canonical_key};
use tables::Route;

/// Longest part of a name that an answer repeats.
const NAME_CHARS_MAX: usize = 200;

/// A bound receiver, ready to run.
pub struct Receiver {
    listener: TcpListener,
    tls: watch::Receiver<Arc<tls::Current>>,
    limits: Limits,
    handler: Arc<Handler>,
    reloader: Reloader,
}

/// What every request needs.
struct Handler {
    stage: Stage,
    tables: Arc<Tables>,
    origins: Origins,
    keys: Arc<KeyWatch>,
    gate: Arc<Gate>,
    budget: Budget,
    response_timeout: Duration,
    status: Arc<Status>,
}

impl Receiver {
    /// Binds the address and reads the certificates and keys.
    pub async fn bind(
        settings: &config::Receiver,
        stage: Stage,
        tables: Arc<Tables>,
        keys: Arc<KeyWatch>,
        status: Arc<Status>,
    ) -> Result<Self> {
        let paths: Vec<_> = tables.paths().cloned().collect();
        let gate = Arc::new(Gate::open(&settings.access, &paths)?);
        settings.access.client_ca.as_ref().map_or(Ok(()), tls::warn_of_public_authority)?;
        let (reloader, tls) = Reloader::new(settings, Arc::clone(&gate))?;
        let listener = TcpListener::bind(settings.bind_addr).await.map_err(|error| {
            Error::new(format!("cannot listen on {}: {error}", settings.bind_addr))
                .hint("choose a free address with --bindAddr, or another \"port\" in the --changefeeds-path file")
        })?;
        let limits = settings.limits;
        let handler = Handler {
            origins: Origins::load(&stage)?,
            stage,
            tables,
            keys,
            gate,
            budget: Budget::new(limits),
            response_timeout: limits.response_timeout,
            status,
        };
        Ok(Self { listener, tls, limits, handler: Arc::new(handler), reloader })
    }

    pub fn addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|error| Error::new(format!("the listening address is not known: {error}")))
    }

    /// What reads certificates and keys again while the receiver runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Accepts connections for ever. Dropping the future closes the port; requests in hand are cut off, which loses
    /// nothing: they were not answered.
    pub async fn run(self) {
        connection::accept(self.listener, self.tls, self.limits, self.handler).await;
    }
}

impl Handler {
    async fn answer(&self, request: Request<Incoming>, visitor: &Visitor) -> Response<Full<bytes::Bytes>> {
        let path = request.uri().path().to_owned();
        let (head, mut body) = request.into_parts();
        match self.take(&head, &mut body, visitor).await {
            Ok(Some(staged)) => ok(staged),
            Ok(None) => Response::new(Full::from("OK\n")),
            Err(refusal) => {
                // A connection that is closed with something unread may take the answer along.
                body::discard(body).await;
                visitor.turn_away();
                self.status.refused(visitor.kind(), &refusal.cause, &path, refusal.status.as_u16());
                refusal.response()
            }
        }
    }

    /// `None` for a health check, which stages nothing.
    async fn take(&self, head: &Parts, body: &mut Incoming, visitor: &Visitor) -> Result<Option<Staged>, Refusal> {
        let segments = path_segments(head.uri.path())?;
        if segments.first().is_some_and(|first| first == "_") {
            return match segments.get(1).map(String::as_str) {
                Some("healthz" | "readyz") if segments.len() == 2 => Ok(None),
                _ => Err(Refusal::new(StatusCode::NOT_FOUND, "no such page")),
            };
        }
        // Nothing is told to, and nothing taken from, somebody who may not write.
        self.gate.admit(&head.headers, head.uri.query(), &segments).map_err(|denied| match denied {
            Denied::Unknown => Refusal::new(StatusCode::UNAUTHORIZED, denied.to_string()),
            Denied::Elsewhere => Refusal::new(StatusCode::FORBIDDEN, denied.to_string()),
        })?;
        if !visitor.trust().await {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many connections (--connections-max)"));
        }
        self.check_head(head, &segments)?;
        let body = self.budget.read(&head.headers, body).await?;
        self.stage(&segments, body).await.map(Some)
    }

    /// What can be said before the body is read.
    fn check_head(&self, head: &Parts, segments: &[String]) -> Result<(), Refusal> {
        if head.method != Method::POST {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "a changefeed sends POST"));
        }
        if !self.tables.has_path(segments) {
            return Err(Refusal::new(StatusCode::NOT_FOUND, self.expected_path()));
        }
        if !self.is_for_this_folder(head.uri.query().unwrap_or_default()) {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "this changefeed delivers to the staging folder of another ebb, which has taken its place",
            ));
        }
        let kind = head.headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
        let kind = kind.map(|kind| kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii());
        match kind {
            None => Ok(()),
            Some(kind) if kind.eq_ignore_ascii_case(b"application/json") => Ok(()),
            Some(_) => Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the Content-Type is not application/json: create the changefeed WITH format = 'json' (the default)",
            )),
        }
    }

    async fn stage(&self, segments: &[String], body: body::Bytes) -> Result<Staged, Refusal> {
        let mut content = tokio::task::block_in_place(|| self.rows_of(segments, &body.bytes));
        if matches!(content, Err(Untaken::Key(_))) {
            content = match self.keys.refresh().await {
                Ok(_) => tokio::task::block_in_place(|| self.rows_of(segments, &body.bytes)),
                Err(error) => Err(Untaken::Run(error)),
            };
        }
        let content = content.map_err(|untaken| self.refused(untaken))?;
        // The rows are as large as the body was, and may outlive this request in the queue: the budget goes with them.
        let lease = body.into_lease();
        match content {
            Content::Rows(rows) => {
                let count = rows.len() as u64;
                let staged = self.durable(self.stage.append(rows, lease)).await?;
                self.status.received(count);
                Ok(staged)
            }
            Content::Resolved(timestamp) => self.durable(self.stage.resolve(timestamp)).await,
        }
    }

    /// A process that was overtaken may still have the address that its successor's changefeed sends to: what it answered
    /// for would be missing there. A changefeed that somebody else has made says nothing.
    fn is_for_this_folder(&self, query: &str) -> bool {
        let mut named = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| *name == STAGING);
        named.all(|(_, folder)| folder == self.stage.id())
    }

    async fn durable(&self, append: impl Future<Output = Result<Staged>>) -> Result<Staged, Refusal> {
        match timeout(self.response_timeout, append).await {
            Ok(Ok(staged)) => Ok(staged),
            Ok(Err(_)) => Err(Refusal::ending()),
            Err(_) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "staging is behind (--httpResponseTimeout)")),
        }
    }

    /// What cannot be taken now, and never will be as things are, ends the run: the changefeed would send it for ever.
    fn refused(&self, untaken: Untaken) -> Refusal {
        match untaken {
            Untaken::Request(refusal) => refusal,
            Untaken::Run(error) | Untaken::Key(error) => {
                let refusal = Refusal::new(StatusCode::BAD_REQUEST, error.message.clone());
                self.stage.fail(error);
                refusal
            }
        }
    }

    fn rows_of(&self, path: &[String], body: &[u8]) -> Result<Content, Untaken> {
        let malformed =
            |error: payload::Malformed| Untaken::Request(Refusal::new(StatusCode::BAD_REQUEST, error.to_string()));
        let messages = match payload::parse(body).map_err(malformed)? {
            Body::Resolved(timestamp) => return Ok(Content::Resolved(timestamp)),
            Body::Rows(messages) => messages,
        };
        let mut rows = RowBatch::default();
        // Messages of one table often stand together.
        let mut last: Option<(&str, &Table)> = None;
        for message in &messages {
            let table = match last {
                Some((topic, table)) if topic == message.topic => table,
                _ => self.table_of(path, message)?,
            };
            last = Some((&message.topic, table));
            let key = canonical_key(message.key).map_err(malformed)?;
            let unreadable = |why| Untaken::Key(unreadable_key(&message.topic, &key.text, &why));
            table.key.check_count(message.updated, key.values).map_err(unreadable)?;
            let change = match (message.after, message.before) {
                (Some(after), _) => Change::Upsert(after.get()),
                // There was no such row, and nothing else names the columns of its key.
                (None, Some(None)) if key.values > 1 && !table.key.is_known() => continue,
                (None, before) => Change::Delete(before.flatten().map(|before| before.get())),
            };
            rows.push(message.updated, table.number, &key.text, change);
        }
        Ok(Content::Rows(rows))
    }

    fn table_of(&self, path: &[String], message: &Message<'_>) -> Result<&Table, Untaken> {
        match self.tables.find(path, &message.topic) {
            Route::Table(table, origin) => {
                self.origins.admit(table.number, origin).map(|()| table).map_err(Untaken::Run)
            }
            Route::Refused(why) => Err(Untaken::Run(why.clone())),
            Route::Unknown => Err(Untaken::Request(unknown_table(message))),
        }
    }

    fn expected_path(&self) -> String {
        let mut paths: Vec<_> = self.tables.paths().take(10).map(|path| format!("/{}", path.join("/"))).collect();
        paths.sort();
        format!("this path is not a schema of the target; send to {}", paths.join(" or "))
    }
}

/// Why a body is not taken.
enum Untaken {
    /// It is at fault by itself.
    Request(Refusal),
    /// It cannot be taken as the run is.
    Run(Error),
    /// A key is not what is known of the source's primary key, which may have changed.
    Key(Error),
}

enum Content {
    Rows(RowBatch),
    Resolved(ebb_sdk::Timestamp),
}

/// The only place that answers a delivery with success.
fn ok(_staged: Staged) -> Response<Full<bytes::Bytes>> {
    Response::new(Full::from("OK\n"))
}

fn unreadable_key(topic: &str, key: &str, why: &Unreadable) -> Error {
    Error::new(format!("a row of {topic} came with the key {}, {why}", ebb_sdk::shown_value(key)))
        .hint(
            "give both sides the same primary key, and give --sourceConn where the source's has more columns; after ALTER \
             PRIMARY KEY, start again with the same command",
        )
        .field("table", topic)
        .field("key", key)
}

fn unknown_table(message: &Message<'_>) -> Refusal {
    let topic: String = message.topic.chars().take(NAME_CHARS_MAX).collect();
    let cause = format!(
        "table {topic} is not one that ebb applies: it is missing on the target, was added to the changefeed later, or is a \
         column family (create the changefeed without split_column_families)"
    );
    Refusal::new(StatusCode::BAD_REQUEST, cause)
}

fn path_segments(path: &str) -> Result<Vec<String>, Refusal> {
    segments(path).ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "no such path"))
}

/// The segments of a path, decoded; empty ones count for nothing. `None` when they are not UTF-8.
pub fn segments(path: &str) -> Option<Vec<String>> {
    let decode = |segment: &str| percent_decode_str(segment).decode_utf8().ok().map(String::from);
    path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect()
}

/// An answer other than 200. Its cause is for a person, and holds neither row data nor secrets.
struct Refusal {
    status: StatusCode,
    cause: String,
}

impl Refusal {
    fn new(status: StatusCode, cause: impl Into<String>) -> Self {
        Self { status, cause: cause.into() }
    }

    fn ending() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ebb is ending")
    }

    fn response(&self) -> Response<Full<bytes::Bytes>> {
        let mut response = Response::new(Full::from(format!("{}\n", visible(&self.cause, ""))));
        *response.status_mut() = self.status;
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
