//! The pages of a running ebb, as other commands ask for them.
//!
//! Owns: finding and asking them, within limits, and what opens them and to whom it is shown. Does not own: what they say
//! (`status`), what a command makes of it, and the proof that a run gives (`proof`).

mod tls;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use crate::code;
use crate::config::PagesLogin;
use crate::error::{Error, Result};
use crate::proof::{self, NONCE, NONCE_BYTES, PROOF, random};
use crate::stage;
use crate::threads;
use tls::Tls;

/// For the whole answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A thousand events of the history have room in it.
const BODY_BYTES_MAX: usize = 8 << 20;

type Sender = http1::SendRequest<Empty<Bytes>>;
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
    opened_by: OpenedBy,
    /// The staging folder that says where they are.
    folder: Option<PathBuf>,
    tls: Option<Tls>,
}

/// What is shown to whoever answers.
enum OpenedBy {
    Nothing,
    /// The user has given it for this address.
    Header(String),
    /// The token of a staging folder, once whoever answers has proved that it knows it.
    Token(String),
}

impl Pages {
    pub(super) fn find(place: &Place, login: Option<&PagesLogin>) -> Result<Self> {
        match place {
            Place::Addr { addr, host, ca } => {
                let given = login.map(|login| login.header.reveal().to_owned());
                let tls = ca.as_ref().map(|ca| Tls::of_authority(ca, host)).transpose()?;
                if given.is_some() && tls.is_none() && !own(*addr).ip().is_loopback() {
                    let message = format!("the password or token would cross the network to {addr} in clear text");
                    let hint = "give --metricsCA, where the run has --metricsTls; else run ebb status on ebb's machine, or ask \
                                through a tunnel: ssh -L 3030:127.0.0.1:3030 HOST";
                    return Err(Error::new(code::access::PAGES_PLAIN, message).hint(hint));
                }
                Ok(Self {
                    addr: *addr,
                    opened_by: given.map_or(OpenedBy::Nothing, OpenedBy::Header),
                    folder: None,
                    tls,
                })
            }
            Place::Run { staging_dir, schema } => {
                let folder = stage::folder(staging_dir, schema);
                let noted = stage::pages_of(&folder)?.and_then(|noted| Some((noted.token.clone()?, noted)));
                let Some((token, noted)) = noted else { return Err(without_pages(&folder, schema)) };
                let tls = noted.certificate.map(Tls::of_certificate).transpose()?;
                Ok(Self { addr: noted.addr, opened_by: OpenedBy::Token(token), folder: Some(folder), tls })
            }
        }
    }

    /// Those of the running ebb of a staging schema, with its status.
    pub(super) fn of_run(staging_dir: &Path, schema: &str) -> Result<(Self, Value)> {
        let place = Place::Run { staging_dir: staging_dir.to_owned(), schema: schema.to_owned() };
        let pages = Self::find(&place, None)?;
        let runtime = threads::runtime(&mut Builder::new_current_thread())?;
        let status = runtime.block_on(pages.json("/_/status"))?;
        match status["feed"] == schema {
            true => Ok((pages, status)),
            false => Err(pages.no_answer("what answers there is of another staging schema")),
        }
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
        let runs = match self.folder.as_deref().map(stage::is_in_use) {
            Some(true) => "; the ebb of this staging folder runs, and its pages do not answer",
            Some(false) => "; no ebb of this staging folder runs",
            None => "",
        };
        Error::new(code::settings::NO_ANSWER, format!("no ebb answers at {}: {why}{runs}", self.addr))
            .hint("see whether it runs; --metricsAddr or --stagingSchema says where its pages are")
    }

    async fn body(&self, path: &str) -> Result<Bytes> {
        let answer = tokio::time::timeout(ANSWER_MAX, self.get(path)).await;
        let answer = answer.map_err(|_| self.no_answer("it took too long"))?;
        let (status, body) = answer.map_err(|failure| match failure.downcast::<Error>() {
            Ok(error) => *error,
            Err(failure) => self.no_answer(&failure.to_string()),
        })?;
        if status != StatusCode::UNAUTHORIZED {
            return Ok(body);
        }
        let what = match self.opened_by {
            OpenedBy::Nothing => format!("the pages at {} want a password or token", self.addr),
            _ => format!("what --metricsAuth says is not the password or token of the run at {}", self.addr),
        };
        let hint = "give --metricsAuth as the running ebb has it, or its --stagingSchema on its machine";
        Err(Error::new(code::settings::NO_ANSWER, what).hint(hint))
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), Failure> {
        let socket = TcpStream::connect(own(self.addr)).await?;
        match &self.tls {
            Some(tls) => self.exchange(tls.connect(socket).await?, path).await,
            None => self.exchange(socket, path).await.map_err(|failure| match failure.is::<Error>() {
                true => failure,
                false => format!("{failure}; it is no ebb, or it serves HTTPS: give --metricsCA").into(),
            }),
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        path: &str,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let header = match &self.opened_by {
                OpenedBy::Nothing => None,
                OpenedBy::Header(header) => Some((AUTHORIZATION, header.clone())),
                OpenedBy::Token(token) => {
                    self.prove(&mut sender, token).await?;
                    Some((AUTHORIZATION, format!("Bearer {token}")))
                }
            };
            let (status, _, body) = self.ask(&mut sender, path, header).await?;
            Ok((status, body))
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            ended = connection => Err(ended.err().map_or_else(|| "the connection was closed".into(), Into::into)),
        }
    }

    /// Whoever has taken the address of a run that has ended gets nothing that opens pages.
    async fn prove(&self, sender: &mut Sender, token: &str) -> Result<(), Failure> {
        let nonce = proof::hexadecimal(&random::<NONCE_BYTES>()?);
        let (_, headers, _) =
            self.ask(sender, "/_/livez", Some((HeaderName::from_static(NONCE), nonce.clone()))).await?;
        let given = headers.get(PROOF).map_or(&[][..], |proof| proof.as_bytes());
        if bool::from(given.ct_eq(proof::sign(token, nonce.as_bytes()).as_bytes())) {
            return Ok(());
        }
        let message = format!("what answers at {} is not the ebb of this staging folder", self.addr);
        let hint = "the ebb of the folder has ended, and something else has its address: see what listens there; start ebb, \
                    and ask again";
        Err(Error::new(code::settings::NO_ANSWER, message).hint(hint).into())
    }

    async fn ask(
        &self,
        sender: &mut Sender,
        path: &str,
        header: Option<(HeaderName, String)>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Failure> {
        let mut request = Request::get(path).header(HOST, own(self.addr).to_string());
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        sender.ready().await?;
        let (head, body) = sender.send_request(request.body(Empty::new())?).await?.into_parts();
        Ok((head.status, head.headers, Limited::new(body, BODY_BYTES_MAX).collect().await?.to_bytes()))
    }
}

/// No folder, a run without pages, and no run are three things.
fn without_pages(folder: &Path, schema: &str) -> Error {
    if !folder.is_dir() {
        return stage::no_folder(folder);
    }
    if stage::is_in_use(folder) {
        let message = format!("the ebb of {schema} runs, and serves no pages that can be found");
        let hint = "its log says why, where the address was taken; ebb start serves pages only with --metricsAddr";
        return Error::new(code::settings::NO_PAGES, message).hint(hint);
    }
    Error::new(code::settings::NO_ANSWER, format!("no ebb of {schema} runs: its staging folder is not in use"))
        .hint("start it, or give --metricsAddr of the running ebb")
}

/// What listens everywhere is asked here.
fn own(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, addr.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, addr.port()).into(),
        _ => addr,
    }
}
