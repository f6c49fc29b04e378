//! Codes EBB-T…: the target: connection, rights, progress and lease.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const UNREACHABLE: Code = Code("EBB-T010");
pub const LOGIN: Code = Code("EBB-T011");
pub const DATABASE: Code = Code("EBB-T012");
pub const TLS: Code = Code("EBB-T013");
pub const READ_ONLY: Code = Code("EBB-T014");
pub const UNENCRYPTED: Code = Code("EBB-T015");
pub const PRIVILEGE: Code = Code("EBB-T016");
pub const TOO_SLOW: Code = Code("EBB-T017");
pub const RESOURCES: Code = Code("EBB-T018");
pub const CHANGED: Code = Code("EBB-T019");
pub const OWN_TABLES: Code = Code("EBB-T020");
pub const URL: Code = Code("EBB-T021");
pub const VERSION: Code = Code("EBB-T022");
/// Retried or refused for a reason of the server that has no code of its own.
pub const SERVER: Code = Code("EBB-T023");
pub const PROGRESS_MOVED: Code = Code("EBB-T024");
pub const PROGRESS_LOST: Code = Code("EBB-T025");
pub const ANOTHER_IS_ALIVE: Code = Code("EBB-T026");
pub const TAKEN_OVER: Code = Code("EBB-T027");
pub const OTHER_TARGET: Code = Code("EBB-T028");
pub const OLDER_FOLDER: Code = Code("EBB-T029");
pub const STAGING_LOST: Code = Code("EBB-T030");
pub const RESTORED: Code = Code("EBB-T031");
pub const NEW_TABLES: Code = Code("EBB-T032");
pub const TRIGGERS_NOT_DROPPED: Code = Code("EBB-T033");
pub const TRIGGERS_DROPPED: Code = Code("EBB-T034");
pub const TRIGGER_RECORD: Code = Code("EBB-T035");
pub const SECOND_EFFECTS: Code = Code("EBB-T036");
pub const RECEIVING_ONLY: Code = Code("EBB-T040");
pub const GRACE_PERIOD: Code = Code("EBB-T041");
pub const SEQUENCE_BEHIND: Code = Code("EBB-T042");
pub const SEQUENCE_NARROW: Code = Code("EBB-T043");
pub const OTHER_WRITER: Code = Code("EBB-T044");
pub const STATISTICS: Code = Code("EBB-T045");
pub const CONCERN: Code = Code("EBB-T046");

pub const ALL: &[Code] = &[
    UNREACHABLE,
    LOGIN,
    DATABASE,
    TLS,
    READ_ONLY,
    UNENCRYPTED,
    PRIVILEGE,
    TOO_SLOW,
    RESOURCES,
    CHANGED,
    OWN_TABLES,
    URL,
    VERSION,
    SERVER,
    PROGRESS_MOVED,
    PROGRESS_LOST,
    ANOTHER_IS_ALIVE,
    TAKEN_OVER,
    OTHER_TARGET,
    OLDER_FOLDER,
    STAGING_LOST,
    RESTORED,
    NEW_TABLES,
    TRIGGERS_NOT_DROPPED,
    TRIGGERS_DROPPED,
    TRIGGER_RECORD,
    SECOND_EFFECTS,
    RECEIVING_ONLY,
    GRACE_PERIOD,
    SEQUENCE_BEHIND,
    SEQUENCE_NARROW,
    OTHER_WRITER,
    STATISTICS,
    CONCERN,
];
