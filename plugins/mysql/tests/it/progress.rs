//! The progress row: one per feed, moved with the data, fenced by its epoch.

use ebb_sdk::{Checks, ErrorKind, LeaseRenewal, LeaseState, Operation, Progress, Session as _, Timestamp};

use crate::world::{FEED, World, Writer, connect};

const TABLE: &str = "CREATE TABLE t (id INT PRIMARY KEY)";

#[tokio::test]
async fn it_begins_at_nothing_and_moves_with_the_data() {
    for world in World::both("progress_begin", TABLE) {
        let mut session = world.session().await;
        assert_eq!(session.progress(FEED).await.unwrap(), None);
        let begun = session.take_over(FEED, 42).await.unwrap();
        assert_eq!(begun, Progress { applied: Timestamp::default(), epoch: 1, writer: 42 });
        let mut writer = Writer::new(session).await;
        assert_eq!((writer.progress.epoch, writer.progress.writer), (2, 1));
        writer.upsert("t", &["id"], &[&["1"]]).await.unwrap();
        assert_eq!(writer.session.progress(FEED).await.unwrap(), Some(writer.progress));
        assert_eq!(writer.session.progress("/other").await.unwrap(), None);
        assert!(writer.session.describe().await.unwrap().tables.iter().all(|table| table.name != "ebb_progress"));
        // A rolled back transaction moves nothing.
        writer.session.begin(Checks::Immediate).await.unwrap();
        writer.write("t", Operation::Upsert, &["id"], &[&["2"]]).await.unwrap();
        writer.session.rollback().await.unwrap();
        assert_eq!(writer.session.progress(FEED).await.unwrap(), Some(writer.progress));
        assert_eq!(world.sql("SELECT COUNT(*) FROM t"), "1");
    }
}

#[tokio::test]
async fn a_writer_that_was_overtaken_cannot_commit() {
    for world in World::both("progress_fence", TABLE) {
        let mut first = world.writer().await;
        first.session.begin(Checks::Immediate).await.unwrap();
        first.write("t", Operation::Upsert, &["id"], &[&["1"]]).await.unwrap();
        let mut second = world.writer().await;
        let error = first.commit().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Broken, "{error:?}");
        assert!(error.message.contains("another ebb has taken over"), "{error:?}");
        assert_eq!(world.sql("SELECT COUNT(*) FROM t"), "0");
        second.upsert("t", &["id"], &[&["2"]]).await.unwrap();
        world.sql("UPDATE ebb_progress SET wall = 99");
        let error = second.upsert("t", &["id"], &[&["3"]]).await.unwrap_err();
        assert!(error.message.contains("stands at 99") && error.hint.is_some(), "{error:?}");
        world.sql("DELETE FROM ebb_progress");
        let error = second.upsert("t", &["id"], &[&["3"]]).await.unwrap_err();
        assert!(error.message.contains("is gone"), "{error:?}");
        assert_eq!(world.sql("SELECT * FROM t"), "2");
    }
}

#[tokio::test]
async fn a_missing_right_is_named_with_the_statements_that_give_it() {
    for world in World::both("progress_rights", TABLE) {
        world.sql("CREATE USER 'app x'@'%' IDENTIFIED BY 'pw'; GRANT SELECT, INSERT, UPDATE, DELETE ON progress_rights.t TO 'app x'@'%'");
        let mut session = connect(&world.url_as("app%20x", "pw")).await.unwrap();
        let error = session.take_over(FEED, 1).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error:?}");
        let hint = error.hint.unwrap();
        world.sql(hint.strip_prefix("as an administrator of the target: ").unwrap());
        let mut writer = Writer::new(session).await;
        writer.upsert("t", &["id"], &[&["1"]]).await.unwrap();
        let error = connect(&world.url_as("app%20x", "pw")).await.unwrap().take_over("/2", 1).await;
        assert!(error.is_ok(), "{error:?}");
    }
}

#[tokio::test]
async fn a_sign_of_life_ends_by_itself_or_when_it_is_said() {
    for world in World::both("progress_lease", TABLE) {
        // As a version without signs of life has left it.
        world.sql(
            "CREATE TABLE ebb_progress (feed VARCHAR(255) PRIMARY KEY, wall bigint NOT NULL, logical INT NOT NULL, \
             epoch bigint NOT NULL, writer bigint NOT NULL, updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))",
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
}
