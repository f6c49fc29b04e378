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
pub const NO_CERTIFICATE: Code = Code("EBB-A020");
pub const NO_AUTHENTICATION: Code = Code("EBB-A021");
pub const TOKEN_MISSING: Code = Code("EBB-A022");
pub const SIGNING_KEY: Code = Code("EBB-A023");
pub const CHANGEFEED_CERTIFICATE: Code = Code("EBB-A024");
pub const AUTHORITY: Code = Code("EBB-A025");
pub const HOSTS: Code = Code("EBB-A026");
pub const REVOCATION_LIST: Code = Code("EBB-A027");

pub const RECEIVER_EXPIRED: Code = Code("EBB-A028");
pub const CERTIFICATE_ENDS: Code = Code("EBB-A029");
pub const RECEIVER_NAME: Code = Code("EBB-A030");
pub const RECEIVER_ISSUER: Code = Code("EBB-A031");
pub const CLIENT_REFUSED: Code = Code("EBB-A032");
pub const PAGES_OPEN: Code = Code("EBB-A033");
pub const PAGES_PLAIN: Code = Code("EBB-A034");
pub const PAGES_FILE: Code = Code("EBB-A035");

pub const ALL: &[Code] = &[
    KEYS,
    REVOKED_IDS,
    OWN_HEADER,
    TOKEN_ENDS,
    CERTIFICATE_FILES,
    CLIENT_CA,
    CLIENT_CRL,
    PUBLIC_AUTHORITY,
    NO_CERTIFICATE,
    NO_AUTHENTICATION,
    TOKEN_MISSING,
    SIGNING_KEY,
    CHANGEFEED_CERTIFICATE,
    AUTHORITY,
    HOSTS,
    REVOCATION_LIST,
    RECEIVER_EXPIRED,
    CERTIFICATE_ENDS,
    RECEIVER_NAME,
    RECEIVER_ISSUER,
    CLIENT_REFUSED,
    PAGES_OPEN,
    PAGES_PLAIN,
    PAGES_FILE,
];
