//! A small HTTP/1.1 server for the pages.
//!
//! Owns: serving each connection within its time. Does not own: how many there may be (`connections`), what is answered
//! (`routes`).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::connections::{Connection, Connections};
use super::guard::Guard;
use super::live::Live;
use super::routes;
use super::tls::Tls;

/// For the headers of a request, and until the next one: nothing is kept alive for longer.
const HEADERS_MAX: Duration = Duration::from_secs(5);
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// For a whole connection, in case its client reads nothing. A browser asks for the events again by itself.
const CONNECTION_MAX: Duration = Duration::from_secs(60 * 60);
/// On one connection: whoever sends many at once must take turns with new connections.
const REQUESTS_MAX: u32 = 100;
const HEADER_BYTES_MAX: usize = 16 << 10;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves for ever. A new connection is always accepted: another gives way.
pub(super) async fn serve(listener: TcpListener, live: Arc<Live>, guard: Arc<Guard>, tls: Option<Arc<Tls>>) {
    // Aborted together with this future.
    let mut tasks = tokio::task::JoinSet::new();
    let connections = Arc::<Connections>::default();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (connection, given_way) = connections.accept();
        let one = One { live: Arc::clone(&live), guard: Arc::clone(&guard), connection: Arc::new(connection) };
        let tls = tls.clone();
        tasks.spawn(async move {
            // How a reader of the pages went away matters to nobody.
            tokio::select! {
                () = one.begin(socket, tls) => {}
                _ = given_way => {}
                () = tokio::time::sleep(CONNECTION_MAX) => {}
            }
        });
        while tasks.try_join_next().is_some() {}
        // A request that has come is answered before a flood of newer connections closes its own.
        tokio::task::yield_now().await;
    }
}

/// One connection, and what answers it.
struct One {
    live: Arc<Live>,
    guard: Arc<Guard>,
    connection: Arc<Connection>,
}

impl One {
    async fn begin(self, socket: TcpStream, tls: Option<Arc<Tls>>) {
        let _ = socket.set_nodelay(true);
        let Some(tls) = tls else { return self.http(socket).await };
        if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MAX, tls.acceptor().accept(socket)).await {
            self.http(stream).await;
        }
    }

    async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Self { live, guard, connection } = self;
        let requests = AtomicU32::new(0);
        let service = service_fn(async |request| {
            // Others have their turn before each answer: requests may have come by the hundred.
            tokio::task::yield_now().await;
            let mut answer = routes::answer(&request, &live, &guard, &connection);
            if requests.fetch_add(1, Ordering::Relaxed) + 1 >= REQUESTS_MAX {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        });
        let _ = server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_MAX)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }
}
