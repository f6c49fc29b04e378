//! What goes wrong while rows are written, and what the host is to make of it.

use ebb_sdk::{Checks, Error, ErrorKind, Operation, Session as _, Topic};

use crate::world::{World, Writer, connect, connect_with};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')";

#[track_caller]
fn check(error: &Error, kind: ErrorKind, code: &str) {
    assert_eq!((error.kind, error.code.as_deref()), (kind, Some(code)), "{error}");
    assert!(error.hint.is_some() || kind == ErrorKind::Retry, "{error:?}");
}

#[tokio::test]
async fn a_deadlock_is_tried_again() {
    let world = World::new("failures_deadlock", TABLE);
    let (mut a, mut b) = (world.writer().await, world.writer().await);
    a.session.begin(Checks::Immediate).await.unwrap();
    b.session.begin(Checks::Immediate).await.unwrap();
    let set = ["id", "v"];
    a.write("t", Operation::Upsert, &set, &[&["1", "\"x\""]]).await.unwrap();
    b.write("t", Operation::Upsert, &set, &[&["2", "\"y\""]]).await.unwrap();
    let rows: [&[&str]; 1] = [&["2", "\"x\""]];
    let other: [&[&str]; 1] = [&["1", "\"y\""]];
    // The loser's locks go with its rollback; the winner then ends.
    let first = async {
        let outcome = a.write("t", Operation::Upsert, &set, &rows).await;
        a.session.rollback().await.unwrap();
        outcome
    };
    let second = async {
        let outcome = b.write("t", Operation::Upsert, &set, &other).await;
        b.session.rollback().await.unwrap();
        outcome
    };
    let (first, second) = tokio::join!(first, second);
    let failure = first.and(second).unwrap_err();
    check(&failure, ErrorKind::Retry, "40P01");
    let seen = format!("{failure}");
    assert!(seen.contains("cannot write to public.t: deadlock detected"), "{seen}");
}

#[tokio::test]
async fn locks_and_slow_statements_time_out() {
    let world = World::new("failures_timeout", TABLE);
    let mut holder = world.writer().await;
    holder.session.begin(Checks::Immediate).await.unwrap();
    holder.write("t", Operation::Delete, &["id"], &[&["1"]]).await.unwrap();
    let session = connect_with(&world.url(), true, 300).await.unwrap();
    let mut writer = Writer::new(session).await;
    check(&writer.upsert("t", &["id", "v"], &[&["1", "\"x\""]]).await.unwrap_err(), ErrorKind::Retry, "55P03");
    holder.session.rollback().await.unwrap();
    world.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    check(&writer.upsert("t", &["id", "v"], &[&["1", "\"x\""]]).await.unwrap_err(), ErrorKind::Retry, "57014");
    assert_eq!(world.sql("SELECT v FROM t WHERE id = 1"), "a");
}

#[tokio::test]
async fn a_connection_that_ends_leaves_the_outcome_to_the_progress_row() {
    let world = World::new("failures_ended", TABLE);
    let end = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'ebb'";
    let mut writer = world.writer().await;
    writer.session.begin(Checks::Immediate).await.unwrap();
    writer.write("t", Operation::Upsert, &["id", "v"], &[&["3", "\"c\""]]).await.unwrap();
    assert_eq!(world.sql(end), "1");
    assert_eq!(writer.commit().await.unwrap_err().kind, ErrorKind::Retry);
    assert_eq!(writer.session.rollback().await.unwrap_err().kind, ErrorKind::Retry);
    let before = writer.progress;
    writer.session.close().await;
    let mut session = world.session().await;
    assert_eq!(session.progress(crate::world::FEED).await.unwrap(), Some(before));
    assert_eq!(world.sql("SELECT count(*) FROM t"), "2");
    assert_eq!(world.sql(end), "1");
    assert_eq!(session.begin(Checks::Immediate).await.unwrap_err().kind, ErrorKind::Retry);
}

#[tokio::test]
async fn a_read_only_target_is_tried_again() {
    let world = World::new("failures_read_only", TABLE);
    world.writer().await;
    world.sql("ALTER DATABASE failures_read_only SET default_transaction_read_only = on");
    let mut session = world.session().await;
    let error = session.take_over(crate::world::FEED, 1).await.unwrap_err();
    check(&error, ErrorKind::Retry, "25006");
    assert!(error.hint.unwrap().contains("standby"));
}

