//! A staging folder that is only looked at, also while another process writes to it.
//!
//! Owns: reading its files without the lock, and a summary of them. Does not own: looking for rows (`trace`).

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ebb_sdk::Timestamp;
use serde::de::DeserializeOwned;

use super::disk::{Append, Disk};
use super::late::readable;
use super::metadata::{self, MetadataFile};
use super::segments::State;
use super::unreadable;
use crate::error::Result;
use crate::private;

/// A folder whose files are only read.
pub(super) struct ReadOnly(pub(super) PathBuf);

/// What a folder says of itself, without any row.
#[derive(Debug)]
pub struct Summary {
    /// Name and bytes, in the order of names.
    pub files: Vec<(String, u64)>,
    /// As it stood when the newest log was begun.
    pub resolved: Timestamp,
    pub released: Timestamp,
    pub forgotten: Timestamp,
    /// Those that it has ever had rows of.
    pub tables: Vec<String>,
}

/// What was saved last in a folder, also while it is in use.
pub fn saved<T: DeserializeOwned>(folder: &Path, file: MetadataFile) -> Result<Option<T>> {
    metadata::load(&ReadOnly(folder.to_owned()), file)
}

/// `None` where there is no staging folder.
pub fn summary(folder: &Path) -> Result<Option<Summary>> {
    let disk = ReadOnly(folder.to_owned());
    let Some(state) = State::load(&disk)? else { return Ok(None) };
    let mut names = disk.names().map_err(|error| unreadable(&error))?;
    names.sort_unstable();
    // One that is gone meanwhile has no length.
    let files = names.into_iter().map(|name| (disk.len(&name).unwrap_or(0), name)).map(|(len, name)| (name, len));
    Ok(Some(Summary {
        files: files.collect(),
        resolved: state.resolved,
        released: state.released,
        forgotten: state.forgotten,
        tables: state.tables.keys().map(|name| readable(name)).collect(),
    }))
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the folder is only read"))
}

impl Disk for ReadOnly {
    fn names(&self) -> io::Result<Vec<String>> {
        match fs::read_dir(&self.0) {
            Ok(names) => names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(fs::symlink_metadata(self.0.join(name))?.len())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        private::open(&self.0.join(name), OpenOptions::new().read(true))?.read_exact_at(buffer, offset)
    }

    fn create(&self, _: &str) -> io::Result<Box<dyn Append>> {
        refused()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn sync_names(&self) -> io::Result<()> {
        refused()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn check(&self, _: &mut dyn Iterator<Item = String>) -> Result<()> {
        Ok(())
    }
}
