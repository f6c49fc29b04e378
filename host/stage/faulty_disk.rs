//! A folder whose files fail when a test wants it.
//!
//! Owns: passing on everything that does not fail. Does not own: what fails (the tests).

use std::io;
use std::sync::Arc;

use super::disk::{Append, Disk, Folder};
use crate::error::Result;

/// What fails before the folder is asked; nothing, where it is not said.
pub(super) trait Faults: Send + Sync {
    /// Whether this file may fail.
    fn concern(&self, name: &str) -> bool;

    fn append(&self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self, folder: &Folder) -> io::Result<u64> {
        folder.free_bytes()
    }
}

/// See the module.
pub(super) struct FaultyDisk<F> {
    pub folder: Arc<Folder>,
    pub faults: Arc<F>,
}

impl<F: Faults + 'static> Disk for FaultyDisk<F> {
    fn names(&self) -> io::Result<Vec<String>> {
        self.folder.names()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Append>> {
        let file = self.folder.create(name)?;
        Ok(if self.faults.concern(name) { Box::new(FaultyFile(file, self.faults.clone())) } else { file })
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.folder.len(name)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.folder.read_at(name, offset, buffer)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.folder.sync_names()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.faults.free_bytes(&self.folder)
    }

    fn identity(&self, name: &str) -> String {
        self.folder.identity(name)
    }

    fn check(&self, files: &mut dyn Iterator<Item = String>) -> Result<()> {
        self.folder.check(files)
    }
}

struct FaultyFile<F>(Box<dyn Append>, Arc<F>);

impl<F: Faults> Append for FaultyFile<F> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.1.append(bytes)?;
        self.0.append(bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.sync()?;
        self.0.sync()
    }
}
