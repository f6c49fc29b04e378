//! Reads the body of a request within its limits: bytes, bytes of all requests together, and time.
//!
//! Owns: lengths, compression, the permits for memory. Does not own: what the bytes mean.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use hyper::{Request, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Refusal;

/// Longest silence inside a body.
const BODY_IDLE_MAX: Duration = Duration::from_secs(30);
/// One permit stands for so many bytes.
const PERMIT_BYTES: usize = 1024;

/// Memory for bodies, shared by all connections.
#[derive(Clone)]
pub(super) struct Budget {
    permits: Arc<Semaphore>,
    body_bytes_max: usize,
    in_flight_bytes_max: usize,
}

/// A body in memory; the budget has its bytes back when this is dropped.
pub(super) struct Bytes {
    pub(super) bytes: Vec<u8>,
    permits: Vec<OwnedSemaphorePermit>,
}

impl Bytes {
    /// Gives the bytes back, and keeps their share of the budget for what was made of them.
    pub(super) fn into_lease(self) -> Box<dyn Send> {
        Box::new(self.permits)
    }
}

impl Budget {
    pub(super) fn new(body_bytes_max: usize, in_flight_bytes_max: usize) -> Self {
        let in_flight_bytes_max = in_flight_bytes_max.max(body_bytes_max);
        let permits = Arc::new(Semaphore::new(in_flight_bytes_max.div_ceil(PERMIT_BYTES)));
        Self { permits, body_bytes_max, in_flight_bytes_max }
    }

    /// Reads and decompresses a body. Waits for memory before reading, so that a busy receiver slows its clients down.
    pub(super) async fn read(&self, request: Request<Incoming>) -> Result<Bytes, Refusal> {
        let encoding = Encoding::of(&request)?;
        let stated = stated_length(&request);
        if stated.is_some_and(|length| length > self.body_bytes_max) {
            return Err(self.too_large());
        }
        // Without a length the body may be as large as any; CockroachDB always states it.
        let permit = self.wait_for(stated.unwrap_or(self.body_bytes_max)).await?;
        let raw = self.collect(request.into_body(), stated).await?;
        if encoding == Encoding::Identity {
            return Ok(Bytes { bytes: raw, permits: vec![permit] });
        }
        let (bytes, mut permits) = tokio::task::block_in_place(|| self.decompress(encoding, &raw))?;
        permits.push(permit);
        Ok(Bytes { bytes, permits })
    }

    async fn collect(&self, mut body: Incoming, stated: Option<usize>) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::with_capacity(stated.unwrap_or(0));
        loop {
            let frame = timeout(BODY_IDLE_MAX, body.frame())
                .await
                .map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body stopped arriving"))?;
            match frame {
                None => break,
                Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(_)) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "the body was cut off")),
            }
            if bytes.len() > self.body_bytes_max {
                return Err(self.too_large());
            }
        }
        if stated.is_some_and(|length| length != bytes.len()) {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "the body is not as long as its Content-Length"));
        }
        Ok(bytes)
    }

    /// Memory for what comes out is taken step by step and without waiting: who waits while holding memory can wait
    /// for himself.
    fn decompress(&self, encoding: Encoding, raw: &[u8]) -> Result<(Vec<u8>, Vec<OwnedSemaphorePermit>), Refusal> {
        let broken = || Refusal::new(StatusCode::BAD_REQUEST, "the body cannot be decompressed");
        let mut reader: Box<dyn Read> = match encoding {
            Encoding::Identity => Box::new(raw),
            Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(raw)),
            Encoding::Zstd => Box::new(zstd::stream::read::Decoder::new(raw).map_err(|_| broken())?),
        };
        let (mut bytes, mut permits) = (Vec::new(), Vec::new());
        let mut chunk = vec![0; 64 * PERMIT_BYTES];
        loop {
            let count = reader.read(&mut chunk).map_err(|_| broken())?;
            if count == 0 {
                return Ok((bytes, permits));
            }
            if bytes.len() + count > self.body_bytes_max {
                return Err(self.too_large());
            }
            permits.push(self.take_now(count)?);
            bytes.extend_from_slice(&chunk[..count]);
        }
    }

    async fn wait_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.permits).acquire_many_owned(permits).await.map_err(|_| Refusal::ending())
    }

    fn take_now(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.permits).try_acquire_many_owned(permits).map_err(|_| {
            let cause = format!("more than {} bytes of bodies are in flight", self.in_flight_bytes_max);
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, cause)
        })
    }

    fn too_large(&self) -> Refusal {
        let cause = format!("the body is larger than {} bytes (--body-bytes-max)", self.body_bytes_max);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, cause)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    fn of(request: &Request<Incoming>) -> Result<Self, Refusal> {
        match request.headers().get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
            None | Some(b"" | b"identity") => Ok(Self::Identity),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(b"zstd") => Ok(Self::Zstd),
            Some(_) => {
                Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is neither plain, gzip nor zstd"))
            }
        }
    }
}

fn stated_length(request: &Request<Incoming>) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
