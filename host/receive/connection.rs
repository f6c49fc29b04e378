//! One task per connection: handshake, then HTTP/2 or HTTP/1.1 as agreed in it, each step within its time.
//!
//! Owns: serving one connection from its first byte to its last. Does not own: how many there may be (`admission`), and what is
//! answered.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, server};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;

use super::Handler;
use super::admission::{Admission, Connection, End};
use super::handshake::Fault;
use super::tls::Current;
use crate::code;
use crate::config::ReceiverLimits;

/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// The same where the client has shown no certificate: the headers of all of them may be in memory before one is judged. Clients
/// that want more open another connection.
const UNAUTHENTICATED_STREAMS_MAX: u32 = 8;
/// What a client may send before it is read, on one stream and on one HTTP/2 connection. It is held beside the memory for
/// bodies; with a window of this size, 10 ms of distance allow 50 MB/s.
const STREAM_BYTES_MAX: u32 = 256 << 10;
const CONNECTION_BYTES_MAX: u32 = 512 << 10;
/// A silent HTTP/2 connection is asked whether it is alive, and closed when it does not answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Wait after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the receiver gives a sign of life while nobody connects.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// How long the last answers of a connection may take.
const CLOSING_MAX: Duration = Duration::from_secs(5);

/// The TLS settings that a connection was accepted with, and those of new ones.
struct TlsWatch {
    accepted: Arc<Current>,
    newest: watch::Receiver<Arc<Current>>,
}

impl TlsWatch {
    fn now(mut newest: watch::Receiver<Arc<Current>>) -> Self {
        let accepted = Arc::clone(&newest.borrow_and_update());
        Self { accepted, newest }
    }

    /// Waits until client certificates are verified with something else: the client's may be one that was revoked.
    async fn outdated(mut self) {
        while self.newest.borrow_and_update().trust == self.accepted.trust {
            if self.newest.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// Accepts for ever.
pub(super) async fn accept(
    listener: TcpListener,
    tls: watch::Receiver<Arc<Current>>,
    limits: ReceiverLimits,
    handler: Arc<Handler>,
) {
    let admission = Admission::new(limits);
    // Aborted together with this future, so that no connection outlives the receiver.
    let mut tasks = tokio::task::JoinSet::new();
    let heartbeat = &handler.status.measures.intake;
    let _alive = heartbeat.begin();
    let mut signs = tokio::time::interval(SIGN_OF_LIFE);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        heartbeat.beat();
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = signs.tick() => continue,
        };
        match accepted {
            Ok((socket, client)) => {
                let tls = TlsWatch::now(tls.clone());
                tasks.spawn(admit(
                    (socket, client.ip().to_canonical()),
                    tls,
                    Arc::clone(&admission),
                    limits,
                    Arc::clone(&handler),
                ));
            }
            Err(error) => {
                tracing::warn!(
                    error_code = code::receiver::NOT_ACCEPTED.text(),
                    hint = "raise the limit of open files (ulimit -n; LimitNOFILE in a systemd unit)",
                    "the system refuses a new connection: {error}"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// Serves a connection until it ends or gives way to newer ones.
async fn admit(
    socket: (TcpStream, IpAddr),
    tls: TlsWatch,
    admission: Arc<Admission>,
    limits: ReceiverLimits,
    handler: Arc<Handler>,
) {
    let (connection, given_way) = admission.accept();
    let served = serve(socket, tls, connection, limits, handler);
    tokio::select! {
        () = served => {}
        // The sender is dropped, and says nothing, once the connection is authenticated.
        Ok(()) = given_way => tracing::debug!("a connection gave way to newer ones (--untrusted-connections-max)"),
    }
}

async fn serve(
    (socket, client): (TcpStream, IpAddr),
    tls: TlsWatch,
    connection: Arc<Connection>,
    limits: ReceiverLimits,
    handler: Arc<Handler>,
) {
    let _ = socket.set_nodelay(true);
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.accepted.config));
    let handshake = tokio::select! {
        handshake = acceptor.accept(socket) => handshake,
        _ = connection.expiry() => {
            handler.handshake_failed(client, &Fault::slow());
            return;
        }
    };
    let stream = match handshake {
        Ok(stream) => stream,
        Err(error) => {
            handler.handshake_failed(client, &Fault::of(&error));
            return;
        }
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => {
            let is_known = stream.get_ref().1.peer_certificates().is_some();
            let streams_max = if is_known { STREAMS_MAX } else { UNAUTHENTICATED_STREAMS_MAX };
            http2(stream, tls, connection, (limits, streams_max), handler).await;
        }
        _ => http1(stream, tls, connection, limits, handler).await,
    }
}

async fn http1(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    tls: TlsWatch,
    connection: Arc<Connection>,
    limits: ReceiverLimits,
    handler: Arc<Handler>,
) {
    let service = service_fn(|request| answer(request, &handler, &connection));
    let http = server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(limits.header_bytes_max as usize)
        .serve_connection(TokioIo::new(stream), service);
    run(http, tls, &connection).await;
}

async fn http2(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    tls: TlsWatch,
    connection: Arc<Connection>,
    (limits, streams_max): (ReceiverLimits, u32),
    handler: Arc<Handler>,
) {
    let same = Arc::clone(&connection);
    let service = service_fn(move |request| {
        let (handler, connection) = (Arc::clone(&handler), Arc::clone(&same));
        async move { answer(request, &handler, &connection).await }
    });
    let http = server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .max_concurrent_streams(streams_max)
        .max_header_list_size(limits.header_bytes_max)
        .initial_stream_window_size(STREAM_BYTES_MAX)
        .initial_connection_window_size(CONNECTION_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    run(http, tls, &connection).await;
}

/// Serves until the client ends the connection, or it has to end.
async fn run<C>(http: C, tls: TlsWatch, connection: &Connection)
where
    C: GracefulConnection<Error = hyper::Error>,
{
    tokio::pin!(http);
    let served = tokio::select! {
        served = http.as_mut() => served,
        end = connection.expiry() => {
            if end == End::Immediate {
                return;
            }
            http.as_mut().graceful_shutdown();
            tokio::time::timeout(CLOSING_MAX, http).await.unwrap_or(Ok(()))
        }
        () = tls.outdated() => {
            http.as_mut().graceful_shutdown();
            tokio::time::timeout(CLOSING_MAX, http).await.unwrap_or(Ok(()))
        }
    };
    // Clients come and go; how a connection ended matters only to a person who searches for a fault.
    if let Err(error) = served {
        tracing::debug!("a connection ended: {error}");
    }
}

async fn answer(
    request: Request<Incoming>,
    handler: &Handler,
    connection: &Connection,
) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let _under_way = connection.request();
    Ok(handler.answer(request, connection).await)
}
