//! The webhook receiver: HTTPS requests in, staged rows out.
//!
//! Owns: paths and answers. A 200 is written in one place, from a [`Staged`]. Does not own: connections (`connection`,
//! `admission`), who may write (`access`), the body's bytes (`body`) and meaning (`payload`), durability (`stage`).

// What comes over the network must not end the process.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::unwrap_used)]

mod admission;
mod body;
mod certificates;
mod connection;
mod handshake;
mod intake;
mod memory;
mod open_files;
pub mod payload;
mod refusals;
mod reload;
#[cfg(test)]
mod tests;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use rustls::pki_types::UnixTime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) use body::lane_bytes;
pub use open_files::raise_open_files;
pub use reload::Reloader;

use crate::access::{Denied, Gate, Reach};
use crate::code::{self, Code};
use crate::config::{self, ReceiverLimits, STAGING_PARAMETER};
use crate::error::{Error, Result, visible};
use crate::findings::Finding;
use crate::identity;
use crate::listen::listen;
use crate::stage::{Inbox, RunState, Sender, Staged};
use crate::status::Status;
use crate::tables::{KeyWatch, Origins, Tables};
use admission::Connection;
use body::{Bodies, Shape};
use handshake::Fault;
use intake::{Delivery, Intake, Untaken, rows_bytes};
use refusals::Refusals;

/// What its address is given with.
pub const BIND_FLAG: &str = "--bindAddr (in ebb fetch: \"port\" in the --changefeeds-path file)";

/// A bound receiver, ready to run.
pub struct Receiver {
    listener: TcpListener,
    tls: watch::Receiver<Arc<tls::Current>>,
    limits: ReceiverLimits,
    handler: Arc<Handler>,
    reloader: Reloader,
}

/// What every request needs.
struct Handler {
    inbox: Inbox,
    /// Which staging folder this is.
    folder: String,
    tables: Arc<Tables>,
    origins: Origins,
    keys: Arc<KeyWatch>,
    gate: Arc<Gate>,
    bodies: Bodies,
    response_timeout: Duration,
    status: Arc<Status>,
    refusals: Refusals,
}

/// Looks at the certificates of both sides as a start does.
///
/// # Errors
/// When no handshake could succeed, or a file cannot be used.
pub fn check_certificates(settings: &config::Receiver) -> Result<Vec<Finding>> {
    certificates::look(settings, &identity::identified(&settings.identity)?, UnixTime::now())
}

impl Receiver {
    /// Binds the address and reads the certificates and keys.
    pub async fn bind(
        settings: &config::Receiver,
        inbox: Inbox,
        run_state: &RunState,
        tables: Arc<Tables>,
        keys: Arc<KeyWatch>,
        status: Arc<Status>,
    ) -> Result<Self> {
        let gate = Arc::new(Gate::open(&settings.access, &tables.schemas())?);
        settings.access.client_ca.as_ref().map_or(Ok(()), tls::warn_of_public_authority)?;
        let (reloader, tls) = Reloader::new(settings, Arc::clone(&gate), Arc::clone(&status))?;
        let listener = listen(settings.bind_addr, BIND_FLAG).await?;
        let limits = settings.limits;
        let handler = Handler {
            inbox,
            folder: run_state.id().to_owned(),
            origins: Origins::load(run_state, settings.sink.is_none())?,
            tables,
            keys,
            gate,
            bodies: Bodies::new(limits),
            response_timeout: limits.response_timeout,
            status,
            refusals: Refusals::default(),
        };
        Ok(Self { listener, tls, limits, handler: Arc::new(handler), reloader })
    }

