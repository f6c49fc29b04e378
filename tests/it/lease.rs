//! Which process and which staging folder may apply a feed: one that is alive keeps others away, and a copy of the folder is
//! not the folder.

use ebb_servers::Flavour;

use crate::harness::client::hold;
use crate::harness::folders::{TABLE, begin, copy, folder, replicate, resume};
use crate::harness::pages::http_get;
use crate::harness::world::{Dialect, World, free_port, psql, wait_for};

/// The process counts as dead, as it would after a minute.
fn forget_signs_of_life(world: &World) {
    world.target("UPDATE ebb_progress SET alive_until = NULL");
}

fn elsewhere(world: &World, more: &str) -> String {
    let dir = world.dir().join("elsewhere");
    format!("--stagingSchema _replicator_1 -v --staging-dir {} {more}", dir.display())
}

#[test]
fn a_process_that_is_alive_keeps_others_away() {
    for dialect in [Dialect::Postgres, Dialect::MySql(Flavour::MariaDb)] {
        let world = World::with_target(dialect, "lease_alive", TABLE, TABLE);
        let mut first = world.fetch(&[]).ready();
        replicate(&world, &first, 1);
        let flags = elsewhere(&world, "--bindAddr 127.0.0.1:0");
        let line = world.fetch(&["--replicator-flags", &flags]).failure();
        assert!(line.contains("another ebb applies the feed _replicator_1") && line.contains("--take-over"), "{line}");
        first.must_run();
        replicate(&world, &first, 2);
        // After an orderly end the feed is free at once.
        first.stop();
        let second = world.fetch(&["--replicator-flags", &elsewhere(&world, "")]).ready();
        assert!(!second.log().contains("waiting up to"), "{}", second.log());
        replicate(&world, &second, 3);
        second.stop();
    }
}

#[test]
fn one_that_was_killed_is_waited_for_and_its_own_folder_is_not() {
    let world = World::new("lease_killed", TABLE);
    let ebb = world.fetch(&[]).ready();
    replicate(&world, &ebb, 1);
    ebb.kill9();
    let mut again = world.fetch(&[]);
    again.wait_line("using the running changefeed");
    assert!(!again.log().contains("waiting up to"), "{}", again.log());
    again.kill9();
    world.target("UPDATE ebb_progress SET alive_until = now() + interval '3 seconds'");
    let mut other = world.fetch(&["--replicator-flags", &elsewhere(&world, "")]);
    other.wait_line("waiting up to");
    replicate(&world, &other.ready(), 2);
}

#[test]
fn a_start_that_cannot_succeed_leaves_the_one_that_works() {
    let world = World::new("lease_port", TABLE);
    let mut first = world.fetch(&[]).ready();
    replicate(&world, &first, 1);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let flags = elsewhere(&world, &format!("--take-over --bindAddr 127.0.0.1:{port}"));
    let line = world.fetch(&["--replicator-flags", &flags]).failure();
    assert!(line.contains(&port.to_string()), "{line}");
    first.must_run();
    replicate(&world, &first, 2);
    first.stop();
}

#[test]
fn a_folder_that_was_used_since_elsewhere_is_refused() {
    let world = World::new("lease_copy", TABLE);
    begin(&world, 1);
    let backup = world.dir().join("backup");
    copy(&folder(&world), &backup);
    resume(&world, 2);
    std::fs::remove_dir_all(folder(&world)).expect("the folder");
    copy(&backup, &folder(&world));
    let line = world.fetch(&[]).failure();
    assert!(line.contains("is not the one that the feed _replicator_1 was staged in last"), "{line}");
    // The hint is the way out.
    std::fs::rename(folder(&world), world.dir().join("aside")).expect("moved away");
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("the staging folder is gone; replacing the changefeed");
    replicate(&world, &ebb, 3);
    ebb.stop();
}

