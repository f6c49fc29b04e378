//! What has happened to the runs of a staging folder: noted when it happens, kept over crashes, and shown with and without ebb.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;

use ebb_crdb::Fault;
use ebb_servers::Signal;
use serde_json::Value;

use crate::harness::client::{Client, hold};
use crate::harness::folders::{TABLE, folder, replicate};
use crate::harness::forward::{dead_url, forward, source_port};
use crate::harness::pages::{history, status, wait_event};
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

fn start(world: &World, more: &[&str], flags: &str) -> (Ebb, String) {
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = format!("--stagingSchema _replicator_1 -v {flags}");
    let mut ebb = world.fetch(&[&["--metrics-listen-addr", &pages, "--replicator-flags", &flags], more].concat());
    ebb.wait_line("pages listening");
    (ebb, pages)
}

/// What the folder has, read by the command.
fn of_folder(world: &World) -> Vec<Value> {
    let said = world.run(&["status", "--history", "--json", "--stagingSchema", "_replicator_1"]);
    serde_json::from_str(&said).expect("JSON")
}

fn names(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["event"].as_str().expect("a name")).collect()
}

#[test]
fn a_run_is_told_from_its_start_to_its_end() {
    let world = World::new("history_run", TABLE);
    let (ebb, pages) = start(&world, &[], "");
    let ebb = ebb.ready();
    replicate(&world, &ebb, 1);
    wait_event(&ebb, &pages, "caught-up", 1);
    let pid = ebb.pid();
    ebb.stop();
    let all = of_folder(&world);
    assert_eq!(names(&all), ["started", "changefeed-created", "caught-up", "signal", "ended"]);
    let [started, created, _, signal, ended] = &all[..] else { panic!("{all:#?}") };
    assert_eq!((started["pid"].as_u64(), &started["version"]), (Some(pid.into()), &env!("CARGO_PKG_VERSION").into()));
    let known = |name: &str| started[name].as_str().is_some_and(|text| !text.is_empty());
    assert!(["user", "host", "schema"].into_iter().all(known) && started["resumed_from"].is_null(), "{started}");
    assert!(created["job"].is_i64() && created["cursor"].is_string(), "{created}");
    assert_eq!((&signal["signal"], &ended["signal"]), (&"SIGTERM".into(), &"SIGTERM".into()));
    let told = |text: &str| text.starts_with("the run is over: SIGTERM asked") && text.contains("keeps running");
    assert!(ended["text"].as_str().is_some_and(told), "{ended}");
    // Nobody noted the end of the next one, and its last line was cut off.
    let (ebb, pages) = start(&world, &[], "");
    wait_event(&ebb, &pages, "caught-up", 2);
    let resumed = wait_event(&ebb, &pages, "started", 2);
    assert!(resumed["resumed_from"].is_string() && resumed["broke_off"] == false, "{resumed}");
    wait_for("the file", || ebb.log(), || of_folder_alone(&world).len() == history(&pages).len());
    ebb.kill9();
    let file = folder(&world).join("history");
    let whole = fs::read_to_string(&file).expect("the history");
    fs::write(&file, format!("{whole}{{\"at\":\"2026-05-04T")).expect("the history");
    let (ebb, pages) = start(&world, &[], "");
    wait_event(&ebb, &pages, "caught-up", 3);
    assert_eq!(wait_event(&ebb, &pages, "started", 3)["broke_off"], true);
    replicate(&world, &ebb, 2);
    let shown = history(&pages);
    assert_eq!(shown[..5], all);
    let last = status(&pages)["history"].clone();
    assert_eq!(last.as_array().expect("a list")[..], shown[shown.len().saturating_sub(20)..]);
    // As a table, from the run that answers.
    let said = world.run(&["status", "--history", "--metricsAddr", &pages]);
    assert_eq!(said.lines().count(), history(&pages).len());
    assert!(said.lines().next().is_some_and(|line| line.contains(" started   ")), "{said}");
    ebb.stop();
    let kept = of_folder(&world);
    assert_eq!(kept[..shown.len()], shown);
    assert_eq!(names(&kept).last(), Some(&"ended"));
    let (code, said) = refused(&world, &["status", "--history", "--stagingSchema", "nobody"]);
    assert!(code == Some(1) && said.contains("EBB-D040"), "{said}");
    let (code, said) = refused(&world, &["status", "--history", "--metricsAddr", &pages]);
    assert!(code == Some(1) && said.contains("EBB-F027"), "{said}");
}

