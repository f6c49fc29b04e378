//! Targets whose rights, progress or triggers do not let a run go on.
//!
//! Owns: what a start says of them. Does not own: which process may apply a feed (`lease`).

use std::fs;

use ebb_servers::Signal;

use super::{TABLE, fails, says};
use crate::harness::client::hold;
use crate::harness::codes;
use crate::harness::folders::{backup_of_progress, begin, folder, replicate, resume};
use crate::harness::world::{Dialect, World, wait_for};

#[test]
fn a_user_that_may_not_create_the_table_of_progress() {
    let world = World::new("codes_rights", TABLE);
    world.target("CREATE ROLE codes_poor LOGIN PASSWORD 'x'; REVOKE ALL ON SCHEMA public FROM PUBLIC");
    world.target("GRANT USAGE ON SCHEMA public TO codes_poor; GRANT ALL ON t TO codes_poor");
    let target = world.target_url_as("codes_poor", "x");
    fails(
        world.fetch(&["--target", &target]),
        ("T016", "cannot create the progress table", "CREATE TABLE IF NOT EXISTS"),
    );
}

#[test]
fn a_new_folder_for_a_target_that_has_progress() {
    let world = World::new("codes_new_folder", TABLE);
    let ca = world.certs().ca().display().to_string();
    begin(&world, 1);
    let dir = world.dir().join("elsewhere").display().to_string();
    let args = ["--stagingSchema", "_replicator_1", "--staging-dir", &dir, "--tlsClientCA", &ca];
    let (target, bind) = (world.target_url(), format!("127.0.0.1:{}", world.port()));
    let ebb = world.ebb(&[&["start", "--targetConn", &target, "--bindAddr", &bind][..], &args].concat());
    fails(ebb, ("T030", "the staging folder is new, but the target has been written", "WITH cursor = '"));
}

/// The time up to which the folder has dropped rows, in nanoseconds.
fn released(world: &World) -> i64 {
    let state = fs::read_to_string(folder(world).join("state")).expect("the state");
    let line = state.lines().next().expect("a line");
    let state: serde_json::Value = serde_json::from_str(line).expect("JSON");
    state["released"]["wall"].as_i64().expect("a time")
}

#[test]
fn a_target_of_before_the_rows_that_are_dropped() {
    let world = World::new("codes_restored", TABLE);
    begin(&world, 1);
    let (backup, at) = (backup_of_progress(&world), world.target("SELECT wall FROM ebb_progress"));
    let at: i64 = at.parse().expect("a number");
    resume(&world, 2);
    let ebb = world.fetch(&[]);
    wait_for("rows to be dropped", || ebb.log(), || released(&world) > at);
    ebb.stop();
    world.target("DELETE FROM t WHERE id > 1");
    world.target(&backup);
    fails(world.fetch(&[]), ("T031", "but staging has already dropped rows up to", "move the staging folder aside"));
}

#[test]
fn a_target_that_was_down_lacks_a_table_of_the_run() {
    let tables = "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY)";
    let world = World::with_own_target(Dialect::Postgres, "codes_lacking", tables, tables);
    let ebb = world.fetch(&["--table-filter", "^t$"]).ready();
    replicate(&world, &ebb, 1);
    ebb.stop();
    let note = world.target("SELECT note::json ->> 'tables' FROM ebb_progress");
    let ebb = world.fetch(&["--new-tables", "accept"]).ready();
    replicate(&world, &ebb, 2);
    ebb.stop();
    world.target(&format!("UPDATE ebb_progress SET note = jsonb_set(note::jsonb, '{{tables}}', '{note}')::text"));
    world.server().kill9().expect("a signal");
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("receiving goes on while the target is down");
    world.server().restart().expect("the target starts");
    fails(ebb, ("T032", "this run replicates public.u, and earlier", "says which tables to load"));
}

#[test]
fn triggers_of_a_target_that_is_down() {
    let target = format!(
        "{TABLE}; CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
         CREATE TRIGGER act BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION act();
         ALTER TABLE t ENABLE ALWAYS TRIGGER act"
    );
    let world = World::with_own_target(Dialect::Postgres, "codes_triggers", TABLE, &target);
    let fire = "--stagingSchema _replicator_1 --triggers fire";
    let ebb = world.fetch(&["--replicator-flags", fire]).ready();
    replicate(&world, &ebb, 1);
    ebb.stop();
    world.server().kill9().expect("a signal");
    let drop = ["--replicator-flags", "--stagingSchema _replicator_1 --triggers drop"];
    let told =
        ("T033", "its triggers were not dropped when it was seen last", "start again once the target can be reached");
    fails(world.fetch(&drop), told);
    world.server().restart().expect("the target starts");
    let mut ebb = world.fetch(&drop);
    ebb.wait_line("\"error_code\":\"EBB-T034\"");
    replicate(&world, &ebb, 2);
    ebb.stop();
    let json = "[1,2]";
    let altered = format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes()));
    fs::write(folder(&world).join("triggers.key"), altered).expect("the file");
    let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
    command.args(["triggers", "restore", "--target", &world.target_url(), "--stagingSchema", "_replicator_1"]);
    let output = codes::output(command.arg("--allow-tls-mode-disable"));
    let said = String::from_utf8_lossy(&output.stderr);
    for text in ["error[EBB-T035]: ", "its key has 2 bytes, and ebb wrote", "put the file triggers.key back"] {
        assert!(said.contains(text), "{text:?} is not in {said}");
    }
}

#[test]
fn a_transaction_that_outlasts_the_grace_period() {
    let world = World::new("codes_grace", TABLE);
    let flags = "--stagingSchema _replicator_1 --gracePeriod 1s";
    let mut ebb = world.fetch(&["--replicator-flags", flags]).ready();
    replicate(&world, &ebb, 1);
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO t VALUES (2, 2)");
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    wait_for("the transaction", || ebb.log(), || world.target(waits) != "0");
    ebb.signal(Signal::TERM);
    says(&mut ebb, ("T041", "did not end within 1 s (--gracePeriod)", "--gracePeriod"));
    drop(gate);
    ebb.wait();
}
