//! One task per connection: handshake, then HTTP/2 or HTTP/1.1 as agreed in it, each step within its time.
//!
//! Owns: serving one connection from its first byte to its last. Does not own: how many there may be (`doors`), and what is
//! answered.

use std::convert::Infallible;
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
use tokio_rustls::TlsAcceptor;

use super::Handler;
use super::doors::{Doors, End, Visitor};
use super::tls::Current;
use crate::config::Limits;

/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// The same where no certificate has shown who it is: the headers of all of them may be in memory before one is judged. Clients
/// that want more open another connection.
const STREAMS_OF_STRANGERS_MAX: u32 = 8;
/// What a client may send before it is read, on one stream and on one HTTP/2 connection. It is held beside the memory for
/// bodies; with a window of this size, 10 ms of distance allow 50 MB/s.
const STREAM_BYTES_MAX: u32 = 256 << 10;
const CONNECTION_BYTES_MAX: u32 = 512 << 10;
/// A silent HTTP/2 connection is asked whether it is alive, and closed when it does not answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Wait after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the last answers of a connection may take.
const CLOSING_MAX: Duration = Duration::from_secs(5);

/// What a connection was judged by, and what new ones are.
struct Judge {
    current: Arc<Current>,
    newest: watch::Receiver<Arc<Current>>,
}

impl Judge {
    fn now(mut newest: watch::Receiver<Arc<Current>>) -> Self {
        let current = Arc::clone(&newest.borrow_and_update());
        Self { current, newest }
    }

    /// Waits until client certificates are judged by something else: the client may be one that was revoked.
    async fn outdated(mut self) {
        while self.newest.borrow_and_update().trust == self.current.trust {
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
    limits: Limits,
    handler: Arc<Handler>,
) {
    let doors = Doors::new(limits);
    // Aborted together with this future, so that no connection outlives the receiver.
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let judge = Judge::now(tls.clone());
                tasks.spawn(visit(socket, judge, Arc::clone(&doors), limits, Arc::clone(&handler)));
            }
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn visit(socket: TcpStream, judge: Judge, doors: Arc<Doors>, limits: Limits, handler: Arc<Handler>) {
    let (visitor, given_way) = doors.enter();
    let served = serve(socket, judge, Arc::clone(&visitor), limits, handler);
    tokio::select! {
        () = served => {}
        // The sender is dropped, and says nothing, once he is trusted.
        Ok(()) = given_way => tracing::debug!("a connection gave way to newer ones (--untrusted-connections-max)"),
    }
}

async fn serve(socket: TcpStream, judge: Judge, visitor: Arc<Visitor>, limits: Limits, handler: Arc<Handler>) {
    let _ = socket.set_nodelay(true);
    let acceptor = TlsAcceptor::from(Arc::clone(&judge.current.config));
    let handshake = tokio::select! {
        handshake = acceptor.accept(socket) => handshake,
        _ = visitor.overstayed() => {
            handler.status.handshake_failed("it took too long (--handshake-timeout)");
            return;
        }
    };
    let stream = match handshake {
        Ok(stream) => stream,
        Err(error) => {
            handler.status.handshake_failed(&error.to_string());
            return;
        }
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => {
            let is_known = stream.get_ref().1.peer_certificates().is_some();
            let streams_max = if is_known { STREAMS_MAX } else { STREAMS_OF_STRANGERS_MAX };
            http2(stream, judge, visitor, (limits, streams_max), handler).await;
        }
        _ => http1(stream, judge, visitor, limits, handler).await,
    }
}

async fn http1(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    judge: Judge,
    visitor: Arc<Visitor>,
    limits: Limits,
    handler: Arc<Handler>,
) {
    let service = service_fn(|request| answer(request, &handler, &visitor));
    let connection = server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(limits.header_bytes_max as usize)
        .serve_connection(TokioIo::new(stream), service);
    run(connection, judge, &visitor).await;
}

async fn http2(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    judge: Judge,
    visitor: Arc<Visitor>,
    (limits, streams_max): (Limits, u32),
    handler: Arc<Handler>,
) {
    let same = Arc::clone(&visitor);
    let service = service_fn(move |request| {
        let (handler, visitor) = (Arc::clone(&handler), Arc::clone(&same));
        async move { answer(request, &handler, &visitor).await }
    });
    let connection = server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .max_concurrent_streams(streams_max)
        .max_header_list_size(limits.header_bytes_max)
        .initial_stream_window_size(STREAM_BYTES_MAX)
        .initial_connection_window_size(CONNECTION_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    run(connection, judge, &visitor).await;
}

/// Serves until the client goes or has to go.
async fn run<C>(connection: C, judge: Judge, visitor: &Visitor)
where
    C: GracefulConnection<Error = hyper::Error>,
{
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        end = visitor.overstayed() => {
            if end == End::AtOnce {
                return;
            }
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(CLOSING_MAX, connection).await.unwrap_or(Ok(()))
        }
        () = judge.outdated() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(CLOSING_MAX, connection).await.unwrap_or(Ok(()))
        }
    };
    // Clients come and go; how a connection ended matters to nobody but a person who is searching.
    if let Err(error) = served {
        tracing::debug!("a connection ended: {error}");
    }
}

async fn answer(
    request: Request<Incoming>,
    handler: &Handler,
    visitor: &Visitor,
) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let _under_way = visitor.request();
    Ok(handler.answer(request, visitor).await)
}
