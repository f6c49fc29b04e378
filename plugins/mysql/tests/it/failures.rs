//! What goes wrong while rows are written, and what the host is to make of it.

use std::time::Duration;

use ebb_sdk::{Checks, Error, ErrorKind, Operation, SavedTrigger, Session as _};

use crate::world::{FEED, World, Writer, connect, connect_with, restore};

const TABLE: &str = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO t VALUES (1, 'a'), (2, 'b')";

#[track_caller]
fn check(error: &Error, kind: ErrorKind, code: &str) {
    assert_eq!((error.kind, error.code.as_deref()), (kind, Some(code)), "{error:?}");
    assert!(error.hint.is_some() || kind == ErrorKind::Retry, "{error:?}");
}

/// The limit is 10 s on these servers.
#[tokio::test]
async fn a_transaction_that_is_read_for_long_is_not_taken_for_an_idle_one() {
    let worlds = World::both("failures_touch", "CREATE TABLE t (id INT PRIMARY KEY)");
    let kept = worlds.into_iter().map(|world| async move {
        let mut writer = world.writer().await;
        writer.session.begin(Checks::Immediate).await.unwrap();
        writer.write("t", Operation::Upsert, &["id"], &[&["1"]]).await.unwrap();
        for _ in 0..13 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            writer.session.touch().await.unwrap();
        }
        writer.commit().await.unwrap();
        assert_eq!(world.sql("SELECT COUNT(*) FROM t"), "1");
    });
    for world in kept.map(tokio::spawn).collect::<Vec<_>>() {
        world.await.unwrap();
    }
}

#[tokio::test]
async fn a_deadlock_is_tried_again() {
    for world in World::both("failures_deadlock", TABLE) {
        let (mut a, mut b) = (world.writer().await, world.writer().await);
        a.session.begin(Checks::Immediate).await.unwrap();
        b.session.begin(Checks::Immediate).await.unwrap();
        let set = ["id", "v"];
        a.write("t", Operation::Upsert, &set, &[&["1", "\"x\""]]).await.unwrap();
        b.write("t", Operation::Upsert, &set, &[&["2", "\"y\""]]).await.unwrap();
        let first = async {
            let outcome = a.write("t", Operation::Upsert, &set, &[&["2", "\"x\""]]).await;
            a.session.rollback().await.unwrap();
            outcome
        };
        let second = async {
            let outcome = b.write("t", Operation::Upsert, &set, &[&["1", "\"y\""]]).await;
            b.session.rollback().await.unwrap();
            outcome
        };
        let (first, second) = tokio::join!(first, second);
        check(&first.and(second).unwrap_err(), ErrorKind::Retry, "1213");
    }
}

#[tokio::test]
async fn locks_time_out() {
    for world in World::both("failures_timeout", TABLE) {
        let mut holder = world.writer().await;
        holder.session.begin(Checks::Immediate).await.unwrap();
        holder.write("t", Operation::Delete, &["id"], &[&["1"]]).await.unwrap();
        let mut writer = Writer::new(connect_with(&world.url(), true, 1200).await.unwrap()).await;
        let error = writer.upsert("t", &["id", "v"], &[&["1", "\"x\""]]).await.unwrap_err();
        check(&error, ErrorKind::Retry, "1205");
        holder.session.rollback().await.unwrap();
        writer.upsert("t", &["id", "v"], &[&["1", "\"y\""]]).await.unwrap();
        assert_eq!(world.sql("SELECT v FROM t WHERE id = 1"), "y");
    }
}

#[tokio::test]
async fn a_connection_that_ends_leaves_the_outcome_to_the_progress_row() {
    for world in World::both("failures_ended", TABLE) {
        let end = |world: &World| {
            let sql =
                "SELECT id FROM information_schema.processlist WHERE db = 'failures_ended' AND id <> CONNECTION_ID()";
            world.sql(sql).lines().for_each(|id| drop(world.sql(&format!("KILL {id}"))));
        };
        let mut writer = world.writer().await;
        writer.session.begin(Checks::Immediate).await.unwrap();
        writer.write("t", Operation::Upsert, &["id", "v"], &[&["3", "\"c\""]]).await.unwrap();
        end(&world);
        assert_eq!(writer.commit().await.unwrap_err().kind, ErrorKind::Retry);
        assert_eq!(writer.session.rollback().await.unwrap_err().kind, ErrorKind::Retry);
        let before = writer.progress;
        writer.session.close().await;
        let mut session = world.session().await;
        assert_eq!(session.progress(FEED).await.unwrap(), Some(before));
        assert_eq!(world.sql("SELECT COUNT(*) FROM t"), "2");
    }
}

