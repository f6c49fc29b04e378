//! The operations for rows that stand in each other's way, and transactions whose checks are suspended.

use ebb_sdk::{Checks, ErrorKind, Operation, Session as _};

use crate::world::World;

const SEATS: &str = "CREATE TABLE seats (id INT PRIMARY KEY, seat INT UNIQUE, rigid INT NOT NULL UNIQUE, note VARCHAR(10) DEFAULT 'kept');
    INSERT INTO seats (id, seat, rigid) VALUES (1, 10, 100), (2, 20, 200), (3, 30, 300);";

#[tokio::test]
async fn update_changes_rows_that_are_there() {
    for world in World::both("conflict_update", SEATS) {
        let mut writer = world.writer().await;
        writer.session.begin(Checks::Immediate).await.unwrap();
        writer.write("seats", Operation::Update, &["id", "seat"], &[&["1", "null"], &["9", "null"]]).await.unwrap();
        let rows: [&[&str]; 2] = [&["\"x\"", "31", "3"], &["\"y\"", "null", "8"]];
        writer.write("seats", Operation::Update, &["note", "seat", "id"], &rows).await.unwrap();
        writer.commit().await.unwrap();
        let seats = world.sql("SELECT id, seat, note FROM seats ORDER BY id");
        assert_eq!(seats, "1|NULL|kept\n2|20|kept\n3|31|x");
    }
}

#[tokio::test]
async fn replace_rotates_values() {
    for world in World::both("conflict_replace", SEATS) {
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
        assert!(error.conflict && error.kind == ErrorKind::Refused, "{error:?}");
        writer.session.begin(Checks::Immediate).await.unwrap();
        writer.write("seats", Operation::Replace, &columns, &rotated).await.unwrap();
        writer.commit().await.unwrap();
        let seats = world.sql("SELECT id, seat, rigid, note FROM seats ORDER BY id");
        assert_eq!(seats, "1|20|200|a\n2|30|300|b\n3|10|100|c\n4|40|400|d");
    }
}

#[tokio::test]
async fn suspended_checks_are_verified() {
    let schema = "CREATE TABLE parents (id INT PRIMARY KEY, code VARCHAR(9) UNIQUE, city VARCHAR(9), UNIQUE (city, id));
         CREATE TABLE children (a INT, b VARCHAR(9), parent INT, PRIMARY KEY (a, b),
             CONSTRAINT up FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE);
         CREATE TABLE tags (id INT PRIMARY KEY, code VARCHAR(9), CONSTRAINT tag FOREIGN KEY (code) REFERENCES parents (code));
         CREATE TABLE homes (id INT PRIMARY KEY, parent INT, city VARCHAR(9),
             CONSTRAINT home FOREIGN KEY (city, parent) REFERENCES parents (city, id));
         INSERT INTO parents VALUES (1, 'a', 'rome'), (2, 'b', 'oslo'), (3, 'c', 'oslo');
         INSERT INTO children VALUES (1, 'x', 1); INSERT INTO tags VALUES (1, 'b'); INSERT INTO homes VALUES (1, 3, 'oslo'), (2, 9, NULL);";
    for world in World::both("conflict_suspended", schema) {
        let mut writer = world.writer().await;
        // Child before parent, and a parent deleted while its child stays: at the end all is well.
        writer.session.begin(Checks::Suspended).await.unwrap();
        writer.write("children", Operation::Upsert, &["a", "b", "parent"], &[&["1", "\"x\"", "5"]]).await.unwrap();
        writer.write("parents", Operation::Delete, &["id"], &[&["1"]]).await.unwrap();
        writer.write("parents", Operation::Upsert, &["id", "code"], &[&["5", "\"e\""]]).await.unwrap();
        writer.write("children", Operation::Verify, &["b", "a"], &[&["\"x\"", "1"]]).await.unwrap();
        writer.write("parents", Operation::Verify, &["id"], &[&["1"], &["5"]]).await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(world.sql("SELECT parent FROM children"), "5");
        // A row that refers to nothing, one that is still referred to, one referred to by another key, and by two columns.
        for (table, operation, columns, row, key, constraint, found) in [
            ("children", Operation::Upsert, vec!["a", "b", "parent"], vec!["2", "\"y\"", "99"], 2, "up", "a=2, b=y"),
            ("parents", Operation::Delete, vec!["id"], vec!["5"], 1, "up", "a=1, b=x"),
            ("parents", Operation::Delete, vec!["id"], vec!["2"], 1, "tag", "id=1"),
            ("parents", Operation::Upsert, vec!["id", "city"], vec!["3", "\"bonn\""], 1, "home", "id=1"),
        ] {
            writer.session.begin(Checks::Suspended).await.unwrap();
            writer.write(table, operation, &columns, &[&row]).await.unwrap();
            let error = writer.write(table, Operation::Verify, &columns[..key], &[&row[..key]]).await.unwrap_err();
            assert_eq!((error.kind, error.conflict), (ErrorKind::Refused, false), "{error:?}");
            let named = (error.constraint.as_deref(), error.key.as_deref());
            assert_eq!(named, (Some(constraint), Some(found)), "{error:?}");
            writer.session.rollback().await.unwrap();
        }
        // The next transaction enforces again.
        let error = writer.upsert("children", &["a", "b", "parent"], &[&["3", "\"z\"", "98"]]).await.unwrap_err();
        assert_eq!((error.conflict, error.constraint.as_deref()), (true, Some("up")), "{error:?}");
    }
}

