//! What the running ebb says of a comparison: in its status, its history and to its hook.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::comparison::{must_be_equal, must_differ};
use crate::harness::pages::{status, wait_event};
use crate::harness::world::{Ebb, World, free_port, wait_for};

const TABLES: &str = "CREATE TABLE t (id int8 PRIMARY KEY, v text); CREATE TABLE u (id int8 PRIMARY KEY, v text)";

fn reasons(status: &Value) -> Vec<&str> {
    status["reasons"].as_array().expect("a list").iter().filter_map(|reason| reason["id"].as_str()).collect()
}

/// The time up to which a table is proved.
fn verified_to<'a>(status: &'a Value, name: &str) -> &'a Value {
    let tables = status["tables"].as_array().expect("a list");
    let found =
        tables.iter().find(|table| table["table"] == *name).unwrap_or_else(|| panic!("no {name} in {status:#}"));
    &found["verified_to"]
}

fn wait_status(ebb: &Ebb, pages: &str, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let now = || status(pages);
    wait_for(what, || format!("{:#}\n{}", now(), ebb.log()), || is_it(&now()));
    now()
}

fn start(world: &World) -> (Ebb, String) {
    let pages = format!("127.0.0.1:{}", free_port());
    let hooks = world.dir().join("hooks").display().to_string();
    let mut ebb = world.fetch(&["--metrics-listen-addr", &pages, "--hook", &hooks]);
    ebb.wait_line("pages listening");
    (ebb, pages)
}

#[test]
fn a_run_says_what_was_proved() {
    let world = World::new("verify_status", TABLES);
    let hooks = world.dir().join("hooks");
    fs::create_dir_all(&hooks).expect("a folder");
    let (hook, told) = (hooks.join("verified"), world.dir().join("told"));
    fs::write(&hook, format!("#!/bin/sh\necho $EBB_EVENT >> {}\n", told.display())).expect("a hook");
    fs::set_permissions(&hook, Permissions::from_mode(0o755)).expect("a mode");
    let (ebb, pages) = start(&world);
    let ebb = ebb.ready();
    world.source("BEGIN; INSERT INTO t VALUES (1, 'a'); INSERT INTO u VALUES (1, 'a'); COMMIT");
    world.wait_equal(&ebb, &["t", "u"]);
    let before = wait_status(&ebb, &pages, "no proof", |status| reasons(status).contains(&"not-verified"));
    assert!(verified_to(&before, "public.t").is_null(), "{before:#}");

    // A part of it is no proof of the whole.
    for (more, text) in [
        (&["--only-keys"][..], "the keys of both sides were compared: 2 rows, all equal"),
        (&["--tables", "t"], "1 tables of both sides were compared: 1 rows, all equal"),
    ] {
        let events = 1 + usize::from(more.len() > 1);
        must_be_equal(&world, more);
        assert_eq!(wait_event(&ebb, &pages, "verified", events)["text"], text);
        let status = wait_status(&ebb, &pages, "no proof", |status| reasons(status).contains(&"not-verified"));
        assert!(status["line"].as_str().is_some_and(|line| line.contains(" · not verified · ")), "{status:#}");
    }

    must_be_equal(&world, &[]);
    let proved = wait_status(&ebb, &pages, "a proof", |status| !reasons(status).contains(&"not-verified"));
    assert!(proved["line"].as_str().is_some_and(|line| line.contains(" · verified to ")), "{proved:#}");
    assert!(verified_to(&proved, "public.t").is_string() && verified_to(&proved, "public.u").is_string(), "{proved:#}");
    let event = wait_event(&ebb, &pages, "verified", 3);
    assert!(
        event["text"].as_str().is_some_and(|text| text == "both sides were compared: 2 rows, all equal"),
        "{event:#}"
    );
    wait_for("the hook", || ebb.log(), || fs::read_to_string(&told).is_ok_and(|text| text == "verified\n".repeat(3)));

    // A part that is compared later takes nothing away.
    must_be_equal(&world, &["--tables", "t"]);
    wait_event(&ebb, &pages, "verified", 4);
    assert!(!reasons(&status(&pages)).contains(&"not-verified"), "{:#}", status(&pages));

    world.target("UPDATE t SET v = 'b'");
    must_differ(&world, &[]);
    let differs = wait_status(&ebb, &pages, "a difference", |status| reasons(status).contains(&"rows-differ"));
    assert!(differs["line"].as_str().is_some_and(|line| line.contains(" · 1 rows differ · ")), "{differs:#}");
    assert!(
        verified_to(&differs, "public.t").is_null() && verified_to(&differs, "public.u").is_string(),
        "{differs:#}"
    );

    world.target("UPDATE t SET v = 'a'");
    must_be_equal(&world, &[]);
    wait_status(&ebb, &pages, "a proof", |status| !reasons(status).contains(&"rows-differ"));
    // Another table of the target is another proof.
    ebb.stop();
    world.target("ALTER TABLE t ALTER COLUMN v TYPE varchar(10)");
    let (ebb, pages) = start(&world);
    wait_status(&ebb, &pages, "no proof of this table", |status| reasons(status).contains(&"verification-old"));
    ebb.stop();
}
