//! Sends bodies as a changefeed does: several TLS connections at once, each with one request in flight, and a resolved
//! timestamp on a connection of its own once everything up to it was answered with 200.
//!
//! Owns: the HTTPS client. Does not own: what is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;

use crate::Bench;
use crate::ebb::Ebb;
use crate::generator::{Bodies, History};

/// One connection to the receiver.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    path: String,
}

impl Client {
    pub async fn connect(bench: &Bench, port: u16, path: &str) -> Self {
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
        let socket = TcpStream::connect(("127.0.0.1", port)).await.expect("the receiver listens");
        socket.set_nodelay(true).expect("an option");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("a handshake");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        Self { sender, path: path.to_owned() }
    }

    /// Posts a body; anything but 200 ends the run.
    pub async fn post(&mut self, body: impl Into<Bytes>) {
        self.sender.ready().await.expect("the connection lives");
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header("Host", "localhost")
            .header("Content-Type", "application/json")
            .body(Full::new(body.into()))
            .expect("a request");
        let response = self.sender.send_request(request).await.expect("an answer");
        let status = response.status();
        let text = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&text));
    }
}

/// Sends everything, each connection as fast as it is answered.
pub async fn send(bench: &Bench, ebb: &Ebb, bodies: Bodies) {
    let (done, progress) = mpsc::channel(1024);
    let count = bodies.connections.len();
    for (number, epochs) in bodies.connections.into_iter().enumerate() {
        let mut client = Client::connect(bench, ebb.port, &bodies.path).await;
        let done = done.clone();
        tokio::spawn(async move {
            for (epoch, batches) in epochs.into_iter().enumerate() {
                for body in batches {
                    client.post(body).await;
                }
                done.send((number, epoch)).await.expect("the resolved connection lives");
            }
        });
    }
    drop(done);
    let client = Client::connect(bench, ebb.port, &bodies.path).await;
    resolve(client, progress, count, bodies.resolved).await;
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

/// Sends at an even rate; returns how long each resolved timestamp took to become visible.
pub async fn send_steadily(bench: &Bench, ebb: &Ebb, history: &History, duration: Duration) -> Vec<Duration> {
    let bodies = history.bodies(bench, &ebb.database);
    let epochs = bodies.resolved.len();
    let (start, released) = watch::channel(0_usize);
    let sent = Arc::new(AtomicUsize::new(0));
    for epochs in bodies.connections {
        let mut client = Client::connect(bench, ebb.port, &bodies.path).await;
        let (mut released, sent) = (released.clone(), Arc::clone(&sent));
        tokio::spawn(async move {
            for (epoch, batches) in epochs.into_iter().enumerate() {
                released.wait_for(|&number| number > epoch).await.expect("the clock lives");
                for body in batches {
                    client.post(body).await;
                }
                sent.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let mut client = Client::connect(bench, ebb.port, &bodies.path).await;
    let connections = bench.connections;
    let mut ticks = tokio::time::interval(duration / u32::try_from(epochs).expect("few"));
    let mut delays = Vec::new();
    for (epoch, resolved) in bodies.resolved.into_iter().enumerate() {
        ticks.tick().await;
        start.send_replace(epoch + 1);
        while sent.load(Ordering::SeqCst) < (epoch + 1) * connections {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let wall = resolved.split(['"', '.']).find_map(|part| part.parse().ok()).expect("a timestamp");
        let at = Instant::now();
        client.post(resolved).await;
        ebb.wait_applied(wall).await;
        delays.push(at.elapsed());
    }
    delays
}
