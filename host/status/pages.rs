//! The pages for operators and their tools on `--metricsAddr`: health, readiness, metrics, status.
//!
//! Owns: a small plain HTTP server of its own address, never the public port. Does not own: the numbers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, server};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Status;
use crate::error::{Error, Result};
use crate::stage::Stage;

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
    stage: Stage,
    feed: String,
}

impl Pages {
    pub async fn bind(addr: SocketAddr, status: Arc<Status>, stage: Stage, feed: String) -> Result<Self> {
        let listener = TcpListener::bind(addr).await.map_err(|error| {
            Error::new(format!("cannot listen on {addr}: {error}")).hint("choose a free address with --metricsAddr")
        })?;
        Ok(Self { listener, content: Arc::new(Content { status, stage, feed }) })
    }

    pub fn addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves for ever.
    pub async fn run(self) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            let Ok((socket, _)) = self.listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let content = Arc::clone(&self.content);
            tasks.spawn(async move {
                let _permit = permit;
                // How a reader of the pages went away matters to nobody.
                let _ = server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS_MAX)
                    .serve_connection(TokioIo::new(socket), service_fn(|request| answer(request, &content)))
                    .await;
            });
            while tasks.try_join_next().is_some() {}
        }
    }
}

async fn answer(request: Request<Incoming>, content: &Content) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let resolved = *content.stage.resolved().borrow();
    let (kind, text) = match request.uri().path() {
        "/_/healthz" | "/_/readyz" => ("text/plain", content.status.summary()),
        "/_/varz" | "/metrics" => {
            ("text/plain; version=0.0.4", content.status.metrics(resolved, content.stage.forecast()))
        }
        "/_/status" => ("application/json", content.status.json(&content.feed, resolved, content.stage.forecast())),
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