#[test]
fn a_snapshot_of_a_folder_in_use_is_refused_once_more_was_staged() {
    let world = World::new("lease_snapshot", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    replicate(&world, &ebb, 1);
    let backup = world.dir().join("backup");
    copy(&folder(&world), &backup);
    // The target takes nothing more; what is acknowledged from now on stands in the folder alone.
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO t VALUES (2, 2)");
    wait_for("the row", || ebb.log(), || http_get(&pages, "/_/varz").contains("ebb_rows_received_total 2\n"));
    let staged = "SELECT (note::json -> 'staged' ->> 'wall')::numeric FROM ebb_progress";
    let before = world.target(staged);
    wait_for("a sign of life", || ebb.log(), || world.target(staged) > before);
    ebb.kill9();
    drop(gate);
    std::fs::remove_dir_all(folder(&world)).expect("the folder");
    copy(&backup, &folder(&world));
    forget_signs_of_life(&world);
    let line = world.fetch(&[]).failure();
    assert!(line.contains("is not the one that the feed _replicator_1 was staged in last"), "{line}");
    assert_eq!(world.target("SELECT count(*) FROM t"), "1");
}

#[test]
fn a_progress_row_that_is_gone_is_not_begun_anew() {
    for dialect in [Dialect::Postgres, Dialect::MySql(Flavour::MariaDb)] {
        let world = World::with_target(dialect, "lease_gone", TABLE, TABLE);
        begin(&world, 1);
        world.target("DELETE FROM ebb_progress");
        let line = world.fetch(&[]).failure();
        assert!(line.contains("no progress row of _replicator_1") && line.contains("--cursor"), "{line}");
        world.target("DROP TABLE ebb_progress");
        assert!(world.fetch(&[]).failure().contains("no progress row of _replicator_1"));
    }
}

#[test]
fn a_target_restored_from_a_backup_goes_on_from_an_intact_folder() {
    let world = World::new("lease_restored", TABLE);
    let ebb = world.fetch(&[]).ready();
    replicate(&world, &ebb, 1);
    let progress = world.target("SELECT wall || ',' || logical || ',' || epoch || ',' || writer FROM ebb_progress");
    let [wall, logical, epoch, writer] = progress.split(',').collect::<Vec<_>>()[..] else { panic!("{progress}") };
    ebb.stop();
    resume(&world, 2);
    // The state of before, as a backup has it.
    world.target(&format!(
        "DELETE FROM t WHERE id = 2; UPDATE ebb_progress SET wall = {wall}, logical = {logical}, epoch = {epoch}, \
         writer = {writer}, note = NULL"
    ));
    resume(&world, 3);
}

#[test]
fn a_target_of_another_run_is_refused_though_it_has_seen_fewer_starts() {
    let (one, two) = (World::new("mistake_one", TABLE), World::new("mistake_two", TABLE));
    let ebb = two.fetch(&[]).ready();
    replicate(&two, &ebb, 100);
    ebb.stop();
    one.fetch(&[]).ready().stop();
    for id in 1..=3 {
        let ebb = one.fetch(&[]);
        replicate(&one, &ebb, id);
        ebb.stop();
    }
    let line = one.fetch(&["--target", &two.target_url()]).failure();
    assert!(line.contains("does not know this staging folder") && line.contains("another run"), "{line}");
    assert_eq!(two.target("SELECT string_agg(id::text, ',') FROM t"), "100");
}

#[test]
fn another_database_of_the_source_is_refused() {
    let world = World::new("mistake_database", TABLE);
    world.source("CREATE DATABASE mistake_other");
    let other = world.source_url().replace("/mistake_database?", "/mistake_other?");
    psql(&other, TABLE).expect("the other database");
    begin(&world, 1);
    let line = world.fetch(&["--source", &other]).failure();
    assert!(
        line.contains("from the database mistake_database")
            && line.contains("error_code\":\"EBB-K041\"")
            && line.contains("mistake_other"),
        "{line}"
    );
    resume(&world, 2);
}

#[test]
fn what_nobody_agrees_to_ends_no_run() {
    let world = World::new("mistake_consent", TABLE);
    let mut first = world.fetch(&[]).ready();
    replicate(&world, &first, 1);
    let settings = world.dir().join("changefeed-secure.json").display().to_string();
    let elsewhere = world.dir().join("elsewhere").display().to_string();
    let flags =
        format!("--stagingSchema _replicator_1 -v --take-over --bindAddr 127.0.0.1:0 --staging-dir {elsewhere}");
    let (source, target) = (world.source_url(), world.target_url());
    let command = ["fetch", "--mode", "failback", "--source", &source, "--target", &target];
    let more = ["--changefeeds-path", &settings, "--replicator-flags", &flags];
    // Not --non-interactive, and nobody sits at a terminal.
    let line = world.ebb(&[&command[..], &more].concat()).failure();
    assert!(
        line.contains("this staging folder has no rows of _replicator_1") && line.contains("error_code\":\"EBB-C026\""),
        "{line}"
    );
    first.must_run();
    replicate(&world, &first, 2);
    first.stop();
}

/// Also one whose transaction hangs acknowledges nothing for long that is meant for its successor.
#[test]
fn a_process_that_was_overtaken_ends_while_its_target_hangs() {
    let world = World::new("mistake_overtaken", TABLE);
    let mut ebb = world.fetch(&[]).ready();
    replicate(&world, &ebb, 1);
    let _gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO t VALUES (2, 2)");
    world.target("UPDATE ebb_progress SET epoch = epoch + 1");
    assert_eq!(ebb.wait().code(), Some(1), "{}", ebb.log());
    assert!(ebb.log().contains("another ebb has taken over feed"), "{}", ebb.log());
}
