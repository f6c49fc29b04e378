//! Reads the body of a request within its limits: bytes, bytes of all requests together, and time.
//!
//! Owns: lengths, compression, the permits for memory. Does not own: what the bytes mean.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Refusal;
use crate::config::Limits;

/// Of the body of a refused request so much is read, in so much time.
const DISCARDED_BYTES_MAX: usize = 4 << 20;
const DISCARDING_MAX: Duration = Duration::from_secs(2);
/// One permit stands for so many bytes.
const PERMIT_BYTES: usize = 1024;

/// Memory for bodies, shared by all connections.
#[derive(Clone)]
pub(super) struct Budget {
    permits: Arc<Semaphore>,
    limits: Limits,
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
    pub(super) fn new(limits: Limits) -> Self {
        let in_flight_bytes_max = limits.in_flight_bytes_max.max(limits.body_bytes_max);
        let permits = Arc::new(Semaphore::new(in_flight_bytes_max.div_ceil(PERMIT_BYTES)));
        Self { permits, limits, in_flight_bytes_max }
    }

    /// Reads and decompresses a body. Waits for memory before reading, so that a busy receiver slows its clients down.
    pub(super) async fn read(&self, headers: &HeaderMap, body: &mut Incoming) -> Result<Bytes, Refusal> {
        let encoding = Encoding::of(headers)?;
        let stated = stated_length(headers);
        if stated.is_some_and(|length| length > self.limits.body_bytes_max) {
            return Err(self.too_large());
        }
        // Without a length the body may be as large as any; CockroachDB always states it.
        let permit = self.wait_for(stated.unwrap_or(self.limits.body_bytes_max)).await?;
        let raw = timeout(self.limits.body_timeout, self.collect(body, stated))
            .await
            .map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long (--body-timeout)"))??;
        if encoding == Encoding::Identity {
            return Ok(Bytes { bytes: raw, permits: vec![permit] });
        }
        let (bytes, mut permits) = tokio::task::block_in_place(|| self.decompress(encoding, &raw))?;
        permits.push(permit);
        Ok(Bytes { bytes, permits })
    }

    async fn collect(&self, body: &mut Incoming, stated: Option<usize>) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::with_capacity(stated.unwrap_or(0));
        loop {
            let frame = timeout(self.limits.body_idle_timeout, body.frame()).await.map_err(|_| {
                Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body stopped arriving (--body-idle-timeout)")
            })?;
            match frame {
                None => break,
                Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(_)) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "the body was cut off")),
            }
            if bytes.len() > self.limits.body_bytes_max {
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
            if bytes.len() + count > self.limits.body_bytes_max {
                return Err(self.too_large());
            }
            permits.push(self.take_now(count)?);
            bytes.extend_from_slice(&chunk[..count]);
        }
    }

    /// Holds the request rather than refusing it: a few refusals make CockroachDB send everything again.
    async fn wait_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        match timeout(self.limits.response_timeout, Arc::clone(&self.permits).acquire_many_owned(permits)).await {
            Ok(taken) => taken.map_err(|_| Refusal::ending()),
            Err(_) => Err(self.busy()),
        }
    }

    fn take_now(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.permits).try_acquire_many_owned(permits).map_err(|_| self.busy())
    }

    fn busy(&self) -> Refusal {
        let cause = format!("{} bytes of bodies are in flight (--in-flight-bytes-max)", self.in_flight_bytes_max);
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, cause)
    }

    fn too_large(&self) -> Refusal {
        let cause = format!("the body is larger than {} bytes (--body-bytes-max)", self.limits.body_bytes_max);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, cause)
    }
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
            Some(_) => {
                Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is neither plain, gzip nor zstd"))
            }
        }
    }
}

fn stated_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