#[tokio::test]
async fn a_read_only_target_is_tried_again() {
    use ebb_servers::{Flavour, MySql, MySqlOptions};
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = MySql::start(flavour, &MySqlOptions::default()).unwrap();
        server
            .sql("mysql", "CREATE DATABASE d; CREATE USER app@'%' IDENTIFIED BY 'pw'; GRANT ALL ON d.* TO app@'%'")
            .unwrap();
        let mut session = connect(&server.url_as("app", "pw", "d")).await.unwrap();
        session.take_over(FEED, 1).await.unwrap();
        server.sql("mysql", "SET GLOBAL read_only = 1").unwrap();
        let error = session.take_over(FEED, 1).await.unwrap_err();
        check(&error, ErrorKind::Retry, "1290");
        assert!(error.hint.unwrap().contains("read-only"));
    }
}

/// With a binary log a server may take triggers from administrators only.
#[tokio::test]
async fn a_binary_log_that_trusts_nobody_is_named() {
    use ebb_servers::{Flavour, MySql, MySqlOptions};
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let settings = ["log-bin=bin", "server-id=1"].map(String::from).into();
        let server = MySql::start(flavour, &MySqlOptions { settings, ..Default::default() }).unwrap();
        let schema = "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); CREATE USER app@'%' IDENTIFIED BY 'pw'; GRANT ALL ON d.* TO app@'%';
             CREATE DEFINER = app@'%' TRIGGER d.x BEFORE INSERT ON d.t FOR EACH ROW SET @a = 1";
        server.sql("mysql", schema).unwrap();
        let mut session = connect(&server.url_as("app", "pw", "d")).await.unwrap();
        let catalog = session.describe().await.unwrap();
        let trigger = catalog.tables[0].triggers[0].clone();
        let saved = [SavedTrigger {
            feed: String::new(),
            namespace: catalog.namespace.clone(),
            table: "t".into(),
            trigger,
            proof: "p".into(),
        }];
        let error = session.drop_triggers(&saved).await.unwrap_err();
        check(&error, ErrorKind::Config, "1419");
        let hint = error.hint.unwrap();
        let statement = hint.split_once(": ").unwrap().1;
        assert!(statement.contains("log_bin_trust_function_creators"), "{hint}");
        server.sql("d", statement).unwrap();
        session.drop_triggers(&saved).await.unwrap();
        assert_eq!(restore(&mut session).await.unwrap(), saved);
        assert_eq!(session.describe().await.unwrap(), catalog);
    }
}

#[tokio::test]
async fn rights_and_tables_that_vanish_are_named() {
    let schema = format!(
        "{TABLE}; CREATE TABLE gone (id INT PRIMARY KEY); CREATE USER writer@'%' IDENTIFIED BY 'pw';
         GRANT SELECT, INSERT, UPDATE, CREATE ON failures_rights.* TO writer@'%'"
    );
    for world in World::both("failures_rights", &schema) {
        let mut writer = Writer::new(connect(&world.url_as("writer", "pw")).await.unwrap()).await;
        writer.upsert("t", &["id", "v"], &[&["3", "\"c\""]]).await.unwrap();
        let error = writer.delete("t", &["id"], &[&["3"]]).await.unwrap_err();
        check(&error, ErrorKind::Config, "1142");
        assert!(error.message.contains("cannot delete from failures_rights.t: DELETE command denied"), "{error:?}");
        assert!(error.hint.unwrap().contains("GRANT"));
        let mut writer = world.writer().await;
        world.sql("DROP TABLE gone");
        check(&writer.upsert("gone", &["id"], &[&["1"]]).await.unwrap_err(), ErrorKind::Config, "1146");
    }
}

