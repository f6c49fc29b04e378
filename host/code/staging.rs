//! Codes EBB-D…: the staging folder and its disk.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const ALL: &[Code] = &[];
