//! Programs that are run when something happens: what they are told, and that nothing they do holds a run up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ebb_servers::Signal;

use crate::harness::codes;
use crate::harness::folders::{TABLE, replicate};
use crate::harness::pages::wait_event;
use crate::harness::world::{Ebb, World, free_port, wait_for};

const SOURCE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";
/// It takes no value from 100 on.
const TARGET: &str = "CREATE TABLE t (id int PRIMARY KEY, v int, CONSTRAINT small CHECK (v < 100))";

/// The folder of hooks of a world.
fn hooks(world: &World) -> PathBuf {
    let dir = world.dir().join("hooks");
    fs::create_dir_all(&dir).expect("a folder");
    dir
}

fn hook(world: &World, name: &str, text: &str) {
    let path = hooks(world).join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a hook");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a mode");
}

fn start(world: &World, more: &[&str], flags: &str) -> (Ebb, String) {
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = format!("--stagingSchema _replicator_1 -v --on-row-error wait {flags}");
    let dir = hooks(world).display().to_string();
    let mut args = vec!["--metrics-listen-addr", &pages, "--replicator-flags", &flags, "--hook", &dir];
    args.extend(more);
    let mut ebb = world.fetch(&args);
    ebb.wait_line("pages listening");
    (ebb, pages)
}

/// The environment that a hook has written into a file.
fn environment(ebb: &Ebb, file: &Path) -> BTreeMap<String, String> {
    wait_for(&file.display().to_string(), || ebb.log(), || file.exists());
    let whole = fs::read_to_string(file).expect("it is there");
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    whole.lines().filter_map(pair).collect()
}

