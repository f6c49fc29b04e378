//! Secrets of a run, looked for in everything that it says: log lines at the most talkative level, pages, errors, the
//! staging folder, `config show`, and the command lines of its children.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::pages::http_get;
use crate::harness::post::Post;
use crate::harness::world::{Ebb, World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";
const TARGET_PASSWORD: &str = "t4rget-geheim";
const HEADER: &str = "Bearer he4der-geheim";

/// Everything that must not be seen.
fn secrets(world: &World) -> Vec<String> {
    let settings = fs::read_to_string(world.dir().join("changefeed-secure.json")).expect("the settings");
    let settings: serde_json::Value = serde_json::from_str(&settings).expect("JSON");
    let key_in_url = settings["sink_query_parameters"]
        .as_str()
        .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("client_key=")))
        .expect("a key");
    let server_key = fs::read_to_string(world.certs().server().key).expect("a key");
    let body_of_key = server_key.lines().nth(1).expect("PEM").to_owned();
    let own = ["geheim", TARGET_PASSWORD, HEADER].map(str::to_owned);
    own.into_iter().chain([key_in_url.to_owned(), body_of_key]).collect()
}

fn check(secrets: &[String], what: &str, text: &str) {
    assert!(!text.is_empty(), "{what} says nothing");
    for secret in secrets {
        assert!(!text.contains(secret.as_str()), "{what} has a secret: {text}");
    }
}

/// Every file below a folder.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The command lines of everything that the process has started.
fn children(ebb: &Ebb) -> String {
    let tasks = fs::read_dir(format!("/proc/{}/task", ebb.pid())).expect("it runs").flatten();
    let pids = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).collect::<String>();
    let lines = pids.split_whitespace().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).ok());
    lines.collect::<Vec<_>>().join("\n")
}