/// Rows that refer to nothing since before, and deletes of rows that never were, are none of a transaction's doing.
#[tokio::test]
async fn only_what_a_transaction_did_is_verified() {
    let schema = "CREATE TABLE parents (id INT PRIMARY KEY, code VARCHAR(9) UNIQUE, price DECIMAL(30,5) UNIQUE, day DATETIME(6) UNIQUE, bits BIT(8) UNIQUE, n INT);
         CREATE TABLE a (id INT PRIMARY KEY, parent INT, CONSTRAINT a_up FOREIGN KEY (parent) REFERENCES parents (id));
         CREATE TABLE b (id INT PRIMARY KEY, code VARCHAR(9), CONSTRAINT b_up FOREIGN KEY (code) REFERENCES parents (code));
         CREATE TABLE c (id INT PRIMARY KEY, price DECIMAL(30,5), CONSTRAINT c_up FOREIGN KEY (price) REFERENCES parents (price));
         CREATE TABLE d (id INT PRIMARY KEY, day DATETIME(6), CONSTRAINT d_up FOREIGN KEY (day) REFERENCES parents (day));
         CREATE TABLE e (id INT PRIMARY KEY, bits BIT(8), CONSTRAINT e_up FOREIGN KEY (bits) REFERENCES parents (bits));
         INSERT INTO parents VALUES (1, 'a', 1234567890123456789012345.00001, '2016-01-25 10:10:10.000001', b'101', 0), (2, 'b', 2, NULL, NULL, 0);
         SET foreign_key_checks = 0; INSERT INTO a VALUES (1, 1), (2, 99); INSERT INTO b VALUES (1, 'a'), (2, 'orphan');
         INSERT INTO c VALUES (1, 1234567890123456789012345.00001), (2, 7); INSERT INTO d VALUES (1, '2016-01-25 10:10:10.000001'), (2, '2020-01-01');
         INSERT INTO e VALUES (1, b'101'), (2, b'111');";
    for world in World::both("conflict_orphans", schema) {
        let mut writer = world.writer().await;
        let columns = ["id", "code", "price", "day", "bits", "n"];
        let row =
            ["1", "\"a\"", "1234567890123456789012345.00001", "\"2016-01-25T10:10:10.000001\"", "\"00000101\"", "1"];
        writer.session.begin(Checks::Suspended).await.unwrap();
        writer.write("parents", Operation::Upsert, &columns, &[&row]).await.unwrap();
        writer.write("parents", Operation::Delete, &["id"], &[&["99"]]).await.unwrap();
        writer.write("parents", Operation::Verify, &["id"], &[&["1"], &["99"]]).await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(world.sql("SELECT n FROM parents WHERE id = 1"), "1");
        // A value that somebody refers to is changed, or its row deleted.
        let changed = ["\"x\"", "1234567890123456789012345.00002", "\"2016-01-25T10:10:10.000002\"", "\"00000100\""];
        for (at, constraint) in ["b_up", "c_up", "d_up", "e_up"].into_iter().enumerate() {
            for operation in [Operation::Upsert, Operation::Update] {
                let mut row = row;
                row[at + 1] = changed[at];
                writer.session.begin(Checks::Suspended).await.unwrap();
                writer.write("parents", operation, &columns, &[&row]).await.unwrap();
                let error = writer.write("parents", Operation::Verify, &["id"], &[&["1"]]).await.unwrap_err();
                let named = (error.constraint.as_deref(), error.key.as_deref());
                assert_eq!(named, (Some(constraint), Some("id=1")), "{error:?}");
                writer.session.rollback().await.unwrap();
            }
        }
        writer.session.begin(Checks::Suspended).await.unwrap();
        writer.write("parents", Operation::Delete, &["id"], &[&["1"]]).await.unwrap();
        let error = writer.write("parents", Operation::Verify, &["id"], &[&["1"]]).await.unwrap_err();
        assert_eq!(error.key.as_deref(), Some("id=1"), "{error:?}");
        writer.session.rollback().await.unwrap();
        // What a transaction that was rolled back has seen is forgotten.
        writer.session.begin(Checks::Suspended).await.unwrap();
        writer.write("parents", Operation::Verify, &["id"], &[&["1"]]).await.unwrap();
        writer.commit().await.unwrap();
    }
}
