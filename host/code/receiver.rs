//! Codes EBB-R…: connections and requests to the receiver.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const ADDRESS_IN_USE: Code = Code("EBB-R010");
pub const PORT_RESERVED: Code = Code("EBB-R011");
pub const ADDRESS: Code = Code("EBB-R012");
pub const OPEN_FILES: Code = Code("EBB-R013");
pub const NOT_ACCEPTED: Code = Code("EBB-R014");
pub const HANDSHAKE: Code = Code("EBB-R020");
pub const HANDSHAKE_SLOW: Code = Code("EBB-R021");
pub const NOT_TLS: Code = Code("EBB-R022");
pub const CLIENT_CERTIFICATE_EXPIRED: Code = Code("EBB-R023");
pub const CLIENT_CERTIFICATE_EARLY: Code = Code("EBB-R024");
pub const CLIENT_CERTIFICATE_REVOKED: Code = Code("EBB-R025");
pub const CLIENT_CERTIFICATE_UNTRUSTED: Code = Code("EBB-R026");
pub const CLIENT_CERTIFICATE_MISSING: Code = Code("EBB-R027");
pub const CERTIFICATE_REJECTED: Code = Code("EBB-R028");
pub const CREDENTIAL: Code = Code("EBB-R030");
pub const OTHER_SCHEMA: Code = Code("EBB-R031");
pub const PATH: Code = Code("EBB-R032");
pub const METHOD: Code = Code("EBB-R033");
pub const OTHER_FOLDER: Code = Code("EBB-R034");
pub const FORMAT: Code = Code("EBB-R035");
pub const CONNECTIONS: Code = Code("EBB-R036");
pub const MALFORMED: Code = Code("EBB-R037");
pub const TOO_LARGE: Code = Code("EBB-R038");
pub const BODY_SLOW: Code = Code("EBB-R039");
pub const MEMORY: Code = Code("EBB-R040");
pub const STAGING_SLOW: Code = Code("EBB-R041");
pub const CLOCK: Code = Code("EBB-R042");
pub const UNKNOWN_TABLE: Code = Code("EBB-R043");
pub const ENDING: Code = Code("EBB-R044");

pub const ALL: &[Code] = &[
    ADDRESS_IN_USE,
    PORT_RESERVED,
    ADDRESS,
    OPEN_FILES,
    NOT_ACCEPTED,
    HANDSHAKE,
    HANDSHAKE_SLOW,
    NOT_TLS,
    CLIENT_CERTIFICATE_EXPIRED,
    CLIENT_CERTIFICATE_EARLY,
    CLIENT_CERTIFICATE_REVOKED,
    CLIENT_CERTIFICATE_UNTRUSTED,
    CLIENT_CERTIFICATE_MISSING,
    CERTIFICATE_REJECTED,
    CREDENTIAL,
    OTHER_SCHEMA,
    PATH,
    METHOD,
    OTHER_FOLDER,
    FORMAT,
    CONNECTIONS,
    MALFORMED,
    TOO_LARGE,
    BODY_SLOW,
    MEMORY,
    STAGING_SLOW,
    CLOCK,
    UNKNOWN_TABLE,
    ENDING,
];
