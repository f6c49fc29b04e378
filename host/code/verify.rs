//! Codes EBB-V…: comparing both sides.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const NOTHING_APPLIED: Code = Code("EBB-V010");
pub const NOT_ONE_INSTANT: Code = Code("EBB-V011");
pub const INCOMPLETE: Code = Code("EBB-V012");
pub const NOT_KEPT: Code = Code("EBB-V013");
pub const OTHER_COMPARISON: Code = Code("EBB-V014");
pub const NO_SUCH_TABLE: Code = Code("EBB-V015");
pub const TABLES_DO_NOT_FIT: Code = Code("EBB-V016");

pub const ALL: &[Code] =
    &[NOTHING_APPLIED, NOT_ONE_INSTANT, INCOMPLETE, NOT_KEPT, OTHER_COMPARISON, NO_SUCH_TABLE, TABLES_DO_NOT_FIT];
