//! `ebb cutback`: GO only where both sides are equal, nothing is written any more and the target is ready.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::client::Client;
use crate::harness::codes;
use crate::harness::like_fetch::like_fetch;
use crate::harness::pages::status;
use crate::harness::target::MYSQLS;
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

const EBB: &str = env!("CARGO_BIN_EXE_ebb");
const DIALECTS: [Dialect; 3] = [Dialect::Postgres, MYSQLS[0], MYSQLS[1]];
pub(crate) const SOURCE: &str =
    "CREATE TABLE t (id int8 PRIMARY KEY, name text); CREATE TABLE u (id int8 PRIMARY KEY, v int8)";

pub(crate) fn target(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            "CREATE TABLE t (id bigserial PRIMARY KEY, name text); CREATE TABLE u (id int8 PRIMARY KEY, v int8)"
        }
        _ => {
            "CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40)); \
             CREATE TABLE u (id BIGINT PRIMARY KEY, v BIGINT)"
        }
    }
}

pub(crate) fn command(world: &World, more: &[&str]) -> Command {
    let mut command = like_fetch(world, "cutback", more);
    command.arg("--json");
    for (flag, value) in [("--expect-quiet", "1s"), ("--timeout", "60s")] {
        if !more.contains(&flag) {
            command.args([flag, value]);
        }
    }
    command
}

/// The exit code, and the record.
pub(crate) fn cutback(world: &World, more: &[&str]) -> (Option<i32>, Value) {
    let output = codes::output(&mut command(world, more));
    let record = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), record)
}

/// A run that has applied rows, and the address of its pages.
pub(crate) fn start(world: &World) -> (Ebb, String) {
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    world.source("INSERT INTO t SELECT i, 'name ' || i FROM generate_series(1, 500) AS i; INSERT INTO u VALUES (1, 1)");
    world.wait_target(&ebb, "SELECT COUNT(*) FROM t", "500");
    world.wait_target(&ebb, "SELECT COUNT(*) FROM u", "1");
    wait_for(
        "a run that is well",
        || ebb.log(),
        || {
            let status = status(&pages);
            let reasons = status["reasons"].as_array().expect("a list");
            reasons.iter().all(|reason| ["not-verified", "sequences-not-checked"].iter().any(|id| reason["id"] == *id))
        },
    );
    (ebb, pages)
}

fn steps(record: &Value) -> Vec<(&str, &str)> {
    let steps = record["steps"].as_array().expect("a list");
    steps.iter().filter_map(|step| Some((step["step"].as_str()?, step["outcome"].as_str()?))).collect()
}

fn reasons(record: &Value) -> String {
    record["reasons"].to_string()
}

#[test]
fn the_target_is_ready_once_it_says_go() {
    for dialect in DIALECTS {
        let world = World::with_target(dialect, "cutback_go", SOURCE, target(dialect));
        let (ebb, pages) = start(&world);
        let (code, record) = cutback(&world, &["--dry-run"]);
        assert_eq!((code, record["verdict"].as_str()), (Some(0), Some("GO")), "{record:#}");
        let is_behind = dialect == Dialect::Postgres;
        let expected = if is_behind { "would do" } else { "passed" };
        assert!(steps(&record).contains(&("sequences", expected)), "{record:#}");
        if is_behind {
            // A dry run has moved nothing.
            assert_eq!(world.target("SELECT is_called FROM t_id_seq"), "f");
        }
        let (code, record) = cutback(&world, &[]);
        assert_eq!((code, record["verdict"].as_str()), (Some(0), Some("GO")), "{record:#}");
        assert!(record["verified_to"].is_string() && record["ended"].is_string(), "{record:#}");
        assert!(steps(&record).iter().all(|(_, outcome)| *outcome == "passed"), "{record:#}");
        // The application may write.
        world.target("INSERT INTO t (name) VALUES ('new')");
        assert_eq!(world.target("SELECT id FROM t WHERE name = 'new'"), "501");
        // Each round has its record.
        let kept: Value = serde_json::from_slice(
            &std::fs::read(world.dir().join("staging/_replicator_1.cutback")).expect("a record"),
        )
        .expect("JSON");
        assert_eq!(kept.as_array().map(Vec::len), Some(2), "{kept:#}");
        assert_eq!(status(&pages)["verification"]["differences"], 0);
        ebb.stop();
    }
}

