//! Codes EBB-X…: faults of ebb or of the system that nobody can mend by a setting.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const ALL: &[Code] = &[super::UNNAMED];
