//! One task per connection: handshake, then HTTP/2 or HTTP/1.1 as agreed in it, each step within its time.
//!
//! Owns: limits of connections, handshakes and headers. Does not own: what is answered.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, server};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Handler;

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the headers of a request, and so for the next request of an idle connection.
const HEADERS_MAX: Duration = Duration::from_secs(120);
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// A silent HTTP/2 connection is asked whether it is alive, and closed when it does not answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Wait after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts for ever. At the limit of connections new ones wait in the kernel's queue.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    connections: Arc<Semaphore>,
    handler: Arc<Handler>,
) {
    let acceptor = TlsAcceptor::from(tls);
    // Aborted together with this future, so that no connection outlives the receiver.
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let (acceptor, handler) = (acceptor.clone(), Arc::clone(&handler));
                tasks.spawn(async move {
                    let _permit = permit;
                    serve(socket, acceptor, handler).await;
                });
            }
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn serve(socket: TcpStream, acceptor: TlsAcceptor, handler: Arc<Handler>) {
    let _ = socket.set_nodelay(true);
    match timeout(HANDSHAKE_MAX, acceptor.accept(socket)).await {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => http2(stream, handler).await,
        Ok(Ok(stream)) => http1(stream, handler).await,
        Ok(Err(error)) => handler.status.handshake_failed(&error.to_string()),
        Err(_) => handler.status.handshake_failed("it took too long"),
    }
}

async fn http1(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, handler: Arc<Handler>) {
    let served = server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX as usize)
        .serve_connection(TokioIo::new(stream), service_fn(|request| answer(request, &handler)))
        .await;
    log_end(served);
}

async fn http2(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, handler: Arc<Handler>) {
    let served = server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .adaptive_window(true)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| {
                let handler = Arc::clone(&handler);
                async move { answer(request, &handler).await }
            }),
        )
        .await;
    log_end(served);
}

async fn answer(
    request: Request<Incoming>,
    handler: &Handler,
) -> Result<hyper::Response<http_body_util::Full<bytes::Bytes>>, std::convert::Infallible> {
    Ok(handler.answer(request).await)
}

/// Clients come and go; how a connection ended matters to nobody but a person who is searching.
fn log_end(served: Result<(), hyper::Error>) {
    if let Err(error) = served {
        tracing::debug!("a connection ended: {error}");
    }
}
