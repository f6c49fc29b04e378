//! Files that hold keys.
//!
//! Owns: that a private file is readable by its owner only from its first byte on, that a file is replaced whole, and that it
//! stays readable for the group that somebody has admitted since.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use crate::code;
use crate::error::{Error, Result};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Private,
    Public,
}

/// Writes beside the file, and puts it in the place of the old one: who reads it meanwhile sees one or the other.
pub(super) fn replace(path: &Path, text: &str, mode: Mode) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::new(code::settings::FILE_UNWRITABLE, format!("{} cannot be written: {error}", path.display()))
            .hint("give a path that this user may write")
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let _ = std::fs::remove_file(&beside);
    let is_private = mode == Mode::Private;
    let mode = if is_private { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    // What a link leads to stays as it is, and says nothing of who may read this file.
    if let Ok(old) = std::fs::symlink_metadata(path)
        && old.is_file()
    {
        // Only some users may give another user's file back to its group.
        let _ = fchown(&file, None, Some(old.gid()));
        let shared = if is_private { !0o007 } else { !0 };
        file.set_permissions(Permissions::from_mode(old.permissions().mode() & shared)).map_err(failed)?;
    }
    std::fs::rename(&beside, path).map_err(failed)
}

/// Whether a file could be written there, without touching what is there.
pub(super) fn try_write(path: &Path) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let _ = std::fs::remove_file(&beside);
    let made = match path.is_dir() {
        true => Err(std::io::Error::other("it is a folder")),
        false => OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside),
    };
    made.and_then(|_| std::fs::remove_file(&beside)).map_err(|error| {
        Error::new(code::settings::FILE_UNWRITABLE, format!("{} cannot be written: {error}", path.display()))
            .hint("give a path that this user may write")
    })
}

/// Makes the folder of `--out`, and those around it.
pub(super) fn make_folder(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|error| {
        Error::new(code::settings::FILE_UNWRITABLE, format!("the folder {} cannot be made: {error}", dir.display()))
            .hint("give another with --out")
    })
}

/// Refuses to write over what is there.
pub(super) fn refuse_existing(paths: &[&Path], hint: &str) -> Result<()> {
    match paths.iter().find(|path| path.exists()) {
        Some(path) => Err(Error::new(
            code::settings::FILE_EXISTS,
            format!("{} is there already, and is not written over", path.display()),
        )
        .hint(hint)),
        None => Ok(()),
    }
}
