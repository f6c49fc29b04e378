//! Frames of PostgreSQL's wire protocol: as much as a proxy must take apart, and the few it makes itself.
//!
//! Does not own: what a frame means to a session (`proxy`, `backend`).

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A statement longer than this is refused rather than held in memory.
pub(crate) const STATEMENT_BYTES_MAX: usize = 256 << 20;
const STARTUP_BYTES_MAX: usize = 10_000;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// TCP, TLS or a Unix socket.
pub(crate) type BoxedStream = Box<dyn Stream>;

/// The first packet of a connection, which has no tag.
pub(crate) enum Startup {
    Tls,
    Gss,
    /// Process id and secret, as they came.
    Cancel(Vec<u8>),
    Session(Vec<(String, String)>),
}

pub(crate) async fn read_startup(stream: &mut BoxedStream) -> Result<Startup> {
    let length = stream.read_u32().await? as usize;
    if !(8..=STARTUP_BYTES_MAX).contains(&length) {
        return Err(Error::new(ErrorKind::InvalidData, "this is no PostgreSQL client"));
    }
    let mut packet = vec![0; length - 4];
    stream.read_exact(&mut packet).await?;
    let (code, rest) = packet.split_at(4);
    match u32::from_be_bytes([code[0], code[1], code[2], code[3]]) {
        80_877_103 => Ok(Startup::Tls),
        80_877_104 => Ok(Startup::Gss),
        80_877_102 => Ok(Startup::Cancel(rest.to_vec())),
        code if code >> 16 == 3 => Ok(Startup::Session(parameters(rest))),
        _ => Err(Error::new(ErrorKind::InvalidData, "unknown protocol version")),
    }
}

fn parameters(rest: &[u8]) -> Vec<(String, String)> {
    let mut texts = rest.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
    let mut found = Vec::new();
    while let (Some(name), Some(value)) = (texts.next().filter(|name| !name.is_empty()), texts.next()) {
        found.push((name, value));
    }
    found
}

/// Tag and length of what follows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) tag: u8,
    pub(crate) length: usize,
}

/// None when the other side has closed the connection between two frames.
pub(crate) async fn read_header(reader: &mut (impl AsyncRead + Unpin)) -> Result<Option<Header>> {
    let tag = match reader.read_u8().await {
        Ok(tag) => tag,
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = reader.read_u32().await? as usize;
    let length = length.checked_sub(4).ok_or(ErrorKind::InvalidData)?;
    Ok(Some(Header { tag, length }))
}

pub(crate) async fn read_body(reader: &mut (impl AsyncRead + Unpin), header: Header) -> Result<Vec<u8>> {
    if header.length > STATEMENT_BYTES_MAX {
        return Err(Error::new(ErrorKind::InvalidData, "a frame is too long to be held in memory"));
    }
    let mut body = vec![0; header.length];
    reader.read_exact(&mut body).await?;
    Ok(body)
}

/// A whole frame; an end of the stream is an error here.
pub(crate) async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Vec<u8>)> {
    let header = read_header(reader).await?.ok_or(ErrorKind::UnexpectedEof)?;
    Ok((header.tag, read_body(reader, header).await?))
}

pub(crate) async fn write_header(writer: &mut (impl AsyncWrite + Unpin), header: Header) -> Result<()> {
    let length = u32::try_from(header.length + 4).map_err(|_| ErrorKind::InvalidData)?;
    writer.write_u8(header.tag).await?;
    writer.write_u32(length).await
}

pub(crate) async fn write_frame(writer: &mut (impl AsyncWrite + Unpin), tag: u8, body: &[u8]) -> Result<()> {
    write_header(writer, Header { tag, length: body.len() }).await?;
    writer.write_all(body).await
}

/// Zero-terminated texts, one after the other.
pub(crate) fn texts(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.bytes().chain([0])).collect()
}

/// The body of an error that ends the connection.
pub(crate) fn fatal(code: &str, message: &str) -> Vec<u8> {
    failure("FATAL", code, message)
}

/// The body of an error that ends a statement.
pub(crate) fn error(code: &str, message: &str) -> Vec<u8> {
    failure("ERROR", code, message)
}

fn failure(severity: &str, code: &str, message: &str) -> Vec<u8> {
    let fields = [format!("S{severity}"), format!("V{severity}"), format!("C{code}"), format!("M{message}")];
    let mut body: Vec<u8> = fields.iter().flat_map(|field| field.bytes().chain([0])).collect();
    body.push(0);
    body
}

/// One field of an error or a notice: `b'C'` for the code, `b'M'` for the message.
pub(crate) fn field(body: &[u8], name: u8) -> Option<&str> {
    let field = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&name))?;
    std::str::from_utf8(&field[1..]).ok()
}

/// The texts of a body that consists of such.
pub(crate) fn text_at(body: &[u8], index: usize) -> &str {
    let text = body.split(|byte| *byte == 0).nth(index).unwrap_or_default();
    std::str::from_utf8(text).unwrap_or_default()
}
