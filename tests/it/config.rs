//! Settings by flag, environment and file, in this order, and what `ebb config show` says of them.

use std::fs;

use crate::harness::codes;
use crate::harness::ebb::Ebb;
use crate::harness::world::World;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";

fn show(world: &World, variables: &[(&str, &str)], args: &[&str]) -> serde_json::Value {
    let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
    command.args(["config", "show", "--json"]).args(args).envs(variables.iter().copied());
    let shown = codes::output(&mut command);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    serde_json::from_slice(&shown.stdout).expect("JSON")
}

#[test]
fn a_flag_stands_above_the_environment_and_that_above_the_file() {
    let world = World::new("config_layers", TABLE);
    let base = "target = 'postgres://app@db/molt'\ntlsSelfSigned = true\ndisableAuthentication = true\n";
    fs::write(world.dir().join("ebb.toml"), format!("{base}applyTimeout = '41s'\nconnections_max = 7\n"))
        .expect("a file");
    let start = ["start", "--config", "ebb.toml"];
    let check = |variables: &[(&str, &str)], more: &[&str], value: serde_json::Value, from: &str| {
        let shown = show(&world, variables, &[&start[..], more].concat());
        assert_eq!(shown["applyTimeout"]["value"], value);
        assert!(shown["applyTimeout"]["from"].as_str().expect("a text").contains(from), "{shown}");
        assert_eq!(shown["connections-max"]["value"], 7);
    };
    check(&[], &[], "41s".into(), "--config ebb.toml");
    check(&[("EBB_APPLY_TIMEOUT", "42s")], &[], "42s".into(), "EBB_APPLY_TIMEOUT");
    check(&[("EBB_APPLY_TIMEOUT", "42s")], &["--applyTimeout", "43s"], "43s".into(), "flag");
    let shown = show(&world, &[], &start);
    assert_eq!(shown["gracePeriod"], serde_json::json!({ "value": "30s", "from": "default" }));
    // The file may be named by the environment, and what is shown may be a file again.
    let mut toml = world.bare(env!("CARGO_BIN_EXE_ebb"));
    toml.args(["config", "show", "start"]).env("EBB_CONFIG", "ebb.toml").env("EBB_APPLY_TIMEOUT", "44s");
    let shown = codes::output(&mut toml);
    fs::write(world.dir().join("again.toml"), &shown.stdout).expect("a file");
    let again = show(&world, &[], &["start", "--config", "again.toml"]);
    assert_eq!(again["applyTimeout"]["value"], "44s");
}

