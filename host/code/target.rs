//! Codes EBB-T…: the target: connection, rights, progress and lease.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const ALL: &[Code] = &[];
