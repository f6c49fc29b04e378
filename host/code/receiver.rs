//! Codes EBB-R…: connections and requests to the receiver.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const ALL: &[Code] = &[];
