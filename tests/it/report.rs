//! The report of `ebb cutback`: all that an auditor asks for is in it, no secret and no value, and nobody changes it unnoticed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::cutback::{SOURCE, command, cutback, start, target};
use crate::harness::browser::Browser;
use crate::harness::codes;
use crate::harness::world::{Dialect, World};
use crate::page::{can_be_read, no_complaints};

const EBB: &str = env!("CARGO_BIN_EXE_ebb");
const FILES: &[&str] = &["--report", "r.json", "--report-html", "r.html", "--sign-key", "r.key"];
/// What only a connection string has, and only a header.
const SECRETS: [&str; 2] = ["hunter-2-hunter", "rosebud-4711"];

/// The exit code of a command in the folder of `world`, and what it said.
fn ebb(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let output = codes::output(world.bare(EBB).args(args));
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a report")).expect("JSON")
}

#[test]
fn a_report_says_what_was_done_and_is_signed() {
    let world = World::with_target(Dialect::Postgres, "report_go", SOURCE, target(Dialect::Postgres));
    let (run, _) = start(&world);
    assert_eq!(ebb(&world, &["report-key", "--out", "r.key"]).0, Some(0));
    fs::write(world.dir().join("night.toml"), "decided_by = \"Ada <b>\"\n").expect("a file");
    world.target(&format!("CREATE ROLE auditor SUPERUSER LOGIN PASSWORD '{}'", SECRETS[0]));
    let (plain, url) = (world.target_url(), world.target_url_as("auditor", SECRETS[0]));
    let wanted = command(&world, &[FILES, &["--criteria", "night.toml"]].concat());
    let mut given = world.bare(EBB);
    given.args(wanted.get_args().map(|arg| if arg == plain.as_str() { url.as_ref() } else { arg }));
    given.envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = codes::output(given.env("EBB_WEBHOOK_AUTH_HEADER", format!("Bearer {}", SECRETS[1])));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("report r.json, page r.html, signed by the key SHA256:"), "{said}");

    let report = read(&world.dir().join("r.json"));
    let record: Value = serde_json::from_slice(&output.stdout).expect("a record");
    assert_eq!((&report["record"], &record["decided_by"]), (&record, &json!("Ada <b>")));
    for (at, expected) in [
        ("/ebb/version", json!(env!("CARGO_PKG_VERSION"))),
        ("/record/verdict", json!("GO")),
        ("/settings/report/value", json!("r.json")),
        ("/settings/stagingSchema/value", json!("_replicator_1")),
        ("/settings/webhook-auth-header/value", json!("***")),
        ("/proof/verdict", json!("equal")),
        ("/proof/tables/0/source_rows", json!(500)),
        ("/proof/tables/0/target_rows", json!(500)),
        ("/proof/columns/public.t", json!(["id", "name"])),
        ("/history/0/event", json!("started")),
        ("/left_out", json!([])),
    ] {
        assert_eq!(report.pointer(at), Some(&expected), "{at}: {report:#}");
    }
    assert!(report["source"]["version"].as_str().is_some_and(|text| text.starts_with("CockroachDB")), "{report:#}");
    assert!(report["target"]["version"].as_str().is_some_and(|text| !text.is_empty()), "{report:#}");
    for side in ["source", "target"] {
        let digest = report[side]["tables"]["public.t"].as_str().unwrap_or_default();
        assert_eq!(digest.len(), 64, "{side}: {report:#}");
    }
    for name in ["r.json", "r.html", "r.json.sig", "r.html.sig"] {
        let path = world.dir().join(name);
        let text = fs::read_to_string(&path).expect(name);
        assert!(SECRETS.iter().all(|secret| !text.contains(secret)) && !text.contains("name 77"), "{text}");
        assert_eq!(fs::metadata(&path).expect(name).permissions().mode() & 0o777, 0o600, "{name}");
    }
    whoever_changes_it_is_found(&world);
    other_programs_can_verify_it(&world);
    looks_right(&world);
    // A report without a signature does not keep that of an earlier one.
    assert_eq!(cutback(&world, &["--dry-run", "--report", "r.json"]).0, Some(0));
    assert!(!world.dir().join("r.json.sig").exists());
    run.stop();
}

