//! The pages for operators and their tools on `--metricsAddr`: health, readiness, metrics, status.
//!
//! Owns: a small plain HTTP server of its own address, never the public port. Does not own: the numbers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, server};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Status;
use crate::error::{Error, Result};
use crate::stage::Backlog;

/// Connections at once; beyond it the one that has been silent for the longest is closed.
const CONNECTIONS_MAX: usize = 32;
const HEADERS_MAX: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The pages of one run.
pub struct Pages {
    listener: TcpListener,
    content: Arc<Content>,
}

struct Content {
    status: Arc<Status>,
    backlog: Backlog,
    feed: String,
}

impl Pages {
    pub async fn bind(addr: SocketAddr, status: Arc<Status>, backlog: Backlog, feed: String) -> Result<Self> {
        let listener = TcpListener::bind(addr).await.map_err(|error| {
            Error::new(format!("cannot listen on {addr}: {error}")).hint("choose a free address with --metricsAddr")
        })?;
        Ok(Self { listener, content: Arc::new(Content { status, backlog, feed }) })
    }

    pub fn addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves for ever. Somebody who connects is always heard: whoever has been silent for the longest gives way.
    pub async fn run(self) {
        let mut tasks = tokio::task::JoinSet::new();
        let guests = Arc::<Guests>::default();
        loop {
            let Ok((socket, _)) = self.listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (content, guests) = (Arc::clone(&self.content), Arc::clone(&guests));
            tasks.spawn(async move {
                let (guest, given_way) = guests.enter();
                let service = service_fn(|request| {
                    guest.is_heard();
                    answer(request, &content)
                });
                let served = server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS_MAX)
                    .serve_connection(TokioIo::new(socket), service);
                // How a reader of the pages went away matters to nobody.
                tokio::select! {
                    _ = served => {}
                    _ = given_way => {}
                }
            });
            while tasks.try_join_next().is_some() {}
        }
    }
}

/// Who is connected, by the time of the last request.
#[derive(Default)]
struct Guests(Mutex<Connected>);

#[derive(Default)]
struct Connected {
    next: u64,
    /// The first has been silent for the longest.
    by_turn: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One connection.
struct Guest {
    guests: Arc<Guests>,
    turn: AtomicU64,
}

impl Guests {
    /// Lets somebody in. What it returns beside him comes when he has to give way.
    fn enter(self: &Arc<Self>) -> (Guest, oneshot::Receiver<()>) {
        let (give_way, given_way) = oneshot::channel();
        let mut connected = super::lock(&self.0);
        let turn = connected.take_turn(give_way);
        if connected.by_turn.len() > CONNECTIONS_MAX {
            connected.by_turn.pop_first();
        }
        (Guest { guests: Arc::clone(self), turn: AtomicU64::new(turn) }, given_way)
    }
}

impl Connected {
    fn take_turn(&mut self, give_way: oneshot::Sender<()>) -> u64 {
        let turn = self.next;
        self.next += 1;
        self.by_turn.insert(turn, give_way);
        turn
    }
}

impl Guest {
    /// A request has come.
    fn is_heard(&self) {
        let mut connected = super::lock(&self.guests.0);
        if let Some(give_way) = connected.by_turn.remove(&self.turn.load(Ordering::Relaxed)) {
            self.turn.store(connected.take_turn(give_way), Ordering::Relaxed);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        super::lock(&self.guests.0).by_turn.remove(&self.turn.load(Ordering::Relaxed));
    }
}

async fn answer(request: Request<Incoming>, content: &Content) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let resolved = *content.backlog.watch_resolved().borrow();
    let (kind, text) = match request.uri().path() {
        "/_/healthz" | "/_/readyz" => ("text/plain", content.status.summary()),
        "/_/varz" | "/metrics" => {
            ("text/plain; version=0.0.4", content.status.metrics(resolved, content.backlog.forecast()))
        }
        "/_/status" => ("application/json", content.status.json(&content.feed, resolved, content.backlog.forecast())),
        _ => {
            let mut missing = Response::new(Full::from("pages: /_/healthz /_/readyz /_/varz /_/status\n"));
            *missing.status_mut() = StatusCode::NOT_FOUND;
            return Ok(missing);
        }
    };
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}
