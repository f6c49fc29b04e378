//! Where a staging folder may stand: what was synced must outlive a reboot, and a lock must keep others out.
//!
//! Owns: the file systems that do not promise that, and the words that refuse them. Does not own: the folder (`disk`).
//!
//! A file system that is not named here is taken. overlayfs is what a container has: it stands on a real disk, though it goes
//! with the container.

use std::io;
use std::path::{Path, PathBuf};

use crate::code;
use crate::error::{Error, Result};

/// What is wrong with a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Memory,
    Network,
    Unknown,
}

/// By the number that statfs(2) gives, from Linux's own headers.
const UNSAFE: &[(u32, &str, Fault)] = &[
    (0x0102_1994, "tmpfs", Fault::Memory),
    (0x8584_58f6, "ramfs", Fault::Memory),
    (0x0000_6969, "NFS", Fault::Network),
    (0x0000_517b, "SMB", Fault::Network),
    (0xff53_4d42, "CIFS", Fault::Network),
    (0xfe53_4d42, "SMB 2 or 3", Fault::Network),
    (0x0102_1997, "9p", Fault::Network),
    (0x00c3_6400, "Ceph", Fault::Network),
    (0x5346_414f, "AFS", Fault::Network),
    (0x6b41_4653, "AFS", Fault::Network),
    (0x7375_7245, "Coda", Fault::Network),
    (0x0bd0_0bd0, "Lustre", Fault::Network),
    (0x786f_4256, "a shared folder of VirtualBox", Fault::Network),
    (0xbacb_acbc, "a shared folder of VMware", Fault::Network),
    // sshfs, s3fs, GlusterFS and many more: the kernel does not say which.
    (FUSE, "FUSE", Fault::Unknown),
];
const FUSE: u32 = 0x6573_5546;

/// Refuses a folder, which need not be there yet, on a file system that does not keep what ebb must answer for. Where that
/// is `admitted`, there is a warning instead.
pub fn check(folder: &Path, admitted: bool) -> Result<()> {
    let kind = filesystem(folder).map_err(|error| {
        Error::new(
            code::staging::FOLDER_UNUSABLE,
            format!("the file system of the staging folder {} cannot be told: {error}", folder.display()),
        )
        .hint("choose a folder on a local disk with --staging-dir or EBB_STAGING_DIR")
    })?;
    match (unsafe_place(kind, folder), admitted) {
        (None, _) => Ok(()),
        (Some(error), false) => Err(error),
        (Some(error), true) => {
            tracing::warn!(error_code = error.code.text(), "{error} (--staging-unsafe-filesystem)");
            Ok(())
        }
    }
}

/// The nearest place of a folder that is there.
pub fn there(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// What is free on the disk of a folder, which need not be there yet.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(there(folder)).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Whether a program answers for the file system, rather than the kernel.
pub(super) fn is_of_a_program(folder: &Path) -> io::Result<bool> {
    filesystem(folder).map(|kind| kind == FUSE)
}

fn unsafe_place(kind: u32, folder: &Path) -> Option<Error> {
    let &(_, name, fault) = UNSAFE.iter().find(|(number, ..)| *number == kind)?;
    let why = match fault {
        Fault::Memory => "it is memory, and rows that were acknowledged would be gone after a reboot",
        Fault::Network => "it is reached over a network, where neither syncs nor locks can be relied on",
        Fault::Unknown => {
            "a program answers for it, often over a network, and neither syncs nor locks can be relied on"
        }
    };
    let message = format!("the staging folder {} is on {name}: {why}", folder.display());
    Some(Error::new(code::staging::UNSAFE_FILESYSTEM, message).hint(format!(
        "choose a folder on a local disk with --staging-dir (now: {}), or, where losing rows does not matter, admit it with \
         --staging-unsafe-filesystem",
        folder.display()
    )))
}

/// The file system that a folder is on, or will be once it is made.
#[cfg(target_os = "linux")]
fn filesystem(folder: &Path) -> io::Result<u32> {
    // The numbers have 32 bits, whatever the width of the field.
    Ok(rustix::fs::statfs(there(folder))?.f_type as u32)
}

/// Elsewhere the numbers mean something else.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "the same shape as on Linux")]
fn filesystem(_: &Path) -> io::Result<u32> {
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one on every Linux.
    const TMPFS: &str = "/dev/shm";

    #[test]
    fn memory_is_told_from_a_disk_also_for_a_folder_that_is_not_there_yet() {
        for folder in [TMPFS, "/dev/shm/not/there/yet"] {
            let error = check(Path::new(folder), false).expect_err("/dev/shm must be a tmpfs for this test");
            assert!(error.message.contains(&format!("{folder} is on tmpfs: it is memory")), "{error}");
            let hint = error.hint.unwrap();
            assert!(
                hint.contains(&format!("(now: {folder})")) && hint.contains("--staging-unsafe-filesystem"),
                "{hint}"
            );
            check(Path::new(folder), true).unwrap();
        }
        // One that is named nowhere, and the same everywhere.
        check(Path::new("/proc"), false).unwrap();
    }

    #[test]
    fn every_file_system_that_keeps_nothing_is_refused_by_name() {
        let refused = |kind| unsafe_place(kind, Path::new("/s")).map(|error| error.message);
        let check = |kind, expected: &str| {
            let message = refused(kind).expect(expected);
            assert!(message.starts_with(&format!("the staging folder /s is on {expected}")), "{message}");
        };
        check(0x6969, "NFS: it is reached over a network");
        check(0xff53_4d42, "CIFS: it is reached over a network");
        check(0xfe53_4d42, "SMB 2 or 3: it is reached over a network");
        check(0x6573_5546, "FUSE: a program answers for it");
        check(0x0102_1997, "9p: it is reached over a network");
        check(0x8584_58f6, "ramfs: it is memory");
        // ext4, XFS, Btrfs, ZFS, overlayfs
        for fine in [0xef53, 0x5846_5342, 0x9123_683e, 0x2fc1_2fc1, 0x794c_7630] {
            assert_eq!(refused(fine), None, "{fine:#x}");
        }
    }
}
