//! One client's session: TLS, log-in as CockroachDB does it, then frames both ways. Statements are looked at on their
//! way in; tags, and the server's version, on their way out. Everything else passes as it came.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, ReadHalf, WriteHalf, copy_buf,
    split,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::Server;
use crate::backend::{self, Backend, Failed};
use crate::past::Past;
use crate::rewrite::rewrite_in;
use crate::rows::{self, Act, Rows};
use crate::transaction::Transaction;
use crate::version::Version;
use crate::wire::{self, BoxedStream, Header, Startup};

const BUFFER_BYTES: usize = 64 << 10;
/// The version of PostgreSQL that CockroachDB says it is.
const SERVER_VERSION: &str = "13.0.0";
/// The code of the notice that carries a statement's tag; see `schema/jobs.sql`.
const TAG_CODE: &str = "ZTAG0";

/// Serves one connection until either side ends it.
pub(crate) async fn serve(server: Arc<Server>, stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream: BoxedStream = Box::new(stream);
    let mut is_tls = false;
    let parameters = loop {
        match wire::read_startup(&mut stream).await? {
            Startup::Tls => match (&server.tls, is_tls) {
                (Some(config), false) => {
                    stream.write_all(b"S").await?;
                    stream = Box::new(TlsAcceptor::from(Arc::clone(config)).accept(stream).await?);
                    is_tls = true;
                }
                _ => stream.write_all(b"N").await?,
            },
            Startup::Gss => stream.write_all(b"N").await?,
            Startup::Cancel(key) => return cancel(&server, &key).await,
            Startup::Session(parameters) => break parameters,
        }
    };
    match log_in(&server, &mut stream, is_tls, parameters).await? {
        Some((backend, past)) => relay(stream, backend, past, &server.shared.version).await,
        None => Ok(()),
    }
}

async fn cancel(server: &Server, key: &[u8]) -> Result<()> {
    let mut stream = backend::open(&server.shared.backend).await?;
    stream.write_u32(16).await?;
    stream.write_u32(80_877_102).await?;
    stream.write_all(key).await?;
    // The server answers by closing.
    let _ = stream.read_u8().await;
    Ok(())
}

/// None when the client has been refused and told so.
async fn log_in(
    server: &Arc<Server>,
    stream: &mut BoxedStream,
    is_tls: bool,
    mut parameters: Vec<(String, String)>,
) -> Result<Option<(Backend, Past)>> {
    let mut take = |name: &str| {
        let at = parameters.iter().position(|(known, _)| known == name)?;
        Some(parameters.remove(at).1)
    };
    let user = take("user").unwrap_or_else(|| "root".to_owned());
    let database = take("database").unwrap_or_else(|| "defaultdb".to_owned());
    if server.tls.is_some() && !is_tls {
        return refuse(stream, "28000", "node is running secure mode, SSL connection required").await;
    }
    let refusal = format!("password authentication failed for user {user}");
    if let Some(password) = server.shared.options.passwords.get(&user)
        && ask_password(stream).await? != *password
    {
        return refuse(stream, "28P01", &refusal).await;
    }
    if let Err(error) = server.open_database(&database).await {
        return refuse(stream, error.code, &error.message).await;
    }
    match backend::connect(&server.shared.backend, &user, &database, &parameters).await {
        Ok(backend) => {
            greet(stream, &backend, &server.shared.version).await?;
            let past = Past::new(server, database, user, &backend.key);
            Ok(Some((backend, past)))
        }
        Err(Failed::Io(error)) => refuse(stream, "08006", &format!("the backend cannot be reached: {error}")).await,
        // The role does not exist, in PostgreSQL's words.
        Err(Failed::Refused(body)) if wire::field(&body, b'C') == Some("22023") => {
            refuse(stream, "28000", &refusal).await
        }
        Err(Failed::Refused(body)) => {
            wire::write_frame(stream, b'E', &body).await?;
            stream.flush().await?;
            Ok(None)
        }
    }
}

async fn refuse(stream: &mut BoxedStream, code: &str, message: &str) -> Result<Option<(Backend, Past)>> {
    wire::write_frame(stream, b'E', &wire::fatal(code, message)).await?;
    stream.flush().await?;
    Ok(None)
}

