//! Codes EBB-X…: faults of ebb or of the system that nobody can mend by a setting.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const PANIC: Code = Code("EBB-X010");
pub const NO_THREAD: Code = Code("EBB-X011");
pub const NO_RANDOM: Code = Code("EBB-X012");
pub const BROKEN_PROMISE: Code = Code("EBB-X013");
pub const CRYPTOGRAPHY: Code = Code("EBB-X014");
pub const TWICE: Code = Code("EBB-X015");
/// A line of a library that ebb is built on.
pub const LIBRARY: Code = Code("EBB-X016");
pub const SYSTEM: Code = Code("EBB-X040");
pub const TASK_ENDED: Code = Code("EBB-X041");

pub const ALL: &[Code] =
    &[PANIC, NO_THREAD, NO_RANDOM, BROKEN_PROMISE, CRYPTOGRAPHY, TWICE, LIBRARY, SYSTEM, TASK_ENDED];
