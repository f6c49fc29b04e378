//! Codes EBB-P…: plugins.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const NOT_FOUND: Code = Code("EBB-P010");
pub const NOT_LOADED: Code = Code("EBB-P011");
pub const OTHER_SDK: Code = Code("EBB-P012");
pub const NOT_A_PLUGIN: Code = Code("EBB-P013");
pub const NOT_TRUSTED: Code = Code("EBB-P014");
/// What a plugin says by itself.
pub const SAYS: Code = Code("EBB-P015");
pub const FOLDER_MISSING: Code = Code("EBB-P016");

pub const ALL: &[Code] = &[NOT_FOUND, NOT_LOADED, OTHER_SDK, NOT_A_PLUGIN, NOT_TRUSTED, SAYS, FOLDER_MISSING];
