//! Codes EBB-X…: faults of ebb or of the system that nobody can mend by a setting.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const SYSTEM: Code = Code("EBB-X040");
pub const TASK_ENDED: Code = Code("EBB-X041");

pub const ALL: &[Code] = &[super::UNNAMED, SYSTEM, TASK_ENDED];
