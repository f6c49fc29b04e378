//! Tables of ebb's name that other users of the database have made, or have a hand in.
//!
//! Owns: that nothing of theirs is run, read or written. Does not own: what is right in such a table (`progress`, `triggers`).

use ebb_sdk::Session as _;

use crate::own_tables::{progress_is_refused, statements};
use crate::world::{FEED, World, Writer, connect};

const PROGRESS: &str = "CREATE TABLE ebb_progress (feed text PRIMARY KEY, wall bigint NOT NULL, logical integer NOT NULL, \
    epoch bigint NOT NULL, writer bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(), alive_until timestamptz, note text)";

/// What is done to the table, and what the refusal says of it.
const PLANTED: &[(&str, &str)] = &[
    ("ALTER TABLE ebb_progress OWNER TO hostile_planter", "belongs to hostile_planter"),
    ("GRANT UPDATE, SELECT ON ebb_progress TO hostile_planter", "hostile_planter has UPDATE"),
    ("GRANT ALL ON ebb_progress TO PUBLIC", "PUBLIC has DELETE"),
    ("GRANT UPDATE (wall) ON ebb_progress TO hostile_planter", "hostile_planter has UPDATE"),
    (
        "CREATE TRIGGER \"Hit\" BEFORE INSERT OR UPDATE ON ebb_progress FOR EACH ROW EXECUTE FUNCTION hit()",
        "has the trigger Hit",
    ),
    ("CREATE RULE keep AS ON UPDATE TO ebb_progress DO ALSO SELECT hit_it()", "has the rule keep"),
    ("ALTER TABLE ebb_progress ENABLE ROW LEVEL SECURITY", "row security"),
    ("ALTER TABLE ebb_progress ADD COLUMN more int DEFAULT hit_it()", "has the column more"),
    ("ALTER TABLE ebb_progress ALTER COLUMN note SET DEFAULT hit_it()", "column note has the default"),
    ("ALTER TABLE ebb_progress ADD CONSTRAINT looks CHECK (hit_it() > 0) NOT VALID", "has the constraint looks"),
    ("CREATE INDEX looks ON ebb_progress (abs(wall))", "has the index looks"),
    ("ALTER TABLE ebb_progress SET UNLOGGED", "UNLOGGED"),
    ("ALTER TABLE ebb_progress ALTER COLUMN wall TYPE numeric", "column wall"),
    ("DROP TABLE ebb_progress; CREATE VIEW ebb_progress AS SELECT 1 AS feed", "no ordinary table"),
];

#[tokio::test]
async fn a_progress_table_in_which_others_have_a_hand_is_neither_read_nor_written() {
    let world = World::new(
        "hostile_progress",
        "CREATE ROLE hostile_planter; CREATE TABLE hits (id int); CREATE FUNCTION hit_it() RETURNS int LANGUAGE plpgsql AS $$ \
         BEGIN INSERT INTO hits VALUES (1); RETURN 1; END $$; \
         CREATE FUNCTION hit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM hit_it(); RETURN new; END $$;",
    );
    for (at, (plant, expected)) in PLANTED.iter().enumerate() {
        world.sql(&format!("DROP TABLE IF EXISTS ebb_progress; {PROGRESS}; {plant}"));
        let mut session = world.session().await;
        let hint = progress_is_refused(&mut session, FEED, plant, expected).await;
        assert_eq!(world.sql("SELECT count(*) FROM hits"), "0", "{plant}");
        let mend = statements(&hint).split_once(" Where the user").unwrap().0;
        world.sql(mend);
        session.take_over(FEED, 1).await.unwrap_or_else(|error| panic!("{plant}, {mend}: {error:?}"));
        world.sql(&format!("ALTER TABLE IF EXISTS ebb_progress_other RENAME TO aside_{at}"));
    }
}

#[tokio::test]
async fn a_record_of_triggers_in_which_others_have_a_hand_is_not_read() {
    let world = World::new(
        "hostile_record",
        "CREATE ROLE hostile_writer; CREATE TABLE t (id int PRIMARY KEY, v int); \
         CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$; \
         CREATE TRIGGER act BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION act(); \
         CREATE TABLE ebb_triggers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, saved text NOT NULL, \
         dropped_at timestamptz NOT NULL DEFAULT now()); GRANT INSERT ON ebb_triggers TO hostile_writer",
    );
    let mut writer = world.writer().await;
    let saved = crate::triggers::saved(&writer.catalog);
    let errors = [
        writer.session.saved_triggers("").await.unwrap_err(),
        writer.session.restore_triggers("", &saved).await.unwrap_err(),
        writer.session.drop_triggers(&saved).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.message.contains("hostile_writer has INSERT"), "{error:?}");
        assert!(error.hint.unwrap().contains("REVOKE ALL ON public.ebb_triggers FROM hostile_writer;"));
    }
    world.sql("REVOKE ALL ON ebb_triggers FROM hostile_writer");
    writer.session.drop_triggers(&saved).await.unwrap();
    assert_eq!(world.sql("SELECT count(*) FROM ebb_triggers"), "1");
}

#[tokio::test]
async fn what_default_privileges_give_to_others_is_taken_back() {
    let world = World::new(
        "hostile_default",
        "CREATE ROLE hostile_other; CREATE TABLE t (id int PRIMARY KEY); \
         ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO hostile_other",
    );
    let mut writer = Writer::new(connect(&world.url()).await.unwrap()).await;
    writer.upsert("t", &["id"], &[&["1"]]).await.unwrap();
    let writes = "SELECT has_table_privilege('hostile_other', 'ebb_progress', 'INSERT')";
    assert_eq!(world.sql(writes), "f");
}

/// A user with the rights that README names, on a table that an administrator has made.
#[tokio::test]
async fn a_table_that_an_administrator_made_for_ebb_is_taken() {
    let world = World::new(
        "hostile_not",
        &format!(
            "CREATE ROLE hostile_app LOGIN PASSWORD 'pw'; CREATE SCHEMA progress; SET search_path = progress; {PROGRESS}; \
             GRANT USAGE ON SCHEMA progress TO hostile_app; GRANT SELECT, INSERT, UPDATE ON ebb_progress TO hostile_app; \
             CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT, INSERT, UPDATE, DELETE ON t TO hostile_app;"
        ),
    );
    let url = format!("{}&search_path=progress", world.url_as("hostile_app", "pw"));
    let mut writer = Writer::new(connect(&url).await.unwrap()).await;
    writer.upsert("t", &["id"], &[&["1"]]).await.unwrap();
    assert_eq!(world.sql("SELECT count(*) FROM progress.t"), "1");
}