#[tokio::test]
async fn constraints_between_rows_are_named() {
    let schema = "CREATE TABLE p (id INT PRIMARY KEY, u VARCHAR(9), UNIQUE p_u (u));
         CREATE TABLE c (id INT PRIMARY KEY, up INT, CONSTRAINT c_up FOREIGN KEY (up) REFERENCES p (id)); INSERT INTO p VALUES (1, 'a'), (3, 'c')";
    for world in World::both("failures_constraints", schema) {
        let mut writer = world.writer().await;
        // The row is there, and takes a value that another has.
        let error = writer.upsert("p", &["id", "u"], &[&["3", "\"a\""]]).await.unwrap_err();
        check(&error, ErrorKind::Refused, "1062");
        assert_eq!(error.constraint.as_deref(), Some("p_u"), "{error:?}");
        assert!(error.message.contains("Duplicate entry 'a'"), "{error:?}");
        let error = writer.upsert("c", &["id", "up"], &[&["1", "9"]]).await.unwrap_err();
        check(&error, ErrorKind::Refused, "1452");
        assert_eq!(error.constraint.as_deref(), Some("c_up"), "{error:?}");
        writer.upsert("c", &["id", "up"], &[&["1", "1"]]).await.unwrap();
        check(&writer.delete("p", &["id"], &[&["1"]]).await.unwrap_err(), ErrorKind::Refused, "1451");
    }
}

#[tokio::test]
async fn a_check_between_columns_names_the_row() {
    for world in
        World::both("failures_check", "CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT, CONSTRAINT low CHECK (a < b))")
    {
        let mut writer = world.writer().await;
        let rows: [&[&str]; 3] = [&["1", "1", "2"], &["2", "1", "2"], &["3", "5", "4"]];
        let error = writer.upsert("t", &["id", "a", "b"], &rows).await.unwrap_err();
        assert_eq!(
            (error.constraint.as_deref(), error.key.as_deref(), error.column.as_deref()),
            (Some("low"), Some("id=3"), None),
            "{error:?}"
        );
    }
}

/// Its words quote values, and a trigger may say any words with any number.
#[tokio::test]
async fn only_names_of_the_database_go_into_facts() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, u VARCHAR(99), n INT, UNIQUE t_u (u));
         CREATE TABLE said (id INT PRIMARY KEY, code INT, words VARCHAR(200));
         INSERT INTO t (id, u) VALUES (1, 'my column ''canary'), (2, 'a at row 1'), (3, 'my column ''n'' at row 2')";
    for world in World::both("failures_names", schema) {
        world.sql_bodies(
            "CREATE TRIGGER no BEFORE INSERT ON said FOR EACH ROW BEGIN
                 SET @code = NEW.code, @words = NEW.words;
                 IF NEW.code = 1062 THEN SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1062, MESSAGE_TEXT = @words; END IF;
                 IF NEW.code = 1406 THEN SIGNAL SQLSTATE '22001' SET MYSQL_ERRNO = 1406, MESSAGE_TEXT = @words; END IF;
                 SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1452, MESSAGE_TEXT = @words;
             END",
        );
        let mut writer = world.writer().await;
        for value in ["my column 'canary", "a at row 1", "my column 'n' at row 2"] {
            let value = format!("{value:?}");
            let error = writer.upsert("t", &["id", "u"], &[&["9", &value], &["8", "\"b\""]]).await.unwrap_err();
            let facts = (error.column.as_deref(), error.constraint.as_deref(), error.key.as_deref());
            assert!(matches!(facts, (None, Some("t_u"), None | Some("id=9"))), "{error:?}");
        }
        for (code, words) in [
            ("1062", "\"Duplicate entry for key 'canary'\""),
            ("1406", "\"Data too long for column 'canary' at row 1\""),
            ("1452", "\"CONSTRAINT `canary` FOREIGN KEY (`d`) REFERENCES `canary` (`d`)\""),
        ] {
            let error = writer.upsert("said", &["id", "code", "words"], &[&["1", code, words]]).await.unwrap_err();
            assert_eq!(error.code.as_deref(), Some(code), "{error:?}");
            assert_eq!((&error.column, &error.constraint), (&None, &None), "{error:?}");
            assert!(!error.hint.unwrap_or_default().contains("canary"), "{}", error.message);
        }
    }
}