/// Each says what it is about, and the statement that mends it where there is one.
#[tokio::test]
async fn refused_rows_say_what_is_wrong() {
    let world = World::new(
        "failures_topics",
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(3), n smallint);
         CREATE TABLE dep (d int PRIMARY KEY); CREATE TABLE emp (id int PRIMARY KEY, d int REFERENCES dep);
         CREATE TABLE u (id int PRIMARY KEY, dept text, v text);
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
         CREATE TRIGGER no BEFORE INSERT ON u FOR EACH ROW EXECUTE FUNCTION no()",
    );
    let mut writer = world.writer().await;
    for (columns, row, alter) in [
        (["id", "v"], ["1", "\"long\""], "ALTER COLUMN \"v\" TYPE text"),
        (["id", "n"], ["1", "70000"], "ALTER COLUMN \"n\" TYPE bigint"),
    ] {
        let error = writer.upsert("t", &columns, &[&row]).await.unwrap_err();
        assert_eq!(error.topic, Topic::Value, "{error:?}");
        assert!(
            error.hint.as_deref().is_some_and(|hint| hint.starts_with("ALTER TABLE") && hint.ends_with(alter)),
            "{error:?}"
        );
    }
    let error = writer.upsert("emp", &["id", "d"], &[&["1", "9"]]).await.unwrap_err();
    assert_eq!(error.topic, Topic::ForeignKey, "{error:?}");
    assert!(error.hint.unwrap().contains("insert the missing row into"), "{}", error.message);
    let error = writer.upsert("u", &["id", "dept", "v"], &[&["1", "\"a\"", "\"b\""]]).await.unwrap_err();
    assert_eq!(
        (error.topic, error.column),
        (Topic::Trigger, None),
        "a trigger's refusal is about the row: {}",
        error.message
    );
    // Whatever code a function of the target's own gives it, unless that asks for another try.
    for (code, kind) in [
        ("45000", ErrorKind::Refused),
        ("02000", ErrorKind::Refused),
        ("0A000", ErrorKind::Refused),
        ("55000", ErrorKind::Refused),
        ("42501", ErrorKind::Refused),
        ("XX000", ErrorKind::Refused),
        ("40001", ErrorKind::Retry),
    ] {
        world.sql(&format!(
            "CREATE OR REPLACE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = '{code}'; END $$"
        ));
        let mut writer = world.writer().await;
        let error = writer.upsert("u", &["id"], &[&["1"]]).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.topic == Topic::Trigger || kind == ErrorKind::Retry, "{error:?}");
    }
    assert!(error.message.contains("not today") && error.message.contains("the row is id=1"), "{}", error.message);
}

#[tokio::test]
async fn rights_and_tables_that_vanish_are_named() {
    let world = World::new(
        "failures_rights",
        &format!(
            "{TABLE}; CREATE ROLE writer LOGIN PASSWORD 'pw'; GRANT CREATE ON SCHEMA public TO writer;
             GRANT SELECT, INSERT, UPDATE ON t TO writer; CREATE TABLE gone (id int PRIMARY KEY);
             CREATE TABLE later (id int PRIMARY KEY DEFERRABLE, v int)"
        ),
    );
    let mut writer = Writer::new(connect(&world.url_as("writer", "pw")).await.unwrap()).await;
    writer.upsert("t", &["id", "v"], &[&["3", "\"c\""]]).await.unwrap();
    let error = writer.delete("t", &["id"], &[&["3"]]).await.unwrap_err();
    check(&error, ErrorKind::Config, "42501");
    assert!(error.message.contains("cannot delete from public.t: permission denied for table t"), "{error}");
    assert!(error.hint.unwrap().contains("GRANT"));
    world.sql("ALTER TABLE ebb_progress OWNER TO postgres");
    let mut writer = world.writer().await;
    world.sql("DROP TABLE gone");
    check(&writer.upsert("gone", &["id"], &[&["1"]]).await.unwrap_err(), ErrorKind::Config, "42P01");
    check(&writer.upsert("later", &["id", "v"], &[&["1", "1"]]).await.unwrap_err(), ErrorKind::Config, "55000");
}

