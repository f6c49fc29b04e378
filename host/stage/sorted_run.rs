//! A segment's rows on the disk, sorted: what is read while a backlog is applied.
//!
//! ```text
//! block    payload bytes (u32) | CRC-32 of payload | payload: records as in a frame of the log, sorted by key
//! index    for each block: key bytes (u16) | first key | offset (u64)
//! trailer  index offset (u64) | CRC-32 of index | magic "ebbR"
//! ```
//!
//! Owns: writing and reading sorted runs. Does not own: which there are (`segments`).

use std::io;

use bytes::Bytes;

use super::disk::{Append, Disk};
use super::record::KEY_BYTES_MIN;

/// Payload bytes after which a block is closed. A row is never split.
const BLOCK_BYTES: usize = 32 << 10;
const MAGIC: &[u8; 4] = b"ebbR";
const BLOCK_HEADER_BYTES: usize = 8;
const TRAILER_BYTES: usize = 16;

/// Writes rows that come in order.
pub(super) struct SortedRunWriter {
    file: Box<dyn Append>,
    offset: u64,
    block: Vec<u8>,
    index: Vec<u8>,
}

impl SortedRunWriter {
    pub(super) fn create(disk: &dyn Disk, name: &str) -> io::Result<Self> {
        Ok(Self { file: disk.create(name)?, offset: 0, block: vec![0; BLOCK_HEADER_BYTES], index: Vec::new() })
    }

    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let key_len = u16::try_from(key.len()).map_err(io::Error::other)?.to_be_bytes();
        if self.block.len() == BLOCK_HEADER_BYTES {
            self.index.extend(key_len);
            self.index.extend(key);
            self.index.extend(self.offset.to_be_bytes());
        }
        self.block.extend(key_len);
        self.block.extend(u32::try_from(value.len()).map_err(io::Error::other)?.to_be_bytes());
        self.block.extend(key);
        self.block.extend(value);
        if self.block.len() >= BLOCK_BYTES { self.close_block() } else { Ok(()) }
    }

    /// Makes the file durable; its name is not yet. Returns its length.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        if self.block.len() > BLOCK_HEADER_BYTES {
            self.close_block()?;
        }
        let mut end = self.index;
        let crc = crc32fast::hash(&end);
        end.extend(self.offset.to_be_bytes());
        end.extend(crc.to_be_bytes());
        end.extend(MAGIC);
        self.file.append(&end)?;
        self.file.sync()?;
        Ok(self.offset + end.len() as u64)
    }

    fn close_block(&mut self) -> io::Result<()> {
        let payload = &self.block[BLOCK_HEADER_BYTES..];
        let payload_bytes = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let crc = crc32fast::hash(payload);
        self.block[..4].copy_from_slice(&payload_bytes.to_be_bytes());
        self.block[4..BLOCK_HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
        self.file.append(&self.block)?;
        self.offset += self.block.len() as u64;
        self.block.truncate(BLOCK_HEADER_BYTES);
        Ok(())
    }
}

/// Reads a run from a key on, block by block. No file is held open in between: a large backlog has many runs.
pub(super) struct SortedRunCursor {
    name: String,
    offset: u64,
    /// Where the blocks end.
    end: u64,
    block: Bytes,
}

