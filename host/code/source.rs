//! Codes EBB-S…: the connection to CockroachDB and its settings.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const UNREACHABLE: Code = Code("EBB-S010");
pub const CREDENTIALS: Code = Code("EBB-S011");
pub const DATABASE_MISSING: Code = Code("EBB-S012");
pub const CERTIFICATE_UNTRUSTED: Code = Code("EBB-S013");
pub const CERTIFICATE: Code = Code("EBB-S014");
pub const NOT_ENCRYPTED: Code = Code("EBB-S015");
pub const NOT_VERIFIED: Code = Code("EBB-S016");
pub const URL: Code = Code("EBB-S017");
pub const NOT_COCKROACHDB: Code = Code("EBB-S018");
pub const REFUSES: Code = Code("EBB-S019");
pub const RIGHTS: Code = Code("EBB-S020");
pub const RANGEFEEDS: Code = Code("EBB-S021");
pub const NO_TABLE: Code = Code("EBB-S022");
pub const NONE_CHOSEN: Code = Code("EBB-S023");
pub const ADVISORY: Code = Code("EBB-S024");
pub const UNEXPECTED_ANSWER: Code = Code("EBB-S025");
pub const HISTORY_SHORT: Code = Code("EBB-S026");
pub const CLOCK: Code = Code("EBB-S027");
pub const HISTORY_RETAINED: Code = Code("EBB-S028");

pub const ALL: &[Code] = &[
    UNREACHABLE,
    CREDENTIALS,
    DATABASE_MISSING,
    CERTIFICATE_UNTRUSTED,
    CERTIFICATE,
    NOT_ENCRYPTED,
    NOT_VERIFIED,
    URL,
    NOT_COCKROACHDB,
    REFUSES,
    RIGHTS,
    RANGEFEEDS,
    NO_TABLE,
    NONE_CHOSEN,
    ADVISORY,
    UNEXPECTED_ANSWER,
    HISTORY_SHORT,
    CLOCK,
    HISTORY_RETAINED,
];
