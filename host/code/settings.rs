//! Codes EBB-F…: flags, variables and files of settings.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const UNKNOWN_CODE: Code = Code("EBB-F001");

pub const ALL: &[Code] = &[UNKNOWN_CODE];
