//! Codes EBB-A…: certificates, tokens and headers, and the commands that make them.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const ALL: &[Code] = &[];
