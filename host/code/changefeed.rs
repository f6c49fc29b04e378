//! Codes EBB-C…: the changefeed and its job.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const NOTHING_ARRIVES: Code = Code("EBB-C010");
pub const RECEIVER_NOT_TRUSTED: Code = Code("EBB-C011");
pub const PAUSED: Code = Code("EBB-C012");
pub const PAUSED_BY_ERROR: Code = Code("EBB-C013");
pub const ENDED: Code = Code("EBB-C014");
pub const TRUNCATED: Code = Code("EBB-C015");
pub const DROPPED: Code = Code("EBB-C016");
pub const FAMILIES: Code = Code("EBB-C017");
pub const HISTORY_GONE: Code = Code("EBB-C018");
pub const CURSOR_AHEAD: Code = Code("EBB-C019");
pub const CURSOR_BEFORE_TABLE: Code = Code("EBB-C020");
pub const PRIVILEGE: Code = Code("EBB-C021");
pub const LICENSE: Code = Code("EBB-C022");
pub const TARGETS: Code = Code("EBB-C023");
pub const RIVAL: Code = Code("EBB-C024");
pub const STAGING_UNKNOWN: Code = Code("EBB-C025");
pub const STAGING_GONE: Code = Code("EBB-C026");
pub const STAGING_PUT_BACK: Code = Code("EBB-C027");
pub const REPLACED: Code = Code("EBB-C028");
pub const HALF_A_SCAN: Code = Code("EBB-C029");
pub const NOT_AGREED: Code = Code("EBB-C030");
pub const JOB_SLOW: Code = Code("EBB-C031");
pub const NOT_RESUMABLE: Code = Code("EBB-C032");
pub const OLD_CERTIFICATE: Code = Code("EBB-C033");
pub const RESOLVED_STANDS: Code = Code("EBB-C034");

pub const ALL: &[Code] = &[
    NOTHING_ARRIVES,
    RECEIVER_NOT_TRUSTED,
    PAUSED,
    PAUSED_BY_ERROR,
    ENDED,
    TRUNCATED,
    DROPPED,
    FAMILIES,
    HISTORY_GONE,
    CURSOR_AHEAD,
    CURSOR_BEFORE_TABLE,
    PRIVILEGE,
    LICENSE,
    TARGETS,
    RIVAL,
    STAGING_UNKNOWN,
    STAGING_GONE,
    STAGING_PUT_BACK,
    REPLACED,
    HALF_A_SCAN,
    NOT_AGREED,
    JOB_SLOW,
    NOT_RESUMABLE,
    OLD_CERTIFICATE,
    RESOLVED_STANDS,
];
