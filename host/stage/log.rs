//! The log of a segment: one frame per group of requests, appended and synced before any of them is answered.
//!
//! ```text
//! frame    header | payload | zeros up to the next multiple of 512 bytes
//! header   magic "ebbF" | segment (u64) | frame (u64) | payload bytes (u32) | CRC-32 of payload | CRC-32 of all before
//! payload  resolved timestamp (i64, i32; zero for none) | records, each: key bytes (u16) | value bytes (u32) | key | value
//! ```
//! All numbers are big-endian. A header fits a sector, so that it is either on the disk or not.
//!
//! Owns: frames, and telling a write that was cut off by a crash from a frame that was whole once. Does not own: what
//! becomes of the rows.
//!
//! The last frame of the last log may be cut off: it was never answered. Whatever else does not fit its checksum was
//! acknowledged and then damaged, and nothing is applied from such a log.

use std::io;

use bytes::Bytes;
use ebb_sdk::Timestamp;

use super::disk::Disk;
use super::record::{KEY_BYTES_MIN, RowBatch, timestamp_bytes, timestamp_of};

pub(super) const SECTOR: usize = 512;
const MAGIC: &[u8; 4] = b"ebbF";
const HEADER_BYTES: usize = 32;
const RESOLVED_BYTES: usize = 12;
const RECORD_HEADER_BYTES: usize = 6;

/// A frame being built.
pub(super) struct FrameBuilder {
    bytes: Vec<u8>,
    /// Where each record's key starts, where its value does, and where that ends.
    records: Vec<(usize, usize, usize)>,
}

impl FrameBuilder {
    pub(super) fn new(bytes_expected: usize) -> Self {
        let mut bytes = Vec::with_capacity(bytes_expected + HEADER_BYTES + RESOLVED_BYTES + SECTOR);
        bytes.resize(HEADER_BYTES + RESOLVED_BYTES, 0);
        Self { bytes, records: Vec::new() }
    }

    /// An upper bound of the bytes that rows add to a frame.
    pub(super) fn bytes_of(rows: &RowBatch) -> usize {
        rows.bytes() + rows.len() * RECORD_HEADER_BYTES
    }

    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        let key_len = u16::try_from(key.len()).expect("long keys are hashed");
        let value_len = u32::try_from(value.len()).expect("a body is far below 4 GiB");
        self.bytes.extend(key_len.to_be_bytes());
        self.bytes.extend(value_len.to_be_bytes());
        let key_at = self.bytes.len();
        self.bytes.extend(key);
        self.bytes.extend(value);
        self.records.push((key_at, key_at + key.len(), self.bytes.len()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes to append.
    pub(super) fn finish(mut self, segment: u64, frame: u64, resolved: Timestamp) -> Frame {
        self.bytes[HEADER_BYTES..HEADER_BYTES + RESOLVED_BYTES].copy_from_slice(&timestamp_bytes(resolved));
        let payload = &self.bytes[HEADER_BYTES..];
        let header = Header { segment, frame, payload_bytes: payload.len(), payload_crc: crc32fast::hash(payload) };
        self.bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
        self.bytes.resize(self.bytes.len().next_multiple_of(SECTOR), 0);
        Frame { bytes: Bytes::from(self.bytes), records: self.records }
    }
}

/// A frame, complete.
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    records: Vec<(usize, usize, usize)>,
}

impl Frame {
    /// Keys and values, which share the frame's memory.
    pub(super) fn records(&self) -> impl Iterator<Item = (Bytes, Bytes)> {
        let slices = |&(key, value, end)| (self.bytes.slice(key..value), self.bytes.slice(value..end));
        self.records.iter().map(slices)
    }
}

/// What a log held.
#[derive(Default)]
pub(super) struct Replayed {
    pub(super) records: Vec<(Bytes, Bytes)>,
    pub(super) frames: u64,
    pub(super) resolved: Timestamp,
    /// Bytes of a write that a crash cut off.
    pub(super) torn_bytes: u64,
}

/// Why a log cannot be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    Io(io::Error),
    /// It does not hold what was acknowledged: where it stops making sense.
    Damaged {
        offset: u64,
    },
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether a log may end in the middle of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    MayBeTorn,
    /// A later segment was begun behind it, so that every frame was acknowledged.
    IsWhole,
}

/// Reads a log from its start.
pub(super) fn replay(disk: &dyn Disk, name: &str, segment: u64, tail: Tail) -> Result<Replayed, Unreadable> {
    let len = disk.len(name)?;
    let mut replayed = Replayed::default();
    let mut offset = 0;
    while offset < len {
        match read_frame(disk, name, offset, len)? {
            FrameRead::Frame { header, payload } if header.segment == segment && header.frame == replayed.frames => {
                take(&mut replayed, &payload).ok_or(Unreadable::Damaged { offset })?;
                replayed.frames += 1;
                offset += header.frame_bytes();
            }
            FrameRead::CutOff if tail == Tail::MayBeTorn && !frame_behind(disk, name, offset, len)? => {
                replayed.torn_bytes = len - offset;
                break;
            }
            _ => return Err(Unreadable::Damaged { offset }),
        }
    }
    Ok(replayed)
}

enum FrameRead {
    Frame {
        header: Header,
        payload: Bytes,
    },
    /// What a crash leaves of a write: less than the whole, or sectors that never came and read as zeros.
    CutOff,
    Damaged,
}