async fn ask_password(stream: &mut BoxedStream) -> Result<String> {
    wire::write_frame(stream, b'R', &3_u32.to_be_bytes()).await?;
    stream.flush().await?;
    match wire::read_frame(stream).await? {
        (b'p', body) => Ok(wire::text_at(&body, 0).to_owned()),
        _ => Err(Error::new(ErrorKind::InvalidData, "the client sends no password")),
    }
}

async fn greet(stream: &mut BoxedStream, backend: &Backend, version: &Version) -> Result<()> {
    let mut out = BufWriter::new(stream);
    wire::write_frame(&mut out, b'R', &0_u32.to_be_bytes()).await?;
    let banner = version.banner();
    let own = [("server_version", SERVER_VERSION), ("crdb_version", banner.as_str())];
    let from_backend = backend.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in from_backend.filter(|(name, _)| *name != "server_version").chain(own) {
        wire::write_frame(&mut out, b'S', &wire::texts(&[name, value])).await?;
    }
    wire::write_frame(&mut out, b'K', &backend.key).await?;
    wire::write_frame(&mut out, b'Z', b"I").await?;
    out.flush().await
}

async fn relay(client: BoxedStream, backend: Backend, past: Past, version: &Version) -> Result<()> {
    let (client_reader, client_writer) = split(client);
    let (backend_reader, backend_writer) = split(backend.stream);
    let waits = Waits::default();
    tokio::select! {
        result = requests(client_reader, backend_writer, past, &waits, version) => result,
        result = answers(backend_reader, client_writer, &waits) => result,
    }
}

/// What both directions know of the session.
#[derive(Default)]
struct Waits {
    /// Messages to which "ready" is the answer, and how many of these have come.
    asked: AtomicU64,
    ready: AtomicU64,
    is_in_transaction: AtomicBool,
}

impl Waits {
    /// No transaction is open, and none is about to be.
    fn are_idle(&self) -> bool {
        let is_quiet = self.asked.load(Ordering::SeqCst) == self.ready.load(Ordering::SeqCst);
        is_quiet && !self.is_in_transaction.load(Ordering::SeqCst)
    }
}

async fn requests(
    reader: ReadHalf<BoxedStream>,
    writer: WriteHalf<BoxedStream>,
    mut past: Past,
    waits: &Waits,
    version: &Version,
) -> Result<()> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, writer);
    let mut transaction = Transaction::default();
    while let Some(header) = wire::read_header(&mut reader).await? {
        if waits.are_idle() {
            // A commit is not the only end, and a beginning may have failed.
            transaction.time = None;
        }
        if matches!(header.tag, b'Q' | b'S' | b'F') {
            waits.asked.fetch_add(1, Ordering::SeqCst);
        }
        match header.tag {
            b'Q' | b'P' => {
                let mut body = wire::read_body(&mut reader, header).await?;
                transaction.is_prepared = header.tag == b'P';
                rewrite_body(header.tag, &mut body, &mut transaction, &mut past, version).await;
                wire::write_frame(&mut writer, header.tag, &body).await?;
            }
            _ => pass(&mut reader, &mut writer, header).await?,
        }
        flush_if_idle(&reader, &mut writer).await?;
    }
    Ok(())
}

/// A simple query is one text; a prepared one has a name before it and types of parameters behind it.
async fn rewrite_body(tag: u8, body: &mut Vec<u8>, transaction: &mut Transaction, past: &mut Past, version: &Version) {
    let start = if tag == b'P' { body.iter().position(|byte| *byte == 0).map_or(0, |end| end + 1) } else { 0 };
    let length = body[start..].iter().position(|byte| *byte == 0).unwrap_or(body.len() - start);
    let sql = std::str::from_utf8(&body[start..start + length]).unwrap_or_default();
    if let Some(text) = rewrite_in(transaction, sql, version) {
        body.splice(start..start + length, past.plan(text).await.bytes());
    }
}

