//! The pages of a running ebb, as other commands ask for them.
//!
//! Owns: finding and asking them, within limits, and what opens them. Does not own: what they say (`status`), and what a command
//! makes of it.

mod tls;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use crate::code;
use crate::config::PagesLogin;
use crate::error::{Error, Result};
use crate::stage;
use crate::threads;
use tls::Tls;

/// For the whole answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A thousand events of the history have room in it.
const BODY_BYTES_MAX: usize = 8 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How the pages are found.
#[derive(Debug)]
pub enum Place {
    Addr {
        addr: SocketAddr,
        /// What their certificate must be of.
        host: String,
        /// They are served over HTTPS, with a certificate of this authority.
        ca: Option<PathBuf>,
    },
    /// The staging folder of this run says it.
    Run { staging_dir: PathBuf, schema: String },
}

/// The pages, and what opens them.
pub(super) struct Pages {
    pub(super) addr: SocketAddr,
    /// What `Authorization` is to be.
    header: Option<String>,
    tls: Option<Tls>,
}

impl Pages {
    pub(super) fn find(place: &Place, login: Option<&PagesLogin>) -> Result<Self> {
        let given = login.map(|login| login.header.reveal().to_owned());
        match place {
            Place::Addr { addr, host, ca } => {
                let tls = ca.as_ref().map(|ca| Tls::of_authority(ca, host)).transpose()?;
                Ok(Self { addr: *addr, header: given, tls })
            }
            Place::Run { staging_dir, schema } => {
                let folder = stage::folder(staging_dir, schema);
                let noted = stage::pages_of(&folder)?.ok_or_else(|| {
                    let message =
                        format!("nothing says where the pages of {schema} are: no {}/pages", folder.display());
                    Error::new(code::settings::NO_PAGES, message)
                        .hint("give --metricsAddr of the running ebb; ebb start serves pages only with it")
                })?;
                let header = noted.token.map(|token| format!("Bearer {token}")).or(given);
                Ok(Self { addr: noted.addr, header, tls: noted.certificate.map(Tls::of_certificate).transpose()? })
            }
        }
    }

    /// Those of the running ebb of a staging schema, with its status; `None` where none answers, or one of another schema.
    pub(super) fn of_run(staging_dir: &Path, schema: &str) -> Option<(Self, Value)> {
        let place = Place::Run { staging_dir: staging_dir.to_owned(), schema: schema.to_owned() };
        let pages = Self::find(&place, None).ok()?;
        let status: Value = serde_json::from_str(&pages.text("/_/status")?).ok()?;
        (status["feed"] == schema).then_some((pages, status))
    }

    /// The text of one page; `None` where it does not come.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let runtime = threads::runtime(&mut Builder::new_current_thread()).ok()?;
        let body = runtime.block_on(self.body(path)).ok()?;
        String::from_utf8(body.to_vec()).ok()
    }

    /// One page that is JSON.
    pub(super) async fn json(&self, path: &str) -> Result<Value> {
        let body = self.body(path).await?;
        serde_json::from_slice(&body).map_err(|_| self.no_answer("what answers there is something else"))
    }

    pub(super) fn no_answer(&self, why: &str) -> Error {
        Error::new(code::settings::NO_ANSWER, format!("no ebb answers at {}: {why}", self.addr))
            .hint("see whether it runs; --metricsAddr or --stagingSchema says where its pages are")
    }

    async fn body(&self, path: &str) -> Result<Bytes> {
        let answer = tokio::time::timeout(ANSWER_MAX, self.get(path)).await;
        let answer = answer.map_err(|_| self.no_answer("it took too long"))?;
        let (status, body) = answer.map_err(|error| self.no_answer(&error.to_string()))?;
        if status == StatusCode::UNAUTHORIZED {
            let what = format!("the pages at {} want a password or token", self.addr);
            let hint = "give --metricsAuth as the running ebb has it, or its --stagingSchema on its machine";
            return Err(Error::new(code::settings::NO_ANSWER, what).hint(hint));
        }
        Ok(body)
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), Failure> {
        let socket = TcpStream::connect(own(self.addr)).await?;
        match &self.tls {
            Some(tls) => self.exchange(tls.connect(socket).await?, path).await,
            None => self.exchange(socket, path).await,
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        path: &str,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::get(path).header(HOST, own(self.addr).to_string());
        if let Some(header) = &self.header {
            request = request.header(AUTHORIZATION, header);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            Ok((status, Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await?.to_bytes()))
        };
        tokio::select! {
            answer = answer => answer,
            ended = connection => Err(ended.err().map_or_else(|| "the connection was closed".into(), Into::into)),
        }
    }
}

/// What listens everywhere is asked here.
fn own(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, addr.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, addr.port()).into(),
        _ => addr,
    }
}
