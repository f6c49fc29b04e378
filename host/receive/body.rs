//! Reads the body of a request within its limits: bytes, and time.
//!
//! Owns: lengths and compression. Does not own: memory (`memory`), what the bytes mean.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use tokio::time::timeout;

use super::Refusal;
use super::memory::{Memory, Share};
use crate::buffer::Buffer;
use crate::code;
use crate::config::ReceiverLimits;

/// Of the body of a refused request so much is read, in so much time.
const DISCARDED_BYTES_MAX: usize = 4 << 20;
const DISCARDING_MAX: Duration = Duration::from_secs(2);
/// So much is decompressed at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Largest window of a zstd frame, as a power of two: the 8 MiB that RFC 9659 has for HTTP. It holds what was decompressed last,
/// in memory beside the body's.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

const WINDOW_BYTES_MAX: usize = 1 << ZSTD_WINDOW_LOG_MAX;

/// What the largest body takes: as it came and decompressed, or decompressed and its rows.
pub(crate) fn lane_bytes(body_bytes_max: usize) -> usize {
    body_bytes_max.saturating_mul(2).saturating_add(WINDOW_BYTES_MAX)
}

/// Reads bodies.
pub(super) struct Bodies {
    memory: Arc<Memory>,
    limits: ReceiverLimits,
}

/// What the headers say of a body: they themselves are let go before it is read.
pub(super) struct Shape {
    encoding: Encoding,
    /// Its length as it comes.
    stated: Option<usize>,
}

impl Shape {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        Ok(Self { encoding: Encoding::of(headers)?, stated: stated_length(headers) })
    }
}

/// A body in memory.
pub(super) struct Bytes {
    pub(super) bytes: Buffer,
    /// Twice the bytes: rows made of them take about as much.
    pub(super) share: Share,
}

impl Bodies {
    pub(super) fn new(limits: ReceiverLimits) -> Self {
        Self {
            memory: Memory::new(limits.in_flight_bytes_max, lane_bytes(limits.body_bytes_max), limits.response_timeout),
            limits,
        }
    }

    /// Reads and decompresses a body, and takes the memory that its rows will need. Holds the request where there is none,
    /// rather than refusing it at once: a few refusals make CockroachDB send everything again.
    pub(super) async fn read(&self, shape: Shape, body: &mut Incoming) -> Result<Bytes, Refusal> {
        let Shape { encoding, stated } = shape;
        if stated.is_some_and(|length| length > self.limits.body_bytes_max) {
            return Err(self.too_large());
        }
        let (mut share, asked_to_give_way) = self.memory.enter();
        let reading = async {
            // CockroachDB always states the length.
            if share.needs_lane(stated.map_or(usize::MAX, |length| 2 * length)) {
                share.enter_lane(0).await?;
            }
            let raw =
                timeout(self.limits.body_timeout, self.collect(body, stated, &mut share)).await.map_err(|_| {
                    Refusal::new(
                        code::receiver::BODY_SLOW,
                        StatusCode::REQUEST_TIMEOUT,
                        "the body took too long (--body-timeout)",
                    )
                })??;
            let bytes = match encoding {
                Encoding::Identity => raw,
                _ => match self.decompress(encoding, &raw, &mut share).await? {
                    Some(bytes) => bytes,
                    None => {
                        // It is large, which its length did not say. Only what has come is held meanwhile.
                        share.enter_lane(raw.len()).await?;
                        self.decompress(encoding, &raw, &mut share).await?.ok_or_else(|| self.too_large())?
                    }
                },
            };
            share.grow(2 * bytes.len()).await?;
            Ok(bytes)
        };
        let bytes = tokio::select! {
            read = reading => read?,
            Ok(()) = asked_to_give_way => return Err(self.memory.busy()),
        };
        share.complete();
        Ok(Bytes { bytes, share })
    }

