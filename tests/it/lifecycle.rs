//! Starting, ending, killing, resuming.

use std::time::{Duration, Instant};

use ebb_servers::Signal;

use crate::harness::pages::http_get;
use crate::harness::world::{World, free_port, wait_for};

const ACCOUNTS: &str = "CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
    CREATE TABLE ledger (id int PRIMARY KEY, account int, amount int)";
const TABLES: &[&str] = &["accounts", "ledger"];

/// One transfer: two accounts and two lines of the ledger, in one transaction.
fn transfer(world: &World, number: usize) {
    let (from, to) = (number % 10, (number * 7 + 1) % 10);
    world.source(&format!(
        "BEGIN; UPDATE accounts SET balance = balance - 5 WHERE id = {from}; UPDATE accounts SET balance = balance + 5 WHERE id = {to};
         INSERT INTO ledger VALUES ({}, {from}, -5), ({}, {to}, 5); COMMIT;",
        number * 2,
        number * 2 + 1
    ));
}

#[test]
fn the_messages_and_the_end_are_those_of_the_documents() {
    let world = World::new("life_messages", ACCOUNTS);
    let schema = "_replicator_1739996035106984000";
    let flags = format!("--stagingSchema {schema}");
    let ebb = world.fetch(&["--replicator-flags", &flags]).ready();
    let log = ebb.stop();
    let messages: Vec<&str> = log.lines().filter_map(|line| is_plain_info(line)).collect();
    let position =
        |message: &str| messages.iter().position(|seen| *seen == message).unwrap_or_else(|| panic!("{message}\n{log}"));
    let (first, second, third) = (
        position("starting replicator"),
        position(&format!("staging database name: {schema}")),
        position("creating changefeed on the source CRDB database"),
    );
    assert!(first < second && second < third, "{log}");
}

/// The message of a line of exactly the shape `{"level":"info","time":"2025-02-20T15:55:44-05:00","message":"…"}`.
fn is_plain_info(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("{\"level\":\"info\",\"time\":\"")?;
    let (time, rest) = rest.split_once("\",\"message\":\"")?;
    let shape = regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$").expect("a regular expression");
    assert!(shape.is_match(time), "{time}");
    rest.strip_suffix("\"}")
}

#[test]
fn the_staging_schema_is_invented_and_resumes() {
    let world = World::new("life_resume", ACCOUNTS);
    let mut ebb = world.fetch(&["--replicator-flags", "-v"]).ready();
    let line = ebb.wait_line("staging database name: _replicator_");
    let schema = line.split("staging database name: ").nth(1).expect("a name").trim_end_matches("\"}").to_owned();
    world.source("INSERT INTO accounts SELECT i, 100 FROM generate_series(0, 9) AS i");
    world.wait_equal(&ebb, TABLES);
    ebb.stop();
    (0..5).for_each(|number| transfer(&world, number));
    let mut ebb = world.fetch(&["--replicator-flags", &format!("-v --stagingSchema {schema}")]);
    ebb.wait_line("using the running changefeed");
    world.wait_equal(&ebb, TABLES);
    assert_eq!(world.source("SELECT count(*) FROM [SHOW CHANGEFEED JOBS]").trim(), "1");
    ebb.stop();
}

#[test]
fn kill_9_at_any_moment_loses_nothing_and_repeats_nothing() {
    let world = World::new("life_kill", ACCOUNTS);
    let mut ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO accounts SELECT i, 100 FROM generate_series(0, 9) AS i");
    let (mut number, mut kills) = (0, 0);
    while kills < 12 {
        // The moments of death are spread over everything that a transfer goes through.
        let until = Instant::now() + Duration::from_millis(37 * (kills % 7) + 20);
        while Instant::now() < until {
            transfer(&world, number);
            number += 1;
        }
        let sum = world.target("SELECT count(*), coalesce(sum(balance), 1000) FROM accounts");
        assert!(sum.trim().ends_with("|1000"), "a transfer is visible in part: {sum}\n{}", ebb.log());
        ebb.kill9();
        kills += 1;
        ebb = world.fetch(&[]);
    }
    world.wait_equal(&ebb, TABLES);
    let balances = "SELECT count(*) FROM accounts a WHERE balance <> 100 + (SELECT coalesce(sum(amount), 0) FROM ledger WHERE account = a.id)";
    assert_eq!(world.target(balances).trim(), "0");
    ebb.stop();
}

#[test]
fn rows_of_one_transaction_and_the_progress_appear_together() {
    let world = World::new("life_atomic", ACCOUNTS);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO accounts SELECT i, 100 FROM generate_series(0, 9) AS i");
    (0..15).for_each(|number| transfer(&world, number));
    world.wait_equal(&ebb, TABLES);
    // PostgreSQL notes in every row version the transaction that wrote it.
    let apart = "SELECT count(*) FROM (SELECT id / 2 AS transfer, count(DISTINCT xmin::text) AS writers FROM ledger GROUP BY 1) t WHERE writers > 1";
    assert_eq!(world.target(apart).trim(), "0");
    // The rows and the progress row are written by one transaction.
    world.target(
        "CREATE TABLE seen (what text, writer text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN INSERT INTO seen VALUES (TG_TABLE_NAME, txid_current()); RETURN NULL; END$$;
         CREATE TRIGGER see AFTER INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION see();
         CREATE TRIGGER see AFTER UPDATE ON ebb_progress FOR EACH ROW EXECUTE FUNCTION see();",
    );
    world.source("INSERT INTO ledger VALUES (1000, 1, 0)");
    world.wait_target(&ebb, "SELECT count(*) FROM seen WHERE what = 'ledger'", "1");
    let together =
        "SELECT count(*) FROM seen a JOIN seen b USING (writer) WHERE a.what = 'ledger' AND b.what = 'ebb_progress'";
    assert_eq!(world.target(together), "1");
    ebb.stop();
}

