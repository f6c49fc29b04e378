//! Codes EBB-A…: certificates, tokens and headers, and the commands that make them.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const KEYS: Code = Code("EBB-A010");
pub const REVOKED_IDS: Code = Code("EBB-A011");
pub const OWN_HEADER: Code = Code("EBB-A012");
pub const TOKEN_ENDS: Code = Code("EBB-A013");
pub const CERTIFICATE_FILES: Code = Code("EBB-A014");
pub const CLIENT_CA: Code = Code("EBB-A015");
pub const CLIENT_CRL: Code = Code("EBB-A016");
pub const PUBLIC_AUTHORITY: Code = Code("EBB-A017");

pub const ALL: &[Code] =
    &[KEYS, REVOKED_IDS, OWN_HEADER, TOKEN_ENDS, CERTIFICATE_FILES, CLIENT_CA, CLIENT_CRL, PUBLIC_AUTHORITY];
