//! Codes EBB-F…: flags, variables and files of settings.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const UNKNOWN_CODE: Code = Code("EBB-F001");
pub const FILE_UNREADABLE: Code = Code("EBB-F010");
pub const FILE_MALFORMED: Code = Code("EBB-F011");
pub const FILE_UNWRITABLE: Code = Code("EBB-F012");
pub const FILE_EXISTS: Code = Code("EBB-F013");
pub const VALUE: Code = Code("EBB-F014");
pub const NOT_GIVEN: Code = Code("EBB-F015");
pub const FLAGS_CONFLICT: Code = Code("EBB-F016");
pub const MODE: Code = Code("EBB-F017");
pub const REFUSED_FLAG: Code = Code("EBB-F018");
pub const REPLICATOR_FLAGS: Code = Code("EBB-F019");
pub const CHANGEFEED_OPTION: Code = Code("EBB-F020");
pub const NOTHING_CHOSEN: Code = Code("EBB-F021");
pub const NO_STAGING_DIR: Code = Code("EBB-F022");
pub const RECEIVER_NOT_VERIFIED: Code = Code("EBB-F023");
pub const USAGE: Code = Code("EBB-F024");
pub const IGNORED: Code = Code("EBB-F025");
pub const NO_PAGES: Code = Code("EBB-F026");
pub const NO_ANSWER: Code = Code("EBB-F027");

pub const ALL: &[Code] = &[
    UNKNOWN_CODE,
    FILE_UNREADABLE,
    FILE_MALFORMED,
    FILE_UNWRITABLE,
    FILE_EXISTS,
    VALUE,
    NOT_GIVEN,
    FLAGS_CONFLICT,
    MODE,
    REFUSED_FLAG,
    REPLICATOR_FLAGS,
    CHANGEFEED_OPTION,
    NOTHING_CHOSEN,
    NO_STAGING_DIR,
    RECEIVER_NOT_VERIFIED,
    USAGE,
    IGNORED,
    NO_PAGES,
    NO_ANSWER,
];