    pub fn addr(&self) -> Result<SocketAddr> {
        self.listener
            .local_addr()
            .map_err(|error| Error::new(code::defect::SYSTEM, format!("the listening address is not known: {error}")))
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
    /// A client got no further than the handshake.
    fn handshake_failed(&self, client: IpAddr, fault: &Fault) {
        self.status.handshake_failed();
        self.refusals.handshake(client, fault);
    }

    async fn answer(&self, request: Request<Incoming>, connection: &Connection) -> Response<Full<bytes::Bytes>> {
        let begun = Instant::now();
        let path = request.uri().path().to_owned();
        let (head, mut body) = request.into_parts();
        match self.take(head, &mut body, connection).await {
            Ok(Some(staged)) => {
                self.status.arrived();
                self.status.measures.requests.observe(begun.elapsed());
                ok(staged)
            }
            Ok(None) => Response::new(Full::from("OK\n")),
            Err(refusal) => {
                // A connection that is closed with something unread may take the answer along.
                body::discard(body).await;
                connection.refuse();
                self.status.refused(refusal.status.as_u16());
                self.refusals.request(connection.peer(), &refusal, &path);
                refusal.response()
            }
        }
    }

    /// `None` for a health check, which stages nothing.
    async fn take(&self, head: Parts, body: &mut Incoming, connection: &Connection) -> Result<Option<Staged>, Refusal> {
        let segments = path_segments(head.uri.path())?;
        if segments.first().is_some_and(|first| first == "_") {
            return match segments.get(1).map(String::as_str) {
                Some("healthz" | "readyz") if segments.len() == 2 => Ok(None),
                _ => Err(Refusal::new(code::receiver::PATH, StatusCode::NOT_FOUND, "no such page")),
            };
        }
        // Nothing is told to, and nothing taken from, a client that may not write.
        let reach = self.gate.admit(&head.headers, head.uri.query(), &segments).map_err(|denied| match denied {
            Denied::Unknown => Refusal::new(code::receiver::CREDENTIAL, StatusCode::UNAUTHORIZED, denied.to_string()),
            Denied::Elsewhere => Refusal::new(code::receiver::OTHER_SCHEMA, StatusCode::FORBIDDEN, denied.to_string()),
        })?;
        let shape = self.check_head(&head, &segments).and_then(|()| Shape::of(&head.headers));
        // Headers take many times the bytes that they came in, and nobody counts them while a request waits.
        drop(head);
        if !connection.authenticate().await {
            let cause = "too many connections (--connections-max)".to_owned();
            return Err(Refusal::busy(code::receiver::CONNECTIONS, cause));
        }
        let body = self.bodies.read(shape?, body).await?;
        self.stage(&segments, &reach, body).await.map(Some)
    }

    /// What is refused before the body is read.
    fn check_head(&self, head: &Parts, segments: &[String]) -> Result<(), Refusal> {
        if head.method != Method::POST {
            return Err(Refusal::new(
                code::receiver::METHOD,
                StatusCode::METHOD_NOT_ALLOWED,
                "a changefeed sends POST",
            ));
        }
        if !self.tables.has_path(segments) {
            return Err(Refusal::new(code::receiver::PATH, StatusCode::NOT_FOUND, self.expected_path()));
        }
        if !self.is_for_this_folder(head.uri.query().unwrap_or_default()) {
            return Err(Refusal::new(
                code::receiver::OTHER_FOLDER,
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
                code::receiver::FORMAT,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the Content-Type is not application/json: create the changefeed WITH format = 'json' (the default)",
            )),
        }
    }

    async fn stage(&self, segments: &[String], reach: &Reach, body: body::Bytes) -> Result<Staged, Refusal> {
        let body::Bytes { bytes, mut share } = body;
        let covers_run = self.covers_run(reach);
        let mut read = || {
            tokio::task::block_in_place(|| {
                Intake::new(&self.tables, segments, (reach, covers_run), &mut share).read(&bytes)
            })
        };
        let mut delivery = read();
        // A client that may write to a part only must not keep the source busy, for which the applier may wait.
        if matches!(delivery, Err(Untaken::Key(_))) && covers_run {
            delivery = match self.keys.refresh().await {
                Ok(_) => read(),
                Err(error) => Err(Untaken::Run(error)),
            };
        }
        let delivery = delivery.map_err(|untaken| self.refused(untaken, covers_run))?;
        drop(bytes);
        match delivery {
            Delivery::Rows(rows, origins, counted) => {
                // Only the run's own changefeed decides which table of the source is the right one.
                let judged = tokio::task::block_in_place(|| match covers_run {
                    true => self.origins.admit(&origins),
                    false => self.origins.check(&origins),
                });
                judged.map_err(|error| self.refused(Untaken::Run(error), covers_run))?;
                // The rows may outlive this request in the queue: their share of memory goes with them.
                share.shrink(rows_bytes(&rows));
                let count = rows.len() as u64;
                let sender = if covers_run { Sender::OfRun } else { Sender::OfPart };
                let staged = self.durable(self.inbox.append(rows, sender, Box::new(share))).await?;
                self.status.received(count);
                self.status.tables.received(&counted.tables);
                if let Some(oldest) = counted.oldest {
                    self.status.measures.staged(oldest);
                }
                Ok(staged)
            }
            Delivery::Resolved(timestamp) => {
                let staged = self.durable(self.inbox.resolve(timestamp)).await?;
                self.status.measures.resolved(timestamp);
                Ok(staged)
            }
        }
    }

    /// A process that was overtaken may still have the address that its successor's changefeed sends to: what it answered
    /// for would be missing there. A changefeed that somebody else has made says nothing.
    fn is_for_this_folder(&self, query: &str) -> bool {
        let mut named =
            query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| *name == STAGING_PARAMETER);
        named.all(|(_, folder)| folder == self.folder)
    }

