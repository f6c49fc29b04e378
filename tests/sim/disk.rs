//! A disk in memory that loses power: what was not synced may be gone, there, or there in part.
//!
//! Owns: what survives. Names survive in the order in which they changed; the bytes of a file up to its last sync survive
//! whole, those behind it by sectors, in any combination, and a sector that is missing reads as zeros.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use ebb::code;
use ebb::error::Error;
use ebb::stage::disk::{Append, Disk};
use fastrand::Rng;

const SECTOR: usize = 512;

/// Clones share it.
#[derive(Clone)]
pub(crate) struct FakeDisk {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// The lists of names since the last sync, oldest first.
    renamings: Vec<BTreeMap<String, u64>>,
    files: BTreeMap<u64, File>,
    next: u64,
    /// Calls until the power goes.
    power: Option<u64>,
    /// Calls of `append` that find the disk full.
    pub full: u32,
    /// The next sync fails, and what it should have written may be lost.
    pub sync_fails: bool,
    rng: Rng,
}

#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    synced: usize,
}

/// What [`FakeDisk::copy`] has kept.
pub(crate) struct Copy {
    files: BTreeMap<String, Vec<u8>>,
}

impl FakeDisk {
    pub(crate) fn new(seed: u64) -> Self {
        let inner = Inner {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            renamings: Vec::new(),
            files: BTreeMap::new(),
            next: 0,
            power: None,
            full: 0,
            sync_fails: false,
            rng: Rng::with_seed(seed),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// The power goes at the n-th call from now; every later call fails too.
    pub(crate) fn cut_power_after(&self, calls: u64) {
        self.lock().power = Some(calls);
    }

    pub(crate) fn has_power(&self) -> bool {
        self.lock().power != Some(0)
    }

    pub(crate) fn fill(&self, calls: u32) {
        self.lock().full = calls;
    }

    pub(crate) fn fail_a_sync(&self) {
        self.lock().sync_fails = true;
    }

    /// Leaves what a loss of power leaves, and turns it on again.
    pub(crate) fn lose_power(&self) {
        let mut inner = self.lock();
        let renamings = inner.renamings.len();
        let kept = inner.rng.usize(0..=renamings);
        if kept > 0 {
            inner.durable_names = inner.renamings[kept - 1].clone();
        }
        inner.names = inner.durable_names.clone();
        inner.renamings.clear();
        let Inner { files, names, rng, .. } = &mut *inner;
        files.retain(|id, _| names.values().any(|named| named == id));
        files.values_mut().for_each(|file| file.lose_power(rng));
        inner.power = None;
        inner.full = 0;
        inner.sync_fails = false;
    }

    /// Removes the folder. Files that are open can still be written.
    pub(crate) fn remove_all(&self) {
        let mut inner = self.lock();
        inner.names.clear();
        inner.durable_names.clear();
        inner.renamings.clear();
    }

    /// The folder as a backup or a snapshot of the machine keeps it: what is durable.
    pub(crate) fn copy(&self) -> Copy {
        let inner = self.lock();
        let synced = |id: &u64| inner.files[id].bytes[..inner.files[id].synced].to_vec();
        Copy { files: inner.durable_names.iter().map(|(name, id)| (name.clone(), synced(id))).collect() }
    }

    /// The copy takes the place of the folder.
    pub(crate) fn put_back(&self, copy: &Copy) {
        self.remove_all();
        let mut inner = self.lock();
        for (name, bytes) in &copy.files {
            let id = inner.next;
            inner.next += 1;
            inner.files.insert(id, File { bytes: bytes.clone(), synced: bytes.len() });
            inner.names.insert(name.clone(), id);
        }
        inner.durable_names = inner.names.clone();
    }

    /// Flips one bit of a file that counts, if there is one with bytes; says which.
    pub(crate) fn flip_a_bit(&self) -> Option<String> {
        let mut inner = self.lock();
        let is_data = |name: &String| !name.ends_with(".new") && !name.ends_with(".seen");
        let names: Vec<_> =
            inner.names.iter().filter(|(name, _)| is_data(name)).map(|(name, id)| (name.clone(), *id)).collect();
        let (name, id) = names.get(inner.rng.usize(0..names.len().max(1)))?.clone();
        let len = inner.files[&id].bytes.len();
        if len == 0 {
            return None;
        }
        let (byte, bit) = (inner.rng.usize(0..len), inner.rng.u32(0..8));
        inner.files.get_mut(&id)?.bytes[byte] ^= 1 << bit;
        Some(format!("bit {bit} of byte {byte} of {name}, which has {len}"))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics while it holds the disk")
    }

    fn call(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.lock();
        match inner.power.as_mut() {
            Some(0) => return Err(io::Error::other("the power is off")),
            Some(calls) => *calls -= 1,
            None => {}
        }
        Ok(inner)
    }
}

impl File {
    fn lose_power(&mut self, rng: &mut Rng) {
        let len = self.bytes.len();
        match rng.u8(0..4) {
            // Nothing of it had been written.
            0 => self.bytes.truncate(self.synced),
            // A part, as when the process alone has died in the middle of the call.
            1 => self.bytes.truncate(rng.usize(self.synced..=len)),
            2 => {}
            // The length had been written, and some of the sectors.
            _ => {
                let first = self.synced.div_ceil(SECTOR) * SECTOR;
                for start in (first..len).step_by(SECTOR) {
                    if rng.bool() {
                        self.bytes[start..(start + SECTOR).min(len)].fill(0);
                    }
                }
            }
        }
        self.synced = self.bytes.len();
    }
}

impl Inner {
    fn file(&self, name: &str) -> io::Result<&File> {
        self.names.get(name).map(|id| &self.files[id]).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn renamed(&mut self) {
        let names = self.names.clone();
        self.renamings.push(names);
    }
}

impl Disk for FakeDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.call()?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Append>> {
        let mut inner = self.call()?;
        let id = inner.next;
        inner.next += 1;
        inner.files.insert(id, File::default());
        inner.names.insert(name.to_owned(), id);
        inner.renamed();
        Ok(Box::new(Handle { disk: self.clone(), id }))
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(self.call()?.file(name)?.bytes.len() as u64)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let inner = self.call()?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = inner.file(name)?.bytes.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.call()?;
        let id = inner.names.remove(from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        inner.names.insert(to.to_owned(), id);
        inner.renamed();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.call()?;
        inner.names.remove(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        inner.renamed();
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut inner = self.call()?;
        inner.durable_names = inner.names.clone();
        inner.renamings.clear();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn check(&self, files: &mut dyn Iterator<Item = String>) -> ebb::error::Result<()> {
        let failed = |error: io::Error| Error::new(code::staging::DISK_FAILED, error.to_string());
        let inner = self.call().map_err(failed)?;
        for name in files {
            inner.file(&name).map_err(failed)?;
        }
        Ok(())
    }
}

struct Handle {
    disk: FakeDisk,
    id: u64,
}

impl Handle {
    fn with<T>(&self, work: impl FnOnce(&mut File, &mut Rng) -> T) -> io::Result<T> {
        let mut inner = self.disk.call()?;
        let Inner { files, rng, .. } = &mut *inner;
        Ok(work(files.get_mut(&self.id).expect("an open file stays"), rng))
    }
}

impl Append for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let is_full = {
            let mut inner = self.disk.call()?;
            let is_full = inner.full > 0;
            inner.full = inner.full.saturating_sub(1);
            is_full
        };
        self.with(|file, rng| {
            let written = if is_full { rng.usize(0..=bytes.len()) } else { bytes.len() };
            file.bytes.extend(&bytes[..written]);
        })?;
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.with(|file, _| {
            file.bytes.truncate(usize::try_from(len).expect("files are small here"));
            file.synced = file.synced.min(file.bytes.len());
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.disk.call()?.sync_fails) {
            return Err(io::Error::other("the disk has failed"));
        }
        self.with(|file, _| file.synced = file.bytes.len())
    }
}
