//! `ebb trace`: what became of a row, of a run that goes on and of one that has ended.

use serde_json::Value;

use crate::harness::client::hold;
use crate::harness::codes;
use crate::harness::folders::TABLE;
use crate::harness::pages::status;
use crate::harness::world::{World, free_port, wait_for};

const EBB: &str = env!("CARGO_BIN_EXE_ebb");

/// The exit code, and what was printed.
fn trace(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let mut command = world.bare(EBB);
    command.arg("trace").args(args).args(["--stagingSchema", "_replicator_1"]);
    let output = codes::output(&mut command);
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Change and state of each version, oldest first.
fn versions(world: &World, key: &str) -> Vec<(String, String)> {
    let (code, text) = trace(world, &["t", key, "--json"]);
    assert_eq!(code, Some(0), "{text}");
    let found: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(found["table"], "public.t");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let versions = found["versions"].as_array().expect("a list").iter();
    versions.map(|version| (text(&version["change"]), text(&version["state"]))).collect()
}

#[test]
fn every_version_of_a_row_is_found_whether_ebb_runs_or_not() {
    let world = World::with_schemas("trace", TABLE, "CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v < 100))");
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = "--stagingSchema _replicator_1 -v --on-row-error wait";
    let ebb = world.fetch(&["--metrics-listen-addr", &pages, "--replicator-flags", flags]).ready();
    world.source("INSERT INTO t VALUES (7, 1), (8, 1)");
    world.source("UPDATE t SET v = 2 WHERE id = 7");
    world.wait_equal(&ebb, &["t"]);
    wait_for("both versions", || ebb.log(), || versions(&world, "7").len() == 2);
    assert!(versions(&world, "7.0").iter().all(|(_, state)| state == "applied"), "{:?}", versions(&world, "7"));
    assert_eq!(versions(&world, "[9]"), []);
    // What the target refuses is told with what mends it.
    world.source("INSERT INTO t VALUES (9, 100)");
    wait_for("the refused row", || ebb.log(), || status(&pages)["waiting"].is_object());
    let refused = versions(&world, "9");
    assert!(refused.len() == 1 && refused[0].1.contains("refuses its transaction (23514)"), "{refused:?}");
    world.source("DELETE FROM t WHERE id = 7");
    wait_for("the delete", || ebb.log(), || versions(&world, "7").len() == 3);
    ebb.kill9();
    let last = versions(&world, "7").pop().expect("a version");
    assert_eq!(last.0, "delete");
    assert!(last.1.contains("no ebb runs") || last.1.contains("may not be complete"), "{last:?}");
    let (code, text) = trace(&world, &["public.t", "8"]);
    assert!(code == Some(0) && text.starts_with("public.t [8]\n") && text.contains("  upsert  "), "{text}");
}

#[test]
fn what_cannot_be_traced_is_said() {
    let world = World::new("trace_missing", TABLE);
    let (code, text) = trace(&world, &["t", "1"]);
    assert!(code == Some(1) && text.contains("EBB-D040") && text.contains("there is no staging folder"), "{text}");
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    wait_for("the row", || ebb.log(), || versions(&world, "1").len() == 1);
    drop(gate);
    world.wait_equal(&ebb, &["t"]);
    let (code, text) = trace(&world, &["u", "1"]);
    assert!(code == Some(1) && text.contains("EBB-D043") && text.contains("one of: public.t"), "{text}");
    for other in ["[1,1]", "\"1\"", "1.5"] {
        let (code, text) = trace(&world, &["t", other]);
        assert!(code == Some(1) && text.contains("EBB-F014") && text.contains("id (integer)"), "{text}");
    }
    let (code, text) = trace(&world, &["t", "2"]);
    assert!(code == Some(0) && text.contains("remembered"), "{text}");
    let (code, text) = trace(&world, &["t", "[1,"]);
    assert!(code == Some(1) && text.contains("EBB-F014") && text.contains("JSON array"), "{text}");
    ebb.stop();
}
