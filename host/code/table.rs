//! Codes EBB-K…: tables, columns and keys of both sides.
//!
//! Owns: their numbers. Does not own: their explanation (`docs/errors.md`).

use super::Code;

/// Several findings keep a run from starting.
pub const SEVERAL_FINDINGS: Code = Code("EBB-K001");
pub const COLUMN_AMBIGUOUS: Code = Code("EBB-K010");
pub const COLUMN_MISSING: Code = Code("EBB-K011");
pub const COLUMN_NOT_FILLED: Code = Code("EBB-K012");
pub const DIGITS_LOST: Code = Code("EBB-K013");
pub const JSON_NULL: Code = Code("EBB-K014");
pub const KEY_AMBIGUOUS: Code = Code("EBB-K015");
pub const KEYS_DIFFER: Code = Code("EBB-K016");
pub const SOURCE_KEY_FOLDS: Code = Code("EBB-K017");
pub const SOURCE_KEY_MISSING: Code = Code("EBB-K018");
pub const TABLE_AMBIGUOUS: Code = Code("EBB-K019");
pub const TABLE_MISSING: Code = Code("EBB-K020");
pub const TABLE_NOT_WRITABLE: Code = Code("EBB-K021");
pub const TABLE_SHARED: Code = Code("EBB-K022");
pub const TABLES_IDLE: Code = Code("EBB-K023");
pub const TABLES_REFUSED: Code = Code("EBB-K024");
pub const TARGET_KEY_MISSING: Code = Code("EBB-K025");
pub const TOPIC_AMBIGUOUS: Code = Code("EBB-K026");
pub const TRIGGERS_ACT: Code = Code("EBB-K027");
pub const TRIGGERS_HIDDEN: Code = Code("EBB-K028");
pub const TYPE_INCOMPATIBLE: Code = Code("EBB-K029");
pub const VALUES_REFUSED: Code = Code("EBB-K030");
pub const LEFT: Code = Code("EBB-K040");
pub const OTHER_DATABASE: Code = Code("EBB-K041");
pub const NOT_REMEMBERED: Code = Code("EBB-K042");
pub const TABLE_GONE: Code = Code("EBB-K043");
pub const NEW_TABLES: Code = Code("EBB-K044");
pub const TAKEN_IN: Code = Code("EBB-K045");
pub const ORIGINS: Code = Code("EBB-K046");
pub const VANISHED: Code = Code("EBB-K047");
pub const KEY_READ_BLINDLY: Code = Code("EBB-K048");
pub const KEY_UNDATED: Code = Code("EBB-K049");
pub const KEYS_UNREAD: Code = Code("EBB-K050");
pub const KEY_UNREADABLE: Code = Code("EBB-K051");
pub const TRIGGERS_FIRE: Code = Code("EBB-K052");
pub const TABLES_CHANGED: Code = Code("EBB-K053");
pub const FILTERS_WAIT: Code = Code("EBB-K054");
pub const DIGITS_ROUNDED: Code = Code("EBB-K055");
pub const UNIQUE_RULES: Code = Code("EBB-K056");

pub const ALL: &[Code] = &[
    SEVERAL_FINDINGS,
    COLUMN_AMBIGUOUS,
    COLUMN_MISSING,
    COLUMN_NOT_FILLED,
    DIGITS_LOST,
    JSON_NULL,
    KEY_AMBIGUOUS,
    KEYS_DIFFER,
    SOURCE_KEY_FOLDS,
    SOURCE_KEY_MISSING,
    TABLE_AMBIGUOUS,
    TABLE_MISSING,
    TABLE_NOT_WRITABLE,
    TABLE_SHARED,
    TABLES_IDLE,
    TABLES_REFUSED,
    TARGET_KEY_MISSING,
    TOPIC_AMBIGUOUS,
    TRIGGERS_ACT,
    TRIGGERS_HIDDEN,
    TYPE_INCOMPATIBLE,
    VALUES_REFUSED,
    UNIQUE_RULES,
    LEFT,
    OTHER_DATABASE,
    NOT_REMEMBERED,
    TABLE_GONE,
    NEW_TABLES,
    TAKEN_IN,
    ORIGINS,
    VANISHED,
    KEY_READ_BLINDLY,
    KEY_UNDATED,
    KEYS_UNREAD,
    KEY_UNREADABLE,
    TRIGGERS_FIRE,
    TABLES_CHANGED,
    FILTERS_WAIT,
    DIGITS_ROUNDED,
];
