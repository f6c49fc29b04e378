//! Codes EBB-H…: programs that are run when something happens.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const FOLDER_UNUSABLE: Code = Code("EBB-H010");
pub const NOT_TRUSTED: Code = Code("EBB-H011");
pub const UNKNOWN: Code = Code("EBB-H012");
pub const NOT_EXECUTABLE: Code = Code("EBB-H013");
pub const VETO: Code = Code("EBB-H014");
pub const FAILED: Code = Code("EBB-H020");
pub const TIMED_OUT: Code = Code("EBB-H021");
pub const OVERFLOW: Code = Code("EBB-H022");

pub const ALL: &[Code] = &[FOLDER_UNUSABLE, NOT_TRUSTED, UNKNOWN, NOT_EXECUTABLE, VETO, FAILED, TIMED_OUT, OVERFLOW];
