//! Several sessions on one snapshot, while a writer goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ebb_mysql::Session;
use ebb_sdk::{Checks, ErrorKind, Frozen, Join, Operation, Progress, Session as _};
use ebb_servers::Flavour;

use crate::world::{FEED, World, connect_with, table_of};

/// Sessions that stand on one snapshot, made by one more.
pub(crate) async fn joined(world: &World, count: usize) -> (Frozen, Vec<Session>) {
    let mut readers = Vec::new();
    for _ in 0..count {
        let mut reader = world.session().await;
        reader.describe().await.expect("a catalog");
        readers.push(reader);
    }
    let mut freezer = world.session().await;
    let frozen = freezer.freeze(FEED).await.expect("a frozen target");
    for reader in &mut readers {
        assert_eq!(join(reader, &frozen).await, frozen.progress);
    }
    freezer.thaw().await.expect("its end");
    (frozen, readers)
}

async fn join(reader: &mut Session, frozen: &Frozen) -> Progress {
    reader.join(&Join { feed: FEED.into(), snapshot: frozen.snapshot.clone() }).await.expect("a snapshot")
}

/// Each transaction of the writer adds one row, so that a snapshot has as many rows as its progress says.
#[tokio::test]
async fn sessions_see_one_instant_while_a_writer_goes_on() {
    for world in World::both("snapshot_writer", "CREATE TABLE t (id BIGINT PRIMARY KEY, v INT)") {
        let (ends, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut writer = world.writer().await;
        let (stop, counter) = (Arc::clone(&ends), Arc::clone(&committed));
        let writing = tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let next = (writer.progress.applied.wall + 1).to_string();
                writer.upsert("t", &["id", "v"], &[&[&next, "1"]]).await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        let mut last = 0;
        for _ in 0..10 {
            let before = committed.load(Ordering::SeqCst);
            let (frozen, mut readers) = joined(&world, 3).await;
            // Others commit after that, and a snapshot does not see it.
            while committed.load(Ordering::SeqCst) < before + 5 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let catalog = world.session().await.describe().await.unwrap();
            for reader in &mut readers {
                let rows = reader.count(table_of(&catalog, "t")).await.unwrap();
                assert_eq!(rows, frozen.progress.applied.wall as u64, "{:?}", world.flavour);
                assert_eq!(reader.progress(FEED).await.unwrap(), Some(frozen.progress));
                reader.touch().await.unwrap();
                reader.rollback().await.unwrap();
            }
            assert!(frozen.progress.applied.wall as u64 >= last);
            last = frozen.progress.applied.wall as u64;
        }
        ends.store(true, Ordering::SeqCst);
        writing.await.unwrap();
        assert!(last > 0);
    }
}

#[tokio::test]
async fn a_frozen_target_keeps_a_writer_waiting_and_no_longer() {
    for world in World::both("snapshot_frozen", "CREATE TABLE t (id INT PRIMARY KEY, v INT)") {
        let mut writer = world.writer().await;
        writer.upsert("t", &["id", "v"], &[&["1", "1"]]).await.unwrap();
        let mut freezer = world.session().await;
        let frozen = freezer.freeze(FEED).await.unwrap();
        assert_eq!(frozen.progress, writer.progress);
        writer.session.begin(Checks::Immediate).await.unwrap();
        writer.write("t", Operation::Upsert, &["id", "v"], &[&["2", "2"]]).await.unwrap();
        {
            let commit = std::pin::pin!(writer.commit());
            let early = tokio::time::timeout(Duration::from_millis(300), commit).await;
            assert!(early.is_err(), "{:?}: {early:?}", world.flavour);
        }
        // The connection is in the middle of an answer: it cannot be used again.
        drop(writer);
        freezer.thaw().await.unwrap();
        let mut writer = world.writer().await;
        writer.upsert("t", &["id", "v"], &[&["3", "3"]]).await.unwrap();
    }
}

#[tokio::test]
async fn without_a_progress_row_there_is_nothing_to_compare() {
    for world in World::both("snapshot_none", "") {
        let mut session = world.session().await;
        for _ in 0..2 {
            for error in [
                session.freeze(FEED).await.unwrap_err(),
                session.join(&Join { feed: FEED.into(), snapshot: String::new() }).await.unwrap_err(),
            ] {
                assert_eq!(error.kind, ErrorKind::Config, "{error:?}");
                assert!(error.message.contains("nothing was ever applied") && error.hint.is_some(), "{error:?}");
            }
            // It ends what had begun.
            session.rollback().await.unwrap();
            world.session().await.take_over("another", 1).await.unwrap();
        }
    }
}

/// A lock that another session holds ends the waiting at last.
#[tokio::test]
async fn freezing_waits_only_so_long_for_a_writer() {
    for world in World::both("snapshot_wait", "") {
        let mut holder = world.writer().await.session;
        holder.freeze(FEED).await.unwrap();
        let mut second = connect_with(&world.url(), true, 2_000).await.unwrap();
        let error = second.freeze(FEED).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Retry, Some("1205")), "{error:?}");
        second.rollback().await.unwrap();
        holder.thaw().await.unwrap();
        second.freeze(FEED).await.unwrap();
        second.thaw().await.unwrap();
    }
}

/// Whatever the limits of applying are, a snapshot outlives them; and after it they hold again.
#[tokio::test]
async fn a_snapshot_outlives_the_limits_of_applying() {
    for world in World::both("snapshot_limits", "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)") {
        world.writer().await;
        let mut reader = connect_with(&world.url(), true, 2_000).await.unwrap();
        let catalog = reader.describe().await.expect("a catalog");
        reader.join(&Join { feed: FEED.into(), snapshot: String::new() }).await.unwrap();
        // MariaDB ends a transaction of the applier after ten seconds.
        let idle = if world.flavour == Flavour::MariaDb { 12 } else { 4 };
        tokio::time::sleep(Duration::from_secs(idle)).await;
        world.sql("INSERT INTO t VALUES (2)");
        assert_eq!(reader.count(table_of(&catalog, "t")).await.unwrap(), 1);
        reader.rollback().await.unwrap();
        assert_eq!(reader.count(table_of(&catalog, "t")).await.unwrap(), 2);
        reader.begin(Checks::Immediate).await.unwrap();
        reader.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn a_table_that_was_altered_begins_the_comparison_again() {
    for world in World::both("snapshot_altered", "CREATE TABLE t (id INT PRIMARY KEY, v INT)") {
        world.writer().await;
        let (_, mut readers) = joined(&world, 1).await;
        let catalog = world.session().await.describe().await.unwrap();
        world.sql("ALTER TABLE t MODIFY v BIGINT, ALGORITHM = COPY");
        let error = readers[0].count(table_of(&catalog, "t")).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Retry, Some("1412")), "{error:?}");
        assert!(error.hint.unwrap().contains("altered"));
    }
}
