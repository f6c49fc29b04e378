//! The pages for operators and their tools on `--metricsAddr`: health, readiness, metrics, status.
//!
//! Owns: a small plain HTTP server of its own address, never the public port. Does not own: what they show.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, server};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{Snapshot, Status, json, liveness, prometheus};
use crate::config::PagesAddr;
use crate::error::Result;
use crate::listen::listen;
use crate::stage::Backlog;

/// Connections at once; beyond it the one that has been silent for the longest is closed.
const CONNECTIONS_MAX: usize = 32;
const HEADERS_MAX: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The pages of one run.
pub struct Pages {
    listener: TcpListener,
    run: Arc<Run>,
}

/// The run that the pages are about.
struct Run {
    status: Arc<Status>,
    backlog: Backlog,
    feed: String,
}

impl Run {
    fn snapshot(&self) -> Snapshot {
        self.status.snapshot(&self.feed, *self.backlog.watch_resolved().borrow(), self.backlog.forecast())
    }
}

impl Pages {
    pub async fn bind(settings: PagesAddr, status: Arc<Status>, backlog: Backlog, feed: String) -> Result<Self> {
        let listener = listen(settings.addr, settings.flag).await?;
        Ok(Self { listener, run: Arc::new(Run { status, backlog, feed }) })
    }

    pub fn addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves for ever. A new connection is always accepted: the one that has been silent for the longest gives way.
    pub async fn run(self) {
        let mut tasks = tokio::task::JoinSet::new();
        let connections = Arc::<Connections>::default();
        loop {
            let Ok((socket, _)) = self.listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (run, connections) = (Arc::clone(&self.run), Arc::clone(&connections));
            tasks.spawn(async move {
                let (connection, given_way) = connections.accept();
                let service = service_fn(|request| {
                    connection.is_heard();
                    answer(request, &run)
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

/// All connections, by the time of their last request.
#[derive(Default)]
struct Connections(Mutex<ByTurn>);

#[derive(Default)]
struct ByTurn {
    next: u64,
    /// The first has been silent for the longest.
    turns: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One connection.
struct Connection {
    connections: Arc<Connections>,
    turn: AtomicU64,
}

impl Connections {
    /// Accepts one. What it returns beside it comes when it has to give way.
    fn accept(self: &Arc<Self>) -> (Connection, oneshot::Receiver<()>) {
        let (give_way, given_way) = oneshot::channel();
        let mut by_turn = self.0.lock();
        let turn = by_turn.take_turn(give_way);
        if by_turn.turns.len() > CONNECTIONS_MAX {
            by_turn.turns.pop_first();
        }
        (Connection { connections: Arc::clone(self), turn: AtomicU64::new(turn) }, given_way)
    }
}

impl ByTurn {
    fn take_turn(&mut self, give_way: oneshot::Sender<()>) -> u64 {
        let turn = self.next;
        self.next += 1;
        self.turns.insert(turn, give_way);
        turn
    }
}

impl Connection {
    /// A request has come.
    fn is_heard(&self) {
        let mut by_turn = self.connections.0.lock();
        if let Some(give_way) = by_turn.turns.remove(&self.turn.load(Ordering::Relaxed)) {
            self.turn.store(by_turn.take_turn(give_way), Ordering::Relaxed);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.0.lock().turns.remove(&self.turn.load(Ordering::Relaxed));
    }
}

/// How far the target may be behind when no `?max=` says so.
const CAUGHT_UP_SECONDS: f64 = 15.0;

/// Whether the target is at most `?max=` seconds behind; the error says by how much it is.
fn caught_up(query: Option<&str>, snapshot: &Snapshot) -> Result<String, String> {
    let max = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("max=")));
    let seconds = max.map(|max| max.strip_suffix('s').unwrap_or(max).parse::<f64>());
    let max = match seconds {
        None => CAUGHT_UP_SECONDS,
        Some(Ok(max)) if max >= 0.0 => max,
        Some(_) => return Err("max is a number of seconds: /_/caughtup?max=30\n".into()),
    };
    match snapshot.lag() {
        Some(lag) if lag <= max => Ok(format!("OK, {lag:.1} s behind\n")),
        Some(lag) => Err(format!("{lag:.1} s behind, which is more than {max} s\n")),
        None => Err("nothing is applied yet\n".into()),
    }
}

fn unavailable(text: String) -> Response<Full<bytes::Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

async fn answer(request: Request<Incoming>, run: &Run) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let (kind, text) = match request.uri().path() {
        "/_/livez" | "/_/healthz" => match liveness::judge(&run.snapshot()) {
            Ok(text) => ("text/plain", text),
            Err(text) => return Ok(unavailable(text)),
        },
        "/_/readyz" => {
            let snapshot = run.snapshot();
            let text = match liveness::judge(&snapshot) {
                Ok(text) => text,
                Err(text) => return Ok(unavailable(text)),
            };
            if snapshot.staging.is_full {
                return Ok(unavailable("requests are held: staging is full\n".into()));
            }
            ("text/plain", text)
        }
        "/_/caughtup" => match caught_up(request.uri().query(), &run.snapshot()) {
            Ok(text) => ("text/plain", text),
            Err(text) => return Ok(unavailable(text)),
        },
        "/_/varz" | "/metrics" => ("text/plain; version=0.0.4", prometheus::text(&run.snapshot())),
        "/_/status" => ("application/json", json::text(&run.snapshot())),
        _ => {
            let mut missing =
                Response::new(Full::from("pages: /_/livez /_/healthz /_/readyz /_/caughtup /_/varz /_/status\n"));
            *missing.status_mut() = StatusCode::NOT_FOUND;
            return Ok(missing);
        }
    };
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::private::tempdir;
    use crate::stage::{Stage, StagingLimits};

    async fn get(addr: SocketAddr, path: &str) -> String {
        let mut socket = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_dead_thread_is_what_probes_see() {
        let dir = tempdir();
        let stage = Stage::open(dir.path(), StagingLimits::default()).unwrap();
        let status = Arc::new(Status::default());
        let settings = PagesAddr { addr: ([127, 0, 0, 1], 0).into(), flag: "--metricsAddr", required: true };
        let pages = Pages::bind(settings, Arc::clone(&status), stage.backlog.clone(), "s".into()).await.unwrap();
        let addr = pages.addr().unwrap();
        let talk = async {
            for path in ["/_/livez", "/_/healthz", "/_/readyz"] {
                assert!(get(addr, path).await.starts_with("HTTP/1.1 200 "), "{path}");
            }
            let applier = Arc::clone(&status);
            let panicked = std::thread::spawn(move || {
                let _alive = applier.measures.applier.begin();
                panic!("on purpose");
            });
            assert!(panicked.join().is_err());
            for path in ["/_/livez", "/_/healthz", "/_/readyz"] {
                let answer = get(addr, path).await;
                assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("applier has ended"), "{answer}");
            }
            assert!(get(addr, "/metrics").await.contains("ebb_thread_alive{thread=\"applier\"} 0\n"));
        };
        tokio::select! {
            () = pages.run() => panic!("it serves for ever"),
            () = talk => {}
        }
    }
}
