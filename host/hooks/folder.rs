//! The folder of hooks: which programs it holds, and whether they may be run.
//!
//! Owns: the names of hooks, a closed list, and what is refused at start. Does not own: running one (`process`), when (`queue`).

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::code;
use crate::error::{Error, Result, listed, visible};
use crate::history::{Entry, Event};
use crate::plugin::{Untrusted, trusted, trusted_folder};

/// What a program may be run for. Its file has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Started,
    CaughtUp,
    Stalled,
    Recovered,
    Refused,
    Verified,
    CutBack,
    Ended,
}

impl Hook {
    pub const ALL: [Self; 8] = [
        Self::Started,
        Self::CaughtUp,
        Self::Stalled,
        Self::Recovered,
        Self::Refused,
        Self::Verified,
        Self::CutBack,
        Self::Ended,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::CaughtUp => "caught-up",
            Self::Stalled => "stalled",
            Self::Recovered => "recovered",
            Self::Refused => "refused",
            Self::Verified => "verified",
            Self::CutBack => "cut-back",
            Self::Ended => "ended",
        }
    }

    fn event(self) -> Event {
        match self {
            Self::Started => Event::Started,
            Self::CaughtUp => Event::CaughtUp,
            Self::Stalled => Event::Stalled,
            Self::Recovered => Event::Recovered,
            Self::Refused => Event::RowRefused,
            Self::Verified => Event::Verified,
            Self::CutBack => Event::CuttingBack,
            Self::Ended => Event::Ended,
        }
    }

    /// The one that is run for an event, if any is.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| entry.is(hook.event()))
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The programs of a folder.
///
/// # Errors
/// When it has one of another name, one that cannot be run, or one that others may write.
pub(super) fn programs(dir: &Path) -> Result<Vec<(Hook, PathBuf)>> {
    let unusable = |error: io::Error| {
        Error::new(
            code::hooks::FOLDER_UNUSABLE,
            format!("the folder of hooks {} cannot be read: {error}", dir.display()),
        )
        .hint("give a folder that this user may read with --hook, or leave --hook out")
    };
    let mut programs = Vec::new();
    let dir = trusted_folder(dir).map_err(|untrusted| not_ours(dir, untrusted))?;
    for entry in fs::read_dir(&dir).map_err(unusable)? {
        let path = entry.map_err(unusable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let hook = Hook::ALL.into_iter().find(|hook| hook.name() == name);
        let is_executable = path.is_file() && access(&path, Access::EXEC_OK).is_ok();
        match hook {
            Some(hook) if is_executable => {
                // Behind a link is what was looked at, whatever becomes of the link.
                programs.push((hook, trusted(&path).map_err(|untrusted| not_ours(&path, untrusted))?));
            }
            Some(hook) if !path.is_file() => return Err(no_file(hook, &path)),
            Some(hook) => return Err(not_executable(hook, &path)),
            None if is_executable => return Err(unknown(&name, &dir)),
            None => {}
        }
    }
    Ok(programs)
}

/// A hook runs with every right of ebb.
fn not_ours(path: &Path, untrusted: Untrusted) -> Error {
    let message = format!("no hook is run from {}: {}", path.display(), untrusted.why);
    match untrusted.mend {
        Some(mend) => Error::new(code::hooks::NOT_TRUSTED, message).hint(mend),
        None => Error::new(code::hooks::FOLDER_UNUSABLE, message)
            .hint("give a folder that this user may read with --hook, or leave --hook out"),
    }
}

fn unknown(name: &str, dir: &Path) -> Error {
    Error::new(
        code::hooks::UNKNOWN,
        format!(
            "the folder of hooks {} holds a program {}, which no event has for a name",
            dir.display(),
            visible(name, "")
        ),
    )
    .hint(format!("the names are {}; move other programs away, or chmod -x them", listed(Hook::ALL)))
}

/// A folder, a pipe, or a link that leads nowhere.
fn no_file(hook: Hook, path: &Path) -> Error {
    Error::new(code::hooks::NOT_EXECUTABLE, format!("the hook {hook} is no file that can be run: {}", path.display()))
        .hint(format!("put a program in the place of '{}', or move it away", path.display()))
}

fn not_executable(hook: Hook, path: &Path) -> Error {
    Error::new(code::hooks::NOT_EXECUTABLE, format!("the hook {hook} cannot be run by this user: {}", path.display()))
        .hint(format!("chmod +x '{}', or move it away", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::private::tempdir;

    #[test]
    fn what_is_in_the_folder_is_taken_or_refused_by_name() {
        let dir = tempdir();
        let write = |name: &str, mode: u32| {
            let path = dir.path().join(name);
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        };
        write("README", 0o644);
        fs::create_dir(dir.path().join("lib")).unwrap();
        assert!(programs(dir.path()).unwrap().is_empty());
        let ended = write("ended", 0o755);
        assert_eq!(programs(dir.path()).unwrap(), [(Hook::Ended, dir.path().canonicalize().unwrap().join("ended"))]);
        let refused = |code: code::Code, part: &str| {
            let error = programs(dir.path()).unwrap_err();
            let said = format!("{error}; {}", error.hint.as_deref().unwrap());
            assert!(error.code == code && said.contains(part), "{said}");
        };
        fs::set_permissions(&ended, Permissions::from_mode(0o775)).unwrap();
        refused(code::hooks::NOT_TRUSTED, "chmod go-w");
        fs::set_permissions(&ended, Permissions::from_mode(0o644)).unwrap();
        refused(code::hooks::NOT_EXECUTABLE, "chmod +x");
        fs::remove_file(&ended).unwrap();
        fs::create_dir(&ended).unwrap();
        refused(code::hooks::NOT_EXECUTABLE, "is no file that can be run");
        fs::remove_dir(&ended).unwrap();
        let other = write("catched-up", 0o755);
        refused(code::hooks::UNKNOWN, "started, caught-up, stalled, recovered, refused, verified, cut-back, ended");
        fs::remove_file(other).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        refused(code::hooks::NOT_TRUSTED, "everybody may write");
        fs::remove_dir_all(dir.path()).unwrap();
        refused(code::hooks::FOLDER_UNUSABLE, "--hook");
    }
}
