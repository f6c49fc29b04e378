//! The form of one staged row, version 1.
//!
//! ```text
//! key    wall (i64) | logical (i32) | table (u32), all big-endian | 0 | text of the primary key
//!                                                                 | 1 | SHA-256 of that text, when it is long
//! value  CRC-32 of key and rest (u32) | change (u8) | length of the text (u32) and the text, when it is hashed | JSON
//! ```
//!
//! A scan in key order is therefore a scan in commit order, and a row that comes again overwrites itself.
//! Owns: this encoding and its verification. Does not own: where records are kept.

use std::ops::Range;

use bytes::Bytes;
use ebb_sdk::{SHOWN_CHARS_MAX, Timestamp, shortened, shown_value};
use ring::digest::{SHA256, digest};

use super::table_id::TableId;
use crate::buffer::Buffer;
use crate::code;
use crate::error::{Error, Result};

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// The row is now this JSON object.
    Upsert(&'a str),
    /// The row is gone. With the option `diff`, the JSON object that it was.
    Delete(Option<&'a str>),
}

/// Bytes of a timestamp at the start of a key.
pub(super) const TIMESTAMP_BYTES: usize = 12;
/// A key has no fewer bytes; one that is read back and has is damaged.
pub(super) const KEY_BYTES_MIN: usize = KEY_TEXT_AT;
/// Longest key text that stands in a record's key as it is.
const KEY_BYTES_MAX: usize = 1024;
const KEY_TEXT_AT: usize = 17;
const UPSERT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_WITH_BEFORE: u8 = 3;

/// Encoded rows of one request, in one allocation.
#[derive(Debug, Default)]
pub struct RowBatch {
    bytes: Buffer,
    /// Where each record's key and value end.
    ends: Vec<(usize, usize)>,
}

impl RowBatch {
    /// For rows of about so many bytes.
    pub fn expecting(bytes: usize) -> Self {
        Self { bytes: Buffer::expecting(bytes), ends: Vec::new() }
    }

    /// Adds a row; `key` is the canonical JSON text of its primary key.
    pub fn push(&mut self, timestamp: Timestamp, table: TableId, key: &str, change: Change<'_>) {
        let start = self.bytes.len();
        self.bytes.extend(&scan_key(timestamp, table));
        let hashed = key.len() > KEY_BYTES_MAX;
        if hashed {
            self.bytes.extend(&[1]);
            self.bytes.extend(digest(&SHA256, key.as_bytes()).as_ref());
        } else {
            self.bytes.extend(&[0]);
            self.bytes.extend(key.as_bytes());
        }
        let key_end = self.bytes.len();
        self.bytes.extend(&[0; 4]);
        let (tag, json) = match change {
            Change::Upsert(json) => (UPSERT, json),
            Change::Delete(None) => (DELETE, ""),
            Change::Delete(Some(json)) => (DELETE_WITH_BEFORE, json),
        };
        self.bytes.extend(&[tag]);
        if hashed {
            let length = u32::try_from(key.len()).expect("a body is far below 4 GiB");
            self.bytes.extend(&length.to_be_bytes());
            self.bytes.extend(key.as_bytes());
        }
        self.bytes.extend(json.as_bytes());
        let checksum = checksum(&self.bytes[start..key_end], &self.bytes[key_end + 4..]);
        self.bytes[key_end..key_end + 4].copy_from_slice(&checksum.to_be_bytes());
        self.ends.push((key_end, self.bytes.len()));
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The rows as they would be read back.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> Vec<Result<Entry>> {
        self.records()
            .map(|(key, value)| Entry::decode(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)))
            .collect()
    }

    /// Keys and values in the order pushed.
    pub(super) fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(_, end)| end));
        starts.zip(&self.ends).map(|(start, &(key_end, end))| (&self.bytes[start..key_end], &self.bytes[key_end..end]))
    }
}

/// One staged row, read back and verified.
#[derive(Clone, Debug)]
pub struct Entry {
    pub timestamp: Timestamp,
    pub table: TableId,
    key: Bytes,
    value: Bytes,
    /// Where the key text stands: in the value when it is hashed, else in the key.
    hashed_text: Option<Range<usize>>,
}