    async fn collect(&self, body: &mut Incoming, stated: Option<usize>, share: &mut Share) -> Result<Buffer, Refusal> {
        let mut bytes = Buffer::expecting(stated.unwrap_or(self.limits.body_bytes_max));
        loop {
            let frame = timeout(self.limits.body_idle_timeout, body.frame()).await.map_err(|_| {
                Refusal::new(
                    code::receiver::BODY_SLOW,
                    StatusCode::REQUEST_TIMEOUT,
                    "the body stopped arriving (--body-idle-timeout)",
                )
            })?;
            let frame = match frame {
                None => break,
                Some(frame) => frame.map_err(|_| {
                    Refusal::new(code::receiver::MALFORMED, StatusCode::BAD_REQUEST, "the body was cut off")
                })?,
            };
            let data: &[u8] = frame.data_ref().map_or(&[], |data| data);
            if bytes.len() + data.len() > self.limits.body_bytes_max {
                return Err(self.too_large());
            }
            share.grow(bytes.len() + data.len()).await?;
            bytes.extend(data);
        }
        if stated.is_some_and(|length| length != bytes.len()) {
            return Err(Refusal::new(
                code::receiver::MALFORMED,
                StatusCode::BAD_REQUEST,
                "the body is not as long as its Content-Length",
            ));
        }
        Ok(bytes)
    }

    /// `None` when it turns out to be large, and has to wait for its memory.
    async fn decompress(&self, encoding: Encoding, raw: &[u8], share: &mut Share) -> Result<Option<Buffer>, Refusal> {
        let broken =
            || Refusal::new(code::receiver::MALFORMED, StatusCode::BAD_REQUEST, "the body cannot be decompressed");
        let mut reader: Box<dyn Read + Send> = match encoding {
            Encoding::Identity => Box::new(raw),
            Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(raw)),
            Encoding::Zstd => Box::new(zstd_decoder(raw).map_err(|_| broken())?),
        };
        let mut bytes = Buffer::expecting(self.limits.body_bytes_max);
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        loop {
            chunk.clear();
            let mut next = reader.by_ref().take(CHUNK_BYTES as u64);
            let count = tokio::task::block_in_place(|| next.read_to_end(&mut chunk)).map_err(|_| broken())?;
            if bytes.len() + count > self.limits.body_bytes_max {
                return Err(self.too_large());
            }
            let window = if encoding == Encoding::Zstd { (bytes.len() + count).min(WINDOW_BYTES_MAX) } else { 0 };
            let needed = raw.len() + bytes.len() + count + window;
            if share.needs_lane(needed.max(2 * (bytes.len() + count))) {
                return Ok(None);
            }
            share.grow(needed).await?;
            bytes.extend(&chunk);
            if count < CHUNK_BYTES {
                return Ok(Some(bytes));
            }
        }
    }

    fn too_large(&self) -> Refusal {
        let cause = format!(
            "the body is larger than {} bytes (--body-bytes-max); the changefeed sends it for ever until that is raised, or \
             Flush in its webhook_sink_config lowered where it is not one row alone",
            self.limits.body_bytes_max
        );
        Refusal::new(code::receiver::TOO_LARGE, StatusCode::PAYLOAD_TOO_LARGE, cause)
    }
}

fn zstd_decoder(raw: &[u8]) -> std::io::Result<zstd::stream::read::Decoder<'_, &[u8]>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(raw)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// Reads on, and keeps nothing, until the body ends or it is more than a refused request deserves.
pub(super) async fn discard(mut body: Incoming) {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > DISCARDED_BYTES_MAX {
                return;
            }
        }
    };
    let _ = timeout(DISCARDING_MAX, reading).await;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
            None | Some(b"" | b"identity") => Ok(Self::Identity),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(b"zstd") => Ok(Self::Zstd),
            Some(_) => Err(Refusal::new(
                code::receiver::FORMAT,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body is neither plain, gzip nor zstd",
            )),
        }
    }
}

fn stated_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