#[tokio::test]
async fn constraints_between_rows_are_named() {
    let world = World::new(
        "failures_constraints",
        "CREATE TABLE p (id int PRIMARY KEY, u text CONSTRAINT p_u UNIQUE);
         CREATE TABLE c (id int PRIMARY KEY, up int CONSTRAINT c_up REFERENCES p); INSERT INTO p VALUES (1, 'a')",
    );
    let mut writer = world.writer().await;
    let error = writer.upsert("p", &["id", "u"], &[&["2", "\"a\""]]).await.unwrap_err();
    check(&error, ErrorKind::Refused, "23505");
    assert_eq!((error.constraint.as_deref(), error.table.as_deref()), (Some("p_u"), Some("public.p")));
    assert!(error.message.contains("Key (u)=(a) already exists"), "{error}");
    let error = writer.upsert("c", &["id", "up"], &[&["1", "9"]]).await.unwrap_err();
    check(&error, ErrorKind::Refused, "23503");
    assert_eq!((error.constraint.as_deref(), error.table.as_deref()), (Some("c_up"), Some("public.c")));
    writer.upsert("c", &["id", "up"], &[&["1", "1"]]).await.unwrap();
    check(&writer.delete("p", &["id"], &[&["1"]]).await.unwrap_err(), ErrorKind::Refused, "23503");
}

#[tokio::test]
async fn a_check_between_columns_names_the_row() {
    let world =
        World::new("failures_check", "CREATE TABLE t (id int PRIMARY KEY, a int, b int, CONSTRAINT low CHECK (a < b))");
    let mut writer = world.writer().await;
    let rows: [&[&str]; 3] = [&["1", "1", "2"], &["2", "1", "2"], &["3", "5", "4"]];
    let error = writer.upsert("t", &["id", "a", "b"], &rows).await.unwrap_err();
    check(&error, ErrorKind::Refused, "23514");
    assert_eq!((error.constraint.as_deref(), error.key.as_deref(), error.column), (Some("low"), Some("id=3"), None));
}

/// A function of the target's own may put a value of the row where the server puts names.
#[tokio::test]
async fn only_names_of_the_database_go_into_facts() {
    let world = World::new(
        "failures_names",
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE DOMAIN short AS text CONSTRAINT is_short CHECK (length(VALUE) < 3);
         CREATE TABLE parts (id int PRIMARY KEY, n int CONSTRAINT small CHECK (n < 9), s short) PARTITION BY RANGE (id);
         CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (100);
         CREATE TABLE dep (d text PRIMARY KEY); CREATE TABLE emp (id int PRIMARY KEY, d text CONSTRAINT works REFERENCES dep);
         CREATE TABLE later (id int PRIMARY KEY, d text CONSTRAINT waits REFERENCES dep DEFERRABLE INITIALLY DEFERRED);
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION 'no' USING ERRCODE = '23503', TABLE = NEW.v, SCHEMA = 'public', COLUMN = NEW.v,
                 CONSTRAINT = NEW.v, DETAIL = 'Key (d)=(1) is not present in table \"' || NEW.v || '\".';
         END $$;
         CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()",
    );
    let mut writer = world.writer().await;
    let error = writer.upsert("t", &["id", "v"], &[&["1", "\"canary\""]]).await.unwrap_err();
    assert_eq!((&error.column, &error.constraint), (&None, &None), "{error:?}");
    assert_ne!(error.table.as_deref(), Some("public.canary"), "{error:?}");
    assert!(!error.hint.unwrap().contains("canary"), "{}", error.message);
    let words = "\"x is not present in table \\\"canary\\\".\"";
    for (table, constraint) in [("emp", "works"), ("later", "waits")] {
        let error = writer.upsert(table, &["id", "d"], &[&["1", words]]).await.unwrap_err();
        assert_eq!(error.constraint.as_deref(), Some(constraint), "{error:?}");
        assert!(error.hint.as_deref().unwrap().starts_with("insert the missing row into dep on"), "{error:?}");
    }
    // Those of partitions and of domains are names as well.
    let error = writer.upsert("parts", &["id", "n"], &[&["1", "9"]]).await.unwrap_err();
    assert_eq!(error.constraint.as_deref(), Some("small"), "{error:?}");
    let error = writer.upsert("parts", &["id", "s"], &[&["1", "\"long\""]]).await.unwrap_err();
    assert_eq!(error.constraint.as_deref(), Some("is_short"), "{error:?}");
}