impl Entry {
    /// Verifies a record.
    ///
    /// # Errors
    /// Names the record when a bit of it has changed since it was written.
    pub(super) fn decode(key: Bytes, value: Bytes) -> Result<Self> {
        Self::parse(key, value).ok_or_else(|| {
            Error::new(code::staging::DAMAGED, "a staged row is damaged: its checksum does not fit; it was not applied")
                .hint(super::DAMAGED_HINT)
        })
    }

    fn parse(key: Bytes, value: Bytes) -> Option<Self> {
        let stored = u32::from_be_bytes(value.get(..4)?.try_into().ok()?);
        if stored != checksum(&key, value.get(4..)?) {
            return None;
        }
        let timestamp = timestamp_of(&key)?;
        let table = table_of(&key);
        if !matches!(*value.get(4)?, UPSERT | DELETE | DELETE_WITH_BEFORE) {
            return None;
        }
        let hashed_text = hashed_text(&key, &value)?;
        let entry = Self { timestamp, table, key, value, hashed_text };
        std::str::from_utf8(entry.key_bytes()).ok()?;
        std::str::from_utf8(entry.json_bytes()).ok()?;
        Some(entry)
    }

    /// The canonical JSON text of the primary key, an array in the order of the source's key.
    pub fn key(&self) -> &str {
        std::str::from_utf8(self.key_bytes()).expect("verified when decoded")
    }

    /// The same for a message: a long one has an end.
    pub fn shown_key(&self) -> String {
        shown_value(&self.short_key()).into_owned()
    }

    /// The beginning of it, for where whether it is shown is decided later.
    pub fn short_key(&self) -> String {
        shortened(self.key(), SHOWN_CHARS_MAX)
    }

    pub fn change(&self) -> Change<'_> {
        let json = std::str::from_utf8(self.json_bytes()).expect("verified when decoded");
        match self.value[4] {
            UPSERT => Change::Upsert(json),
            DELETE_WITH_BEFORE => Change::Delete(Some(json)),
            _ => Change::Delete(None),
        }
    }

    pub fn is_delete(&self) -> bool {
        matches!(self.change(), Change::Delete(_))
    }

    /// Bytes that the entry holds in memory.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }

    /// The same as bytes, which sort as the text does.
    pub fn key_bytes(&self) -> &[u8] {
        match &self.hashed_text {
            Some(range) => self.value.get(range.clone()).unwrap_or_default(),
            None => &self.key[KEY_TEXT_AT..],
        }
    }

    fn json_bytes(&self) -> &[u8] {
        let start = self.hashed_text.as_ref().map_or(5, |range| range.end);
        self.value.get(start..).unwrap_or_default()
    }
}

/// Where the text of a hashed key stands in the value; the inner `None` for a key that is not hashed.
fn hashed_text(key: &[u8], value: &[u8]) -> Option<Option<Range<usize>>> {
    match key.get(16)? {
        0 => Some(None),
        _ => {
            let length = u32::from_be_bytes(value.get(5..9)?.try_into().ok()?);
            let end = usize::try_from(length).ok()?.checked_add(9)?;
            (end <= value.len()).then_some(Some(9..end))
        }
    }
}

/// The text of the primary key of a record.
pub(super) fn key_text<'a>(key: &'a [u8], value: &'a [u8]) -> Option<&'a str> {
    let text = match hashed_text(key, value)? {
        None => key.get(KEY_TEXT_AT..)?,
        Some(range) => value.get(range)?,
    };
    std::str::from_utf8(text).ok()
}

/// The number of the table of a record.
pub(super) fn table_of(key: &[u8]) -> TableId {
    let number = key.get(TIMESTAMP_BYTES..16).and_then(|bytes| bytes.try_into().ok());
    TableId(number.map_or(0, u32::from_be_bytes))
}

/// The start of every key of a timestamp and table.
pub(super) fn scan_key(timestamp: Timestamp, table: TableId) -> [u8; 16] {
    let mut key = [0; 16];
    key[..12].copy_from_slice(&timestamp_bytes(timestamp));
    key[12..].copy_from_slice(&table.0.to_be_bytes());
    key
}

