//! What is remembered of rows that are applied and gone: enough to tell a repeat from a row that never came before.
//!
//! ```text
//! block  up to 1,024 entries, sorted: timestamp (12 bytes) | fingerprint of table and key (8 bytes); then their CRC-32
//! ```
//!
//! Owns: these files. Does not own: how long they are kept (`--retireOffset`, and `room`).
//!
//! Two rows of one timestamp are taken for each other only when 64 bits of their SHA-256 agree.

use std::io;

use ebb_sdk::Timestamp;
use ring::digest::{SHA256, digest};

use super::disk::{Append, Disk};
use super::record::{TIMESTAMP_BYTES, timestamp_of};

const FINGERPRINT_BYTES: usize = 8;
const ENTRY_BYTES: usize = TIMESTAMP_BYTES + FINGERPRINT_BYTES;
const BLOCK_ENTRIES: usize = 1024;
const BLOCK_BYTES: usize = ENTRY_BYTES * BLOCK_ENTRIES + CRC_BYTES;
const CRC_BYTES: usize = 4;

type Entry = [u8; ENTRY_BYTES];

/// Collects the rows of one segment, whose keys come in order.
#[derive(Default)]
pub(super) struct FingerprintWriter {
    entries: Vec<Entry>,
}

impl FingerprintWriter {
    pub(super) fn push(&mut self, key: &[u8]) {
        self.entries.push(entry(key));
    }

    /// Makes the file durable; its name is not yet. Returns its length.
    pub(super) fn write(mut self, disk: &dyn Disk, name: &str) -> io::Result<u64> {
        self.entries.sort_unstable();
        self.entries.dedup();
        let mut file: Box<dyn Append> = disk.create(name)?;
        let mut bytes = Vec::with_capacity(self.entries.len() * ENTRY_BYTES * 101 / 100 + BLOCK_BYTES);
        for block in self.entries.chunks(BLOCK_ENTRIES) {
            let block = block.as_flattened();
            bytes.extend(block);
            bytes.extend(crc32fast::hash(block).to_be_bytes());
        }
        file.append(&bytes)?;
        file.sync()?;
        Ok(bytes.len() as u64)
    }
}

/// Whether a row with this record key is in the file.
pub(super) fn contains(disk: &dyn Disk, name: &str, key: &[u8]) -> io::Result<bool> {
    let wanted = entry(key);
    let len = disk.len(name)?;
    let (mut low, mut high) = (0, len.div_ceil(BLOCK_BYTES as u64));
    while low < high {
        let middle = low + (high - low) / 2;
        let block = read_block(disk, name, middle, len)?;
        match (block.first(), block.last()) {
            (Some(first), _) if wanted < *first => high = middle,
            (_, Some(last)) if wanted > *last => low = middle + 1,
            _ => return Ok(block.binary_search(&wanted).is_ok()),
        }
    }
    Ok(false)
}

/// When rows of this table and key were there, which is the end of their record keys.
pub(super) fn times(disk: &dyn Disk, name: &str, row: &[u8]) -> io::Result<Vec<Timestamp>> {
    let (wanted, len) = (fingerprint(row), disk.len(name)?);
    let mut times = Vec::new();
    for number in 0..len.div_ceil(BLOCK_BYTES as u64) {
        let block = read_block(disk, name, number, len)?;
        let of_row = block.iter().filter(|entry| entry[TIMESTAMP_BYTES..] == wanted);
        times.extend(of_row.filter_map(|entry| timestamp_of(entry)));
    }
    Ok(times)
}

fn read_block(disk: &dyn Disk, name: &str, number: u64, len: u64) -> io::Result<Vec<Entry>> {
    let offset = number * BLOCK_BYTES as u64;
    let block_bytes = (len - offset).min(BLOCK_BYTES as u64);
    let mut block = vec![0; usize::try_from(block_bytes).map_err(io::Error::other)?];
    disk.read_at(name, offset, &mut block)?;
    let entries_end = block.len().saturating_sub(CRC_BYTES);
    let (entries, crc) = block.split_at(entries_end);
    let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
    if crc != crc32fast::hash(entries.as_flattened()).to_be_bytes() || !rest.is_empty() || entries.is_empty() {
        let what = format!("{name} is damaged at byte {offset}: its checksum does not fit");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(entries.to_vec())
}

/// Of a record's key, which is longer than a timestamp also where it was read back (`KEY_BYTES_MIN`).
fn entry(key: &[u8]) -> Entry {
    let (timestamp, row) = key.split_at(TIMESTAMP_BYTES);
    let mut entry = [0; ENTRY_BYTES];
    entry[..TIMESTAMP_BYTES].copy_from_slice(timestamp);
    entry[TIMESTAMP_BYTES..].copy_from_slice(&fingerprint(row));
    entry
}

fn fingerprint(row: &[u8]) -> [u8; FINGERPRINT_BYTES] {
    let mut fingerprint = [0; FINGERPRINT_BYTES];
    fingerprint.copy_from_slice(&digest(&SHA256, row).as_ref()[..FINGERPRINT_BYTES]);
    fingerprint
}
