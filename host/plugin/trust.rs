//! A plugin is code that runs with every right of ebb: whoever may replace its file, or a folder on the way to it, could run code of their own. So could whoever may replace a hook.
//!
//! Owns: who may own and write such a file and the folders above it, and the words that refuse. Does not own: where plugins are
//! searched. The rule is the one that sshd keeps for its files of keys (StrictModes).

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};

use crate::code;
use crate::error::{Error, Result};

const GROUP_WRITES: u32 = 0o020;
const ALL_WRITE: u32 = 0o002;
/// In such a folder everybody may make names, and remove or rename none but their own.
const STICKY: u32 = 0o1000;

/// This process.
#[derive(Clone, Copy, Debug)]
struct Me {
    user: u32,
    group: u32,
}

/// Why what stands at a path may be anybody's, and what mends it where that is known.
#[derive(Debug)]
pub(crate) struct Untrusted {
    pub(crate) why: String,
    pub(crate) mend: Option<String>,
}

/// The library's own path, without links.
pub(super) fn own_path(path: &Path) -> Result<PathBuf> {
    trusted(path).map_err(|Untrusted { why, mend }| {
        let hint = match mend {
            Some(mend) => format!(
                "{mend}; or put the plugin into a folder that only root may write, /usr/local/lib/ebb or one for --plugin-dir"
            ),
            None => "give the path of a library that this user may read".into(),
        };
        Error::new(code::plugin::NOT_TRUSTED, format!("the plugin {} is not loaded: {why}", path.display())).hint(hint)
    })
}

/// The path of a file without links, where nobody but root and this user may change what stands there.
pub(crate) fn trusted(path: &Path) -> Result<PathBuf, Untrusted> {
    from(path, 0)
}

/// The same for a folder in which files are found by name.
pub(crate) fn trusted_folder(path: &Path) -> Result<PathBuf, Untrusted> {
    from(path, 1)
}

/// `first`: how far the path itself lies above a file.
fn from(path: &Path, first: usize) -> Result<PathBuf, Untrusted> {
    let me = Me { user: geteuid().as_raw(), group: getegid().as_raw() };
    let unknown = |error: io::Error| Untrusted { why: format!("it cannot be looked at: {error}"), mend: None };
    let real = path.canonicalize().map_err(unknown)?;
    // The file, its folder, and all above.
    for (above, place) in real.ancestors().enumerate() {
        let found = fs::symlink_metadata(place).map_err(unknown)?;
        if let Some(fault) = fault(&found, first + above, me) {
            let shown = place.display();
            let mend = Some(fault.mend(&shown.to_string()));
            let (owner, mode) = (found.uid(), found.mode() & 0o7777);
            let why = format!("{} {shown} (owner: user {owner}, mode {mode:04o})", fault.says(&found, me));
            return Err(Untrusted { why, mend });
        }
    }
    Ok(real)
}

/// What is wrong with a file or folder on the way to a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Owner,
    Group,
    All,
}

impl Fault {
    fn says(self, found: &Metadata, me: Me) -> String {
        match self {
            Self::Owner => format!("neither root nor the user {}, who runs ebb, owns", me.user),
            Self::Group => format!("the group {} may write", found.gid()),
            Self::All => "everybody may write".into(),
        }
    }

    fn mend(self, place: &str) -> String {
        let mend = match self {
            Self::Owner => format!("chown root '{place}'"),
            Self::Group | Self::All => format!("chmod go-w '{place}'"),
        };
        format!("see that nobody has changed what stands there, then: {mend}")
    }
}

fn fault(found: &Metadata, above: usize, me: Me) -> Option<Fault> {
    let (owner, mode) = (found.uid(), found.mode());
    // What stands below in such a folder has been looked at before, and belongs to root or this user. New names do no harm there,
    // but they do in a plugin's own folder, which is searched by name.
    let is_kept = above > 1 && mode & STICKY != 0;
    // The private group that Linux gives to every user; root's has other members on some systems.
    let is_private = me.user != 0 && owner == me.user && found.gid() == me.group && me.group == me.user;
    if owner != 0 && owner != me.user {
        Some(Fault::Owner)
    } else if mode & ALL_WRITE != 0 && !is_kept {
        Some(Fault::All)
    } else if mode & GROUP_WRITES != 0 && !is_kept && !is_private {
        Some(Fault::Group)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use tempfile::TempDir;

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A library in `outer/inner`, below the system's sticky folder of temporary files.
    fn library() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let inner = dir.path().join("outer/inner");
        fs::create_dir_all(&inner).unwrap();
        let file = inner.join("libebb_x.so");
        fs::write(&file, "").unwrap();
        [&dir.path().join("outer"), &inner].into_iter().for_each(|folder| set(folder, 0o755));
        set(&file, 0o644);
        (dir, file)
    }

    #[test]
    fn what_others_may_write_is_refused_up_to_the_root() {
        let (_dir, file) = library();
        own_path(&file).unwrap();
        let places: Vec<PathBuf> = file.ancestors().take(3).map(Path::to_path_buf).collect();
        for (above, place) in places.iter().enumerate() {
            let usual = fs::metadata(place).unwrap().mode() & 0o7777;
            for (mode, expected) in
                [(0o777, "everybody may write"), (0o1777, "everybody may write"), (0o757, "everybody")]
            {
                set(place, mode);
                let refusal = own_path(&file);
                if mode & STICKY != 0 && above > 1 {
                    refusal.unwrap();
                    continue;
                }
                let error = refusal.expect_err("others may write there");
                let known = format!("{} (owner: user {}, mode {mode:04o})", place.display(), geteuid().as_raw());
                assert!(error.message.contains(expected) && error.message.ends_with(&known), "{error}");
                assert!(error.hint.unwrap().contains(&format!("chmod go-w '{}'", place.display())));
            }
            set(place, usual);
        }
        own_path(&file).unwrap();
    }

    #[test]
    fn a_link_counts_as_what_it_leads_to() {
        let (dir, file) = library();
        let link = dir.path().join("libebb_y.so");
        symlink(&file, &link).unwrap();
        assert_eq!(own_path(&link).unwrap(), file.canonicalize().unwrap());
        set(file.parent().unwrap(), 0o777);
        own_path(&link).unwrap_err();
    }

    #[test]
    fn only_root_and_oneself_may_own_it_and_only_ones_private_group_may_write() {
        let (_dir, file) = library();
        // Only root can give something away.
        if geteuid().is_root() {
            let other = 12345;
            for place in file.ancestors().take(3) {
                chown(place, Some(other), None).unwrap();
                let error = own_path(&file).unwrap_err();
                assert!(error.message.contains("owner: user 12345, mode 0"), "{error}");
                assert!(error.hint.unwrap().contains(&format!("chown root '{}'", place.display())));
                chown(place, Some(0), None).unwrap();
            }
            set(&file, 0o664);
            own_path(&file).unwrap_err();
            chown(&file, Some(other), Some(other)).unwrap();
            let found = fs::metadata(&file).unwrap();
            let as_seen = |user, group| fault(&found, 0, Me { user, group });
            assert_eq!(as_seen(other, other), None);
            assert_eq!(as_seen(other, 100), Some(Fault::Group));
            assert_eq!(as_seen(54321, other), Some(Fault::Owner));
        }
    }
}