/// Twelve bytes that sort as timestamps do, since neither part is negative.
pub(super) fn timestamp_bytes(timestamp: Timestamp) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&timestamp.wall.to_be_bytes());
    bytes[8..].copy_from_slice(&timestamp.logical.to_be_bytes());
    bytes
}

/// The timestamp that a key or a frame begins with.
pub(super) fn timestamp_of(bytes: &[u8]) -> Option<Timestamp> {
    Some(Timestamp {
        wall: i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?),
        logical: i32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?),
    })
}

fn checksum(key: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(rest);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(key: &str, change: Change<'_>) -> (Vec<u8>, Vec<u8>) {
        let mut batch = RowBatch::default();
        batch.push(Timestamp { wall: 7, logical: 3 }, TableId(9), key, change);
        let (key, value) = batch.records().next().unwrap();
        (key.to_vec(), value.to_vec())
    }

    fn read(record: &(Vec<u8>, Vec<u8>)) -> Result<Entry> {
        Entry::decode(Bytes::copy_from_slice(&record.0), Bytes::copy_from_slice(&record.1))
    }

    #[test]
    fn rows_come_back_as_they_went_in() {
        let long = format!("[\"{}\"]", "x".repeat(3000));
        for key in ["[1]", "[\"é\",null]", long.as_str()] {
            for change in [Change::Upsert("{\"a\": 1}"), Change::Delete(None), Change::Delete(Some("{\"a\": 0}"))] {
                let entry = read(&written(key, change)).unwrap();
                assert_eq!((entry.key(), entry.change()), (key, change));
                assert_eq!((entry.timestamp, entry.table), (Timestamp { wall: 7, logical: 3 }, TableId(9)));
                assert!(key.starts_with(entry.shown_key().trim_end_matches('…')));
                assert!(entry.shown_key().chars().count() <= SHOWN_CHARS_MAX + 1);
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let long = format!("[\"{}\"]", "x".repeat(1100));
        for key in ["[1]", long.as_str()] {
            let record = written(key, Change::Upsert("{}"));
            for bit in 0..(record.0.len() + record.1.len()) * 8 {
                let mut flipped = record.clone();
                let at = bit / 8;
                let byte = match at < flipped.0.len() {
                    true => &mut flipped.0[at],
                    false => &mut flipped.1[at - record.0.len()],
                };
                *byte ^= 1 << (bit % 8);
                assert!(read(&flipped).is_err(), "bit {bit}");
            }
        }
    }

    /// Such records are not written; whatever reads them must not break off.
    #[test]
    fn what_no_writer_has_written_is_damaged_though_its_checksum_fits() {
        let sealed = |key: &[u8], rest: &[u8]| {
            let value = [&checksum(key, rest).to_be_bytes()[..], rest].concat();
            read(&(key.to_vec(), value))
        };
        let key = [&scan_key(Timestamp::ZERO, TableId(1))[..], &[0], b"[1]"].concat();
        let hashed = [&scan_key(Timestamp::ZERO, TableId(1))[..], &[1], &[7; 32]].concat();
        sealed(&key, b"\x01{}").unwrap();
        sealed(&hashed, b"\x01\0\0\0\x03[1]{}").unwrap();
        for len in 0..KEY_BYTES_MIN {
            assert!(sealed(&key[..len], b"\x01{}").is_err(), "a key of {len} bytes");
        }
        for rest in [&b""[..], b"\0{}", b"\x04{}", b"\x01\xff"] {
            assert!(sealed(&key, rest).is_err(), "{rest:?}");
        }
        for rest in [&b"\x01"[..], b"\x01\0\0\0", b"\x01\0\0\0\x04[1]", b"\x01\xff\xff\xff\xff[1]"] {
            assert!(sealed(&hashed, rest).is_err(), "{rest:?}");
        }
    }

    #[test]
    fn keys_sort_by_time_then_table() {
        let key = |wall, logical, table| scan_key(Timestamp { wall, logical }, TableId(table));
        assert!(key(1, 2, 3) < key(1, 2, 4));
        assert!(key(1, 2, 9) < key(1, 3, 0));
        assert!(key(255, 0, 0) < key(256, 0, 0));
    }
}
