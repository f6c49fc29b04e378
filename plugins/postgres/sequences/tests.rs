//! What is said of sequences, without a server.
//!
//! Owns: the judgement of where one stands. Does not own: asking the server (`tests/it`).

use super::*;

fn sequence(increment: i128, (min, max): (i128, i128), next: i128) -> Sequence {
    Sequence { name: "s".into(), increment, min, max, settable: true, next, is_called: true }
}

fn column(kind: &str, farthest: i128) -> Column {
    Column { table: "t".into(), name: "a".into(), kind: kind.into(), farthest: Some(farthest) }
}

#[test]
fn one_is_behind_and_only_set_where_a_value_is_left() {
    let whole = (1, i64::MAX.into());
    let behind = |increment, range, next, kind, farthest| {
        let found = sequence(increment, range, next).behind(&[column(kind, farthest)]).expect("it is behind");
        (found.reason, found.fix.is_some())
    };
    let (reason, has_fix) = behind(1, whole, 100, "bigint", 100);
    assert!(has_fix && reason.ends_with("that key is taken"), "{reason}");
    let (reason, has_fix) = behind(1, whole, 100, "bigint", 200);
    assert!(has_fix && reason.ends_with("a key that it gives may be taken"), "{reason}");
    // A key of unique_rowid().
    let (reason, has_fix) = behind(1, whole, 100, "bigint", 1_099_511_627_776_000_100);
    assert!(has_fix && reason.ends_with("at the latest after 1099511627776000000 others"), "{reason}");
    // A row that stands at the end.
    for (increment, range, kind, farthest) in [
        (1, whole, "integer", i32::MAX.into()),
        (1, (1, 1000), "bigint", 1000),
        (10, (1, 1000), "bigint", 995),
        (-1, (-1000, -1), "bigint", -1000),
    ] {
        let (reason, has_fix) = behind(increment, range, increment, kind, farthest);
        assert!(!has_fix && reason.contains("there is no other"), "{reason}");
    }
}

#[test]
fn one_is_narrow_by_the_part_of_its_range_that_is_used() {
    let whole = (1, i64::MAX.into());
    let is_narrow = |sequence: &Sequence, kind: &str, farthest| sequence.narrow(&[column(kind, farthest)]);
    assert!(is_narrow(&sequence(1, whole, 2_000_000_000), "integer", 5).is_some());
    assert!(is_narrow(&sequence(1, whole, 2_000_000_000), "bigint", 5).is_none());
    // A range that begins high is not used up by that.
    assert!(is_narrow(&sequence(1, (2_000_000_000, 3_000_000_000), 2_000_000_001), "bigint", 5).is_none());
    // One that counts down.
    let down = (-1000, -1);
    assert!(is_narrow(&sequence(-1, down, -950), "bigint", -2).is_some());
    assert!(is_narrow(&sequence(-1, down, -3), "bigint", -2).is_none());
    let fix = |sequence: Sequence, kind| sequence.narrow(&[column(kind, 5)]).expect("narrow").fix;
    assert_eq!(fix(sequence(1, (1, 100), 100), "bigint").as_deref(), Some("ALTER SEQUENCE s AS bigint NO MAXVALUE;"));
    assert_eq!(fix(sequence(1, whole, i64::MAX.into()), "bigint"), None);
    let window = "in a maintenance window, since it rewrites the table, and start ebb again after it: ";
    let both = fix(sequence(1, (1, 100), 100), "integer").expect("a fix");
    let statements = "ALTER TABLE t ALTER COLUMN \"a\" TYPE bigint; ALTER SEQUENCE s AS bigint NO MAXVALUE;";
    assert_eq!(both, format!("{window}{statements}"));
}
