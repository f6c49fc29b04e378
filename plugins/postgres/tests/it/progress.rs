//! The progress row: who may move it, and that it moves with the data or not at all.

use ebb_sdk::{Checks, ErrorKind, LeaseRenewal, LeaseState, Operation, Session as _, Timestamp};

use crate::world::{FEED, World, Writer, connect};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

#[tokio::test]
async fn it_begins_and_moves_with_the_data() {
    let world = World::new("progress_moves", TABLE);
    let mut session = world.session().await;
    assert_eq!(session.progress(FEED).await.unwrap(), None, "without a table");
    assert_eq!(world.sql("SELECT to_regclass('ebb_progress') IS NULL"), "t");
    let mut writer = Writer::new(session).await;
    assert_eq!((writer.progress.applied, writer.progress.epoch), (Timestamp::ZERO, 1));
    assert_eq!(writer.session.progress("/other").await.unwrap(), None, "without a row");
    writer.upsert("t", &["id"], &[&["1"]]).await.unwrap();
    writer.upsert("t", &["id"], &[&["2"]]).await.unwrap();
    assert_eq!(writer.session.progress(FEED).await.unwrap(), Some(writer.progress));
    assert_eq!(world.sql("SELECT wall, logical, epoch FROM ebb_progress"), "2|7|1");
    assert_eq!(world.sql("SELECT count(*) FROM t"), "2");
    let again = Writer::new(world.session().await).await;
    assert_eq!((again.progress.applied, again.progress.epoch), (writer.progress.applied, 2));
}

#[tokio::test]
async fn a_rollback_leaves_nothing() {
    let world = World::new("progress_rollback", TABLE);
    let mut writer = world.writer().await;
    writer.session.begin(Checks::Immediate).await.unwrap();
    writer.write("t", Operation::Upsert, &["id"], &[&["1"]]).await.unwrap();
    writer.session.rollback().await.unwrap();
    writer.upsert("t", &["id"], &[&["2"]]).await.unwrap();
    assert_eq!(world.sql("SELECT id FROM t"), "2");
}

#[tokio::test]
async fn two_at_once_get_different_epochs() {
    let world = World::new("progress_race", TABLE);
    let (mut a, mut b, mut c) = tokio::join!(world.session(), world.session(), world.session());
    let (a, b, c) = tokio::join!(a.take_over(FEED, 1), b.take_over(FEED, 1), c.take_over(FEED, 1));
    let mut epochs = [a.unwrap().epoch, b.unwrap().epoch, c.unwrap().epoch];
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 2, 3]);
}

#[tokio::test]
async fn the_first_writer_is_fenced_off_by_the_second() {
    let world = World::new("progress_fence", TABLE);
    let mut first = world.writer().await;
    first.upsert("t", &["id"], &[&["1"]]).await.unwrap();
    first.session.begin(Checks::Immediate).await.unwrap();
    first.write("t", Operation::Upsert, &["id"], &[&["2"]]).await.unwrap();
    let mut second = world.writer().await;
    let error = first.commit().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Broken);
    assert!(error.message.contains("another ebb has taken over feed /db/public") && error.hint.is_some(), "{error}");
    second.upsert("t", &["id"], &[&["3"]]).await.unwrap();
    assert_eq!(world.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM t"), "1,3");
    // The session of the first is usable still, and still fenced.
    first.session.rollback().await.unwrap();
    assert_eq!(first.upsert("t", &["id"], &[&["4"]]).await.unwrap_err().kind, ErrorKind::Broken);
    assert_eq!(world.sql("SELECT count(*) FROM t"), "2");
}

#[tokio::test]
async fn a_row_moved_by_hand_stops() {
    let world = World::new("progress_moved", TABLE);
    let mut writer = world.writer().await;
    world.sql("UPDATE ebb_progress SET wall = 99");
    let error = writer.upsert("t", &["id"], &[&["1"]]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Broken);
    assert!(error.message.contains("stands at 99.0000000000, and was left at 0.0000000000"), "{error}");
    world.sql("DELETE FROM ebb_progress");
    let error = writer.upsert("t", &["id"], &[&["1"]]).await.unwrap_err();
    assert!(error.kind == ErrorKind::Broken && error.message.contains("is gone"), "{error}");
    assert_eq!(world.sql("SELECT count(*) FROM t"), "0");
}

