//! Codes EBB-D…: the staging folder and its disk.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const NOTHING_STAGED: Code = Code("EBB-D040");
pub const NOT_COMPLETE: Code = Code("EBB-D041");
pub const ENDED_EARLY: Code = Code("EBB-D042");

pub const ALL: &[Code] = &[NOTHING_STAGED, NOT_COMPLETE, ENDED_EARLY];