impl SortedRunCursor {
    /// Stands before the first row whose key is at least `from`.
    pub(super) fn seek(disk: &dyn Disk, name: &str, from: &[u8]) -> io::Result<Self> {
        let len = disk.len(name)?;
        let trailer_at = len.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| damaged(name, len))?;
        let mut trailer = [0; TRAILER_BYTES];
        disk.read_at(name, trailer_at, &mut trailer)?;
        let (end, crc) =
            trailer_of(&trailer).filter(|&(end, _)| end <= trailer_at).ok_or_else(|| damaged(name, trailer_at))?;
        let mut index = vec![0; usize::try_from(trailer_at - end).map_err(io::Error::other)?];
        disk.read_at(name, end, &mut index)?;
        if crc32fast::hash(&index) != crc {
            return Err(damaged(name, end));
        }
        let offset = block_of(&index, from).filter(|&offset| offset <= end).ok_or_else(|| damaged(name, end))?;
        let mut cursor = Self { name: name.to_owned(), offset, end, block: Bytes::new() };
        cursor.skip_to(disk, from)?;
        Ok(cursor)
    }

    /// The next row.
    pub(super) fn next(&mut self, disk: &dyn Disk) -> io::Result<Option<(Bytes, Bytes)>> {
        if self.block.is_empty() && !self.read_block(disk)? {
            return Ok(None);
        }
        let (key, value) = record(&self.block).ok_or_else(|| damaged(&self.name, self.offset))?;
        let _ = self.block.split_to(RECORD_HEADER_BYTES + key.len() + value.len());
        Ok(Some((key, value)))
    }

    fn skip_to(&mut self, disk: &dyn Disk, from: &[u8]) -> io::Result<()> {
        while !self.block.is_empty() || self.read_block(disk)? {
            let (key, value) = record(&self.block).ok_or_else(|| damaged(&self.name, self.offset))?;
            if *key >= *from {
                break;
            }
            let _ = self.block.split_to(RECORD_HEADER_BYTES + key.len() + value.len());
        }
        Ok(())
    }

    fn read_block(&mut self, disk: &dyn Disk) -> io::Result<bool> {
        if self.offset >= self.end {
            return Ok(false);
        }
        let damaged = || damaged(&self.name, self.offset);
        let mut header = [0; BLOCK_HEADER_BYTES];
        disk.read_at(&self.name, self.offset, &mut header)?;
        let header = u64::from_be_bytes(header);
        let (payload_bytes, crc) = ((header >> 32) as usize, header as u32);
        let payload_at = self.offset + BLOCK_HEADER_BYTES as u64;
        if payload_bytes == 0 || payload_at + payload_bytes as u64 > self.end {
            return Err(damaged());
        }
        let mut payload = vec![0; payload_bytes];
        disk.read_at(&self.name, payload_at, &mut payload)?;
        if crc32fast::hash(&payload) != crc {
            return Err(damaged());
        }
        self.offset = payload_at + payload_bytes as u64;
        self.block = Bytes::from(payload);
        Ok(true)
    }
}

const RECORD_HEADER_BYTES: usize = 6;

/// The first record of a block.
fn record(block: &Bytes) -> Option<(Bytes, Bytes)> {
    let key_len = usize::from(u16::from_be_bytes(block.get(..2)?.try_into().ok()?));
    let value_len = u32::from_be_bytes(block.get(2..6)?.try_into().ok()?) as usize;
    let value_at = RECORD_HEADER_BYTES + key_len;
    let end = value_at.checked_add(value_len)?;
    let is_whole = end <= block.len() && key_len >= KEY_BYTES_MIN;
    is_whole.then(|| (block.slice(RECORD_HEADER_BYTES..value_at), block.slice(value_at..end)))
}

/// Where the index begins, and its checksum.
fn trailer_of(trailer: &[u8; TRAILER_BYTES]) -> Option<(u64, u32)> {
    let (index_at, rest) = trailer.split_first_chunk()?;
    let (crc, magic) = rest.split_first_chunk()?;
    (magic == MAGIC).then(|| (u64::from_be_bytes(*index_at), u32::from_be_bytes(*crc)))
}

/// The offset of the last block that begins at or below the key; of the first one when all begin above it.
fn block_of(index: &[u8], key: &[u8]) -> Option<u64> {
    let mut found = 0;
    let mut rest = index;
    while !rest.is_empty() {
        let key_len = usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?));
        let first = rest.get(2..2 + key_len)?;
        let offset = u64::from_be_bytes(rest.get(2 + key_len..10 + key_len)?.try_into().ok()?);
        if first > key {
            break;
        }
        found = offset;
        rest = rest.get(10 + key_len..)?;
    }
    Some(found)
}

