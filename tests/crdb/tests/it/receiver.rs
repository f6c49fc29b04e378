//! An HTTPS webhook that keeps every request, answers as told, and checks what a feed promises.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ebb_servers::Certs;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::harness::WAIT;

/// Wall nanoseconds and logical count.
pub(crate) type Hlc = (u64, u64);

pub(crate) fn hlc(text: &str) -> Hlc {
    let (wall, logical) = text.split_once('.').unwrap();
    assert_eq!(logical.len(), 10, "{text}");
    (wall.parse().unwrap(), logical.parse().unwrap())
}

#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) version: hyper::Version,
    /// None when the body broke off.
    pub(crate) body: Option<Bytes>,
    pub(crate) status: u16,
}

impl Delivery {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone().unwrap_or_default().to_vec()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body.clone().unwrap_or_default()).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(pub(crate) Vec<Delivery>);

impl Seen {
    /// Rows of all requests that were read whole, accepted or not, in the order of their coming.
    pub(crate) fn rows(&self) -> Vec<Value> {
        let payloads = self.0.iter().filter(|delivery| delivery.headers.get("content-encoding").is_none());
        payloads.flat_map(|delivery| delivery.json()["payload"].as_array().cloned().unwrap_or_default()).collect()
    }

    pub(crate) fn resolved(&self) -> Vec<Hlc> {
        let found = self.0.iter().filter_map(|delivery| delivery.json()["resolved"].as_str().map(hlc));
        found.collect()
    }

    pub(crate) fn last_resolved(&self) -> Option<Hlc> {
        self.resolved().into_iter().max()
    }

    /// The newest state per topic and key, by `updated`.
    pub(crate) fn state(&self) -> HashMap<String, Value> {
        let mut newest: HashMap<String, (Hlc, Value)> = HashMap::new();
        for row in self.rows() {
            let updated = hlc(row["updated"].as_str().unwrap());
            let place = newest.entry(format!("{}{}", row["topic"], row["key"])).or_default();
            if place.0 <= updated {
                *place = (updated, row["after"].clone());
            }
        }
        newest.into_iter().filter(|(_, (_, after))| !after.is_null()).map(|(key, (_, after))| (key, after)).collect()
    }

    /// Nothing at or below a resolved timestamp comes first after it; first comings of a key are in order.
    pub(crate) fn check_promises(&self) {
        let mut resolved: Hlc = (0, 0);
        let mut known: HashMap<String, Hlc> = HashMap::new();
        let mut seen = std::collections::HashSet::new();
        for delivery in &self.0 {
            let json = delivery.json();
            if let Some(time) = json["resolved"].as_str() {
                resolved = resolved.max(hlc(time));
            }
            for row in json["payload"].as_array().cloned().unwrap_or_default() {
                let updated = hlc(row["updated"].as_str().unwrap());
                let key = format!("{}{}", row["topic"], row["key"]);
                if !seen.insert((key.clone(), updated)) {
                    continue;
                }
                assert!(updated > resolved, "{row} is new and not above resolved {resolved:?}");
                let last = known.insert(key, updated);
                assert!(last.is_none_or(|last| last < updated), "{row} comes after a newer version");
            }
        }
    }
}

type Answer = dyn Fn(usize) -> u16 + Send + Sync;

struct State {
    seen: Mutex<Seen>,
    changed: Notify,
    answer: Mutex<Arc<Answer>>,
}

pub(crate) struct Receiver {
    addr: SocketAddr,
    ca: String,
    state: Arc<State>,
    _task: JoinSet<()>,
}

impl Receiver {
    pub(crate) async fn start(certs: &Certs) -> Receiver {
        Receiver::start_with(certs, &[b"h2", b"http/1.1"], false).await
    }

    pub(crate) async fn start_with(certs: &Certs, protocols: &[&[u8]], require_client_cert: bool) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(certs, protocols, require_client_cert)));
        let answer: Arc<Answer> = Arc::new(|_| 200);
        let state = Arc::new(State { seen: Mutex::default(), changed: Notify::new(), answer: Mutex::new(answer) });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, acceptor, Arc::clone(&state)));
        let ca = std::fs::read_to_string(certs.ca()).unwrap();
        Receiver { addr, ca, state, _task: task }
    }

    /// The sink's URL with the authority to trust.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("webhook-https://localhost:{}{path}?ca_cert={}", self.addr.port(), parameter(self.ca.as_bytes()))
    }

    /// The status by the number of the request.
    pub(crate) fn answer(&self, answer: impl Fn(usize) -> u16 + Send + Sync + 'static) {
        *self.state.answer.lock().unwrap() = Arc::new(answer);
    }

    pub(crate) fn seen(&self) -> Seen {
        self.state.seen.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.state.seen.lock().unwrap().0.clear();
    }

    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Seen {
        let wait = async {
            loop {
                let changed = self.state.changed.notified();
                let seen = self.seen();
                if condition(&seen) {
                    return seen;
                }
                changed.await;
            }
        };
        let waited = tokio::time::timeout(WAIT, wait).await;
        waited.unwrap_or_else(|_| panic!("{what} did not come; rows: {:#?}", self.seen().rows()))
    }

    pub(crate) async fn until_rows(&self, count: usize) -> Vec<Value> {
        self.until(&format!("{count} rows"), |seen| seen.rows().len() >= count).await.rows()
    }
}

/// Base64 for a sink's URL.
pub(crate) fn parameter(bytes: &[u8]) -> String {
    utf8_percent_encode(&STANDARD.encode(bytes), NON_ALPHANUMERIC).to_string()
}

fn server_config(certs: &Certs, protocols: &[&[u8]], require_client_cert: bool) -> ServerConfig {
    let pair = certs.server();
    let chain: Vec<_> = CertificateDer::pem_file_iter(&pair.cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = if require_client_cert {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certs.ca()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&state)));
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<State>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| keep(request, Arc::clone(&state)));
    let io = TokioIo::new(stream);
    let _ = match is_http2 {
        true => hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
        false => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
    };
}

async fn keep(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    assert_eq!(parts.method, hyper::Method::POST);
    let target = parts.uri.path_and_query().unwrap().to_string();
    let delivery = Delivery { target, headers: parts.headers, version: parts.version, body: None, status: 0 };
    let mut arrival = Arrival { delivery: Some(delivery), state };
    let Ok(body) = body.collect().await else { return Ok(Response::new(Full::default())) };
    let status = arrival.complete(body.to_bytes());
    let text = if status < 300 { "" } else { "not now" };
    Ok(Response::builder().status(status).body(Full::from(text)).unwrap())
}

/// A request whose body breaks off may never come back from being read: it is kept when it is dropped.
struct Arrival {
    delivery: Option<Delivery>,
    state: Arc<State>,
}

impl Arrival {
    fn complete(&mut self, body: Bytes) -> u16 {
        let answer = Arc::clone(&self.state.answer.lock().unwrap());
        let mut seen = self.state.seen.lock().unwrap();
        let status = answer(seen.0.len());
        seen.0.extend(self.delivery.take().map(|delivery| Delivery { body: Some(body), status, ..delivery }));
        drop(seen);
        self.state.changed.notify_waiters();
        status
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if let Some(broken) = self.delivery.take() {
            self.state.seen.lock().unwrap().0.push(broken);
            self.state.changed.notify_waiters();
        }
    }
}