/// Each with one sentence.
fn whoever_changes_it_is_found(world: &World) {
    let path = |name: &str| world.dir().join(name);
    let verify = |name: &str| ebb(world, &["verify-report", name, "--key", "r.key.pub"]);
    let (code, said) = verify("r.json");
    assert!(code == Some(0) && said.contains("is as it was signed") && said.contains(": GO, ended "), "{said}");
    assert_eq!(verify("r.html").0, Some(0));
    let refused = |name: &str, why: &str| {
        let (code, said) = verify(name);
        let sentence = said.lines().next().unwrap_or_default();
        assert!(code == Some(1) && sentence.starts_with("error[EBB-G014]: ") && sentence.contains(why), "{said}");
    };
    let (report, signature) =
        (fs::read(path("r.json")).expect("a file"), fs::read(path("r.json.sig")).expect("a file"));
    let put = |report: &[u8], signature: &[u8]| {
        fs::write(path("r.json"), report).expect("a file");
        fs::write(path("r.json.sig"), signature).expect("a file");
    };
    let changed = "was changed or cut off";
    let text = String::from_utf8(report.clone()).expect("a file");
    put(text.replacen("\"GO\"", "\"NO\"", 1).as_bytes(), &signature);
    refused("r.json", changed);
    put(&report[..report.len() - 1], &signature);
    refused("r.json", changed);
    put(b"", &signature);
    refused("r.json", changed);
    put(&report, &signature[..signature.len() / 2]);
    refused("r.json", "is damaged");
    put(&report, &fs::read(path("r.html.sig")).expect("a file"));
    refused("r.json", changed);
    fs::remove_file(path("r.json.sig")).expect("a file");
    refused("r.json", "it has no signature, r.json.sig is missing");
    put(&report, &signature);
    assert_eq!(ebb(world, &["report-key", "--out", "other.key"]).0, Some(0));
    let (code, said) = ebb(world, &["verify-report", "r.json", "--key", "other.key.pub"]);
    assert!(code == Some(1) && said.contains("it was signed with another key"), "{said}");
    assert_eq!(verify("r.json").0, Some(0));
    let (code, said) = ebb(world, &["verify-report", "r.json", "--key", "r.key"]);
    assert!(code == Some(1) && said.starts_with("error[EBB-G013]"), "{said}");
    assert_eq!(ebb(world, &["verify-report", "none.json", "--key", "r.key.pub"]).0, Some(1));
    assert_eq!(ebb(world, &["verify-report", "r.json"]).0, Some(2));
    assert_eq!(ebb(world, &["report-key", "--out", "r.key"]).0, Some(1), "a key is never written over");
}

fn other_programs_can_verify_it(world: &World) {
    let script = "sed -n 's/.*\"signature\": \"\\(.*\\)\".*/\\1/p' r.json.sig | base64 -d > raw &&
        openssl pkeyutl -verify -pubin -inkey r.key.pub -rawin -in r.json -sigfile raw";
    let output = world.bare("sh").args(["-ec", script]).output().expect("a shell");
    assert!(output.status.success(), "{output:?}");
}

fn looks_right(world: &World) {
    let browser = Browser::without_scripts();
    browser.look(1200, "light");
    browser.open(&format!("file://{}", world.dir().join("r.html").display()));
    assert_eq!(browser.text("h1"), "GO");
    for part in ["Ada <b>", "PASS", "public.t", "both sides were equal as of", "r.json"] {
        assert!(browser.text("body").contains(part), "{part} is not in {}", browser.text("body"));
    }
    can_be_read(&browser);
    no_complaints(&browser);
    for (name, width, theme) in
        [("report-light", 1200, "light"), ("report-dark", 1200, "dark"), ("report-phone", 360, "light")]
    {
        browser.look(width, theme);
        browser.picture(name);
    }
}

#[test]
fn a_no_go_has_a_report_and_names_no_row_by_wish() {
    let world = World::with_target(Dialect::Postgres, "report_no_go", SOURCE, target(Dialect::Postgres));
    let (run, _) = start(&world);
    world.target("UPDATE t SET id = 777777, name = 'rosebud' WHERE id = 77");
    let report = |more: &[&str]| {
        let (code, record) = cutback(&world, &[&["--report", "r.json"], more].concat());
        assert_eq!(code, Some(3), "{record:#}");
        fs::read_to_string(world.dir().join("r.json")).expect("a report")
    };
    let shown = report(&[]);
    assert!(shown.contains("777777") && !shown.contains("rosebud"), "{shown}");
    let hidden = report(&["--log-values", "off"]);
    assert!(!hidden.contains("777777") && !hidden.contains("rosebud"), "{hidden}");
    let hidden: Value = serde_json::from_str(&hidden).expect("JSON");
    assert_eq!((&hidden["record"]["verdict"], &hidden["proof"]["verdict"]), (&json!("NO-GO"), &json!("different")));
    // What it cannot write or sign with is said before the first step.
    let refused = |more: &[&str], code: &str| {
        let output = codes::output(&mut command(&world, more));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with(&format!("error[{code}]")), "{said}");
    };
    refused(&["--report", "nowhere/r.json"], "EBB-F012");
    refused(&["--report", "r.json", "--sign-key", "none.key"], "EBB-G013");
    fs::write(world.dir().join("open.key"), "").expect("a file");
    fs::set_permissions(world.dir().join("open.key"), fs::Permissions::from_mode(0o644)).expect("its mode");
    refused(&["--report", "r.json", "--sign-key", "open.key"], "EBB-G013");
    refused(&["--report", "r.json", "--report-html", "r.json"], "EBB-F014");
    run.stop();
}
