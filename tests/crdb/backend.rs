//! A client's own connection to the PostgreSQL behind the proxy: logged in as the superuser that the stand-in was
//! given, and then turned into the client's role, so that no role's password need be known here.

use std::io::{Error, ErrorKind};

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::lex::identifier;
use crate::wire::{self, BoxedStream};

pub(crate) struct Backend {
    pub(crate) stream: BoxedStream,
    /// What the server has told about itself and the session.
    pub(crate) parameters: Vec<(String, String)>,
    /// Process id and secret, for a cancel request.
    pub(crate) key: Vec<u8>,
}

pub(crate) enum Failed {
    Io(Error),
    /// The server's own error, as it came.
    Refused(Vec<u8>),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Io(error)
    }
}

pub(crate) async fn open(config: &Config) -> Result<BoxedStream, Error> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match config.get_hosts().first() {
        Some(Host::Unix(dir)) => Ok(Box::new(UnixStream::connect(dir.join(format!(".s.PGSQL.{port}"))).await?)),
        Some(Host::Tcp(host)) => {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        None => Err(Error::new(ErrorKind::InvalidInput, "the backend's URL names no host")),
    }
}

/// `parameters` are the client's, without user and database.
pub(crate) async fn connect(
    config: &Config,
    user: &str,
    database: &str,
    parameters: &[(String, String)],
) -> Result<Backend, Failed> {
    let mut stream = open(config).await?;
    let superuser = config.get_user().unwrap_or("postgres");
    let own = [("user", superuser), ("database", database)];
    let all = own.into_iter().chain(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut out = BytesMut::new();
    frontend::startup_message(all, &mut out)?;
    stream.write_all(&out).await?;
    log_in(&mut stream, superuser, config.get_password().unwrap_or_default()).await?;
    let mut backend = Backend { stream, parameters: Vec::new(), key: Vec::new() };
    backend.await_ready().await?;
    out.clear();
    frontend::query(&format!("SET SESSION AUTHORIZATION {}", identifier(user)), &mut out)?;
    backend.stream.write_all(&out).await?;
    backend.await_ready().await?;
    Ok(backend)
}

async fn log_in(stream: &mut BoxedStream, user: &str, password: &[u8]) -> Result<(), Failed> {
    let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
    loop {
        let (tag, body) = wire::read_frame(stream).await?;
        if tag == b'E' {
            return Err(Failed::Refused(body));
        }
        let kind = body.first_chunk::<4>().map(|kind| u32::from_be_bytes(*kind));
        let (Some(kind), b'R') = (kind, tag) else {
            return Err(Error::new(ErrorKind::InvalidData, "unexpected frame while logging in").into());
        };
        let mut out = BytesMut::new();
        match kind {
            0 => return Ok(()),
            3 => frontend::password_message(password, &mut out)?,
            5 => {
                let salt = *body[4..].first_chunk::<4>().ok_or(Error::from(ErrorKind::InvalidData))?;
                frontend::password_message(md5_hash(user.as_bytes(), password, salt).as_bytes(), &mut out)?;
            }
            10 => frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut out)?,
            11 => {
                scram.update(&body[4..])?;
                frontend::sasl_response(scram.message(), &mut out)?;
            }
            12 => scram.finish(&body[4..])?,
            _ => return Err(Error::new(ErrorKind::Unsupported, "the backend wants an unknown way to log in").into()),
        }
        stream.write_all(&out).await?;
    }
}

impl Backend {
    /// Takes in all that the server says up to the moment that it waits for a statement.
    async fn await_ready(&mut self) -> Result<(), Failed> {
        let mut refusal = None;
        loop {
            let (tag, body) = wire::read_frame(&mut self.stream).await?;
            match tag {
                b'S' => {
                    let (name, value) = (wire::text_at(&body, 0), wire::text_at(&body, 1));
                    self.parameters.retain(|(known, _)| known != name);
                    self.parameters.push((name.to_owned(), value.to_owned()));
                }
                b'K' => self.key = body,
                b'E' if wire::field(&body, b'S') == Some("FATAL") => return Err(Failed::Refused(body)),
                b'E' => refusal = Some(body),
                b'Z' => return refusal.map_or(Ok(()), |body| Err(Failed::Refused(body))),
                _ => {}
            }
        }
    }
}