#[test]
fn a_row_that_differs_is_a_no_go_that_names_it() {
    for dialect in DIALECTS {
        let world = World::with_target(dialect, "cutback_differs", SOURCE, target(dialect));
        let (ebb, _) = start(&world);
        world.target("UPDATE t SET name = 'Name 77' WHERE id = 77");
        let (code, record) = cutback(&world, &[]);
        assert_eq!((code, record["verdict"].as_str()), (Some(3), Some("NO-GO")), "{record:#}");
        assert!(reasons(&record).contains("id=77"), "{record:#}");
        // Nothing behind the proof was done.
        assert_eq!(steps(&record).last(), Some(&("proof", "failed")), "{record:#}");
        if dialect == Dialect::Postgres {
            assert_eq!(world.target("SELECT is_called FROM t_id_seq"), "f");
        }
        // Once it is mended, the same command says GO.
        world.target("UPDATE t SET name = 'name 77' WHERE id = 77");
        let (code, record) = cutback(&world, &[]);
        assert_eq!((code, record["verdict"].as_str()), (Some(0), Some("GO")), "{record:#}");
        ebb.stop();
    }
}

#[test]
fn who_still_writes_is_a_no_go() {
    let world = World::with_target(Dialect::Postgres, "cutback_writers", SOURCE, target(Dialect::Postgres));
    let (ebb, _) = start(&world);
    // On the target: a session that has not committed.
    let mut writer = Client::connect(Dialect::Postgres, &world.target_url());
    writer.ask("SET application_name = 'the other one'; BEGIN; INSERT INTO u VALUES (99, 99)").expect("a row");
    let (code, record) = cutback(&world, &[]);
    assert_eq!((code, record["verdict"].as_str()), (Some(3), Some("NO-GO")), "{record:#}");
    assert!(reasons(&record).contains("the other one"), "{record:#}");
    writer.ask("ROLLBACK").expect("no row");
    // On the source: it is never quiet.
    let is_ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut id = 1000;
            while !is_ended.load(std::sync::atomic::Ordering::Relaxed) {
                world.source(&format!("INSERT INTO u VALUES ({id}, 1)"));
                id += 1;
            }
        });
        let (code, record) = cutback(&world, &["--expect-quiet", "5s", "--timeout", "8s"]);
        is_ended.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!((code, record["verdict"].as_str()), (Some(3), Some("NO-GO")), "{record:#}");
        assert!(reasons(&record).contains("time limit") && reasons(&record).contains("public.u"), "{record:#}");
    });
    ebb.stop();
}

/// Behind the proof, while the hook is asked.
#[test]
fn a_late_write_is_a_no_go_that_names_its_row() {
    for dialect in DIALECTS {
        let world = World::with_target(dialect, "cutback_late", SOURCE, target(dialect));
        let (ebb, _) = start(&world);
        let hooks = world.dir().join("hooks");
        std::fs::create_dir(&hooks).expect("a folder");
        let mark = world.dir().join("asked");
        let program = format!("#!/bin/sh\ntouch '{0}'\nwhile [ -e '{0}' ]; do sleep 0.05; done\n", mark.display());
        std::fs::write(hooks.join("cut-back"), program).expect("a program");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(hooks.join("cut-back"), private).expect("rights");
        std::thread::scope(|scope| {
            let round = scope.spawn(|| cutback(&world, &["--hook", "hooks"]));
            wait_for("the hook", || ebb.log(), || mark.exists() || round.is_finished());
            world.target("UPDATE u SET v = 2 WHERE id = 1");
            std::fs::remove_file(&mark).expect("the hook waits");
            let (code, record) = round.join().expect("a round");
            assert_eq!((code, record["verdict"].as_str()), (Some(3), Some("NO-GO")), "{record:#}");
            let step = record["steps"].as_array().and_then(|steps| steps.last()).expect("a step");
            assert_eq!(step["step"], "late writers", "{record:#}");
            assert!(reasons(&record).contains("id=1"), "{record:#}");
        });
        // A hook that refuses is a NO-GO before anything is changed.
        std::fs::write(hooks.join("cut-back"), "#!/bin/sh\necho 'not tonight'; exit 1\n").expect("a program");
        world.target("UPDATE u SET v = 1 WHERE id = 1");
        let (code, record) = cutback(&world, &["--hook", "hooks"]);
        assert_eq!((code, record["verdict"].as_str()), (Some(3), Some("NO-GO")), "{record:#}");
        assert!(reasons(&record).contains("not tonight"), "{record:#}");
        assert_eq!(steps(&record).last(), Some(&("consent", "failed")), "{record:#}");
        ebb.stop();
    }
}

