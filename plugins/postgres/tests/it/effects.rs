//! Whether a write that met no error had its effect: what rules, row security and triggers make of it comes to light.

use ebb_sdk::{Checks, ErrorKind, Operation, Session as _};

use crate::world::{World, connect};

#[tokio::test]
async fn a_rule_that_keeps_rows_is_noticed() {
    let world = World::new(
        "effects_rule",
        "CREATE TABLE audit (id int PRIMARY KEY, v text); INSERT INTO audit VALUES (1, 'a');
         CREATE RULE forbid AS ON DELETE TO audit DO INSTEAD NOTHING;",
    );
    let mut writer = world.writer().await;
    let error = writer.delete("audit", &["id"], &[&["7"], &["1"]]).await.unwrap_err();
    assert_eq!((error.kind, error.conflict), (ErrorKind::Refused, false), "{error:?}");
    assert_eq!((error.table.as_deref(), error.key.as_deref()), (Some("public.audit"), Some("id=1")), "{error:?}");
    assert!(error.message.contains("still there") && error.hint.unwrap().contains("rules"), "{}", error.message);
    // A row that is not there needs no deleting.
    writer.delete("audit", &["id"], &[&["7"]]).await.unwrap();
}

#[tokio::test]
async fn rules_on_updates_are_noticed() {
    let world = World::new(
        "effects_update_rule",
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a');
         CREATE RULE forbid AS ON UPDATE TO t DO INSTEAD NOTHING;",
    );
    let mut writer = world.writer().await;
    writer.session.begin(Checks::Immediate).await.unwrap();
    let rows: [&[&str]; 2] = [&["1", "\"b\""], &["7", "\"b\""]];
    let error = writer.write("t", Operation::Update, &["id", "v"], &rows).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.message.contains("not every row was updated"), "{error:?}");
    writer.session.rollback().await.unwrap();
    // Rows that are not there are none that were kept.
    writer.session.begin(Checks::Immediate).await.unwrap();
    writer.write("t", Operation::Update, &["id", "v"], &rows[1..]).await.unwrap();
    writer.session.rollback().await.unwrap();
    writer.upsert("t", &["id", "v"], &[&["2", "\"c\""]]).await.unwrap_err();
}

#[tokio::test]
async fn row_security_hides_nothing() {
    let world = World::new(
        "effects_policy",
        "CREATE ROLE effects_app LOGIN PASSWORD 'p'; GRANT ALL ON SCHEMA public TO effects_app;
         CREATE TABLE t (id int PRIMARY KEY, tenant int, v text);
         GRANT SELECT, INSERT, UPDATE, DELETE ON t TO effects_app;
         ALTER TABLE t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON t FOR ALL TO effects_app USING (tenant = 1) WITH CHECK (true);
         INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b');",
    );
    let session = connect(&world.url_as("effects_app", "p")).await.unwrap();
    let mut writer = crate::world::Writer::new(session).await;
    let error = writer.delete("t", &["id"], &[&["2"]]).await.unwrap_err();
    assert!(error.message.contains("row-level security"), "{error}");
    assert_eq!(world.sql("SELECT count(*) FROM t"), "2");
    world.sql("DROP OWNED BY effects_app; DROP ROLE effects_app");
}

