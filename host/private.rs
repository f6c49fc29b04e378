//! Nobody else may have a hand in what ebb writes: what is planted in a staging folder would be run on the target, and a link
//! would lead to a file of somebody else's choice.
//!
//! Owns: who must own a staging folder and who may enter it, how its files and the log are opened, and the words that refuse. Does
//! not own: what is done with them (`stage/disk`, `log`), and files of keys (`commands/files`). The folder around may be open to others.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;

use crate::code;
use crate::error::{Error, Result};

/// Of folders that are created.
pub(crate) const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// As many as Linux follows.
const LINKS_MAX: usize = 40;
/// What belongs to the group and to others.
const OTHERS: u32 = 0o077;

/// Refuses a folder that another user owns or may enter.
pub(crate) fn check(path: &Path) -> Result<()> {
    let shown = path.display();
    let unknown = |error: io::Error| {
        Error::new(
            code::staging::FOLDER_NOT_PRIVATE,
            format!("the staging folder {shown} cannot be looked at: {error}"),
        )
        .hint("choose a folder that this user owns, with --staging-dir or EBB_STAGING_DIR")
    };
    let me = geteuid().as_raw();
    // A link may be turned by its owner at any moment.
    let link = fs::symlink_metadata(path).map_err(unknown)?;
    let opened = File::open(path).and_then(|folder| folder.metadata()).map_err(unknown)?;
    let owners = [link.is_symlink().then(|| link.uid()).filter(|&uid| uid != 0), Some(opened.uid())];
    if let Some(owner) = owners.into_iter().flatten().find(|&owner| owner != me) {
        let message = format!(
            "the staging folder {shown} belongs to the user {owner}, and ebb runs as the user {me}: what stands in it may be anybody's"
        );
        return Err(Error::new(code::staging::FOLDER_NOT_PRIVATE, message).hint(format!(
            "run ebb as its owner, choose another with --staging-dir or EBB_STAGING_DIR, or, if all of it is ebb's: \
             chown -R {me} '{shown}'"
        )));
    }
    let mode = Permissions::mode(&opened.permissions()) & 0o7777;
    match mode & OTHERS {
        0 => Ok(()),
        _ => Err(Error::new(code::staging::FOLDER_NOT_PRIVATE, format!(
            "other users may enter the staging folder {shown} (mode {mode:04o}), which holds rows and what is run on the target"
        ))
        .hint(format!(
            "see that nobody has changed it, then: chmod 0700 '{shown}'. On Kubernetes leave fsGroup out, or set fsGroupChangePolicy: \
             OnRootMismatch, which does not change it at every start"
        ))),
    }
}

/// A file, for its owner only, of a kind that neither leads elsewhere nor waits for somebody.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = options.mode(FILE_MODE).custom_flags(flags).open(path);
    let is_file = match &opened {
        Ok(file) => file.metadata()?.is_file(),
        Err(_) => fs::symlink_metadata(path).map_or(true, |found| found.is_file()),
    };
    match is_file {
        true => opened,
        false => Err(io::Error::other(format!(
            "{} is no ordinary file, and ebb has not made it: see who has, and remove it",
            path.display()
        ))),
    }
}

/// Puts a file in the place of another, whole or not at all, and makes the folder around it. Two processes may do so at once.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let _ = fs::remove_file(&beside);
    let mut file = open(&beside, OpenOptions::new().write(true).create_new(true))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// A log, which may name rows: for its owner only where it is made here. Links of root or this user are followed, as to
/// /dev/stdout, and nobody else's.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new().create(true).append(true).mode(FILE_MODE).to_owned();
    let mut place = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::symlink_metadata(&place) {
            Ok(found) if found.is_symlink() => {
                let owner = found.uid();
                if owner != 0 && owner != geteuid().as_raw() {
                    let shown = place.display();
                    return Err(io::Error::other(format!("{shown} is a link that the user {owner} has made")));
                }
                let leads_to = fs::read_link(&place)?;
                place = place.parent().unwrap_or(Path::new("/")).join(leads_to);
            }
            _ => break,
        }
    }
    if place == path {
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    }
    let file = options.open(path)?;
    let found = file.metadata()?;
    match found.is_file() && found.uid() != 0 && found.uid() != geteuid().as_raw() {
        true => Err(io::Error::other(format!("{} belongs to the user {}", path.display(), found.uid()))),
        false => Ok(file),
    }
}