#[test]
fn a_second_ebb_takes_over_and_the_first_one_stops() {
    let world = World::new("life_fence", ACCOUNTS);
    let mut first = world.fetch(&[]).ready();
    world.source("INSERT INTO accounts SELECT i, 100 FROM generate_series(0, 9) AS i");
    world.wait_equal(&first, TABLES);
    first.signal(Signal::STOP);
    // The same feed from another machine: its own folder, so that the changefeed is made anew.
    let elsewhere = world.dir().join("elsewhere");
    let flags = format!(
        "--stagingSchema _replicator_1 -v --take-over --staging-dir {} --bindAddr 127.0.0.1:0",
        elsewhere.display()
    );
    let mut second = world.fetch(&["--replicator-flags", &flags]);
    second.wait_line("the staging folder is gone; replacing the changefeed");
    second.wait_line("changefeed created");
    first.signal(Signal::CONT);
    // It learns it at its next commit.
    world.source("SELECT 1");
    assert_eq!(first.wait().code(), Some(1), "{}", first.log());
    assert!(first.log().contains("has taken over") || first.log().contains("the changefeed"), "{}", first.log());
    second.stop();
}

#[test]
fn a_lost_staging_folder_is_noticed_and_made_good() {
    let world = World::new("life_lost_folder", ACCOUNTS);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO accounts SELECT i, 100 FROM generate_series(0, 9) AS i");
    world.wait_equal(&ebb, TABLES);
    ebb.kill9();
    (0..5).for_each(|number| transfer(&world, number));
    std::fs::remove_dir_all(world.dir().join("staging")).expect("the folder is there");
    let mut ebb = world.fetch(&["--replicator-flags", "--stagingSchema _replicator_1 --take-over"]);
    ebb.wait_line("the staging folder is gone; replacing the changefeed");
    world.wait_equal(&ebb, TABLES);
    ebb.stop();
}

#[test]
fn the_changefeed_is_paused_or_cancelled_on_request() {
    let world = World::new("life_on_exit", ACCOUNTS);
    let status = |expected: &str| {
        let statuses = world.source("SELECT status FROM [SHOW CHANGEFEED JOBS] ORDER BY job_id");
        assert_eq!(statuses.split_whitespace().last(), Some(expected), "{statuses}");
    };
    world.fetch(&["--on-exit", "pause"]).ready().stop();
    status("paused");
    let mut ebb = world.fetch(&["--on-exit", "cancel"]);
    ebb.wait_line("resumed the paused changefeed");
    world.source("INSERT INTO accounts VALUES (1, 1)");
    world.wait_equal(&ebb, TABLES);
    ebb.stop();
    status("canceled");
}

#[test]
fn start_applies_a_changefeed_that_somebody_else_made() {
    let world = World::new("life_start", ACCOUNTS);
    let pages = format!("127.0.0.1:{}", free_port());
    let ca = world.certs().ca().display().to_string();
    let plugin = ["--target-plugin", "postgres", "--stagingSchema", "mine"];
    let mut ebb = world.start(&[&plugin[..], &["--metricsAddr", &pages, "--tlsClientCA", &ca]].concat());
    let settings: serde_json::Value = serde_json::from_str(
        &std::fs::read_to_string(world.dir().join("changefeed-secure.json")).expect("the settings"),
    )
    .expect("JSON");
    let query = settings["sink_query_parameters"].as_str().expect("a text");
    let create = |database: &str| {
        world.source(&format!(
            "CREATE CHANGEFEED FOR TABLE accounts, ledger INTO 'webhook-https://localhost:{}/{database}/public?{query}'
             WITH updated, resolved = '100ms', min_checkpoint_frequency = '100ms'",
            world.port()
        ))
    };
    world.source("INSERT INTO accounts SELECT i, 100 FROM generate_series(0, 9) AS i");
    create(world.database());
    transfer(&world, 1);
    world.source("DELETE FROM accounts WHERE id = 9");
    world.wait_equal(&ebb, TABLES);
    let varz = http_get(&pages, "/_/varz");
    assert!(varz.contains("ebb_rows_applied_total") && !varz.contains("ebb_rows_applied_total 0\n"), "{varz}");
    assert!(http_get(&pages, "/_/status").contains("\"feed\":\"mine\""));
    // A path that is not a schema of the target is refused, and nothing is lost: the feed says why.
    create("elsewhere");
    ebb.wait_line("this path is not a schema of the target");
    wait_for(
        "the job to say so",
        || ebb.log(),
        || world.source("SELECT running_status FROM [SHOW CHANGEFEED JOBS]").contains("404"),
    );
    ebb.stop();
}
