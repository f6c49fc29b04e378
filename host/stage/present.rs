//! Whether the folder and its files are still there, and the same: a process can write and sync files for days whose names,
//! or whose folder, somebody has removed.
//!
//! Owns: which file each name stood for when it was last seen, and the words for one that does not any more. Does not own:
//! which files count (`store`), when it is asked (`append` before each answer, `compaction` once a second).
//!
//! A file is known by device and inode. The folder is held open, so that its inode cannot be given to another. Whatever
//! becomes of a name changes the time of its folder, so that one call suffices while that time stands still.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};

use super::place;
use crate::code;
use crate::error::{Error, Result};

/// Two changes within one tick of a file system's clock leave the same time: it tells only once it is older than this. Some
/// file systems count whole seconds.
const TICK_MAX: Duration = Duration::from_secs(2);

pub(super) const GONE_HINT: &str = "put it back as it was (--staging-dir and --stagingSchema name the folder) and start again: nothing \
                                    is lost then; if it is gone for good, move the rest of the folder aside and start again with \
                                    the same command: what the target lacks is sent once more from the target's progress on";

/// See the module.
pub(super) struct Presence {
    path: PathBuf,
    /// Keeps its inode from being used again.
    _folder: File,
    identity: Identity,
    /// Programs that answer for a file system (FUSE) may give a file that nobody has open another inode.
    inodes_stay: bool,
    known: Mutex<KnownFiles>,
}

/// Locked for as long as a name changes its meaning.
#[derive(Default)]
pub(super) struct KnownFiles {
    files: BTreeMap<String, Identity>,
    /// The folder's time when every file was there; `None` while that time may stand for two moments.
    whole_at: Option<(i64, i64)>,
}

/// Device and inode.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

impl Presence {
    /// Of a folder as it is now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let folder = File::open(path)?;
        let identity = Identity::of(&folder.metadata()?);
        let inodes_stay = !place::is_of_a_program(path)?;
        Ok(Self { path: path.to_owned(), _folder: folder, identity, inodes_stay, known: Mutex::default() })
    }

    pub(super) fn known(&self) -> MutexGuard<'_, KnownFiles> {
        self.known.lock()
    }

    /// A file of which nothing is known yet counts from now on as it is now.
    pub(super) fn check(&self, names: &mut dyn Iterator<Item = String>) -> Result<()> {
        let folder = fs::metadata(&self.path).map_err(|error| self.no_folder(&error))?;
        if Identity::of(&folder) != self.identity {
            return Err(
                self.gone("is another one now: the folder that ebb has opened was removed or renamed while it ran")
            );
        }
        let time = (folder.ctime(), folder.ctime_nsec());
        let mut known = self.known();
        if known.whole_at == Some(time) {
            return Ok(());
        }
        for name in names {
            let file = fs::metadata(self.path.join(&name)).map_err(|error| self.no_file(&name, &error))?;
            let identity = Identity::of(&file);
            let is_same = *known.files.entry(name.clone()).or_insert(identity) == identity;
            if !is_same && self.inodes_stay {
                return Err(self.gone(&format!("lacks a file: {name} was replaced by another while ebb ran")));
            }
        }
        known.whole_at = is_settled(time).then_some(time);
        Ok(())
    }

    fn no_folder(&self, error: &io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::NotFound => self.gone("is gone: it was removed or renamed while ebb ran"),
            _ => self.gone(&format!("cannot be looked at any more: {error}")),
        }
    }

    fn no_file(&self, name: &str, error: &io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::NotFound => self.gone(&format!("lacks a file: {name} was removed or renamed while ebb ran")),
            _ => self.gone(&format!("cannot be looked at any more: {name}: {error}")),
        }
    }

    fn gone(&self, how: &str) -> Error {
        let path = self.path.display();
        Error::new(
            code::staging::FOLDER_GONE,
            format!("the staging folder {path} {how}; nothing is acknowledged from now on"),
        )
        .hint(GONE_HINT)
    }
}

impl KnownFiles {
    /// A file that was opened under this name.
    pub(super) fn wrote(&mut self, name: &str, file: &File) -> io::Result<()> {
        self.files.insert(name.to_owned(), Identity::of(&file.metadata()?));
        Ok(())
    }

    pub(super) fn renamed(&mut self, from: &str, to: &str) {
        if let Some(identity) = self.files.remove(from) {
            self.files.insert(to.to_owned(), identity);
        }
    }

    pub(super) fn removed(&mut self, name: &str) {
        self.files.remove(name);
    }
}

