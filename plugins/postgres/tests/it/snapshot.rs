//! Several sessions that read the target at one instant, while others write.

use ebb_sdk::{ErrorKind, Join, Session as _};

use crate::reader::Reader;
use crate::world::{FEED, World, connect, table_of};

#[tokio::test]
async fn every_session_reads_one_instant_while_a_writer_goes_on() {
    let world = World::new("snapshot_instant", "CREATE TABLE t (id int PRIMARY KEY, v int)");
    let mut writer = world.writer().await;
    writer.upsert("t", &["id", "v"], &[&["1", "1"], &["2", "1"]]).await.unwrap();

    let mut freezing = world.session().await;
    let frozen = freezing.freeze(FEED).await.unwrap();
    assert_eq!(frozen.progress, writer.progress);
    let mut readers = Vec::new();
    for at in 3..6 {
        // Nobody waits for a snapshot.
        writer.upsert("t", &["id", "v"], &[&["1", "2"], &[&at.to_string(), "1"]]).await.unwrap();
        readers.push(Reader::join(world.session().await, &frozen).await);
    }
    freezing.thaw().await.unwrap();
    writer.delete("t", &["id"], &[&["2"]]).await.unwrap();

    for mut reader in readers {
        assert_eq!(reader.progress, frozen.progress);
        let table = table_of(&reader.catalog, "t").clone();
        assert_eq!(reader.session.count(&table).await.unwrap(), 2);
        let compared = reader.compare("t", &["id", "v"], &[&["1", "1"], &["2", "1"], &["3", "1"]]).await;
        assert_eq!((compared.missing, compared.different), (vec![2], vec![]));
        assert_eq!(reader.session.count(&table).await.unwrap(), 2);
        reader.session.rollback().await.unwrap();
        assert_eq!(reader.session.progress(FEED).await.unwrap().unwrap(), writer.progress);
    }
    // The session that froze is free for another turn, and sees what came since.
    let again = freezing.freeze(FEED).await.unwrap();
    assert_eq!(again.progress, writer.progress);
    freezing.thaw().await.unwrap();
}

#[tokio::test]
async fn a_snapshot_changes_nothing_and_outlives_every_limit_of_a_session() {
    let world = World::new("snapshot_limits", "CREATE TABLE t (id int PRIMARY KEY)");
    drop(world.writer().await);
    let mut freezing = world.session().await;
    let frozen = freezing.freeze(FEED).await.unwrap();
    let mut reader = Reader::join(world.session().await, &frozen).await;
    let table = table_of(&reader.catalog, "t").clone();
    reader.session.count(&table).await.unwrap();
    let open = "SELECT string_agg(DISTINCT state, ',') FROM pg_stat_activity
         WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()";
    assert_eq!(world.sql(open), "idle in transaction");
    let writing = "SELECT count(backend_xid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(world.sql(writing), "0");
    // It can be left, and joined again as long as it is kept.
    reader.session.rollback().await.unwrap();
    let join = Join { feed: FEED.into(), snapshot: frozen.snapshot.clone() };
    assert_eq!(reader.session.join(&join).await.unwrap(), frozen.progress);
    reader.session.rollback().await.unwrap();
    freezing.thaw().await.unwrap();
    let error = reader.session.join(&join).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retry, "{error:?}");
    assert!(error.hint.unwrap().contains("take another one"));
    reader.session.rollback().await.unwrap();
    let quoted = Join { feed: FEED.into(), snapshot: "'; DROP TABLE t; --".into() };
    assert!(reader.session.join(&quoted).await.is_err());
    reader.session.rollback().await.unwrap();
    assert_eq!(world.sql("SELECT count(*) FROM t"), "0");
}

#[tokio::test]
async fn without_a_progress_row_there_is_nothing_to_compare_with() {
    let world = World::new("snapshot_nothing", "CREATE TABLE t (id int PRIMARY KEY)");
    let mut session = world.session().await;
    for is_there in [false, true] {
        if is_there {
            drop(world.writer().await);
        }
        let error = session.freeze("other").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error:?}");
        assert!(error.message.contains("no progress row of other"), "{error}");
        assert!(error.hint.as_ref().unwrap().contains("SELECT feed FROM \"public\".ebb_progress;"), "{error:?}");
        session.rollback().await.unwrap();
    }
    session.freeze(FEED).await.unwrap();
}

#[tokio::test]
async fn rows_that_a_policy_hides_are_not_taken_for_missing() {
    let world = World::new(
        "snapshot_policy",
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON t USING (false);
         CREATE TABLE u (id int PRIMARY KEY); CREATE ROLE snapshot_app LOGIN PASSWORD 'x';
         GRANT SELECT ON t TO snapshot_app;",
    );
    drop(world.writer().await);
    world.sql("GRANT SELECT ON ebb_progress TO snapshot_app");
    let mut freezing = world.session().await;
    let frozen = freezing.freeze(FEED).await.unwrap();
    for (name, expected) in [("t", "ALTER ROLE \"snapshot_app\" BYPASSRLS"), ("u", "GRANT SELECT ON \"public\".\"u\"")]
    {
        let session = connect(&world.url_as("snapshot_app", "x")).await.unwrap();
        let mut reader = Reader::join(session, &frozen).await;
        let table = table_of(&reader.catalog, name).clone();
        let error = reader.session.count(&table).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error:?}");
        assert!(error.hint.as_ref().unwrap().contains(expected), "{error:?}");
    }
}
