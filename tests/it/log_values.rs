//! `--log-values off`: no key and no value of a row is in the log at its most talkative, whoever would quote it.

use ebb_servers::Flavour;

use crate::harness::pages::status;
use crate::harness::post::Post;
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

const SOURCE: &str = "CREATE TABLE t (id text PRIMARY KEY, v text, u text, n text)";
/// It refuses long values, values that another row has, and texts that are no numbers.
const TARGET: &str = "CREATE TABLE t (id varchar(40) PRIMARY KEY, v varchar(3), u varchar(40) UNIQUE, n varchar(40), \
                      CONSTRAINT quiet CHECK (n <> 'canary-n'))";
const FLAGS: &str = "--stagingSchema _replicator_1 -vv --on-row-error wait";
const DIALECTS: [Dialect; 3] = [Dialect::Postgres, Dialect::MySql(Flavour::MariaDb), Dialect::MySql(Flavour::MySql)];
/// Keys and values begin so.
const CANARY_PREFIX: &str = "canary";

/// The line that holds this text for the nth time.
fn nth_line(ebb: &Ebb, text: &str, number: usize) -> String {
    let line = || ebb.log().lines().filter(|line| line.contains(text)).nth(number).map(str::to_owned);
    wait_for(text, || ebb.log(), || line().is_some());
    line().expect("it was there")
}

#[test]
fn rows_that_are_refused_are_not_quoted() {
    for dialect in DIALECTS {
        let world = World::with_target(dialect, "values_off", SOURCE, TARGET);
        // In the words of some servers the name of a column comes like this.
        world.target("INSERT INTO t VALUES ('own', NULL, 'my column ''canary-u', NULL)");
        let pages = format!("127.0.0.1:{}", free_port());
        let args = ["--metrics-listen-addr", &pages, "--logging", "trace", "--log-values", "off"];
        let ebb = world.fetch(&[&args[..], &["--replicator-flags", FLAGS]].concat()).ready();
        let wider = match dialect {
            Dialect::Postgres => "ALTER COLUMN \\\"v\\\" TYPE text",
            _ => "ALTER TABLE `t` MODIFY `v` varchar(n)",
        };
        for (number, (column, value, hint)) in [
            ("v", "canary-v", wider),
            ("u", "my column ''canary-u", "the target may hold rows that the source does not"),
            ("n", "canary-n", "the constraint on the target"),
        ]
        .into_iter()
        .enumerate()
        {
            world.source(&format!("INSERT INTO t (id, {column}) VALUES ('canary-{column}', '{value}')"));
            let line = nth_line(&ebb, "applying waits, and receiving goes on", number);
            assert!(line.contains(hint) && line.contains("--log-values off"), "{line}");
            assert!(
                line.contains("\"code\":") && line.contains(if column == "v" { "\"v\"" } else { "constraint" }),
                "{line}"
            );
            // Constraints over several rows name no key.
            let has_key = || status(&pages)["waiting"]["key"].as_str().is_some_and(|key| key.contains("canary-"));
            wait_for("the key on the page", || ebb.log(), || column == "u" || has_key());
            world.source(&format!("DELETE FROM t WHERE id = 'canary-{column}'"));
            nth_line(&ebb, "the target takes the rows again", number);
        }
        let log = ebb.stop();
        assert!(log.contains("\"level\":\"trace\"") || log.contains("\"level\":\"debug\""), "it was not talkative");
        assert!(!log.contains(CANARY_PREFIX), "{dialect:?}: {log}");
    }
}

/// What CockroachDB reports of a job is a client's answer, or its own words, and both may quote rows.
#[test]
fn what_a_job_says_is_not_quoted() {
    let world = World::new("values_job", "CREATE TABLE t (id text PRIMARY KEY)");
    world.write_changefeed_settings(r#"{"on_error": "pause"}"#);
    let run = || world.fetch(&["--logging", "trace", "--log-values", "off"]);
    let mut ebb = run().ready();
    world.source("INSERT INTO t VALUES ('1')");
    world.wait_equal(&ebb, &["t"]);
    let fail = "SELECT crdb_internal.fail_changefeed(job_id, 'the row canary-1') FROM [SHOW CHANGEFEED JOBS]";
    world.source(fail);
    assert_eq!(ebb.wait().code(), Some(1), "{}", ebb.log());
    let first = ebb.log();
    assert!(first.contains("EBB-C014") && first.contains("in words that may hold values"), "{first}");
    let mut ebb = run();
    ebb.wait_line("is resumed: in words that may hold values");
    world.source("INSERT INTO t VALUES ('2')");
    world.wait_equal(&ebb, &["t"]);
    assert!(![first, ebb.stop()].concat().contains(CANARY_PREFIX));
}

#[test]
fn a_row_that_comes_too_late_and_what_triggers_say_are_not_quoted() {
    let world = World::with_schemas("values_late", SOURCE, TARGET);
    world.target(
        "CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE NOTICE 'saw %', NEW; IF NEW.v = 'no' THEN RAISE EXCEPTION 'not %', NEW USING ERRCODE = 'ZZ001'; END IF; \
             RETURN NEW; END $$; \
         CREATE TRIGGER say BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION say()",
    );
    let flags = "--stagingSchema _replicator_1 -vv --triggers fire";
    let run = || world.fetch(&["--logging", "trace", "--log-values", "off", "--replicator-flags", flags]);
    let mut ebb = run().ready();
    world.source("INSERT INTO t VALUES ('canary-1', 'a')");
    world.wait_equal(&ebb, &["t"]);
    let late = r#"{"payload":[{"after":{"id":"canary-2"},"key":["canary-2"],"topic":"t","updated":"1.0"}],"length":1}"#;
    assert_ne!(Post::new(&world).send(late).status, 200);
    assert_eq!(ebb.wait().code(), Some(1));
    assert!(ebb.log().contains("came for the first time") && !ebb.log().contains(CANARY_PREFIX), "{}", ebb.log());
    let mut ebb = run();
    world.source("INSERT INTO t VALUES ('canary-3', 'no')");
    assert_eq!(ebb.wait().code(), Some(1));
    assert!(ebb.log().contains("ZZ001") && !ebb.log().contains(CANARY_PREFIX), "{}", ebb.log());
}