#[test]
fn each_hook_is_told_what_has_happened_and_no_secret() {
    let world = World::with_schemas("hooks_each", SOURCE, TARGET);
    let said = |name: &str| world.dir().join(format!("{name}.env"));
    let names = ["started", "caught-up", "stalled", "recovered", "refused", "ended"];
    for name in names {
        hook(&world, name, &format!("env > {0}.new; mv {0}.new {0}", said(name).display()));
    }
    let pages = format!("127.0.0.1:{}", free_port());
    let (target, source) = (world.target_url(), world.source_url());
    let server = world.certs().server();
    let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
    command.args(["fetch", "--mode", "failback", "--non-interactive", "--changefeeds-path", "changefeed-secure.json"]);
    command.args(["--metrics-listen-addr", &pages, "--stalled-after", "3s"]);
    command.env("EBB_TLS_CERTIFICATE", server.cert).env("EBB_TLS_PRIVATE_KEY", server.key);
    command.env("EBB_TARGET", &target).env("EBB_SOURCE", &source).env("CLOUD_TOKEN", "geheimes-wort");
    command.env("EBB_ON_ROW_ERROR", "wait").env("EBB_STAGING_SCHEMA", "_replicator_1").env("EBB_HOOK", hooks(&world));
    let ebb = Ebb::spawn(command).ready();
    let started = environment(&ebb, &said("started"));
    assert_eq!((started["EBB_EVENT"].as_str(), started["EBB_APPLIED"].as_str()), ("started", ""));
    let caught_up = environment(&ebb, &said("caught-up"));
    assert!(
        !caught_up["EBB_APPLIED"].is_empty()
            && caught_up["EBB_JOB"].parse::<i64>().is_ok()
            && caught_up["EBB_LAG_SECONDS"].parse::<f64>().is_ok(),
        "{caught_up:?}"
    );
    world.source("INSERT INTO t VALUES (4711, 100)");
    let refused = environment(&ebb, &said("refused"));
    assert_eq!((refused["EBB_TABLE"].as_str(), refused["EBB_EVENT"].as_str()), ("public.t", "row-refused"));
    assert!(
        refused["EBB_CODE"].starts_with("EBB-") && refused["EBB_TEXT"].contains(&refused["EBB_CODE"]),
        "{refused:?}"
    );
    let is_told = || environment(&ebb, &said("stalled"))["EBB_REASON"] == "row-refused";
    wait_for("the stalled hook", || ebb.log(), is_told);
    world.source("UPDATE t SET v = 1");
    environment(&ebb, &said("recovered"));
    let log = ebb.stop();
    let all: Vec<String> = names.iter().map(|name| fs::read_to_string(said(name)).expect("it was run")).collect();
    let given: BTreeSet<&str> = all[5].lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    for name in ebb::hooks::variable_names() {
        assert!(given.contains(name), "{name} is not in {given:?}");
        assert!(all.iter().all(|said| said.lines().any(|line| line.starts_with(&format!("{name}=")))), "{all:?}");
    }
    // What the shell adds stands beside them.
    let others = given.iter().filter(|name| !name.starts_with("EBB_")).copied();
    let others: Vec<_> =
        others.filter(|name| !["PATH", "HOME", "LANG", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    assert!(others.is_empty(), "{others:?}");
    for secret in [target.as_str(), &source, "geheimes-wort", "4711", "EBB_TARGET", "EBB_TLS"] {
        assert!(all.iter().all(|said| !said.contains(secret)), "{secret} is in {all:?}");
    }
    assert!(all[5].contains("EBB_SCHEMA=_replicator_1") && all[5].contains("SIGTERM asked for it"), "{}", all[5]);
    assert!(!log.contains("EBB-H0"), "{log}");
}

/// Somebody is told also where there is no folder yet that could note it.
#[test]
fn a_start_that_fails_early_has_its_hook() {
    let world = World::with_schemas("hooks_early", SOURCE, TARGET);
    let said = world.dir().join("ended.env");
    hook(&world, "ended", &format!("env > {0}.new; mv {0}.new {0}", said.display()));
    let dir = hooks(&world).display().to_string();
    let nowhere = world.target_url().replace("/hooks_early", "/nosuch");
    let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
    command.args(["start", "--targetConn", &nowhere, "--bindAddr", "127.0.0.1:0", "--stagingSchema", "early"]);
    command.args(["--disableAuthentication", "--tlsSelfSigned", "--hook", &dir]);
    let log = Ebb::spawn(command).failure();
    let ended = fs::read_to_string(&said).unwrap_or_else(|error| panic!("{error}: {log}"));
    let code = ended.lines().find_map(|line| line.strip_prefix("EBB_CODE=")).expect("a code");
    assert!(code.starts_with("EBB-T") && log.contains(code), "{ended}\n{log}");
    assert!(ended.contains("EBB_TEXT=the start has failed: "), "{ended}");
    assert!(ended.contains("EBB_SCHEMA=early") && !ended.contains("nosuch"), "{ended}");
}

#[test]
fn one_that_hangs_or_fails_or_floods_holds_nobody_up() {
    let world = World::with_schemas("hooks_bad", SOURCE, TARGET);
    hook(
        &world,
        "caught-up",
        "i=0; while [ $i -lt 5000 ]; do printf 'y\\033[2J xxxxxxxxxxxxxxxxxxxxxxxxxxxx\\n'; i=$((i+1)); done; exit 3",
    );
    hook(&world, "refused", "sleep 60");
    let (ebb, pages) = start(&world, &["--hook-timeout", "2s"], "");
    let mut ebb = ebb.ready();
    let failed = ebb.wait_line("the hook caught-up has failed: exit status: 3");
    assert!(failed.contains("EBB-H020") && failed.contains("\"level\":\"warn\""), "{failed}");
    let output = ebb.wait_line("\"hook\":\"caught-up\"");
    let output: serde_json::Value = serde_json::from_str(&output).expect("a line of the log");
    let text = output["output"].as_str().expect("the output");
    assert!(output["level"] == "debug" && text.len() > 3500 && text.len() <= 4096, "{}", text.len());
    assert!(!ebb.log().contains('\u{1b}'));
    world.source("INSERT INTO t VALUES (1, 100)");
    wait_event(&ebb, &pages, "row-refused", 1);
    // The hook hangs, and rows are applied all the same.
    world.source("UPDATE t SET v = 1; INSERT INTO t VALUES (2, 2)");
    world.wait_equal(&ebb, &["t"]);
    let killed = ebb.wait_line("the hook refused was killed after 2s");
    assert!(killed.contains("EBB-H021") && killed.contains("--hook-timeout"), "{killed}");
    replicate(&world, &ebb, 3);
    ebb.stop();
}

#[test]
fn more_events_than_may_wait_are_counted() {
    let world = World::with_schemas("hooks_many", SOURCE, TARGET);
    // Until the test lets it go on, or is over.
    let dir = world.dir().display().to_string();
    hook(&world, "refused", &format!("while [ -d {dir} ] && [ ! -e {dir}/go ]; do sleep 0.1; done; echo >> {dir}/run"));
    let (ebb, pages) = start(&world, &["--hook-timeout", "10m"], "");
    let mut ebb = ebb.ready();
    // One runs, eight wait, and two have no place.
    for count in 1..=11 {
        world.source(&format!("INSERT INTO t VALUES ({count}, 100)"));
        wait_event(&ebb, &pages, "row-refused", count);
        world.source(&format!("UPDATE t SET v = 1 WHERE id = {count}"));
        ebb.signal(Signal::HUP);
        wait_event(&ebb, &pages, "row-accepted", count);
    }
    let line = ebb.wait_line("\"dropped\":2");
    assert!(line.contains("EBB-H022") && line.contains("the hook refused is not run"), "{line}");
    world.wait_equal(&ebb, &["t"]);
    fs::write(world.dir().join("go"), "").expect("a file");
    ebb.stop();
    // Those that waited had their hooks before the end.
    assert_eq!(fs::read_to_string(world.dir().join("run")).expect("it was run").lines().count(), 9);
}

#[test]
fn a_start_is_refused_by_its_hook_before_anything_is_changed() {
    let world = World::new("hooks_veto", TABLE);
    let dir = hooks(&world).display().to_string();
    hook(&world, "started", "echo not today; exit 7");
    hook(&world, "ended", &format!("echo $EBB_CODE > {}/code", world.dir().display()));
    let line = world.fetch(&["--hook", &dir]).failure();
    assert!(line.contains("EBB-H014") && line.contains("exit status: 7"), "{line}");
    assert!(line.contains("the last line of its output: not today"), "{line}");
    assert_eq!(world.source("SELECT count(*) FROM [SHOW CHANGEFEED JOBS]"), "0");
    assert_eq!(world.target("SELECT count(*) FROM pg_tables WHERE tablename = 'ebb_progress'"), "0");
    assert_eq!(fs::read_to_string(world.dir().join("code")).expect("it was run").trim(), "EBB-H014");
    // One that hangs does not agree, either.
    hook(&world, "started", "sleep 60");
    let line = world.fetch(&["--hook", &dir, "--hook-timeout", "1s"]).failure();
    assert!(line.contains("EBB-H014") && line.contains("was killed after 1s"), "{line}");
    hook(&world, "started", "exit 0");
    let ebb = world.fetch(&["--hook", &dir]).ready();
    replicate(&world, &ebb, 1);
    ebb.stop();
    let said = world.run(&["status", "--history", "--stagingSchema", "_replicator_1"]);
    assert!(said.contains("the run is over: a hook refuses the start (EBB-H014)"), "{said}");
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_at_start() {
    let world = World::new("hooks_folder", TABLE);
    let dir = hooks(&world);
    let check = |code: &str, part: &str| {
        let line = world.fetch(&["--hook", &dir.display().to_string()]).failure();
        assert!(line.contains(code) && line.contains(part), "{line}");
    };
    hook(&world, "start", "exit 0");
    check("EBB-H012", "started, caught-up, stalled, recovered, refused, verified, cut-back, ended");
    fs::rename(dir.join("start"), dir.join("started")).expect("a name");
    fs::set_permissions(dir.join("started"), Permissions::from_mode(0o644)).expect("a mode");
    check("EBB-H013", "chmod +x");
    fs::set_permissions(dir.join("started"), Permissions::from_mode(0o757)).expect("a mode");
    check("EBB-H011", "everybody may write");
    fs::set_permissions(dir.join("started"), Permissions::from_mode(0o755)).expect("a mode");
    fs::set_permissions(&dir, Permissions::from_mode(0o777)).expect("a mode");
    check("EBB-H011", "chmod go-w");
    fs::remove_dir_all(&dir).expect("it goes");
    check("EBB-H010", "No such file");
    // ebb check finds it, too.
    let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
    let nowhere = "postgres://a@localhost:1/b?sslmode=disable";
    command.args(["check", "--mode", "failback", "--allow-tls-mode-disable", "--source", nowhere, "--target", nowhere]);
    command.args(["--replicator-flags", "--tlsSelfSigned --disableAuthentication"]).arg("--hook").arg(&dir);
    let output = codes::output(&mut command);
    assert!(String::from_utf8_lossy(&output.stdout).contains("[EBB-H010]"), "{output:?}");
}

/// The block of the page that holds this text.
fn documented(part: &str) -> String {
    let page = include_str!("../../docs/hooks.md");
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let block = blocks.into_iter().find(|block| block.contains(part)).expect("a block");
    block.strip_prefix("#!/bin/sh\n").expect("a script").to_owned()
}

#[test]
fn the_documented_message_reaches_its_receiver() {
    let world = World::with_schemas("hooks_message", SOURCE, TARGET);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let text = documented("curl");
    let url = text.lines().find(|line| line.starts_with("url=")).expect("an address");
    let local = format!("url=http://{}/services", listener.local_addr().expect("an address"));
    hook(&world, "refused", &text.replace(url, &local));
    let (ebb, _) = start(&world, &[], "");
    let mut ebb = ebb.ready();
    world.source("INSERT INTO t VALUES (1, 100)");
    let body = take_request(&listener);
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let said = body["text"].as_str().expect("a text");
    assert!(said.starts_with("ebb _replicator_1: the target refuses a row of public.t"), "{said}");
    ebb.wait_line("\"hook\":\"refused\"");
    assert!(!ebb.stop().contains("EBB-H0"));
}

/// Answers one request, and returns its body.
fn take_request(listener: &TcpListener) -> String {
    let (mut socket, _) = listener.accept().expect("a request");
    let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
    let mut bytes = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        if let Some(length) = line.to_lowercase().strip_prefix("content-length:") {
            bytes = length.trim().parse().expect("a number");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; bytes];
    reader.read_exact(&mut body).expect("the body");
    socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("an answer");
    String::from_utf8(body).expect("text")
}

#[test]
fn the_documented_question_is_asked() {
    let world = World::new("hooks_question", TABLE);
    let text = documented("date +%H");
    let at = |hour: &str| text.replace("$(date +%H)", hour);
    let dir = hooks(&world).display().to_string();
    hook(&world, "started", &at("09"));
    let line = world.fetch(&["--hook", &dir]).failure();
    assert!(line.contains("EBB-H014"), "{line}");
    for hour in ["07", "18"] {
        hook(&world, "started", &at(hour));
        world.fetch(&["--hook", &dir]).stop();
    }
}
