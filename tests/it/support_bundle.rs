//! `ebb support-bundle`: all that helps is in it, and no row and no secret, whatever the run has met.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::codes;
use crate::harness::pages::status;
use crate::harness::world::{World, free_port, wait_for};

const EBB: &str = env!("CARGO_BIN_EXE_ebb");
/// What only rows have, and what only a connection string has.
const VALUE: &str = "rosebud-4711";
const PASSWORD: &str = "hunter-2-hunter";

fn bundle(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let mut command = world.bare(EBB);
    command.args(["support-bundle", "--stagingSchema", "_replicator_1"]).args(args);
    let output = codes::output(&mut command);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_bundle_holds_what_helps_and_no_row_and_no_secret() {
    let table = "CREATE TABLE t (id text PRIMARY KEY, v text";
    let world = World::with_schemas("bundle", &format!("{table})"), &format!("{table} CHECK (v NOT LIKE 'rose%'))"));
    let pages = format!("127.0.0.1:{}", free_port());
    let log = world.dir().join("ebb.log");
    let log = log.to_str().expect("a path");
    let flags = "--stagingSchema _replicator_1 --on-row-error wait";
    let ebb = world.fetch(&["--metrics-listen-addr", &pages, "--log-file", log, "--replicator-flags", flags]);
    wait_for(
        "the changefeed",
        || ebb.log(),
        || std::fs::read_to_string(log).is_ok_and(|text| text.contains("changefeed created")),
    );
    world.source(&format!("INSERT INTO t VALUES ('{VALUE}', '{VALUE}')"));
    wait_for("the refused row", || ebb.log(), || status(&pages)["waiting"].is_object());
    assert!(std::fs::read_to_string(log).expect("a log").contains(VALUE));
    let target = format!("postgres://u:{PASSWORD}@127.0.0.1:1/d?sslmode=verify-full");
    let source = world.source_url();
    let settings = [
        "--",
        "fetch",
        "--mode",
        "failback",
        "--source",
        &source,
        "--target",
        &target,
        "--allow-tls-mode-disable",
        "--replicator-flags",
        "--tlsSelfSigned --disableAuthentication",
    ];
    let made = |out: &str| bundle(&world, &[&["--log", log, "--out", out], &settings[..]].concat());
    let (code, text) = made("b.json");
    assert!(code == Some(0) && text.contains("Read it before you send it"), "{text}");
    let held = ["settings without secrets, status, metrics, history", "the end of the log\n", "left out: findings: "];
    assert!(held.iter().all(|part| text.contains(part)) && !text.contains("left out: status"), "{text}");
    let path = world.dir().join("b.json");
    assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(!text.contains(VALUE) && !text.contains(PASSWORD) && !text.contains("PRIVATE KEY"), "{text}");
    let found: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(found["status"]["feed"], "_replicator_1");
    assert_eq!(found["status"]["waiting"]["table"], "public.t");
    assert!(found["metrics"].as_array().is_some_and(|lines| lines.len() > 20), "{text}");
    assert_eq!(found["staging"]["tables"], serde_json::json!(["public.t"]));
    assert!(found["settings"].to_string().contains("failback"), "{text}");
    let log_lines = found["log"].as_array().expect("lines");
    assert!(log_lines.iter().any(|line| line["message"] == "changefeed created"), "{text}");
    let refused =
        log_lines.iter().find(|line| line["error_code"].as_str().is_some_and(|code| code.starts_with("EBB-W")));
    assert!(refused.is_some_and(|line| line["table"] == "public.t"), "{text}");
    // It is not written over, and made again once ebb has ended.
    let (code, text) = made("b.json");
    assert!(code == Some(1) && text.contains("EBB-F013"), "{text}");
    ebb.kill9();
    let (code, text) = made("c.json");
    assert!(code == Some(0) && text.contains("left out: status: no ebb answers at "), "{text}");
    let nowhere = codes::output(world.bare(EBB).args(["support-bundle", "--stagingSchema", "other"]));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("EBB-D040") && nowhere.status.code() == Some(1));
    let text = std::fs::read_to_string(world.dir().join("c.json")).expect("a file");
    assert!(text.contains("no ebb of this staging folder runs") && !text.contains(VALUE), "{text}");
    let (code, text) = bundle(&world, &["--log", "missing.log"]);
    assert!(code == Some(1) && text.contains("EBB-F010"), "{text}");
}
