//! The procedures of `docs` that no other file runs: each as it is written there.

use crate::harness::pages::{http_get, status};
use crate::harness::world::{World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";

fn insert(world: &World, id: u32) {
    world.source(&format!("INSERT INTO t VALUES ({id}, {id})"));
}

/// Taking over from MOLT Replicator.
#[test]
fn molt_is_taken_over_from_at_its_checkpoint() {
    let world = World::new("procedure_molt", TABLE);
    // Its changefeed sends to the port that ebb will have; row 1 is on both sides, and its checkpoint says so.
    let now = || world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
    let created = world.source(&format!(
        "CREATE CHANGEFEED FOR TABLE t INTO \
         'webhook-https://localhost:{}/{}/public?insecure_tls_skip_verify=true' WITH updated, resolved = '1s', \
         min_checkpoint_frequency = '1s', initial_scan = 'no', cursor = '{}'",
        world.port(),
        world.database(),
        now()
    ));
    insert(&world, 1);
    world.target("INSERT INTO t VALUES (1, 1)");
    let applied = now();
    // MOLT has applied row 2 too, and not noted it yet.
    insert(&world, 2);
    world.target("INSERT INTO t VALUES (2, 2)");
    insert(&world, 3);
    let line = world.fetch(&["--cursor", &applied]).failure();
    assert!(
        line.contains("already sends these tables here") && line.contains(&format!("CANCEL JOB {}", created.trim())),
        "{line}"
    );
    world.source(&format!("CANCEL JOB {}", created.trim()));
    let ebb = world.fetch(&["--cursor", &applied]).ready();
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

/// Moving to another machine.
#[test]
fn a_folder_moves_to_another_machine() {
    let world = World::new("procedure_move", TABLE);
    let ebb = world.fetch(&[]).ready();
    insert(&world, 1);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
    insert(&world, 2);
    let there = world.dir().join("there");
    std::fs::create_dir(&there).expect("a folder");
    let from = world.dir().join("staging/_replicator_1");
    let copied = std::process::Command::new("cp").arg("-a").arg(&from).arg(&there).status().expect("cp starts");
    assert!(copied.success());
    std::fs::remove_dir_all(&from).expect("the folder");
    let flags = format!("--stagingSchema _replicator_1 -v --staging-dir {}", there.display());
    let mut ebb = world.fetch(&["--replicator-flags", &flags]);
    // Whether it is the newest copy nobody knows: rows come again from where it is complete.
    ebb.wait_line("sends again from where the folder is complete");
    insert(&world, 3);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

/// Upgrading in the middle: the folder and the progress row are as a version without signs of life has left them.
#[test]
fn what_an_older_version_has_left_is_taken_up() {
    let world = World::new("procedure_upgrade", TABLE);
    let ebb = world.fetch(&[]).ready();
    insert(&world, 1);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
    let folder = world.dir().join("staging/_replicator_1");
    let state = std::fs::read_to_string(folder.join("state")).expect("the state");
    let state: serde_json::Value = serde_json::from_str(state.lines().next().expect("a line")).expect("JSON");
    for file in ["starts", "tables"] {
        std::fs::remove_file(folder.join(file)).expect("a note");
    }
    world.target(&format!(
        "ALTER TABLE ebb_progress DROP COLUMN alive_until, DROP COLUMN note; UPDATE ebb_progress SET writer = {}",
        state["id"]
    ));
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("using the running changefeed");
    insert(&world, 2);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
    assert_ne!(world.target("SELECT note FROM ebb_progress"), "");
}

/// Cutting back: what the page says decides when ebb is stopped, and the application goes on with new keys.
#[test]
fn the_application_goes_back_once_the_target_has_caught_up() {
    let world = World::new("procedure_back", "CREATE TABLE employees (id serial PRIMARY KEY, name text)");
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    world.source("INSERT INTO employees VALUES (1, 'a'), (2, 'b'); DELETE FROM employees WHERE id = 1");
    let last = world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
    let has_caught_up = || {
        let status = status(&pages);
        // Both have as many digits, so that the order of texts is that of times.
        status["applied"].as_str() > Some(&last) && status["waiting"].is_null()
    };
    wait_for("the target", || ebb.log(), has_caught_up);
    assert!(http_get(&pages, "/_/readyz").contains("OK"));
    ebb.stop();
    assert_eq!(world.target("SELECT id, name FROM employees"), world.source("SELECT id, name FROM employees"));
    world.target("SELECT setval(pg_get_serial_sequence('employees', 'id'), (SELECT max(id) FROM employees))");
    world.target("INSERT INTO employees (name) VALUES ('c')");
    assert_eq!(world.target("SELECT max(id) FROM employees"), "3");
}

/// A clean end on all three sides: a run of the same name begins anew afterwards.
#[test]
fn a_run_is_removed_from_all_three_sides() {
    let world = World::new("procedure_end", TABLE);
    let ebb = world.fetch(&[]).ready();
    insert(&world, 1);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
    let job = world.source("SELECT job_id FROM [SHOW CHANGEFEED JOBS]");
    world.source(&format!("CANCEL JOB {}", job.trim()));
    world.target("DELETE FROM ebb_progress WHERE feed = '_replicator_1'");
    assert_eq!(world.target("SELECT count(*) FROM ebb_progress"), "0");
    world.target("DROP TABLE ebb_progress");
    std::fs::remove_dir_all(world.dir().join("staging/_replicator_1")).expect("the folder");
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("new run: changes after");
    let ebb = ebb.ready();
    insert(&world, 2);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}
