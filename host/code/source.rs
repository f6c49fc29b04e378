//! Codes EBB-S…: the connection to CockroachDB and its settings.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const ALL: &[Code] = &[];