/// A folder as ebb makes them.
#[cfg(test)]
pub(crate) fn tempdir() -> tempfile::TempDir {
    let mode = Permissions::from_mode(FOLDER_MODE);
    tempfile::Builder::new().permissions(mode).tempdir().expect("a temporary folder")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tempfile::TempDir;

    use super::*;
    use crate::stage::disk::{Disk, Folder};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_log_is_for_its_owner_and_goes_through_no_link_of_somebody_else() {
        let dir = TempDir::new().unwrap();
        let (log, link) = (dir.path().join("ebb.log"), dir.path().join("link"));
        append(&log).unwrap();
        assert_eq!(mode(&log), 0o600);
        symlink("ebb.log", &link).unwrap();
        append(&link).unwrap();
        append(Path::new("/dev/stdout")).unwrap();
        // Only root can give something away.
        if geteuid().is_root() {
            std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
            let outer = dir.path().join("outer");
            symlink(&link, &outer).unwrap();
            for path in [&link, &outer] {
                let error = append(path).unwrap_err().to_string();
                assert!(error.contains("link that the user 12345 has made"), "{error}");
            }
            std::os::unix::fs::chown(&log, Some(12345), None).unwrap();
            assert!(append(&log).unwrap_err().to_string().contains("belongs to the user 12345"));
        }
    }

    fn refusal(path: &Path) -> Option<String> {
        Folder::open(path).err().map(|error| format!("{}; {}", error.message, error.hint.unwrap_or_default()))
    }

    #[test]
    fn what_is_made_is_for_its_owner_only() {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join("a/b");
        let disk = Folder::open(&folder).unwrap();
        disk.create("state.new").unwrap();
        assert_eq!([mode(&dir.path().join("a")), mode(&folder)], [0o700; 2]);
        assert_eq!([mode(&folder.join("lock")), mode(&folder.join("state.new"))], [0o600; 2]);
    }

    #[test]
    fn a_folder_that_others_may_enter_or_own_is_refused() {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join("staging");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        for open in [0o777, 0o1777, 0o750, 0o701, 0o710] {
            fs::set_permissions(&folder, Permissions::from_mode(open)).unwrap();
            let refusal = refusal(&folder).unwrap_or_else(|| panic!("{open:o} was taken"));
            assert!(refusal.contains(&format!("mode {open:04o}")) && refusal.contains("chmod 0700 '"), "{refusal}");
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is written there");
        }
        fs::set_permissions(&folder, Permissions::from_mode(0o2700)).unwrap();
        assert_eq!(refusal(&folder), None);
        // One's own link is as good as the folder.
        let link = dir.path().join("link");
        symlink(&folder, &link).unwrap();
        assert_eq!(refusal(&link), None);
        // Only root can give something away.
        if geteuid().is_root() {
            std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
            assert!(refusal(&link).unwrap().contains("belongs to the user 12345"));
            std::os::unix::fs::chown(&folder, Some(12345), None).unwrap();
            assert!(refusal(&folder).unwrap().contains("chown -R 0 '"));
        }
    }

    /// A pipe would wait for ever, and a link would be followed to a file of somebody else's choice.
    #[test]
    fn what_is_no_ordinary_file_is_neither_waited_for_nor_followed() {
        let check = |make: &dyn Fn(&Path, &Path), name: &str, use_it: &dyn Fn(PathBuf) -> String| {
            let dir = TempDir::new().unwrap();
            let (folder, victim) = (dir.path().join("staging"), dir.path().join("victim"));
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
            fs::write(&victim, "precious").unwrap();
            make(&folder.join(name), &victim);
            let refusal = use_it(folder);
            assert!(refusal.contains("is no ordinary file"), "{name}: {refusal}");
            assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        };
        let pipe = |path: &Path, _: &Path| {
            mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        };
        let link = |path: &Path, victim: &Path| symlink(victim, path).unwrap();
        let nowhere = |path: &Path, victim: &Path| symlink(victim.with_extension("none"), path).unwrap();
        let opened = |folder: PathBuf| refusal(&folder).unwrap_or_default();
        let created = |folder: PathBuf| {
            let disk = Folder::open(&folder).unwrap();
            disk.create("state.new").err().map_or_else(String::new, |error| error.to_string())
        };
        let read = |folder: PathBuf| {
            let disk = Folder::open(&folder).unwrap();
            disk.read_at("catalog", 0, &mut [0; 4]).err().map_or_else(String::new, |error| error.to_string())
        };
        for make in [&pipe as &dyn Fn(&Path, &Path), &link, &nowhere] {
            check(make, "lock", &opened);
            check(make, "state.new", &created);
            check(make, "catalog", &read);
        }
    }
}
