//! Codes EBB-G…: going back to the target.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const NOT_RUNNING: Code = Code("EBB-G010");
pub const CRITERIA: Code = Code("EBB-G011");
pub const NOT_KEPT: Code = Code("EBB-G012");
pub const KEY: Code = Code("EBB-G013");
pub const NOT_AS_SIGNED: Code = Code("EBB-G014");

pub const ALL: &[Code] = &[NOT_RUNNING, CRITERIA, NOT_KEPT, KEY, NOT_AS_SIGNED];