/// Whether no further change can have this time. One that seems to lie ahead never has.
fn is_settled((seconds, nanos): (i64, i64)) -> bool {
    let time = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
    let since = time.and_then(|(seconds, nanos)| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        now.checked_sub(Duration::new(seconds, nanos))
    });
    since.is_some_and(|since| since > TICK_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::private::tempdir;
    use crate::stage::disk::Folder;
    use crate::stage::store::Store;
    use crate::stage::{Change, NotWritten, RowBatch, StagingLimits, TableId};
    use ebb_sdk::Timestamp;

    fn row(wall: i64) -> RowBatch {
        let mut batch = RowBatch::default();
        batch.push(Timestamp { wall, logical: 0 }, TableId(1), "[1]", Change::Upsert("{}"));
        batch
    }

    /// Writes a row, lets something happen to the folder, and returns what is said to the next row.
    fn after(happens: impl FnOnce(&Path)) -> Option<String> {
        let dir = tempdir();
        let folder = dir.path().join("staging");
        // What an earlier process has left stands in a sorted run.
        let open = || Store::open(Arc::new(Folder::open(&folder).unwrap()), StagingLimits::default()).unwrap();
        open().write(&[&row(1)], None).unwrap();
        let store = open();
        store.write(&[&row(2)], None).unwrap();
        happens(&folder);
        match store.write(&[&row(3)], None) {
            Ok(()) => None,
            Err(NotWritten::Failed(error)) => {
                assert!(store.check().is_err());
                assert!(error.hint.is_some_and(|hint| hint.contains("--staging-dir")));
                Some(error.message)
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_happens_to_the_folder_is_noticed_before_the_next_row_is_answered() {
        let check = |happens: &dyn Fn(&Path), expected: &str| {
            let message = after(happens).unwrap_or_else(|| panic!("it was not noticed: {expected}"));
            assert!(message.contains(expected), "{message}");
        };
        let aside = |folder: &Path| fs::rename(folder, folder.with_extension("aside")).unwrap();
        check(&|folder| fs::remove_dir_all(folder).unwrap(), "is gone: it was removed or renamed");
        check(&aside, "is gone: it was removed or renamed");
        let anew = |folder: &Path| {
            fs::remove_dir_all(folder).unwrap();
            fs::create_dir(folder).unwrap();
        };
        check(&anew, "is another one now");
        let copied = |folder: &Path| {
            aside(folder);
            fs::create_dir(folder).unwrap();
            for entry in fs::read_dir(folder.with_extension("aside")).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
            }
        };
        check(&copied, "is another one now");
        for name in ["0000000001.run", "0000000002.log", "state", "lock"] {
            let removed = format!("lacks a file: {name} was removed or renamed");
            check(&|folder| fs::remove_file(folder.join(name)).unwrap(), &removed);
            let renamed = |folder: &Path| fs::rename(folder.join(name), folder.join("other")).unwrap();
            check(&renamed, &removed);
        }
        for name in ["0000000002.log", "state", "lock"] {
            let replaced = |folder: &Path| {
                fs::copy(folder.join(name), folder.join("copy")).unwrap();
                fs::rename(folder.join("copy"), folder.join(name)).unwrap();
            };
            check(&replaced, &format!("{name} was replaced by another"));
        }
    }

    #[test]
    fn what_does_not_matter_is_not_complained_of() {
        assert_eq!(after(|_| ()), None);
        assert_eq!(after(|folder| fs::write(folder.join("notes.txt"), "x").unwrap()), None);
        let there_and_back = |folder: &Path| {
            fs::rename(folder, folder.with_extension("aside")).unwrap();
            fs::rename(folder.with_extension("aside"), folder).unwrap();
        };
        assert_eq!(after(there_and_back), None);
    }

    #[test]
    fn where_inodes_change_by_themselves_only_what_is_missing_counts() {
        let dir = tempdir();
        let mut presence = Presence::of(dir.path()).unwrap();
        let replace = || {
            fs::write(dir.path().join("new"), "x").unwrap();
            fs::rename(dir.path().join("new"), dir.path().join("state")).unwrap();
        };
        let check = |presence: &Presence| presence.check(&mut std::iter::once("state".to_owned()));
        replace();
        check(&presence).unwrap();
        replace();
        assert!(check(&presence).is_err());
        presence.inodes_stay = false;
        check(&presence).unwrap();
        fs::remove_file(dir.path().join("state")).unwrap();
        assert!(check(&presence).is_err());
    }

    /// The quick look, which is the usual one, must see what the thorough one sees.
    #[test]
    fn a_folder_that_has_long_been_quiet_is_looked_at_again() {
        let dir = tempdir();
        let store = Store::open(Arc::new(Folder::open(dir.path()).unwrap()), StagingLimits::default()).unwrap();
        std::thread::sleep(TICK_MAX + Duration::from_millis(100));
        store.write(&[&row(1)], None).unwrap();
        fs::remove_file(dir.path().join("0000000001.log")).unwrap();
        assert!(matches!(store.write(&[&row(2)], None), Err(NotWritten::Failed(_))));
    }
}
