//! `ebb check`: everything that would keep a start from succeeding is in one list, and what mends it mends it when it is
//! pasted.

use serde_json::Value;

use crate::harness::codes;
use crate::harness::folders::{TABLE, begin, copy, folder, replicate};
use crate::harness::like_fetch::like_fetch;
use crate::harness::world::World;

const EBB: &str = env!("CARGO_BIN_EXE_ebb");

/// The exit code, and the list.
pub(crate) fn check(world: &World, more: &[&str]) -> (Option<i32>, Value) {
    let mut command = like_fetch(world, "check", more);
    command.arg("--json");
    let output = codes::output(&mut command);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    for finding in findings(&list) {
        let code = finding["error_code"].as_str().unwrap_or_default();
        assert!(codes::note_code(code, &finding.to_string()), "docs/errors.md does not explain it: {finding:#}");
    }
    (output.status.code(), list)
}

pub(crate) fn findings(list: &Value) -> &[Value] {
    list["findings"].as_array().expect("a list")
}

pub(crate) fn ids(list: &Value) -> Vec<&str> {
    findings(list).iter().filter_map(|finding| finding["id"].as_str()).collect()
}

#[test]
fn a_pair_that_fits_has_no_findings() {
    let world = World::new("check_clean", "CREATE TABLE t (id int PRIMARY KEY, v text)");
    let (code, list) = check(&world, &[]);
    assert_eq!((code, ids(&list)), (Some(0), vec![]), "{list}");
    let unlooked = list["not_checked"].to_string();
    assert!(unlooked.contains("licence") && unlooked.contains("the contents of the tables"), "{list}");
    // Nothing was made on either side, or here.
    assert_eq!(world.target("SELECT count(*) FROM pg_class WHERE relname LIKE 'ebb%'"), "0");
    assert!(!world.source("SHOW CHANGEFEED JOBS").contains("running"));
    assert!(!world.dir().join("staging/_replicator_1").exists());
}

/// The table of an earlier run, which another user has made.
#[test]
fn progress_that_cannot_be_read_is_fatal() {
    let world = World::new("check_progress", "CREATE TABLE t (id int PRIMARY KEY, v int)");
    let plain = world.plain_target_url();
    begin(&world, 1);
    let (code, list) = check(&world, &["--target", &plain]);
    assert_eq!((code, ids(&list)), (Some(1), vec!["EBB-T016"]), "{list}");
    assert!(list["findings"][0]["reason"].as_str().is_some_and(|reason| reason.contains("ebb_progress")), "{list}");
}

#[test]
fn each_fault_is_named_and_what_mends_it_mends_it() {
    let source = "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, n int);
        CREATE TABLE c (id int PRIMARY KEY, at timestamptz); CREATE TABLE seen (id int PRIMARY KEY);
        CREATE TABLE gone (id int PRIMARY KEY); CREATE TABLE must (id int PRIMARY KEY);
        CREATE TABLE keyless (id int PRIMARY KEY); CREATE TABLE other_key (id int PRIMARY KEY, n int NOT NULL)";
    let world = World::with_schemas(
        "check_faults",
        source,
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, n date);
         CREATE TABLE c (id int PRIMARY KEY, at timestamptz); CREATE VIEW seen AS SELECT 1 AS id;
         CREATE TABLE must (id int PRIMARY KEY, own int NOT NULL); CREATE TABLE keyless (id int);
         CREATE TABLE other_key (id int, n int PRIMARY KEY);
         CREATE RULE lost AS ON INSERT TO c DO INSTEAD NOTHING",
    );
    let target = world.plain_target_url();
    world.target(&format!("REVOKE DELETE ON a FROM {}_app", world.database()));
    let (code, list) = check(&world, &["--target", &target]);
    assert_eq!(code, Some(1), "{list}");
    let expected = [
        "table-not-writable",
        "column-missing",
        "type-incompatible",
        "table-missing",
        "table-missing",
        "column-not-filled",
        "target-key-missing",
        "keys-differ",
        "rights-missing",
    ];
    let (mut found, mut expected) = (ids(&list), expected.to_vec());
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "{list:#}");
    for finding in list["findings"].as_array().expect("a list") {
        assert!(finding["fix"].is_string() && finding["severity"] == "fatal", "{finding}");
    }
    // Statements stand alone, or behind who has to run them.
    let fix = |id: &str| {
        let finding = list["findings"].as_array().and_then(|all| all.iter().find(|finding| finding["id"] == id));
        let fix = finding.and_then(|finding| finding["fix"].as_str()).expect("a fix");
        let fix = fix.split_once("as an administrator of the target: ").map_or(fix, |(_, statement)| statement);
        fix.split(", or leave it out").next().unwrap_or_default().to_owned()
    };
    for id in ["table-not-writable", "rights-missing"] {
        world.target(&fix(id));
    }
    let (_, list) = check(&world, &["--target", &target]);
    assert!(!ids(&list).contains(&"table-not-writable") && !ids(&list).contains(&"rights-missing"), "{list:#}");
    // What cannot be reached leaves the rest unlooked at, and is said.
    let nowhere = "postgres://nobody@127.0.0.1:1/x?sslmode=verify-full";
    let (code, list) = check(&world, &["--target", nowhere]);
    assert_eq!((code, ids(&list)), (Some(1), vec!["EBB-T010"]), "{list}");
    let unlooked = list["not_checked"].to_string();
    assert!(unlooked.contains("tables, columns and keys of both sides"), "{list}");
    assert!(unlooked.contains("the target could not be looked at"), "{list}");
}