fn read_frame(disk: &dyn Disk, name: &str, offset: u64, len: u64) -> io::Result<FrameRead> {
    let Some(first) = read_sector(disk, name, offset, len)? else { return Ok(FrameRead::CutOff) };
    let Some(header) = Header::decode(&first) else {
        let is_empty = first.iter().all(|&byte| byte == 0);
        return Ok(if is_empty { FrameRead::CutOff } else { FrameRead::Damaged });
    };
    if len - offset < header.frame_bytes() {
        return Ok(FrameRead::CutOff);
    }
    let frame_bytes = usize::try_from(header.frame_bytes()).map_err(io::Error::other)?;
    let mut frame = vec![0; frame_bytes];
    disk.read_at(name, offset, &mut frame)?;
    let (payload, padding) = frame[HEADER_BYTES..].split_at(header.payload_bytes);
    if crc32fast::hash(payload) == header.payload_crc && padding.iter().all(|&byte| byte == 0) {
        let end = HEADER_BYTES + header.payload_bytes;
        return Ok(FrameRead::Frame { header, payload: Bytes::from(frame).slice(HEADER_BYTES..end) });
    }
    let has_empty_sector = frame.chunks(SECTOR).any(|sector| sector.iter().all(|&byte| byte == 0));
    Ok(if has_empty_sector { FrameRead::CutOff } else { FrameRead::Damaged })
}

/// A frame behind the place tells that the one at the place was acknowledged: the next is begun only then.
fn frame_behind(disk: &dyn Disk, name: &str, offset: u64, len: u64) -> io::Result<bool> {
    let mut at = offset + SECTOR as u64;
    while let Some(sector) = read_sector(disk, name, at, len)? {
        if Header::decode(&sector).is_some() {
            return Ok(true);
        }
        at += SECTOR as u64;
    }
    Ok(false)
}

fn read_sector(disk: &dyn Disk, name: &str, offset: u64, len: u64) -> io::Result<Option<[u8; SECTOR]>> {
    if len.saturating_sub(offset) < SECTOR as u64 {
        return Ok(None);
    }
    let mut sector = [0; SECTOR];
    disk.read_at(name, offset, &mut sector)?;
    Ok(Some(sector))
}

fn take(replayed: &mut Replayed, payload: &Bytes) -> Option<()> {
    replayed.resolved = replayed.resolved.max(timestamp_of(payload)?);
    let mut at = RESOLVED_BYTES;
    while at < payload.len() {
        let key_len = usize::from(u16::from_be_bytes(payload.get(at..at + 2)?.try_into().ok()?));
        let value_len = u32::from_be_bytes(payload.get(at + 2..at + 6)?.try_into().ok()?) as usize;
        let value_at = at + RECORD_HEADER_BYTES + key_len;
        let end = value_at.checked_add(value_len)?;
        if end > payload.len() || key_len < KEY_BYTES_MIN {
            return None;
        }
        let key = payload.slice(at + RECORD_HEADER_BYTES..value_at);
        replayed.records.push((key, payload.slice(value_at..end)));
        at = end;
    }
    Some(())
}

struct Header {
    segment: u64,
    frame: u64,
    payload_bytes: usize,
    payload_crc: u32,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..12].copy_from_slice(&self.segment.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.frame.to_be_bytes());
        let payload_bytes = u32::try_from(self.payload_bytes).expect("bodies in flight are far below 4 GiB");
        bytes[20..24].copy_from_slice(&payload_bytes.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.payload_crc.to_be_bytes());
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn decode(sector: &[u8; SECTOR]) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| sector.get(range)?.try_into().ok().map(u32::from_be_bytes);
        let long = |range: std::ops::Range<usize>| sector.get(range)?.try_into().ok().map(u64::from_be_bytes);
        if sector[..4] != *MAGIC || crc32fast::hash(&sector[..28]) != number(28..32)? {
            return None;
        }
        let payload_bytes = number(20..24)? as usize;
        Some(Self { segment: long(4..12)?, frame: long(12..20)?, payload_bytes, payload_crc: number(24..28)? })
    }

    fn frame_bytes(&self) -> u64 {
        (HEADER_BYTES as u64 + self.payload_bytes as u64).next_multiple_of(SECTOR as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::tempdir;
    use crate::stage::disk::Folder;
    use crate::stage::{Change, TableId};

    const NAME: &str = "0000000001.log";

    /// Of a frame that no writer has written nothing breaks off, whatever its checksum says.
    #[test]
    fn no_bytes_of_a_frame_make_the_reader_panic() {
        let dir = tempdir();
        let disk = Folder::open(dir.path()).unwrap();
        let mut rows = RowBatch::default();
        for wall in 1..4 {
            rows.push(Timestamp { wall, logical: 0 }, TableId(1), &format!("[{wall}]"), Change::Upsert("{}"));
        }
        let mut frame = FrameBuilder::new(0);
        rows.records().for_each(|(key, value)| frame.push(key, value));
        let payload = frame.bytes[HEADER_BYTES..].to_vec();
        let replayed = |payload: &[u8]| {
            let payload_crc = crc32fast::hash(payload);
            let header = Header { segment: 1, frame: 0, payload_bytes: payload.len(), payload_crc }.encode();
            let mut bytes = [&header, payload].concat();
            bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
            disk.create(NAME).unwrap().append(&bytes).unwrap();
            replay(&disk, NAME, 1, Tail::IsWhole)
        };
        assert_eq!(replayed(&payload).unwrap().records.len(), 3);
        for at in 0..payload.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut altered = payload.clone();
                altered[at] = value;
                if let Ok(replayed) = replayed(&altered) {
                    assert!(replayed.records.iter().all(|(key, _)| key.len() >= KEY_BYTES_MIN));
                }
            }
            // Between two records a frame may end.
            if let Ok(replayed) = replayed(&payload[..at]) {
                assert!(replayed.records.len() < 3);
            }
        }
    }
}
