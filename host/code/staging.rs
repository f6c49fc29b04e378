//! Codes EBB-D…: the staging folder and its disk.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const FOLDER_UNUSABLE: Code = Code("EBB-D010");
pub const FOLDER_IN_USE: Code = Code("EBB-D011");
pub const UNSAFE_FILESYSTEM: Code = Code("EBB-D012");
pub const STATE_MISSING: Code = Code("EBB-D013");
pub const OTHER_FORMAT: Code = Code("EBB-D014");
pub const DAMAGED: Code = Code("EBB-D015");
pub const FILE_ALTERED: Code = Code("EBB-D016");
pub const DISK_FAILED: Code = Code("EBB-D017");
pub const FOLDER_GONE: Code = Code("EBB-D018");
pub const FULL: Code = Code("EBB-D019");
pub const FULL_SOON: Code = Code("EBB-D020");
pub const FORGETS_EARLY: Code = Code("EBB-D021");
pub const REPEAT_FORGOTTEN: Code = Code("EBB-D022");
pub const LATE_ROW: Code = Code("EBB-D023");
pub const FOLDER_NOT_PRIVATE: Code = Code("EBB-D024");
pub const SMALL: Code = Code("EBB-D025");
pub const HISTORY_UNWRITABLE: Code = Code("EBB-D026");
pub const NOTHING_STAGED: Code = Code("EBB-D040");
pub const NOT_COMPLETE: Code = Code("EBB-D041");
pub const ENDED_EARLY: Code = Code("EBB-D042");
pub const NO_TABLE: Code = Code("EBB-D043");

pub const ALL: &[Code] = &[
    FOLDER_UNUSABLE,
    FOLDER_IN_USE,
    UNSAFE_FILESYSTEM,
    STATE_MISSING,
    OTHER_FORMAT,
    DAMAGED,
    FILE_ALTERED,
    DISK_FAILED,
    FOLDER_GONE,
    FULL,
    FULL_SOON,
    FORGETS_EARLY,
    REPEAT_FORGOTTEN,
    LATE_ROW,
    FOLDER_NOT_PRIVATE,
    SMALL,
    HISTORY_UNWRITABLE,
    NOTHING_STAGED,
    NOT_COMPLETE,
    ENDED_EARLY,
    NO_TABLE,
];
