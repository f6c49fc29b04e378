//! Codes EBB-T…: the target: connection, rights, progress and lease.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const RECEIVING_ONLY: Code = Code("EBB-T040");
pub const GRACE_PERIOD: Code = Code("EBB-T041");

pub const ALL: &[Code] = &[RECEIVING_ONLY, GRACE_PERIOD];