fn damaged(name: &str, offset: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{name} is damaged at byte {offset}: its checksum does not fit"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::tempdir;
    use crate::stage::disk::Folder;

    const NAME: &str = "0000000001.run";

    fn key(number: u8) -> Vec<u8> {
        [&[number; KEY_BYTES_MIN][..], b"[1]"].concat()
    }

    /// Three blocks.
    fn written(disk: &Folder) -> Vec<u8> {
        let mut run = SortedRunWriter::create(disk, NAME).unwrap();
        for number in 0..30 {
            run.push(&key(number), &vec![number; BLOCK_BYTES / 12]).unwrap();
        }
        let mut bytes = vec![0; usize::try_from(run.finish().unwrap()).unwrap()];
        disk.read_at(NAME, 0, &mut bytes).unwrap();
        bytes
    }

    fn replace(disk: &Folder, bytes: &[u8]) {
        disk.create(NAME).unwrap().append(bytes).unwrap();
    }

    fn rows(disk: &Folder, from: &[u8]) -> io::Result<usize> {
        let mut cursor = SortedRunCursor::seek(disk, NAME, from)?;
        let mut rows = 0;
        while cursor.next(disk)?.is_some() {
            rows += 1;
        }
        Ok(rows)
    }

    /// Where the index and each block begin.
    fn parts(bytes: &[u8]) -> (usize, Vec<usize>) {
        let trailer = bytes.last_chunk().unwrap();
        let end = usize::try_from(trailer_of(trailer).unwrap().0).unwrap();
        let mut starts = vec![0];
        while let Some(header) = bytes[*starts.last().unwrap()..end].first_chunk::<4>() {
            starts.push(starts.last().unwrap() + BLOCK_HEADER_BYTES + u32::from_be_bytes(*header) as usize);
        }
        (end, starts)
    }

    /// Gives what was altered the checksums that fit.
    fn sealed(mut bytes: Vec<u8>, (end, starts): &(usize, Vec<usize>)) -> Vec<u8> {
        for block in starts.windows(2) {
            let crc = crc32fast::hash(&bytes[block[0] + BLOCK_HEADER_BYTES..block[1]]);
            bytes[block[0] + 4..block[0] + BLOCK_HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
        }
        let crc_at = bytes.len() - 8;
        let crc = crc32fast::hash(&bytes[*end..crc_at - 8]);
        bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Of a file that no writer has written nothing breaks off, whatever its checksums say.
    #[test]
    fn no_bytes_make_the_reader_panic() {
        let dir = tempdir();
        let disk = Folder::open(dir.path()).unwrap();
        let sound = written(&disk);
        let parts = parts(&sound);
        let (end, starts) = &parts;
        assert_eq!(rows(&disk, &[]).unwrap(), 30);
        assert_eq!(sealed(sound.clone(), &parts), sound);
        let headers = starts.iter().flat_map(|&start| start..(start + 60).min(*end));
        for at in headers.chain(*end..sound.len()) {
            for value in [0, 0xff] {
                let mut altered = sound.clone();
                altered[at] = value;
                for bytes in [sealed(altered.clone(), &parts), altered] {
                    replace(&disk, &bytes);
                    for from in [vec![], key(12), key(40)] {
                        if let Err(error) = rows(&disk, &from) {
                            assert!(error.to_string().contains("damaged"), "{error}");
                        }
                    }
                }
            }
        }
        for len in (0..sound.len()).step_by(997).chain(sound.len() - 40..sound.len()) {
            replace(&disk, &sound[..len]);
            assert!(rows(&disk, &[]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_key_that_is_too_short_to_be_one_is_damage() {
        let dir = tempdir();
        let disk = Folder::open(dir.path()).unwrap();
        let mut run = SortedRunWriter::create(&disk, NAME).unwrap();
        run.push(&[1; KEY_BYTES_MIN - 1], b"value").unwrap();
        run.finish().unwrap();
        assert!(rows(&disk, &[]).is_err());
    }
}