/// A world whose target wants a password, whose changefeed has a certificate and a header.
fn world(name: &str) -> World {
    let world = World::new(name, TABLE);
    world.write_changefeed_settings(&format!(r#"{{"webhook_auth_header": "{HEADER}"}}"#));
    world.target(&format!(
        "DROP ROLE IF EXISTS {name}; CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{TARGET_PASSWORD}'"
    ));
    world
}

#[test]
fn a_run_says_nothing_secret_at_its_most_talkative() {
    let world = world("secrets_run");
    let secrets = secrets(&world);
    let target = world.target_url_as("secrets_run", TARGET_PASSWORD);
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = format!("--stagingSchema s -vv --metricsAddr {pages}");
    let start = || world.fetch(&["--target", &target, "--logging", "trace", "--replicator-flags", &flags]);
    let ebb = start().ready();
    world.source("INSERT INTO t VALUES (1, 'a')");
    world.wait_equal(&ebb, &["t"]);
    assert!(!children(&ebb).contains("geheim"), "{}", children(&ebb));
    // Requests with and without what they need, and with more secrets that are none of ours.
    for post in [
        Post::new(&world).header(format!("Authorization: {HEADER}")),
        Post::new(&world).header("Authorization: Bearer geheim"),
        Post::new(&world).path(format!("{}/public?access_token=geheim", world.database())),
        Post::new(&world).without_certificate(),
    ] {
        let answer = post.send(r#"{"payload":[{"after":{"v":"geheim"},"key":["geheim"],"topic":"t"}]}"#);
        assert!(!answer.body.contains("geheim"), "{}", answer.body);
    }
    for page in ["/_/varz", "/_/status", "/_/healthz", "/nowhere"] {
        check(&secrets, page, &http_get(&pages, page));
    }
    let first = ebb.stop();
    assert!(first.contains("\"level\":\"trace\""), "it was not talkative");
    check(&secrets, "the log", &first);
    // A second run alters the changefeed, and is killed while the target refuses its password.
    world.write_changefeed_settings(&format!(r#"{{"webhook_auth_header": "{HEADER}-2"}}"#));
    let mut ebb = start();
    ebb.wait_line("was altered");
    world.target("ALTER ROLE secrets_run PASSWORD 'another'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'secrets_run'");
    world.source("INSERT INTO t VALUES (2, 'b')");
    wait_for("the target's refusal", || ebb.log(), || ebb.log().contains("password authentication failed"));
    check(&secrets, "the second log", &ebb.log());
    drop(ebb);
    let mode = fs::metadata(world.dir().join("staging/s")).expect("the folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "rows are for their owner only");
    for file in files(&world.dir().join("staging")) {
        let text = String::from_utf8_lossy(&fs::read(&file).expect("a file")).into_owned();
        check(&secrets, &file.display().to_string(), &format!("{text} "));
    }
}

#[test]
fn what_fails_says_nothing_secret() {
    let world = world("secrets_fail");
    let secrets = secrets(&world);
    let wrong = world.target_url_as("postgres", TARGET_PASSWORD);
    let broken = format!("postgres://u:{TARGET_PASSWORD}@[/x");
    let misspelled = format!("postgres//u:{TARGET_PASSWORD}@localhost/x");
    let elsewhere = format!("postgres://u:{TARGET_PASSWORD}@localhost:1/x?sslmode=require");
    let unknown = format!("postgres://u:{TARGET_PASSWORD}@localhost/x?nonsense={TARGET_PASSWORD}");
    let stray = format!("postgres://u:{TARGET_PASSWORD}@localhost/x");
    let key = "-----BEGIN%20PRIVATE%20KEY-----%0Ageheim%0A-----END%20PRIVATE%20KEY-----";
    let inline_key = format!("postgres://u@localhost:1/x?sslmode=require&sslcert=/x&sslkey={key}");
    for args in [
        &["--target", &wrong][..],
        &["--target", &broken],
        &["--target", &misspelled],
        &["--target", &elsewhere],
        &["--target", &unknown],
        &["--source", &wrong],
        &["--source", &elsewhere],
        &["--source", &unknown],
        &[&stray],
        &["--replicator-flags", &format!("--webhook-auth-header '{HEADER}-other'")],
        &["--replicator-flags", &format!("--nonsense {stray}")],
        &["--replicator-flags", &format!("--nonsense {TARGET_PASSWORD}")],
        &["--replicator-flags", &format!("--webhook-auth-header {HEADER}")],
        &["--replicator-flags", &format!("-v postgres://u:{TARGET_PASSWORD}\\'x@localhost/x")],
        &["--target", &format!("postgres://u:1?{TARGET_PASSWORD}@localhost/x")],
        &["--target", &format!("postgres://u:p'{TARGET_PASSWORD}@localhost:1/x?sslmode=geheim")],
        &["--target", &inline_key],
    ] {
        let mut ebb = world.fetch(args);
        if args.contains(&elsewhere.as_str()) && args[0] == "--target" {
            ebb.wait_line("waiting for it");
        } else {
            assert_ne!(ebb.wait().code(), Some(0));
        }
        check(&secrets, &format!("{args:?}"), &ebb.log());
    }
    // A changefeed that CockroachDB refuses: its answer may repeat the statement.
    world.source("SET CLUSTER SETTING feature.changefeed.enabled = false");
    check(&secrets, "the refused changefeed", &world.fetch(&[]).failure());
}

#[test]
fn the_settings_are_shown_without_secrets() {
    let world = world("secrets_show");
    let secrets = secrets(&world);
    let config = world.dir().join("ebb.toml");
    let text = format!(
        "source = '{}'\ntarget = '{}'\nmode = 'failback'\nstagingSchema = 's'\nwebhook-auth-header = '{HEADER}'\n\
         changefeeds-path = 'changefeed-secure.json'\n",
        world.source_url(),
        world.target_url_as("secrets_show", TARGET_PASSWORD)
    );
    fs::write(&config, text).expect("a file");
    for more in [&[][..], &["--json"]] {
        let args = [&["config", "show"][..], more, &["fetch", "--config", "ebb.toml"]].concat();
        let mut shown = world.ebb(&args);
        assert_eq!(shown.wait().code(), Some(0), "{}", shown.log());
        check(&secrets, &format!("{args:?}"), &shown.log());
    }
}

/// The server's words are passed on, and it may know the password of its user.
#[test]
fn a_target_that_repeats_the_password_is_not_repeated() {
    let world = world("secrets_echo");
    world.target(&format!(
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION 'told of {TARGET_PASSWORD} and {HEADER}'; END $$;
         CREATE TRIGGER tell BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tell()"
    ));
    let target = world.target_url_as("secrets_echo", TARGET_PASSWORD);
    let flags = "--stagingSchema s --triggers fire --on-row-error exit";
    let mut ebb = world.fetch(&["--target", &target, "--replicator-flags", flags]).ready();
    world.source("INSERT INTO t VALUES (1, 'a')");
    assert_eq!(ebb.wait().code(), Some(1));
    assert!(ebb.log().contains("told of *** and ***"), "{}", ebb.log());
    check(&secrets(&world), "the log", &ebb.log());
}