async fn answers(reader: ReadHalf<BoxedStream>, writer: WriteHalf<BoxedStream>, waits: &Waits) -> Result<()> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, writer);
    let mut tag: Option<String> = None;
    let mut rows = Rows::new();
    while let Some(header) = wire::read_header(&mut reader).await? {
        if header.tag == b'D' {
            answer_row(&mut reader, &mut writer, &mut rows, header).await?;
            flush_if_idle(&reader, &mut writer).await?;
            continue;
        }
        rows.next_answer();
        match header.tag {
            b'N' => {
                let body = wire::read_body(&mut reader, header).await?;
                if wire::field(&body, b'C') == Some(TAG_CODE) {
                    tag = wire::field(&body, b'M').map(str::to_owned);
                } else {
                    wire::write_frame(&mut writer, header.tag, &body).await?;
                }
            }
            b'C' => {
                let body = wire::read_body(&mut reader, header).await?;
                let counted = rows.tag(wire::text_at(&body, 0));
                let body = tag.take().or(counted).map_or(body, |text| wire::texts(&[&text]));
                wire::write_frame(&mut writer, header.tag, &body).await?;
            }
            b'Z' => {
                let body = wire::read_body(&mut reader, header).await?;
                waits.is_in_transaction.store(body != b"I", Ordering::SeqCst);
                waits.ready.fetch_add(1, Ordering::SeqCst);
                wire::write_frame(&mut writer, header.tag, &body).await?;
            }
            b'T' => {
                let body = wire::read_body(&mut reader, header).await?;
                let body = rows::description(&body).unwrap_or(body);
                wire::write_frame(&mut writer, header.tag, &body).await?;
            }
            b's' if rows.is_reading() => {
                rows.end();
                let text = "stand-in: not supported: rows of row_to_json in portions";
                wire::write_frame(&mut writer, b'E', &wire::error("0A000", text)).await?;
            }
            b'E' => {
                tag = None;
                rows.end();
                pass(&mut reader, &mut writer, header).await?;
            }
            _ => pass(&mut reader, &mut writer, header).await?,
        }
        flush_if_idle(&reader, &mut writer).await?;
    }
    writer.flush().await
}

async fn answer_row(
    reader: &mut BufReader<ReadHalf<BoxedStream>>,
    writer: &mut (impl AsyncWrite + Unpin),
    rows: &mut Rows,
    header: Header,
) -> Result<()> {
    if !rows.is_interested(header.length) {
        return pass(reader, writer, header).await;
    }
    let is_buffered = header.length <= reader.buffer().len();
    let body = if is_buffered { Vec::new() } else { wire::read_body(reader, header).await? };
    let body = if is_buffered { &reader.buffer()[..header.length] } else { &body[..] };
    match rows.row(body) {
        Ok(Act::Pass) => wire::write_frame(writer, header.tag, body).await?,
        Ok(Act::Drop) => {}
        Ok(Act::Send(body)) => wire::write_frame(writer, header.tag, body).await?,
        Err(text) => {
            wire::write_frame(writer, b'E', &wire::fatal("0A000", &text)).await?;
            writer.flush().await?;
            return Err(Error::new(ErrorKind::InvalidData, text));
        }
    }
    if is_buffered {
        reader.consume(header.length);
    }
    Ok(())
}

/// Streams a frame through, whatever its length.
async fn pass(
    reader: &mut BufReader<ReadHalf<BoxedStream>>,
    writer: &mut (impl AsyncWrite + Unpin),
    header: Header,
) -> Result<()> {
    wire::write_header(writer, header).await?;
    // Most frames are in the buffer already, which spares a copy loop.
    if header.length <= reader.buffer().len() {
        writer.write_all(&reader.buffer()[..header.length]).await?;
        reader.consume(header.length);
        return Ok(());
    }
    let length = header.length as u64;
    let copied = copy_buf(&mut reader.take(length), writer).await?;
    if copied == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// Nothing waits in the proxy while the other side waits for it.
async fn flush_if_idle(
    reader: &BufReader<ReadHalf<BoxedStream>>,
    writer: &mut (impl AsyncWrite + Unpin),
) -> Result<()> {
    if reader.buffer().is_empty() { writer.flush().await } else { Ok(()) }
}