#[test]
fn a_person_reads_the_same_list() {
    let world = World::with_schemas("check_text", "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int)");
    let server = world.certs().server();
    let mut command = world.bare(EBB);
    command.args(["check", "--mode", "failback", "--source", &world.source_url(), "--target", &world.target_url()]);
    command.args(["--changefeeds-path", "changefeed-secure.json"]);
    command.env("EBB_TLS_CERTIFICATE", server.cert).env("EBB_TLS_PRIVATE_KEY", server.key);
    let output = codes::output(&mut command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "FATAL    the source's table public.t is missing",
        "[EBB-K020]\n  fix:   create the table t",
        "not looked at:\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(output.status.code() == Some(1) && text.contains("1 fatal, "), "{text}");
}

/// What another run has: the port, the folder, the feed.
#[test]
fn a_run_that_goes_on_is_told() {
    let world = World::new("check_running", TABLE);
    let (code, list) = check(&world, &[]);
    assert_eq!((code, ids(&list)), (Some(0), vec![]), "{list:#}");
    let first = world.fetch(&[]).ready();
    replicate(&world, &first, 1);
    let (code, list) = check(&world, &[]);
    assert_eq!((code, ids(&list)), (Some(0), vec!["EBB-D011"]), "{list:#}");
    let dir = world.dir().join("elsewhere");
    let elsewhere = |more: &str| {
        let flags = format!("--stagingSchema _replicator_1 --staging-dir {} {more}", dir.display());
        check(&world, &["--replicator-flags", &flags])
    };
    let (code, list) = elsewhere("");
    let found = ids(&list);
    assert!(code == Some(1) && found.contains(&"EBB-R010"), "{list:#}");
    let alive = found.into_iter().filter(|id| id.starts_with("EBB-T")).count();
    assert_eq!(alive, 1, "{list:#}");
    // A copy of the folder knows the run, and is not the one that it has.
    std::fs::create_dir_all(&dir).expect("a folder");
    copy(&folder(&world), &dir.join("_replicator_1"));
    let (code, list) = elsewhere("");
    assert!(code == Some(1) && ids(&list).contains(&"EBB-T026"), "{list:#}");
    std::fs::remove_dir_all(&dir).expect("the copy");
    let (_, list) = elsewhere("--take-over");
    assert!(!ids(&list).iter().any(|id| id.starts_with("EBB-T")), "{list:#}");
    // The folder of a process that was killed is its own.
    first.kill9();
    let (code, list) = check(&world, &[]);
    assert_eq!((code, ids(&list)), (Some(0), vec![]), "{list:#}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let flags = format!("--stagingSchema _replicator_1 --metricsAddr {}", taken.local_addr().expect("an address"));
    let (code, list) = check(&world, &["--replicator-flags", &flags]);
    assert_eq!((code, ids(&list)), (Some(1), vec!["EBB-R010"]), "{list:#}");
}