    async fn durable(&self, append: impl Future<Output = Result<Staged>>) -> Result<Staged, Refusal> {
        match timeout(self.response_timeout, append).await {
            Ok(Ok(staged)) => Ok(staged),
            // The run goes on: it is the request that was at fault.
            Ok(Err(error)) if self.inbox.failed().borrow().is_none() => Err(Refusal::of(&error)),
            Ok(Err(_)) => Err(Refusal::ending()),
            Err(_) => {
                Err(Refusal::busy(code::receiver::STAGING_SLOW, "staging is behind (--httpResponseTimeout)".into()))
            }
        }
    }

    /// What cannot be taken now, and never will be as things are, ends the run: the changefeed would send it for ever. But
    /// not where it was sent by a client that may write to a part of the run: the run's own changefeed may write to all of it.
    fn refused(&self, untaken: Untaken, covers_run: bool) -> Refusal {
        let error = match untaken {
            Untaken::Request(refusal) => return refusal,
            Untaken::Run(error) | Untaken::Key(error) => error,
        };
        let refusal = Refusal::of(&error);
        if covers_run {
            self.inbox.fail(error);
        }
        refusal
    }

    /// Whether a client may write to all that the run writes to.
    fn covers_run(&self, reach: &Reach) -> bool {
        *reach == Reach::Everywhere || self.tables.schemas().iter().all(|schema| reach.covers(schema))
    }

    fn expected_path(&self) -> String {
        let mut paths: Vec<_> = self.tables.paths().take(10).map(|path| format!("/{}", path.join("/"))).collect();
        paths.sort();
        format!("this path is not a schema of the target; send to {}", paths.join(" or "))
    }
}

/// The only place that answers a delivery with success.
fn ok(_staged: Staged) -> Response<Full<bytes::Bytes>> {
    Response::new(Full::from("OK\n"))
}

fn path_segments(path: &str) -> Result<Vec<String>, Refusal> {
    segments(path).ok_or_else(|| Refusal::new(code::receiver::PATH, StatusCode::NOT_FOUND, "no such path"))
}

/// The segments of a path, decoded; empty ones count for nothing. `None` when they are not UTF-8.
pub fn segments(path: &str) -> Option<Vec<String>> {
    let decode = |segment: &str| percent_decode_str(segment).decode_utf8().ok().map(String::from);
    path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect()
}

/// An answer other than 200. Its cause is for a person, and holds neither row data nor secrets: CockroachDB keeps it as the
/// status of the changefeed's job.
#[derive(Debug)]
struct Refusal {
    /// For the log only.
    code: Code,
    status: StatusCode,
    cause: String,
    /// Of the row that it is about. For the log only.
    key: Option<String>,
}

impl Refusal {
    fn new(code: Code, status: StatusCode, cause: impl Into<String>) -> Self {
        Self { code, status, cause: cause.into(), key: None }
    }

    /// What is said of an error: its facts are not.
    fn of(error: &Error) -> Self {
        Self::new(error.code, StatusCode::BAD_REQUEST, error.message.clone())
            .about(error.fact("key").map(str::to_owned))
    }

    /// Names the row by its key.
    fn about(self, key: Option<String>) -> Self {
        Self { key, ..self }
    }

    fn busy(code: Code, cause: String) -> Self {
        Self::new(code, StatusCode::SERVICE_UNAVAILABLE, cause)
    }

    fn ending() -> Self {
        Self::busy(code::receiver::ENDING, "ebb is ending".into())
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
