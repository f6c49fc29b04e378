//! The operations for rows that stand in each other's way, and transactions whose checks wait or are suspended.

use ebb_sdk::{Checks, ErrorKind, Operation, Session as _};

use crate::world::World;

const SEATS: &str =
    "CREATE TABLE seats (id int PRIMARY KEY, seat int UNIQUE, rigid int NOT NULL UNIQUE, note text DEFAULT 'kept');
    CREATE TABLE guests (id int PRIMARY KEY, seat int REFERENCES seats);
    INSERT INTO seats VALUES (1, 10, 100), (2, 20, 200), (3, 30, 300); INSERT INTO guests VALUES (1, 1), (2, 2);";

#[tokio::test]
async fn update_changes_rows_that_are_there() {
    let world = World::new("conflict_update", SEATS);
    let mut writer = world.writer().await;
    writer.session.begin(Checks::Immediate).await.unwrap();
    let rows: [&[&str]; 2] = [&["1", "null"], &["9", "null"]];
    writer.write("seats", Operation::Update, &["id", "seat"], &rows).await.unwrap();
    writer.commit().await.unwrap();
    assert_eq!(world.sql("SELECT id, seat, note FROM seats ORDER BY id"), "1||kept\n2|20|kept\n3|30|kept");
}

#[tokio::test]
async fn replace_rotates_values_among_rows_that_are_referred_to() {
    let world = World::new("conflict_replace", SEATS);
    let mut writer = world.writer().await;
    let rotated: [&[&str]; 4] = [
        &["1", "20", "200", "\"a\""],
        &["2", "30", "300", "\"b\""],
        &["3", "10", "100", "\"c\""],
        &["4", "40", "400", "\"d\""],
    ];
    let columns = ["id", "seat", "rigid", "note"];
    // An upsert meets the unique key, and says that another order may do.
    let error = writer.upsert("seats", &columns, &rotated).await.unwrap_err();
    assert!(error.conflict && error.code.as_deref() == Some("23505"), "{error:?}");
    writer.session.begin(Checks::Immediate).await.unwrap();
    writer.write("seats", Operation::Replace, &columns, &rotated).await.unwrap();
    writer.commit().await.unwrap();
    let seats = world.sql("SELECT id, seat, rigid, note FROM seats ORDER BY id");
    assert_eq!(seats, "1|20|200|a\n2|30|300|b\n3|10|100|c\n4|40|400|d");
    assert_eq!(world.sql("SELECT count(*) FROM guests JOIN seats ON seats.id = guests.seat"), "2");
}

#[tokio::test]
async fn a_check_and_a_null_are_no_conflicts() {
    let world = World::new("conflict_none", "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL CHECK (a > 0))");
    let mut writer = world.writer().await;
    for value in ["-1", "null"] {
        let error = writer.upsert("t", &["id", "a"], &[&["1", value]]).await.unwrap_err();
        assert!(error.kind == ErrorKind::Refused && !error.conflict, "{error:?}");
    }
}

#[tokio::test]
async fn deferred_checks_wait_for_commit() {
    let world = World::new(
        "conflict_deferred",
        "CREATE TABLE parents (id int PRIMARY KEY);
         CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents DEFERRABLE);",
    );
    let mut writer = world.writer().await;
    for parent in ["1", "7"] {
        writer.session.begin(Checks::Deferred).await.unwrap();
        writer.write("children", Operation::Upsert, &["id", "parent"], &[&["1", parent]]).await.unwrap();
        writer.write("parents", Operation::Upsert, &["id"], &[&["1"]]).await.unwrap();
        let outcome = writer.commit().await;
        match parent {
            "1" => outcome.unwrap(),
            // What fails at COMMIT is not done, and neither is the progress.
            _ => {
                let error = outcome.unwrap_err();
                assert!(error.conflict && error.constraint.as_deref() == Some("children_parent_fkey"), "{error:?}");
            }
        }
    }
    assert_eq!(world.sql("SELECT parent FROM children"), "1");
    assert_eq!(world.sql("SELECT wall FROM ebb_progress"), writer.progress.applied.wall.to_string());
}

#[tokio::test]
async fn suspended_checks_are_verified_and_triggers_do_not_fire() {
    let world = World::new(
        "conflict_suspended",
        "CREATE TABLE parents (id int PRIMARY KEY, code text UNIQUE);
         CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE);
         CREATE TABLE tags (id int PRIMARY KEY, code text REFERENCES parents (code));
         CREATE TABLE log (what text);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO log VALUES ('x'); RETURN NULL; END$$;
         CREATE TRIGGER note AFTER INSERT OR DELETE ON parents FOR EACH ROW EXECUTE FUNCTION note();
         INSERT INTO parents VALUES (1, 'a'), (2, 'b'); INSERT INTO children VALUES (1, 1); INSERT INTO tags VALUES (1, 'b');
         TRUNCATE log;",
    );
    let mut writer = world.writer().await;
    // Child before parent, and a parent deleted while its child stays: at the end all is well.
    writer.session.begin(Checks::Suspended).await.unwrap();
    writer.write("children", Operation::Upsert, &["id", "parent"], &[&["1", "5"]]).await.unwrap();
    writer.write("parents", Operation::Delete, &["id"], &[&["1"]]).await.unwrap();
    writer.write("parents", Operation::Upsert, &["id", "code"], &[&["5", "\"e\""]]).await.unwrap();
    writer.write("children", Operation::Verify, &["id"], &[&["1"]]).await.unwrap();
    writer.write("parents", Operation::Verify, &["id"], &[&["1"], &["5"]]).await.unwrap();
    writer.commit().await.unwrap();
    assert_eq!(world.sql("SELECT parent FROM children"), "5");
    assert_eq!(world.sql("SELECT count(*) FROM log"), "0");
    // A row that refers to nothing, a row that is still referred to, and one referred to by another key than the primary.
    for (table, operation, row, constraint, key) in [
        ("children", Operation::Upsert, ["2", "99"].as_slice(), "children_parent_fkey", "id=2"),
        ("parents", Operation::Delete, ["5"].as_slice(), "children_parent_fkey", "id=1"),
        ("parents", Operation::Delete, ["2"].as_slice(), "tags_code_fkey", "id=1"),
    ] {
        let columns = &["id", "parent"][..row.len()];
        writer.session.begin(Checks::Suspended).await.unwrap();
        writer.write(table, operation, columns, &[row]).await.unwrap();
        let error = writer.write(table, Operation::Verify, &["id"], &[&row[..1]]).await.unwrap_err();
        assert_eq!((error.kind, error.conflict), (ErrorKind::Refused, false), "{error:?}");
        assert_eq!((error.constraint.as_deref(), error.key.as_deref()), (Some(constraint), Some(key)), "{error:?}");
        writer.session.rollback().await.unwrap();
    }
    // The next transaction enforces and fires again.
    writer.upsert("parents", &["id", "code"], &[&["6", "\"f\""]]).await.unwrap();
    assert_eq!(world.sql("SELECT count(*) FROM log"), "1");
    writer.upsert("children", &["id", "parent"], &[&["3", "98"]]).await.unwrap_err();
}
