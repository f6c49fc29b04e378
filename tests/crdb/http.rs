//! One HTTPS connection to a sink, opened when it is needed and opened again after an error: HTTP/2 where the server
//! offers it, else HTTP/1.1.
//!
//! Does not own: retries and what is in a body (`sink`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsConnector;

use crate::address::Address;
use crate::failure::Failure;
use crate::options::{Changefeed, Compression};
use crate::tls;

const ERROR_BYTES_MAX: usize = 4096;
/// A reset overtakes what has not been written yet: the first half gets this head start.
const CUT_PAUSE: Duration = Duration::from_millis(20);

/// What all connections of one feed have in common.
pub(crate) struct Endpoint {
    address: Address,
    tls: Arc<ClientConfig>,
    headers: HeaderMap,
    timeout: Option<Duration>,
}

pub(crate) struct Connection {
    endpoint: Arc<Endpoint>,
    sender: Option<Sender>,
}

enum Sender {
    Http1(http1::SendRequest<Payload>),
    Http2(http2::SendRequest<Payload>),
}

impl Endpoint {
    pub(crate) fn new(url: &str, feed: &Changefeed) -> Result<Endpoint, Failure> {
        let address = Address::parse(url)?;
        let tls = tls::client_config(&address)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let coding = match feed.compression {
            Some(Compression::Gzip) => Some("gzip"),
            Some(Compression::Zstd) => Some("zstd"),
            None => None,
        };
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding.unwrap_or("gzip")));
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        if let Some(authorization) = feed.authorization.as_ref().or(address.basic.as_ref()) {
            headers.insert(header::AUTHORIZATION, header_value(authorization)?);
        }
        for (name, value) in &feed.extra_headers {
            let invalid = |_| Failure::uncategorized(format!("net/http: invalid header field name {name:?}"));
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(invalid)?, header_value(value)?);
        }
        Ok(Endpoint { address, tls, headers, timeout: feed.client_timeout })
    }
}

fn header_value(value: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(value).map_err(|_| Failure::uncategorized("net/http: invalid header field value"))
}

/// How a request is to be spoilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoil {
    Nothing,
    CutBody,
    LoseAnswer,
}

impl Connection {
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Connection {
        Connection { endpoint, sender: None }
    }

    /// One attempt. The error is what CockroachDB would show as the state of the job.
    pub(crate) async fn post(&mut self, body: Bytes, spoil: Spoil) -> Result<(), String> {
        let endpoint = Arc::clone(&self.endpoint);
        let attempt = self.attempt(body, spoil);
        let result = match endpoint.timeout {
            None => attempt.await,
            Some(limit) => tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
                Err(failed(&endpoint, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"))
            }),
        };
        if result.is_err() {
            self.sender = None;
        }
        result
    }

    async fn attempt(&mut self, body: Bytes, spoil: Spoil) -> Result<(), String> {
        let endpoint = Arc::clone(&self.endpoint);
        let payload = match spoil {
            Spoil::CutBody => Payload::Cut {
                length: body.len() as u64,
                part: Some(body.slice(..body.len() / 2)),
                pause: Box::pin(sleep(CUT_PAUSE)),
            },
            _ => Payload::Whole(Some(body)),
        };
        let response = self.send(payload).await.map_err(|cause| failed(&endpoint, &cause))?;
        if spoil == Spoil::LoseAnswer {
            return Err(failed(&endpoint, "EOF"));
        }
        check(response).await
    }

    async fn send(&mut self, payload: Payload) -> Result<Response<Incoming>, String> {
        let is_usable = match &mut self.sender {
            Some(Sender::Http1(sender)) => sender.ready().await.is_ok(),
            Some(Sender::Http2(sender)) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_usable {
            self.sender = Some(connect(&self.endpoint).await?);
        }
        match &mut self.sender {
            Some(Sender::Http1(sender)) => {
                let request = request(&self.endpoint, Version::HTTP_11, payload)?;
                sender.send_request(request).await.map_err(|error| cause(&error))
            }
            Some(Sender::Http2(sender)) => {
                let request = request(&self.endpoint, Version::HTTP_2, payload)?;
                sender.send_request(request).await.map_err(|error| cause(&error))
            }
            None => Err("EOF".to_owned()),
        }
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Sender, String> {
    let Address { host, port, .. } = &endpoint.address;
    let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| {
        let reason = if error.kind() == std::io::ErrorKind::ConnectionRefused {
            "connection refused".into()
        } else {
            error.to_string()
        };
        format!("dial tcp {}: connect: {reason}", endpoint.address.authority())
    })?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
    let stream =
        TlsConnector::from(Arc::clone(&endpoint.tls)).connect(name, stream).await.map_err(|e| e.to_string())?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    // The driver of a connection ends with it; its error comes out of the request too.
    if is_http2 {
        let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.map_err(|error| cause(&error))?;
        tokio::spawn(driver);
        return Ok(Sender::Http2(sender));
    }
    let (sender, driver) = http1::handshake(io).await.map_err(|error| cause(&error))?;
    tokio::spawn(driver);
    Ok(Sender::Http1(sender))
}

fn request(endpoint: &Endpoint, version: Version, payload: Payload) -> Result<Request<Payload>, String> {
    let address = &endpoint.address;
    let is_http2 = version == Version::HTTP_2;
    let uri = if is_http2 { address.url() } else { address.target.clone() };
    let mut request = Request::post(uri).version(version).body(payload).map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    headers.extend(endpoint.headers.clone());
    let agent = if is_http2 { "Go-http-client/2.0" } else { "Go-http-client/1.1" };
    headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    if !is_http2 {
        let host = HeaderValue::from_str(&address.authority()).map_err(|error| error.to_string())?;
        headers.insert(header::HOST, host);
    }
    Ok(request)
}

/// 2xx is acceptance; the body is not looked at. Everything else is a refusal with the body's words.
async fn check(response: Response<Incoming>) -> Result<(), String> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let mut text = Vec::new();
    let mut body = response.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if text.len() > ERROR_BYTES_MAX {
            text.truncate(ERROR_BYTES_MAX);
            break;
        }
    }
    Err(format!("{}: {}", status_line(status), String::from_utf8_lossy(&text)))
}

fn status_line(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default())
}

fn failed(endpoint: &Endpoint, cause: &str) -> String {
    format!("Post \"{}\": {cause}", endpoint.address.url())
}

/// hyper's own text says little; what lies below says more.
fn cause(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A body whose length is announced, and which may break off half way.
enum Payload {
    Whole(Option<Bytes>),
    Cut { length: u64, part: Option<Bytes>, pause: Pin<Box<Sleep>> },
}

impl Body for Payload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Payload::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Payload::Cut { part, pause, .. } => match part.take().filter(|part| !part.is_empty()) {
                Some(part) => Poll::Ready(Some(Ok(Frame::data(part)))),
                None => {
                    let cut = Err(std::io::ErrorKind::ConnectionAborted.into());
                    pause.as_mut().poll(context).map(|()| Some(cut))
                }
            },
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Payload::Cut { length, .. } => SizeHint::with_exact(*length),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Payload::Whole(None))
    }
}