/// Without asking the run.
fn of_folder_alone(world: &World) -> Vec<Value> {
    let file = fs::read_to_string(folder(world).join("history")).unwrap_or_default();
    file.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn refused(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let output = crate::harness::codes::output(world.bare(env!("CARGO_BIN_EXE_ebb")).args(args));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_holds_a_run_up_is_noted_with_its_end_and_without_values() {
    let source = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    let target = "CREATE TABLE t (id int PRIMARY KEY, v varchar(3))";
    let world = World::with_schemas("history_states", source, target);
    let (ebb, pages) = start(&world, &["--stalled-after", "3s"], "--on-row-error wait");
    let ebb = ebb.ready();
    wait_event(&ebb, &pages, "caught-up", 1);
    let database = world.database();
    world.target(&format!(
        "ALTER DATABASE {database} SET default_transaction_read_only = on;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ebb' AND datname = '{database}'"
    ));
    let lost = wait_event(&ebb, &pages, "target-lost", 1);
    assert!(lost["code"].as_str().is_some_and(|code| code.starts_with("EBB-T01")), "{lost}");
    wait_stalled(&ebb, &pages, "target-down");
    let mut administrator = Client::connect(Dialect::Postgres, &world.target_url());
    administrator.ask("SET default_transaction_read_only = off").expect("a setting");
    administrator.ask(&format!("ALTER DATABASE {database} RESET default_transaction_read_only")).expect("a setting");
    assert!(wait_event(&ebb, &pages, "target-back", 1)["seconds"].is_u64());
    wait_recovered(&ebb, &pages);
    world.source("INSERT INTO t VALUES (4711, 'Geheimnis')");
    let refused = wait_event(&ebb, &pages, "row-refused", 1);
    assert_eq!((&refused["table"], &refused["database_code"]), (&"public.t".into(), &"22001".into()), "{refused}");
    wait_stalled(&ebb, &pages, "row-refused");
    ebb.signal(Signal::HUP);
    assert_eq!(wait_event(&ebb, &pages, "signal", 1)["signal"], "SIGHUP");
    wait_event(&ebb, &pages, "certificates-read", 1);
    world.source("DELETE FROM t WHERE id = 4711");
    wait_event(&ebb, &pages, "row-accepted", 1);
    wait_recovered(&ebb, &pages);
    wait_for("a look at the changefeed", || ebb.log(), || status(&pages)["changefeed"]["job"].is_i64());
    let job = status(&pages)["changefeed"]["job"].to_string();
    world.source(&format!("PAUSE JOB {job}"));
    assert_eq!(wait_event(&ebb, &pages, "changefeed-paused", 1)["job"].to_string(), job);
    world.source(&format!("RESUME JOB {job}"));
    wait_event(&ebb, &pages, "changefeed-resumed", 1);
    ebb.stop();
    let file = fs::read_to_string(folder(&world).join("history")).expect("the history");
    assert!(!file.contains("4711") && !file.contains("Geheimnis"), "{file}");
}

/// On a busy machine a run may also stall for a moment by itself.
fn wait_stalled(ebb: &Ebb, pages: &str, reason: &str) {
    let is_it = |entry: &Value| entry["event"] == "stalled" && entry["reason"] == reason;
    wait_for(reason, || format!("{:#?}\n{}", history(pages), ebb.log()), || history(pages).iter().any(is_it));
}

fn wait_recovered(ebb: &Ebb, pages: &str) {
    let is_stall = |entry: &Value| entry["event"] == "stalled" || entry["event"] == "recovered";
    let last = || history(pages).into_iter().rev().find(is_stall).expect("it was stalled");
    wait_for(
        "a run that goes on",
        || format!("{:#?}\n{}", history(pages), ebb.log()),
        || last()["event"] == "recovered",
    );
}

/// One range of CockroachDB lags: rows come and requests are answered, so that nothing else tells.
#[test]
fn a_resolved_timestamp_that_stands_while_rows_come_is_told_with_its_end() {
    let world = World::new("history_stands", TABLE);
    let (ebb, pages) = start(&world, &["--stalled-after", "3s"], "");
    let mut ebb = ebb.ready();
    wait_event(&ebb, &pages, "caught-up", 1);
    world.inject(Fault::ResolvedHeld, u32::MAX, None);
    let rows = Cell::new(0);
    let row = || {
        rows.set(rows.get() + 1);
        world.source(&format!("INSERT INTO t VALUES ({}, 1)", rows.get()));
    };
    let is_stalled = |entry: &Value| entry["event"] == "stalled" && entry["reason"] == "resolved-stands";
    let log = || format!("{:#?}\n{}", history(&pages), ebb.log());
    wait_for("a stall", log, || {
        row();
        history(&pages).iter().any(is_stalled)
    });
    let is_reason = |reason: &Value| reason["id"] == "resolved-stands";
    wait_for("the reason", log, || {
        row();
        status(&pages)["reasons"].as_array().is_some_and(|reasons| reasons.iter().any(is_reason))
    });
    assert_eq!(status(&pages)["next"], "ebb explain EBB-C034");
    let line = ebb.wait_line("but no later resolved timestamp");
    assert!(line.contains("\"level\":\"warn\"") && line.contains("error_code\":\"EBB-C034\""), "{line}");
    assert!(line.contains("range") && line.contains("open transactions"), "{line}");
    world.clear_faults();
    ebb.wait_line("the resolved timestamp moves again after");
    wait_recovered(&ebb, &pages);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn a_full_staging_and_its_room_are_noted() {
    let world = World::new("history_full", "CREATE TABLE t (id int PRIMARY KEY, v text)");
    let (ebb, pages) = start(&world, &[], "--staging-max-bytes 4000000");
    let ebb = ebb.ready();
    wait_event(&ebb, &pages, "caught-up", 1);
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    for first in (0..6000).step_by(100) {
        let last = first + 99;
        world.source(&format!("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series({first}, {last}) AS i"));
    }
    wait_event(&ebb, &pages, "staging-full", 1);
    drop(gate);
    wait_event(&ebb, &pages, "staging-room", 1);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn tables_and_changefeeds_that_come_and_go_are_noted() {
    let world = World::new(
        "history_tables",
        "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int)",
    );
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO a VALUES (1, 1)");
    world.wait_equal(&ebb, &["a"]);
    ebb.stop();
    world.fetch(&["--table-filter", "^a$"]).ready().stop();
    let mut ebb = world.fetch(&["--new-tables", "accept"]).ready();
    world.source("CANCEL JOBS (SELECT job_id FROM [SHOW CHANGEFEED JOBS])");
    ebb.wait();
    let all = of_folder(&world);
    let last = |name: &str| {
        let found = all.iter().rev().find(|entry| entry["event"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {all:#?}"))
    };
    assert_eq!(
        (&last("tables-left")["tables"], &last("tables-taken-in")["tables"]),
        (&"public.b".into(), &"public.b".into())
    );
    assert_eq!(names(&all).iter().filter(|name| **name == "changefeed-replaced").count(), 2, "{all:#?}");
    assert!(last("changefeed-ended")["job"].is_i64(), "{all:#?}");
    let said = |name: &str| last(name)["text"].as_str().expect("a text").to_owned();
    assert!(said("changefeed-ended").contains("was cancelled"), "{all:#?}");
    assert!(said("ended").contains("was cancelled") && said("ended").ends_with(" has ended"), "{all:#?}");
    assert!(!said("ended").contains("keeps running"), "{all:#?}");
    assert_eq!((&last("changefeed-ended")["code"], &last("ended")["code"]), (&"EBB-C014".into(), &"EBB-C014".into()));
}

#[test]
fn triggers_that_are_dropped_and_put_back_are_noted() {
    let source = "CREATE TABLE t (id int PRIMARY KEY, n int)";
    let target = "CREATE TABLE t (id int PRIMARY KEY, n int);
                  CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
                  CREATE TRIGGER act BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION act()";
    let world = World::with_schemas("history_triggers", source, target);
    world.fetch(&["--replicator-flags", "--stagingSchema _replicator_1 --triggers drop"]).ready().stop();
    world.run(&["triggers", "restore", "--target", &world.target_url(), "--stagingSchema", "_replicator_1"]);
    let all = of_folder(&world);
    for name in ["triggers-dropped", "triggers-restored"] {
        let found = all.iter().find(|entry| entry["event"] == name);
        assert_eq!(found.map(|entry| &entry["triggers"]), Some(&"act on t".into()), "{all:#?}");
    }
}

#[test]
fn a_source_that_is_gone_and_a_feed_that_fails_are_noted() {
    let world = World::new("history_source", TABLE);
    world.fetch(&[]).ready().stop();
    let port = free_port();
    let (ebb, pages) = start(&world, &["--source", &dead_url(&world, port)], "");
    wait_event(&ebb, &pages, "source-lost", 1);
    let _source = forward(port, source_port(&world));
    wait_event(&ebb, &pages, "source-back", 1);
    ebb.stop();
    let port = free_port();
    world.write_changefeed_settings(&format!(r#"{{"port": {port}}}"#));
    let (ebb, pages) = start(&world, &[], &format!("--bindAddr 127.0.0.1:{}", world.port()));
    world.source("INSERT INTO t VALUES (1, 1)");
    wait_event(&ebb, &pages, "changefeed-fails", 1);
    let _receiver = forward(port, world.port());
    wait_event(&ebb, &pages, "changefeed-runs", 1);
    ebb.stop();
}

#[test]
fn a_thousand_events_are_kept_and_the_file_stays_small() {
    let world = World::new("history_bound", TABLE);
    world.fetch(&[]).ready().stop();
    let file = folder(&world).join("history");
    let line = r#"{"at":"2026-05-04T12:03:10.482Z","event":"signal","text":"SIGHUP","signal":"SIGHUP"}"#;
    fs::write(&file, format!("{line}\n").repeat(3000)).expect("the history");
    let (ebb, pages) = start(&world, &[], "");
    wait_event(&ebb, &pages, "caught-up", 1);
    assert_eq!(history(&pages).len(), 1000);
    ebb.stop();
    let lines = of_folder_alone(&world);
    assert!((1000..=2000).contains(&lines.len()), "{}", lines.len());
    assert_eq!(names(&of_folder(&world)).last(), Some(&"ended"));
    assert_eq!(of_folder(&world).len(), 1000);
}

#[test]
fn a_history_that_cannot_be_written_is_a_warning() {
    let world = World::new("history_unwritable", TABLE);
    world.fetch(&[]).ready().stop();
    let file = folder(&world).join("history");
    fs::remove_file(&file).and_then(|()| fs::create_dir(&file)).expect("a folder in its place");
    let (mut ebb, pages) = start(&world, &[], "");
    let line = ebb.wait_line("the history of the run cannot be kept");
    assert!(line.contains("EBB-D026") && line.contains("\"level\":\"warn\""), "{line}");
    replicate(&world, &ebb, 1);
    wait_event(&ebb, &pages, "caught-up", 1);
    ebb.stop();
}

#[test]
fn the_page_of_the_history_names_every_event() {
    let page = include_str!("../../docs/history.md");
    let section = page.split("\n## Events\n").nth(1).expect("the events");
    let named: BTreeSet<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(named, ebb::history::Event::ALL.into_iter().map(ebb::history::Event::id).collect());
}
