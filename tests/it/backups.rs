//! Folders and targets that were put back from a backup, folders that were mistaken, starts that failed half way.

use std::process::Command;

use crate::harness::client::hold;
use crate::harness::folders::{TABLE, backup_of_progress, begin, copy, folder, replicate, resume};
use crate::harness::forward::{dead_url, forward};
use crate::harness::pages::status;
use crate::harness::world::{Dialect, World, free_port, wait_for};

fn restore_target(world: &World, backup: &str) {
    world.target("DELETE FROM t WHERE id > 1");
    world.target(backup);
}

/// A user that may not create changefeeds.
fn powerless(world: &World) -> String {
    world.source("CREATE USER app; GRANT ALL ON t TO app");
    world.source("GRANT SYSTEM VIEWCLUSTERSETTING TO app");
    world.source_url_as("app")
}

#[test]
fn a_target_older_than_the_folder_is_refused() {
    let world = World::new("restored_target", TABLE);
    begin(&world, 1);
    let backup = backup_of_progress(&world);
    resume(&world, 2);
    // The folder is lost, and a new one begins behind row 2.
    std::fs::rename(folder(&world), world.dir().join("aside")).expect("moved aside");
    resume(&world, 3);
    restore_target(&world, &backup);
    let line = world.fetch(&[]).failure();
    assert!(
        line.contains("does not know this staging folder") && line.contains("move the staging folder aside"),
        "{line}"
    );
    std::fs::rename(folder(&world), world.dir().join("aside too")).expect("moved aside");
    resume(&world, 4);
}

#[test]
fn a_folder_and_a_target_of_one_backup_lose_nothing() {
    let world = World::new("restored_both", TABLE);
    begin(&world, 1);
    let backup = backup_of_progress(&world);
    copy(&folder(&world), &world.dir().join("backup"));
    let ebb = world.fetch(&[]);
    replicate(&world, &ebb, 2);
    replicate(&world, &ebb, 3);
    ebb.stop();
    std::fs::remove_dir_all(folder(&world)).expect("the folder");
    copy(&world.dir().join("backup"), &folder(&world));
    restore_target(&world, &backup);
    // Nobody but the source knows what is missing.
    let line = world.fetch(&["--source", &dead_url(&world, free_port())]).failure();
    assert!(
        line.contains("only CockroachDB can say whether") && line.contains("EBB-C027") && line.contains("--apply-only"),
        "{line}"
    );
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("sends again from where the folder is complete");
    replicate(&world, &ebb, 4);
    ebb.stop();
    // From now on it is known.
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("using the running changefeed");
    replicate(&world, &ebb, 5);
    ebb.stop();
}

#[test]
fn a_first_start_that_fails_moves_nothing() {
    let world = World::new("restored_first", TABLE);
    let before = world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
    world.source("INSERT INTO t VALUES (1, 1)");
    let line = world.fetch(&["--source", &powerless(&world)]).failure();
    assert!(line.contains("CHANGEFEED privilege"), "{line}");
    assert_eq!(world.target("SELECT max(wall) FROM ebb_progress"), "0");
    let mut ebb = world.fetch(&["--cursor", &before]);
    ebb.wait_line(&format!("new run: changes after {before} are replicated"));
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn a_wrong_folder_does_not_disown_the_right_one() {
    let world = World::new("restored_wrong", TABLE);
    let source = powerless(&world);
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    replicate(&world, &ebb, 1);
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO t VALUES (2, 2)");
    let now = world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
    wait_for("a resolved timestamp", || ebb.log(), || status(&pages)["resolved"].as_str() > Some(&now));
    ebb.stop();
    drop(gate);
    let elsewhere =
        format!("--stagingSchema _replicator_1 -v --staging-dir {}", world.dir().join("elsewhere").display());
    let line = world.fetch(&["--source", &source, "--replicator-flags", &elsewhere]).failure();
    assert!(line.contains("CHANGEFEED privilege") || line.contains("has delivered rows to it"), "{line}");
    // Neither waited for, nor refused.
    let ebb = world.fetch(&[]);
    world.wait_equal(&ebb, &["t"]);
    assert!(!ebb.log().contains("waiting up to"), "{}", ebb.log());
    ebb.stop();
}

#[test]
fn a_copy_waits_for_the_process_that_is_alive_when_its_target_comes_back() {
    let world = World::with_own_target(Dialect::Postgres, "restored_copy", TABLE, TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    let mut first = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    replicate(&world, &first, 1);
    std::fs::create_dir_all(world.dir().join("elsewhere")).expect("a folder");
    copy(&folder(&world), &world.dir().join("elsewhere/_replicator_1"));
    let port = free_port();
    let target = world.target_url().replace(&format!(":{}/", world.proxy().port()), &format!(":{port}/"));
    let elsewhere = world.dir().join("elsewhere");
    // Without a source of its own it cannot ask what it lacks.
    let (dir, ca) = (elsewhere.display().to_string(), world.certs().ca().display().to_string());
    let run = ["start", "--targetConn", &target, "--stagingSchema", "_replicator_1", "--staging-dir", &dir];
    let receiver = ["--bindAddr", "127.0.0.1:0", "--allow-tls-mode-disable", "-v", "--tlsClientCA", &ca];
    let mut second = world.ebb(&[&run[..], &receiver].concat());
    second.wait_line("receiving goes on while the target is down");
    let _forward = forward(port, world.proxy().port());
    assert_eq!(second.wait().code(), Some(1), "{}", second.log());
    assert!(second.log().contains("another ebb applies the feed _replicator_1"), "{}", second.log());
    first.must_run();
    replicate(&world, &first, 2);
    first.stop();
}

/// As `rsync -a --delete` and `tar x` do it.
#[test]
fn files_that_are_put_back_into_a_folder_that_stays_are_noticed() {
    let world = World::new("mistake_files", TABLE);
    begin(&world, 1);
    let (backup, files) = (backup_of_progress(&world), world.dir().join("backup"));
    copy(&folder(&world), &files);
    resume(&world, 2);
    shell(&format!("find {0} -mindepth 1 -delete; cp -a {1}/. {0}/", folder(&world).display(), files.display()));
    world.target("DELETE FROM t WHERE id > 1");
    world.target(&backup);
    // A start that fails does not make it forgotten.
    let taken = std::net::TcpListener::bind(("::", world.port())).expect("the port");
    assert!(world.fetch(&[]).failure().contains("cannot listen"));
    drop(taken);
    resume(&world, 3);
}

/// A running changefeed does not send again what it was acknowledged behind its checkpoint, unless it is started again.
#[test]
fn rows_behind_the_checkpoint_come_again_to_a_folder_that_was_put_back() {
    let world = World::new("mistake_checkpoint", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    world.write_changefeed_settings(r#"{"min_checkpoint_frequency": "10s", "resolved": "10s"}"#);
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    replicate(&world, &ebb, 1);
    let backup = backup_of_progress(&world);
    copy(&folder(&world), &world.dir().join("backup"));
    world.source("INSERT INTO t VALUES (2, 2)");
    wait_for("the row", || ebb.log(), || status(&pages)["rows_received"] == 2);
    ebb.stop();
    std::fs::remove_dir_all(folder(&world)).expect("the folder");
    copy(&world.dir().join("backup"), &folder(&world));
    world.target("DELETE FROM t WHERE id > 1");
    world.target(&backup);
    let ebb = world.fetch(&[]);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

fn shell(command: &str) {
    assert!(Command::new("sh").arg("-c").arg(command).status().expect("sh starts").success(), "{command}");
}