#[test]
fn a_round_that_was_killed_is_done_again() {
    let world = World::with_target(Dialect::Postgres, "cutback_killed", SOURCE, target(Dialect::Postgres));
    let (ebb, _) = start(&world);
    for step in ["quiet", "proof", "sequences", "late writers"] {
        let spawned = command(&world, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = std::cell::RefCell::new(spawned.expect("ebb starts"));
        let kept = || std::fs::read_to_string(world.dir().join("staging/_replicator_1.cutback")).unwrap_or_default();
        let has_step = || {
            let rounds: Value = serde_json::from_str(&kept()).unwrap_or_default();
            let last = rounds.as_array().and_then(|rounds| rounds.last().cloned()).unwrap_or_default();
            last["ended"].is_null() && steps_of(&last).iter().any(|known| known == step)
        };
        wait_for(step, kept, || has_step() || child.borrow_mut().try_wait().expect("a child").is_some());
        let _ = child.borrow_mut().kill();
        child.borrow_mut().wait().expect("it has ended");
    }
    let (code, record) = cutback(&world, &[]);
    assert_eq!((code, record["verdict"].as_str()), (Some(0), Some("GO")), "{record:#}");
    world.target("INSERT INTO t (name) VALUES ('new')");
    assert_eq!(world.target("SELECT id FROM t WHERE name = 'new'"), "501");
    ebb.stop();
}

fn steps_of(record: &Value) -> Vec<String> {
    let steps = record["steps"].as_array().map_or(&[][..], Vec::as_slice);
    steps.iter().filter_map(|step| step["step"].as_str()).map(str::to_owned).collect()
}

#[test]
fn what_it_cannot_work_with_is_said() {
    let world = World::with_target(Dialect::Postgres, "cutback_refused", SOURCE, target(Dialect::Postgres));
    let refused = |more: &[&str], code: &str| {
        let output = codes::output(&mut command(&world, more));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(code) && output.status.code().is_some_and(|code| code == 1 || code == 2), "{output:?}");
    };
    refused(&[], "EBB-G010");
    std::fs::write(world.dir().join("night.toml"), "quiet = 3").expect("a file");
    refused(&["--criteria", "night.toml"], "EBB-G011");
    std::fs::create_dir_all(world.dir().join("staging")).expect("a folder");
    std::fs::write(world.dir().join("staging/_replicator_1.cutback"), "no record").expect("a file");
    refused(&[], "EBB-G012");
}

/// The statements and commands of docs/cut-back.md that this file's test runs, in their order.
fn commands_of_the_page() -> Vec<String> {
    let page = include_str!("../../docs/cut-back.md");
    let marked = page.split("<!-- run by: cutback::the_commands_of_the_page_lead_to_go -->").skip(1);
    let block = |text: &str| {
        let lines = text.lines().map(str::trim).skip_while(|line| !line.starts_with("```")).skip(1);
        lines.take_while(|line| *line != "```").collect::<Vec<_>>().join("\n")
    };
    marked.map(block).collect()
}

#[test]
fn the_commands_of_the_page_lead_to_go() {
    for dialect in DIALECTS {
        let world = World::with_target(
            dialect,
            "cutback_page",
            "CREATE TABLE employees (id int8 PRIMARY KEY, name text)",
            match dialect {
                Dialect::Postgres => "CREATE TABLE employees (id bigserial PRIMARY KEY, name text)",
                _ => "CREATE TABLE employees (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40))",
            },
        );
        let server = world.certs().server();
        let pages = format!("127.0.0.1:{}", free_port());
        let settings = format!(
            "source = {:?}\ntarget = {:?}\nmode = \"failback\"\nchangefeeds-path = \"changefeed-secure.json\"\n\
             stagingSchema = \"S\"\nmetrics-listen-addr = {pages:?}\ntlsCertificate = {:?}\ntlsPrivateKey = {:?}\n",
            world.source_url(),
            world.target_url(),
            server.cert,
            server.key
        );
        std::fs::write(world.dir().join("ebb.toml"), settings).expect("a file");
        world.source("CREATE USER app; GRANT ALL ON TABLE employees TO app");
        let mut fetch = None;
        for line in commands_of_the_page() {
            let Some(rest) = line.strip_prefix("ebb ") else {
                if line.starts_with("cat ") {
                    let text = std::fs::read_to_string(world.dir().join("cutback.json")).expect("the record");
                    assert!(text.contains("\"GO\""), "{text}");
                } else {
                    world.source(&line);
                }
                continue;
            };
            let args: Vec<&str> = rest.split(' ').collect();
            if args[0] == "fetch" {
                let ebb = world.ebb(&args).ready();
                world.source("INSERT INTO employees SELECT i, 'name ' || i FROM generate_series(1, 300) AS i");
                world.wait_target(&ebb, "SELECT COUNT(*) FROM employees", "300");
                fetch = Some(ebb);
                continue;
            }
            let output = codes::output(world.bare(EBB).args(&args));
            assert!(output.status.success(), "{line}\n{output:?}");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let expected = match args[0] {
                "verify" => "EQUAL",
                "cutback" => "GO",
                "status" => "safe to cut back",
                _ => "0 fatal",
            };
            assert!(said.contains(expected), "{line}\n{said}");
        }
        let ebb = fetch.expect("a run");
        wait_for("a status that agrees", || status(&pages).to_string(), || status(&pages)["safe_to_cut_back"] == true);
        ebb.stop();
        world.target("INSERT INTO employees (name) VALUES ('new')");
        assert_eq!(world.target("SELECT id FROM employees WHERE name = 'new'"), "301");
    }
}
