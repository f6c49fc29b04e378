//! What people put in the place of something else, and notice late or never: other files in a folder that stays, another
//! target, another database, a backup of before a table was out and in, a second process.

use std::process::Command;

use crate::client::hold;
use crate::folders::{TABLE, backup_of_progress, copy, folder, now, replicate};
use crate::world::{World, free_port, psql, status, wait_for};

const TABLES: &str = "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int)";

fn shell(command: &str) {
    assert!(Command::new("sh").arg("-c").arg(command).status().expect("sh starts").success(), "{command}");
}

/// As `rsync -a --delete` and `tar x` do it.
#[test]
fn files_that_are_put_back_into_a_folder_that_stays_are_noticed() {
    let world = World::new("mistake_files", TABLE);
    let ebb = world.fetch(&[]).ready();
    replicate(&world, &ebb, 1);
    ebb.stop();
    let (backup, files) = (backup_of_progress(&world), world.dir().join("backup"));
    copy(&folder(&world), &files);
    let ebb = world.fetch(&[]);
    replicate(&world, &ebb, 2);
    ebb.stop();
    shell(&format!("find {0} -mindepth 1 -delete; cp -a {1}/. {0}/", folder(&world).display(), files.display()));
    world.target("DELETE FROM t WHERE id > 1");
    world.target(&backup);
    // A start that fails does not make it forgotten.
    let taken = std::net::TcpListener::bind(("::", world.port())).expect("the port");
    assert!(world.fetch(&[]).failure().contains("cannot listen"));
    drop(taken);
    let ebb = world.fetch(&[]);
    replicate(&world, &ebb, 3);
    ebb.stop();
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
    let ebb = world.fetch(&[]).ready();
    replicate(&world, &ebb, 1);
    ebb.stop();
    let line = world.fetch(&["--source", &other]).failure();
    assert!(line.contains("from the database mistake_database") && line.contains("mistake_other"), "{line}");
    let ebb = world.fetch(&[]);
    replicate(&world, &ebb, 2);
    ebb.stop();
}

#[test]
fn an_acceptance_that_failed_is_not_one() {
    let world = World::new("mistake_acceptance", TABLES);
    let without = ["--table-exclusion-filter", "^b$"];
    let ebb = world.fetch(&without).ready();
    world.source("INSERT INTO a VALUES (1, 1)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    assert!(world.fetch(&[]).failure().contains("did not replicate public.b"));
    let taken = std::net::TcpListener::bind(("::", world.port())).expect("the port");
    assert!(world.fetch(&["--new-tables", "accept"]).failure().contains("cannot listen"));
    drop(taken);
    let ebb = world.fetch(&without);
    world.source("INSERT INTO b VALUES (2, 2); INSERT INTO a VALUES (2, 2)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    let line = world.fetch(&["--new-tables", "accept"]).failure();
    assert!(line.contains("the run has come to"), "{line}");
}

#[test]
fn a_target_of_before_a_table_was_out_and_in_lacks_it() {
    let world = World::new("mistake_out_and_in", TABLES);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
    let backup = backup_of_progress(&world);
    let mut ebb = world.fetch(&["--table-exclusion-filter", "^b$"]);
    ebb.wait_line("public.b is not replicated any more: what is changed there after");
    let ebb = ebb.ready();
    world.source("INSERT INTO b VALUES (2, 2); INSERT INTO a VALUES (2, 2)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    let loaded = now(&world);
    world.target("INSERT INTO b VALUES (2, 2)");
    let ebb = world.fetch(&["--new-tables", &loaded]);
    world.source("INSERT INTO a VALUES (3, 3); INSERT INTO b VALUES (3, 3)");
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
    world.target("DELETE FROM a WHERE id > 1; DELETE FROM b WHERE id > 1");
    world.target(&backup);
    let line = world.fetch(&[]).failure();
    assert!(line.contains("did not replicate public.b"), "{line}");
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
    assert!(line.contains("the staging folder of _replicator_1 is gone, or another was given"), "{line}");
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

/// A try that was cut off is made again by itself.
#[test]
fn a_corrected_row_is_tried_again_after_a_lock() {
    let target = "CREATE TABLE a (id int PRIMARY KEY, v int, CONSTRAINT small CHECK (v < 100)); \
                  CREATE TABLE b (id int PRIMARY KEY, v int)";
    let world = World::with_schemas("mistake_lock", TABLES, target);
    let flags = "--stagingSchema _replicator_1 -v --on-row-error wait --applyTimeout 1s";
    let mut ebb = world.fetch(&["--replicator-flags", flags]).ready();
    world.source("INSERT INTO a VALUES (7, 700)");
    ebb.wait_line("applying waits");
    let gate = hold(&world, "LOCK TABLE b IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO b VALUES (1, 1)");
    world.source("UPDATE a SET v = 7 WHERE id = 7");
    ebb.wait_line("while a row is waited for");
    drop(gate);
    world.wait_equal(&ebb, &["a", "b"]);
    ebb.stop();
}