#[tokio::test]
async fn a_constraint_that_fails_at_commit_applies_nothing() {
    let world = World::new(
        "progress_deferred",
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, up int CONSTRAINT c_up REFERENCES p
             DEFERRABLE INITIALLY DEFERRED);",
    );
    let mut writer = world.writer().await;
    let error = writer.upsert("c", &["id", "up"], &[&["1", "5"]]).await.unwrap_err();
    assert_eq!((error.kind, error.constraint.as_deref()), (ErrorKind::Refused, Some("c_up")), "{error}");
    assert!(error.message.contains("(up)=(5)"), "{error}");
    assert_eq!(world.sql("SELECT (SELECT count(*) FROM c), wall FROM ebb_progress"), "0|0");
    // Children first is fine, as long as the parents come before the end.
    writer.session.begin(Checks::Immediate).await.unwrap();
    writer.write("c", Operation::Upsert, &["id", "up"], &[&["1", "5"]]).await.unwrap();
    writer.write("p", Operation::Upsert, &["id"], &[&["5"]]).await.unwrap();
    writer.commit().await.unwrap();
    assert_eq!(world.sql("SELECT (SELECT count(*) FROM c), wall FROM ebb_progress"), "1|1");
}

#[tokio::test]
async fn a_missing_right_is_mended_with_the_words_given() {
    let world = World::new(
        "progress_rights",
        "CREATE ROLE \"Small\" LOGIN PASSWORD 'pw'; REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE TABLE t (id int PRIMARY KEY);
         GRANT SELECT, INSERT, UPDATE, DELETE ON t TO \"Small\";",
    );
    let mut session = connect(&world.url_as("Small", "pw")).await.unwrap();
    let error = session.take_over(FEED, 1).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Config, Some("42501")), "{error}");
    let hint = error.hint.unwrap();
    let statements = hint.strip_prefix("as an administrator of the target: ").unwrap();
    world.sql(statements);
    let mut writer = Writer::new(session).await;
    writer.upsert("t", &["id"], &[&["1"]]).await.unwrap();
    assert_eq!(world.sql("SELECT count(*) FROM t"), "1");
}

#[tokio::test]
async fn a_sign_of_life_ends_by_itself_or_when_it_is_said() {
    let world = World::new("progress_lease", TABLE);
    // As a version without signs of life has left it.
    world.sql(
        "CREATE TABLE ebb_progress (feed text PRIMARY KEY, wall bigint NOT NULL, logical integer NOT NULL, \
         epoch bigint NOT NULL, writer bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now())",
    );
    let mut session = world.session().await;
    assert_eq!(session.lease_state(FEED).await.unwrap(), None, "without the columns");
    let mut writer = Writer::new(world.session().await).await;
    let lease = |alive_ms, note: Option<&str>| LeaseRenewal {
        feed: FEED.into(),
        epoch: writer.progress.epoch,
        alive_ms,
        note: note.map(str::to_owned),
    };
    assert_eq!(session.lease_state(FEED).await.unwrap(), Some(LeaseState::default()));
    session.renew(&lease(60_000, Some("{}"))).await.unwrap();
    let held = session.lease_state(FEED).await.unwrap().unwrap();
    assert!((50_000..=60_000).contains(&held.alive_ms) && held.note.as_deref() == Some("{}"), "{held:?}");
    session.renew(&lease(0, None)).await.unwrap();
    assert_eq!(session.lease_state(FEED).await.unwrap(), Some(LeaseState { alive_ms: 0, note: Some("{}".into()) }));
    let late = lease(60_000, None);
    writer.upsert("t", &["id"], &[&["1"]]).await.unwrap();
    let _second = world.writer().await;
    let error = session.renew(&late).await.unwrap_err();
    assert!(error.kind == ErrorKind::Broken && error.message.contains("another ebb has taken over"), "{error:?}");
    world.sql("DELETE FROM ebb_progress");
    assert!(session.renew(&late).await.unwrap_err().message.contains("is gone"));
    assert_eq!(session.lease_state(FEED).await.unwrap(), None);
}

/// A trigger of its owner's would run with the rights of ebb's user.
#[tokio::test]
async fn a_progress_table_of_somebody_else_is_not_written_to() {
    let world = World::new(
        "progress_owner",
        "CREATE ROLE planter; CREATE TABLE ebb_progress (feed text PRIMARY KEY, wall bigint NOT NULL, \
         logical integer NOT NULL, epoch bigint NOT NULL, writer bigint NOT NULL, \
         updated_at timestamptz NOT NULL DEFAULT now(), alive_until timestamptz, note text); \
         CREATE TABLE hit (who text); \
         CREATE FUNCTION hit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO hit VALUES (current_user); \
         RETURN new; END $$; \
         CREATE TRIGGER hit BEFORE INSERT ON ebb_progress FOR EACH ROW EXECUTE FUNCTION hit(); \
         ALTER TABLE ebb_progress OWNER TO planter",
    );
    let mut session = world.session().await;
    let error = session.take_over(FEED, 1).await.unwrap_err();
    assert!(error.kind == ErrorKind::Config && error.message.contains("belongs to planter"), "{error:?}");
    assert_eq!(world.sql("SELECT count(*) FROM hit"), "0");
    assert!(error.hint.unwrap().contains("OWNER TO"));
    world.sql("DROP TRIGGER hit ON ebb_progress; ALTER TABLE ebb_progress OWNER TO postgres");
    session.take_over(FEED, 1).await.unwrap();
}
