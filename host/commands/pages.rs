//! The pages of a running ebb, as other commands ask for them.
//!
//! Owns: finding and asking them, within limits. Does not own: what they say (`status`), and what a command makes of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use crate::code;
use crate::error::{Error, Result};
use crate::stage;
use crate::threads;

/// For the whole answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A thousand events of the history have room in it.
const BODY_BYTES_MAX: usize = 8 << 20;

/// How the pages are found.
#[derive(Debug)]
pub enum PagesPlace {
    Addr(SocketAddr),
    /// The staging folder of this run says it.
    Run {
        staging_dir: PathBuf,
        schema: String,
    },
}

impl PagesPlace {
    pub(super) fn find(&self) -> Result<SocketAddr> {
        match self {
            Self::Addr(addr) => Ok(*addr),
            Self::Run { staging_dir, schema } => {
                let folder = stage::folder(staging_dir, schema);
                stage::pages_of(&folder)?.ok_or_else(|| {
                    let message =
                        format!("nothing says where the pages of {schema} are: no {}/pages", folder.display());
                    Error::new(code::settings::NO_PAGES, message)
                        .hint("give --metricsAddr of the running ebb; ebb start serves pages only with it")
                })
            }
        }
    }
}

/// The pages of the running ebb of a staging schema.
pub(super) struct RunPages {
    addr: SocketAddr,
    /// `/_/status`, as it was when they were found.
    pub(super) status: Value,
}

impl RunPages {
    /// `None` where none answers, or one of another schema.
    pub(super) fn find(staging_dir: &Path, schema: &str) -> Option<Self> {
        let pages = PagesPlace::Run { staging_dir: staging_dir.to_owned(), schema: schema.to_owned() };
        let addr = pages.find().ok()?;
        let status = serde_json::from_str(&Self::text_at(addr, "/_/status")?).ok()?;
        let found = Self { addr, status };
        (found.status["feed"] == schema).then_some(found)
    }

    /// The text of one page; `None` where it does not come.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        Self::text_at(self.addr, path)
    }

    fn text_at(addr: SocketAddr, path: &str) -> Option<String> {
        let runtime = threads::runtime(&mut Builder::new_current_thread()).ok()?;
        let body = runtime.block_on(body(addr, path)).ok()?;
        String::from_utf8(body.to_vec()).ok()
    }
}

/// One page that is JSON.
pub(super) async fn page(addr: SocketAddr, path: &str) -> Result<Value> {
    let body = body(addr, path).await?;
    serde_json::from_slice(&body).map_err(|_| no_answer(addr, "what answers there is something else"))
}

pub(super) fn no_answer(addr: SocketAddr, why: &str) -> Error {
    Error::new(code::settings::NO_ANSWER, format!("no ebb answers at {addr}: {why}"))
        .hint("see whether it runs; --metricsAddr or --stagingSchema says where its pages are")
}

async fn body(addr: SocketAddr, path: &str) -> Result<Bytes> {
    let answer = tokio::time::timeout(ANSWER_MAX, get(addr, path)).await;
    let answer = answer.map_err(|_| no_answer(addr, "it took too long"))?;
    answer.map_err(|error| no_answer(addr, &error.to_string()))
}

async fn get(addr: SocketAddr, path: &str) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(addr).await?)).await?;
    let request = Request::get(path).header("host", addr.to_string()).body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        Ok(Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await?.to_bytes())
    };
    tokio::select! {
        answer = answer => answer,
        ended = connection => Err(ended.err().map_or_else(|| "the connection was closed".into(), Into::into)),
    }
}
