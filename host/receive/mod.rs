//! The webhook receiver: HTTPS requests in, staged rows out.
//!
//! Owns: connections, paths, answers. A 200 is written in one place, from a [`Staged`]. Does not own: authentication
//! beyond the handshake (`tls`), the body's bytes (`body`) and meaning (`payload`), durability (`stage`).

mod body;
mod connection;
pub mod payload;
mod tables;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use tables::{Table, Tables};

use crate::config;
use crate::error::{Error, Result};
use crate::source::STAGING;
use crate::stage::{Change, RowBatch, Stage, Staged};
use crate::status::Status;
use body::Budget;
use payload::{Body, Message, canonical_key};

/// A bound receiver, ready to run.
pub struct Receiver {
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    connections: Arc<Semaphore>,
    handler: Arc<Handler>,
}

/// What every request needs.
struct Handler {
    stage: Stage,
    tables: Arc<Tables>,
    budget: Budget,
    response_timeout: Duration,
    status: Arc<Status>,
}

impl Receiver {
    /// Binds the address and reads the certificates.
    pub async fn bind(
        settings: &config::Receiver,
        stage: Stage,
        tables: Arc<Tables>,
        status: Arc<Status>,
    ) -> Result<Self> {
        let tls = tls::server_config(settings)?;
        let listener = TcpListener::bind(settings.bind_addr).await.map_err(|error| {
            Error::new(format!("cannot listen on {}: {error}", settings.bind_addr))
                .hint("choose a free address with --bindAddr, or another \"port\" in the --changefeeds-path file")
        })?;
        let handler = Handler {
            stage,
            tables,
            budget: Budget::new(settings.body_bytes_max, settings.in_flight_bytes_max),
            response_timeout: settings.response_timeout,
            status,
        };
        let connections = Arc::new(Semaphore::new(settings.connections_max));
        Ok(Self { listener, tls, connections, handler: Arc::new(handler) })
    }

    pub fn addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|error| Error::new(format!("the listening address is not known: {error}")))
    }

    /// Accepts connections for ever. Dropping the future closes the port; requests in hand are cut off, which loses
    /// nothing: they were not answered.
    pub async fn run(self) {
        connection::accept(self.listener, self.tls, self.connections, self.handler).await;
    }
}

impl Handler {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<bytes::Bytes>> {
        let path = request.uri().path().to_owned();
        match self.take(request).await {
            Ok(Some(staged)) => ok(staged),
            Ok(None) => Response::new(Full::from("OK\n")),
            Err(refusal) => {
                self.status.refused(&refusal.cause, &path, refusal.status.as_u16());
                refusal.response()
            }
        }
    }

    /// `None` for a health check, which stages nothing.
    async fn take(&self, request: Request<Incoming>) -> Result<Option<Staged>, Refusal> {
        let segments = path_segments(request.uri().path())?;
        if segments.first().is_some_and(|first| first == "_") {
            return match segments.get(1).map(String::as_str) {
                Some("healthz" | "readyz") => Ok(None),
                _ => Err(Refusal::new(StatusCode::NOT_FOUND, "no such page")),
            };
        }
        if request.method() != Method::POST {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "a changefeed sends POST"));
        }
        if !self.tables.has_path(&segments) {
            return Err(Refusal::new(StatusCode::NOT_FOUND, self.expected_path()));
        }
        if !self.is_for_this_folder(request.uri().query().unwrap_or_default()) {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "this changefeed delivers to the staging folder of another ebb, which has taken its place",
            ));
        }
        let body = self.budget.read(request).await?;
        let content = tokio::task::block_in_place(|| self.rows_of(&segments, &body.bytes))?;
        // The rows are as large as the body was, and may outlive this request in the queue: the budget goes with them.
        let lease = body.into_lease();
        let staged = match content {
            Content::Rows(rows) => {
                let count = rows.len() as u64;
                let staged = self.durable(self.stage.append(rows, lease)).await?;
                self.status.received(count);
                staged
            }
            Content::Resolved(timestamp) => self.durable(self.stage.resolve(timestamp)).await?,
        };
        Ok(Some(staged))
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

    fn rows_of(&self, path: &[String], body: &[u8]) -> Result<Content, Refusal> {
        let malformed = |error: payload::Malformed| Refusal::new(StatusCode::BAD_REQUEST, error.to_string());
        let messages = match payload::parse(body).map_err(malformed)? {
            Body::Resolved(timestamp) => return Ok(Content::Resolved(timestamp)),
            Body::Rows(messages) => messages,
        };
        let mut rows = RowBatch::default();
        for message in &messages {
            let table = self.tables.find(path, &message.topic).ok_or_else(|| unknown_table(message))?;
            let key = canonical_key(message.key).map_err(malformed)?;
            let change = match (message.after, message.before) {
                (Some(after), _) => Change::Upsert(after.get()),
                (None, before) => Change::Delete(before.map(|before| before.get())),
            };
            rows.push(message.updated, table.number, &key, change);
        }
        Ok(Content::Rows(rows))
    }

    fn expected_path(&self) -> String {
        let mut paths: Vec<_> = self.tables.paths().take(10).collect();
        paths.sort();
        format!("this path is not a schema of the target; send to {}", paths.join(" or "))
    }
}

enum Content {
    Rows(RowBatch),
    Resolved(ebb_sdk::Timestamp),
}

/// The only place that answers a delivery with success.
fn ok(_staged: Staged) -> Response<Full<bytes::Bytes>> {
    Response::new(Full::from("OK\n"))
}

fn unknown_table(message: &Message<'_>) -> Refusal {
    let cause = format!(
        "table {} is not one that ebb applies: it is missing on the target, was added to the changefeed later, or is a \
         column family (create the changefeed without split_column_families)",
        message.topic
    );
    Refusal::new(StatusCode::BAD_REQUEST, cause)
}

fn path_segments(path: &str) -> Result<Vec<String>, Refusal> {
    let decode = |segment: &str| percent_decode_str(segment).decode_utf8().map(String::from);
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.map(decode).collect::<Result<_, _>>().map_err(|_| Refusal::new(StatusCode::NOT_FOUND, "no such path"))
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
        let mut response = Response::new(Full::from(format!("{}\n", self.cause)));
        *response.status_mut() = self.status;
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
