//! Sends bodies as a changefeed does: several TLS connections at once, each with one request in flight, and a resolved
//! timestamp on a connection of its own once everything up to it was answered with 200.
//!
//! Owns: the HTTPS client. Does not own: what is sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use crate::Bench;
use crate::ebb::Ebb;
use crate::generator::History;

/// Shakes hands with the changefeed's certificate.
pub(crate) fn connector(bench: &Bench) -> TlsConnector {
    let pair = bench.certs.client("changefeed").expect("a client certificate");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(bench.certs.ca()).expect("the authority")).expect("a certificate");
    let chain = CertificateDer::pem_file_iter(&pair.cert).expect("a file").collect::<Result<_, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_file(&pair.key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("a pair");
    TlsConnector::from(Arc::new(config))
}

/// One connection to the receiver.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    path: String,
}

impl Client {
    pub(crate) async fn connect(bench: &Bench, port: u16, path: &str) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.expect("the receiver listens");
        socket.set_nodelay(true).expect("an option");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = connector(bench).connect(name, socket).await.expect("a handshake");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        Self { sender, path: path.to_owned() }
    }

    /// Posts a body; anything but 200 ends the run.
    pub(crate) async fn post(&mut self, body: impl Into<Bytes>) {
        let path = self.path.clone();
        let (status, text) = self.answer(&path, body.into()).await;
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&text));
    }

    /// Posts a body to this path, which must be refused with this status.
    pub(crate) async fn refused(&mut self, path: &str, body: Vec<u8>, expected: u16) {
        let (status, text) = self.answer(path, body.into()).await;
        assert_eq!(status.as_u16(), expected, "{}", String::from_utf8_lossy(&text));
    }

    async fn answer(&mut self, path: &str, body: Bytes) -> (StatusCode, Bytes) {
        self.sender.ready().await.expect("the connection lives");
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("Host", "localhost")
            .header("Content-Type", "application/json")
            .body(Full::new(body))
            .expect("a request");
        let response = self.sender.send_request(request).await.expect("an answer");
        let status = response.status();
        (status, response.into_body().collect().await.expect("a body").to_bytes())
    }
}

/// Sends everything, each connection as fast as it is answered. A feed is what one connection sends between each two
/// resolved timestamps.
pub(crate) async fn send<I>(bench: &Bench, ebb: &Ebb, feeds: Vec<I>, resolved: Vec<String>)
where
    I: Iterator<Item = Vec<Vec<u8>>> + Send + 'static,
{
    let (done, progress) = mpsc::channel(1024);
    let (path, count) = (ebb.path.clone(), feeds.len());
    for (number, feed) in feeds.into_iter().enumerate() {
        let mut client = Client::connect(bench, ebb.port, &path).await;
        let done = done.clone();
        tokio::spawn(async move {
            for (epoch, batches) in feed.enumerate() {
                for body in batches {
                    client.post(body).await;
                }
                done.send((number, epoch)).await.expect("the resolved connection lives");
            }
        });
    }
    drop(done);
    let client = Client::connect(bench, ebb.port, &path).await;
    resolve(client, progress, count, resolved).await;
}

/// The same without resolved timestamps.
pub(crate) async fn send_rows<I>(bench: &Bench, ebb: &Ebb, feeds: Vec<I>)
where
    I: Iterator<Item = Vec<Vec<u8>>> + Send + 'static,
{
    let mut tasks = Vec::new();
    for feed in feeds {
        let mut client = Client::connect(bench, ebb.port, &ebb.path).await;
        tasks.push(tokio::spawn(async move {
            for body in feed.flatten() {
                client.post(body).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("every body is taken");
    }
}

async fn resolve(
    mut client: Client,
    mut progress: mpsc::Receiver<(usize, usize)>,
    count: usize,
    resolved: Vec<String>,
) {
    let mut finished = vec![0; count];
    let mut next = 0;
    while let Some((number, epoch)) = progress.recv().await {
        finished[number] = epoch + 1;
        let complete = finished.iter().min().copied().expect("there are connections");
        // The latest is enough when several became complete meanwhile.
        if complete > next {
            client.post(resolved[complete - 1].clone()).await;
            next = complete;
        }
    }
    assert_eq!(next, resolved.len(), "a connection broke off");
}

/// When the rows below a resolved timestamp were due, when it was sent, and when it was visible on the target.
pub(crate) struct Delay {
    wall: i64,
    due: Instant,
    sent: Instant,
    visible: Instant,
}

impl Delay {
    pub(crate) fn since_due(&self) -> Duration {
        self.visible - self.due
    }

    pub(crate) fn since_sent(&self) -> Duration {
        self.visible - self.sent
    }
}

/// Sends at an even rate, and lets nothing wait for the target.
pub(crate) async fn send_steadily(bench: &Bench, ebb: &Ebb, history: &History, duration: Duration) -> Vec<Delay> {
    let bodies = history.bodies(bench, &ebb.database);
    let period = duration / u32::try_from(bodies.resolved.len()).expect("few");
    let begin = tokio::time::Instant::now() + Duration::from_millis(500);
    let due = move |epoch: usize| begin + period * u32::try_from(epoch).expect("few");
    let (done, mut progress) = mpsc::unbounded_channel();
    let connections = bodies.connections.len();
    for epochs in bodies.connections {
        let mut client = Client::connect(bench, ebb.port, &bodies.path).await;
        let done = done.clone();
        tokio::spawn(async move {
            for (epoch, batches) in epochs.into_iter().enumerate() {
                tokio::time::sleep_until(due(epoch)).await;
                for body in batches {
                    client.post(body).await;
                }
                done.send(epoch).expect("the resolved connection lives");
            }
        });
    }
    let mut client = Client::connect(bench, ebb.port, &bodies.path).await;
    let (sent, awaited) = mpsc::unbounded_channel();
    let resolve = async move {
        let mut finished = vec![0; bodies.resolved.len()];
        for (epoch, resolved) in bodies.resolved.into_iter().enumerate() {
            while finished[epoch] < connections {
                finished[progress.recv().await.expect("the connections live")] += 1;
            }
            let wall = resolved.split(['"', '.']).find_map(|part| part.parse().ok()).expect("a timestamp");
            let now = Instant::now();
            let _ = sent.send(Delay { wall, due: due(epoch).into_std(), sent: now, visible: now });
            client.post(resolved).await;
        }
    };
    tokio::join!(resolve, watch(ebb, awaited)).1
}

/// Notes when each resolved timestamp becomes visible.
async fn watch(ebb: &Ebb, mut awaited: mpsc::UnboundedReceiver<Delay>) -> Vec<Delay> {
    let mut delays = Vec::new();
    while let Some(mut delay) = awaited.recv().await {
        ebb.wait_applied(delay.wall).await;
        delay.visible = Instant::now();
        delays.push(delay);
    }
    delays
}