#[test]
fn a_run_needs_no_flag_at_all() {
    let world = World::new("config_run", TABLE);
    let settings = fs::read_to_string(world.dir().join("changefeed-secure.json")).expect("the settings");
    let settings: toml::Table = serde_json::from_str(&settings).expect("JSON");
    let file = format!(
        "mode = 'failback'\nnon-interactive = true\ntable-filter = '^t$'\nstagingSchema = 'by_file'\nverbose = 1\nparallelism = 16\n\
         tlsCertificate = '{}'\ntlsPrivateKey = '{}'\n[changefeed]\n{}",
        world.certs().server().cert.display(),
        world.certs().server().key.display(),
        toml::to_string(&settings).expect("TOML")
    );
    fs::write(world.dir().join("ebb.toml"), file).expect("a file");
    let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
    command.arg("fetch").env("EBB_CONFIG", "ebb.toml");
    command.env("EBB_SOURCE", world.source_url()).env("EBB_TARGET", world.target_url()).env("EBB_TARGTE", "misspelled");
    // Of another command.
    command.env("EBB_HOST", "ebb.example.com");
    let ebb = Ebb::spawn(command).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    let log = ebb.stop();
    for text in [
        "staging database name: by_file",
        "--parallelism has no effect",
        "EBB_TARGTE is no setting of ebb; did you mean EBB_TARGET?",
    ] {
        assert!(log.contains(text), "{text} is not in {log}");
    }
    assert!(!log.contains("EBB_HOST"), "{log}");
    // A flag in the wrong place is told its own, also where the file has a value for it.
    let output = codes::output(world.bare(env!("CARGO_BIN_EXE_ebb")).args([
        "fetch",
        "--config",
        "ebb.toml",
        "--stagingSchema",
        "x",
    ]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("stands inside another flag: --replicator-flags"), "{said}");
}

#[test]
fn wrong_settings_are_named_with_their_origin() {
    let world = World::new("config_wrong", TABLE);
    let refused = |file: &str, variables: &[(&str, &str)], args: &[&str], expected: &str| {
        fs::write(world.dir().join("ebb.toml"), file).expect("a file");
        let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
        command.args(args).envs(variables.iter().copied());
        let mut ebb = Ebb::spawn(command);
        assert_eq!(ebb.wait().code(), Some(2), "{}", ebb.log());
        assert!(ebb.log().contains(expected) && !ebb.log().contains("geheim"), "{expected} is not in {}", ebb.log());
    };
    let start = [
        "start",
        "--config",
        "ebb.toml",
        "--targetConn",
        "postgres://a@b/c",
        "--tlsSelfSigned",
        "--disableAuthentication",
    ];
    refused("applyTimeout = 'soon'", &[], &start, "--config ebb.toml");
    refused("", &[("EBB_APPLY_TIMEOUT", "soon")], &start, "EBB_APPLY_TIMEOUT");
    refused("nonsense = 'geheim'", &[], &start, "the key nonsense is not known");
    refused("target = 'geheim", &[], &start, "it is not TOML (line 1)");
    refused("", &[], &["start", "--config", "nowhere.toml"], "--config nowhere.toml cannot be read");
    refused(
        "",
        &[("EBB_TLS_SELF_SIGNED", "maybe")],
        &["start", "--targetConn", "postgres://a@b/c"],
        "EBB_TLS_SELF_SIGNED",
    );
    let both = ["fetch", "--config", "ebb.toml", "--mode", "failback", "--changefeeds-path", "changefeed-secure.json"];
    let both = [&both[..], &["--source", "postgres://a@b/c", "--target", "postgres://a@b/c"]].concat();
    refused("[changefeed]\nport = 1", &[], &both, "both describe the changefeed");
    refused("", &[], &["config", "show", "certs"], "only fetch and start have settings");
}

#[test]
fn help_pages_and_completions_cover_every_command() {
    let world = World::new("config_help", TABLE);
    let run = |args: &[&str]| {
        let output = codes::output(world.bare(env!("CARGO_BIN_EXE_ebb")).args(args));
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let fetch = run(&["fetch", "--help"]);
    for text in
        ["EBB_SOURCE", "EBB_TABLE_FILTER", "--on-exit", "[default: leave]", "ebb certs", "Connections:", "SIGHUP"]
    {
        assert!(fetch.contains(text), "{text} is not in {fetch}");
    }
    let start = run(&["start", "--help"]);
    for text in ["EBB_STAGING_DIR", "--untrusted-connections-max", "[default: 512]", "--jwt-public-keys"] {
        assert!(start.contains(text), "{text} is not in {start}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(&["completions", shell]);
        assert!(completions.contains("escape-password") && completions.contains("failback"), "{shell}");
    }
    run(&["man", "pages"]);
    let pages: Vec<_> =
        fs::read_dir(world.dir().join("pages")).expect("pages").flatten().map(|page| page.file_name()).collect();
    for name in ["ebb.1", "ebb-fetch.1", "ebb-start.1", "ebb-certs.1", "ebb-make-jwt.1", "ebb-config-show.1"] {
        assert!(pages.iter().any(|page| page == name), "{name} is not in {pages:?}");
    }
    let page = |name: &str| fs::read_to_string(world.dir().join("pages").join(name)).expect("a page");
    let whole = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "CONNECTIONS",
        "EXAMPLES",
        "EXIT STATUS",
        "ENVIRONMENT",
        "FILES",
        "SEE ALSO",
    ];
    for (name, flag) in [("ebb-fetch.1", "table\\-handling"), ("ebb-start.1", "flushSize")] {
        let page = page(name);
        for title in whole {
            assert!(
                page.contains(&format!("SH {title}")) || page.contains(&format!("SH \"{title}\"")),
                "{title}\n{page}"
            );
        }
        assert!(page.contains(flag) && !page.contains("SH VERSION"), "{page}");
    }
    assert!(page("ebb-certs.1").contains("SH EXAMPLES") && page("ebb.1").contains("ebb\\-init"));
    assert_eq!(run(&["escape-password", "--password", "a$52&"]).lines().nth(1), Some("a%2452%26"));
}

#[test]
fn wrong_usage_exits_with_2() {
    let world = World::new("fail_usage", TABLE);
    for (args, expected) in [
        (&["fetch", "--mode", "data-load", "--source", "a://b", "--target", "a://b"][..], "ebb does --mode failback"),
        (&["fetch", "--nonsense"], "--nonsense"),
        (
            &[
                "start",
                "--targetConn",
                "postgres://a@b/c",
                "--tlsCertificate",
                "/x/a.crt",
                "--tlsPrivateKey",
                "/x/a.key",
            ],
            "--disableAuthentication",
        ),
        (&["nonsense"], "nonsense"),
    ] {
        let mut ebb = world.ebb(args);
        assert_eq!(ebb.wait().code(), Some(2), "{}", ebb.log());
        assert!(ebb.log().contains(expected), "{expected:?} is not in {}", ebb.log());
    }
    let mut help = world.ebb(&["fetch", "--help"]);
    assert_eq!(help.wait().code(), Some(0));
    assert!(help.log().contains("Examples:") && help.log().contains("--changefeeds-path"), "{}", help.log());
}