#[tokio::test]
async fn triggers_that_keep_or_move_rows_are_noticed() {
    let world = World::new(
        "effects_trigger",
        "CREATE TABLE kept (id int PRIMARY KEY, v text); CREATE TABLE again (id int PRIMARY KEY, v text);
         CREATE TABLE moved (id int PRIMARY KEY, v text);
         INSERT INTO kept VALUES (1, 'a'); INSERT INTO again VALUES (1, 'a');
         CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER keep BEFORE DELETE ON kept FOR EACH ROW EXECUTE FUNCTION keep();
         ALTER TABLE kept ENABLE ALWAYS TRIGGER keep;
         CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO again VALUES (OLD.id, OLD.v); RETURN NULL; END';
         CREATE TRIGGER again AFTER DELETE ON again FOR EACH ROW EXECUTE FUNCTION again();
         CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id := NEW.id + 100; RETURN NEW; END';
         CREATE TRIGGER move BEFORE INSERT ON moved FOR EACH ROW EXECUTE FUNCTION move();",
    );
    let mut writer = world.writer().await;
    for table in ["kept", "again"] {
        let error = writer.delete(table, &["id"], &[&["1"]]).await.unwrap_err();
        assert_eq!(error.key.as_deref(), Some("id=1"), "{error:?}");
        assert!(error.message.contains("still there") && error.hint.is_some(), "{error:?}");
        // The first one fires also while others are suspended.
        writer.session.begin(Checks::Suspended).await.unwrap();
        let deleted = writer.write(table, Operation::Delete, &["id"], &[&["1"]]).await;
        assert_eq!(deleted.is_err(), table == "kept");
        writer.session.rollback().await.unwrap();
    }
    let error = writer.upsert("moved", &["id", "v"], &[&["1", "\"a\""]]).await.unwrap_err();
    assert_eq!(error.key.as_deref(), Some("id=1"), "{error:?}");
    assert!(error.message.contains("not there") && error.hint.unwrap().contains("triggers"), "{}", error.message);
}

#[tokio::test]
async fn a_table_that_is_all_key_is_looked_at() {
    let world = World::new(
        "effects_keys",
        "CREATE TABLE tags (id int PRIMARY KEY);
         CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER skip BEFORE INSERT ON tags FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION skip();",
    );
    let mut writer = world.writer().await;
    writer.upsert("tags", &["id"], &[&["1"]]).await.unwrap();
    writer.upsert("tags", &["id"], &[&["1"], &["3"]]).await.unwrap();
    let error = writer.upsert("tags", &["id"], &[&["1"], &["2"]]).await.unwrap_err();
    assert_eq!((error.kind, error.key.as_deref()), (ErrorKind::Refused, Some("id=2")), "{error:?}");
}

#[tokio::test]
async fn rows_of_children_are_no_second_rows() {
    let world = World::new(
        "effects_children",
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE child () INHERITS (t);
         INSERT INTO t VALUES (1, 'a'); INSERT INTO child VALUES (1, 'b');",
    );
    let mut writer = world.writer().await;
    let error = writer.delete("t", &["id"], &[&["1"]]).await.unwrap_err();
    assert_eq!((error.kind, error.key.as_deref()), (ErrorKind::Refused, Some("id=1")), "{error:?}");
    assert!(error.message.contains("inherit") && error.hint.unwrap().contains("NO INHERIT"), "{}", error.message);
    assert_eq!(world.sql("SELECT count(*) FROM t"), "2");
}

#[tokio::test]
async fn looks_find_rows_by_their_keys() {
    let world = World::new(
        "effects_plans",
        "CREATE TABLE t (id int PRIMARY KEY) WITH (autovacuum_enabled = off);
         CREATE TABLE b (id bit(16) PRIMARY KEY) WITH (autovacuum_enabled = off);
         INSERT INTO t SELECT generate_series(1, 20000); INSERT INTO b SELECT i::bit(16) FROM generate_series(1, 20000) AS i;",
    );
    let mut writer = world.writer().await;
    let scans = "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname IN ('b', 't') ORDER BY 1";
    let before = world.sql(scans);
    let numbers: Vec<_> = (20001..=21000).map(|at: u32| at.to_string()).collect();
    let rows: Vec<_> = numbers.iter().map(|number| [number.as_str()]).collect();
    writer.delete("t", &["id"], &rows.iter().map(<[&str; 1]>::as_slice).collect::<Vec<_>>()).await.unwrap();
    writer.delete("b", &["id"], &[&["\"1111111111111111\""], &["\"0000000000000001\""]]).await.unwrap();
    writer.session.close().await;
    world.wait_for_no_session();
    assert_eq!(world.sql(scans), before);
    assert_eq!(world.sql("SELECT count(*) FROM b"), "19999");
}
