//! The few things that staging asks of a disk, and the folder that answers them.
//!
//! Owns: files by name, and which of its calls make something durable. Does not own: what the files hold. The trait is
//! there so that a test can take the place of the disk and lose, tear or refuse whatever a real one may.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::present::Presence;
use crate::code;
use crate::error::{Error, Result};
use crate::private::{self, FOLDER_MODE};

/// A flat set of files. A name is lasting only after `sync_names`, what a file holds only after its own `sync`.
pub trait Disk: Send + Sync {
    fn names(&self) -> io::Result<Vec<String>>;

    /// An empty file, in place of any of that name.
    fn create(&self, name: &str) -> io::Result<Box<dyn Append>>;

    fn len(&self, name: &str) -> io::Result<u64>;

    /// Fills the whole buffer, or fails.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Takes the place of a file that is there, in one step.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renamings and removals lasting.
    fn sync_names(&self) -> io::Result<()>;

    /// Bytes that may still be written.
    fn free_bytes(&self) -> io::Result<u64>;

    /// What tells a file from a copy of it; empty where nothing does.
    fn identity(&self, _name: &str) -> String {
        String::new()
    }

    /// Whether these files still stand under their names, and are the ones that were written through this disk.
    fn check(&self, files: &mut dyn Iterator<Item = String>) -> Result<()>;
}

/// A file that grows.
pub trait Append: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Forgets what was appended behind `len` bytes.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    fn sync(&mut self) -> io::Result<()>;
}

/// What tells a file or folder from a copy of it: its inode and its time of birth. One that was renamed is the same.
pub fn identity(path: &Path) -> String {
    let Ok(metadata) = fs::metadata(path) else { return String::new() };
    let born = metadata.created().ok().and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
    format!("{}@{}", metadata.ino(), born.unwrap_or_default().as_nanos())
}

/// A folder of the file system, locked for this process.
pub struct Folder {
    path: PathBuf,
    /// Held as long as this lives; the system lets go of it when the process ends, however it does.
    _lock: File,
    presence: Presence,
}

/// While it is locked it holds the number of the process.
pub const LOCK: &str = "lock";
const PID_BYTES_MAX: u64 = 20;
/// Whoever looks whether a folder is in use has its lock for less than one of these pauses.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 5;

/// Whether a process has this folder; not where that cannot be told.
pub fn is_in_use(folder: &Path) -> bool {
    let Ok(lock) = private::open(&folder.join(LOCK), OpenOptions::new().read(true)) else { return false };
    // Shared, so that two who look do not take each other for an ebb. It is let go of at once.
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn take(lock: &File) -> Result<(), TryLockError> {
    for _ in 0..LOOKS_MAX {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_PAUSE),
            taken => return taken,
        }
    }
    lock.try_lock()
}

impl Folder {
    /// Opens or creates a folder.
    ///
    /// # Errors
    /// When it cannot be written, is another user's or open to one, or another process has it.
    pub fn open(path: &Path) -> Result<Self> {
        let unusable = |error: io::Error| {
            Error::new(
                code::staging::FOLDER_UNUSABLE,
                format!("the staging folder {} cannot be used: {error}", path.display()),
            )
            .hint("choose a folder on a local disk that this user may write, with --staging-dir or EBB_STAGING_DIR")
        };
        // What is staged are rows of the application.
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(unusable)?;
        private::check(path)?;
        let mut options = OpenOptions::new().create(true).truncate(false).write(true).to_owned();
        let lock = private::open(&path.join(LOCK), &mut options).map_err(unusable)?;
        take(&lock).map_err(|error| match error {
            TryLockError::WouldBlock => in_use(path),
            TryLockError::Error(error) => unusable(error),
        })?;
        // For whoever finds it locked; nothing else depends on it, and a full disk must not matter.
        let _ = lock.set_len(0).and_then(|()| lock.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0));
        let presence = Presence::of(path).map_err(unusable)?;
        presence.known().wrote(LOCK, &lock).map_err(unusable)?;
        Ok(Self { path: path.to_owned(), _lock: lock, presence })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// What somebody wants who starts it a second time is nearly always the run that is there.
fn in_use(path: &Path) -> Error {
    let holder = private::open(&path.join(LOCK), OpenOptions::new().read(true));
    let mut text = String::new();
    let read = holder.and_then(|file| file.take(PID_BYTES_MAX).read_to_string(&mut text));
    let pid = read.ok().and_then(|_| text.trim().parse::<u32>().ok()).map(|pid| format!(" (pid {pid})"));
    let (dir, schema) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    Error::new(
        code::staging::FOLDER_IN_USE,
        format!(
            "ebb already runs with this staging schema{}: the staging folder {} is locked by it",
            pid.unwrap_or_default(),
            path.display()
        ),
    )
    .hint(format!(
        "see where it stands: ebb status --stagingSchema '{}' --staging-dir '{}'",
        schema.display(),
        dir.display()
    ))
}

impl Disk for Folder {
    fn identity(&self, name: &str) -> String {
        identity(&self.path.join(name))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.filter(|name| name.as_ref().map_or(true, |name| name != LOCK)).collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Append>> {
        let mut known = self.presence.known();
        let file = private::open(&self.at(name), OpenOptions::new().create(true).truncate(false).write(true))?;
        file.set_len(0)?;
        known.wrote(name, &file)?;
        Ok(Box::new(file))
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(fs::symlink_metadata(self.at(name))?.len())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        private::open(&self.at(name), OpenOptions::new().read(true))?.read_exact_at(buffer, offset)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut known = self.presence.known();
        fs::rename(self.at(from), self.at(to))?;
        known.renamed(from, to);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut known = self.presence.known();
        fs::remove_file(self.at(name))?;
        known.removed(name);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let space = rustix::fs::statvfs(&self.path)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn check(&self, files: &mut dyn Iterator<Item = String>) -> Result<()> {
        self.presence.check(&mut files.chain([LOCK.to_owned()]))
    }
}

impl Append for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        io::Seek::seek(self, io::SeekFrom::Start(len)).map(drop)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
