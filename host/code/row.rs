//! Codes EBB-W…: rows that cannot be written.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

pub const UNIQUE_KEY: Code = Code("EBB-W010");
pub const FOREIGN_KEY: Code = Code("EBB-W011");
pub const CHECK: Code = Code("EBB-W012");
pub const NOT_NULL: Code = Code("EBB-W013");
pub const VALUE: Code = Code("EBB-W014");
pub const ROUNDING: Code = Code("EBB-W015");
pub const SAME_KEY: Code = Code("EBB-W016");
pub const TOO_LARGE: Code = Code("EBB-W017");
pub const TRIGGER: Code = Code("EBB-W018");
pub const REFUSED: Code = Code("EBB-W019");
pub const COLUMN_MISSING: Code = Code("EBB-W020");
pub const COLUMN_KEPT: Code = Code("EBB-W021");
pub const KEY_UNKNOWN: Code = Code("EBB-W022");
pub const KEY_COLUMN: Code = Code("EBB-W023");
pub const UNREADABLE: Code = Code("EBB-W024");
pub const NOT_APPLIED: Code = Code("EBB-W025");

pub const ALL: &[Code] = &[
    UNIQUE_KEY,
    FOREIGN_KEY,
    CHECK,
    NOT_NULL,
    VALUE,
    ROUNDING,
    SAME_KEY,
    TOO_LARGE,
    TRIGGER,
    REFUSED,
    COLUMN_MISSING,
    COLUMN_KEPT,
    KEY_UNKNOWN,
    KEY_COLUMN,
    UNREADABLE,
    NOT_APPLIED,
];
