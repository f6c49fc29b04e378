//! A target that cannot be written to for a time: it is waited for, receiving goes on, and what was cut off is tried again
//! whole.

use crate::harness::client::Client;
use crate::harness::folders::begin;
use crate::harness::pages::http_get;
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";

#[test]
fn receiving_goes_on_while_the_target_is_down_at_start() {
    let world = World::new("promise_down", TABLE);
    let user = "down_app";
    world.target(&format!(
        "CREATE ROLE {user} LOGIN PASSWORD 'x'; GRANT ALL ON SCHEMA public TO {user}; GRANT ALL ON t TO {user}"
    ));
    let target = world.target_url_as(user, "x");
    let pages = format!("127.0.0.1:{}", free_port());
    let start =
        || -> Ebb { world.fetch(&["--target", &target, "--metrics-listen-addr", &pages, "--table-filter", "^t$"]) };
    // Of a target that was never seen nothing is known: it is waited for, and not for ever.
    world.target(&format!("ALTER ROLE {user} CONNECTION LIMIT 0"));
    let line = world.fetch(&["--target", &target, "--target-wait", "1s"]).failure();
    assert!(
        line.contains("not reached within 1 s") && line.contains("--target-wait") && line.contains("EBB-T018"),
        "{line}"
    );
    let mut ebb = start();
    ebb.wait_line("nothing can be received before the target has been seen");
    world.target(&format!("ALTER ROLE {user} CONNECTION LIMIT -1"));
    let ebb = ebb.ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
    // Later it is known, and rows are taken before it is there.
    world.target(&format!("ALTER ROLE {user} CONNECTION LIMIT 0"));
    world.source("UPDATE t SET v = 2; INSERT INTO t SELECT i, 0 FROM generate_series(2, 300) AS i");
    let mut ebb = start();
    ebb.wait_line("receiving goes on while the target is down");
    ebb.wait_line("using the running changefeed");
    wait_for(
        "rows to be received",
        || ebb.log(),
        || http_get(&pages, "/_/varz").contains("ebb_rows_received_total 300\n"),
    );
    assert_eq!(world.target("SELECT count(*) FROM t"), "1");
    // How far behind it is cannot be known yet, and must not look like nothing.
    assert!(http_get(&pages, "/_/varz").contains("ebb_apply_lag_seconds NaN\n"));
    assert!(http_get(&pages, "/_/status").contains("\"apply_lag_seconds\":null"));
    world.target(&format!("ALTER ROLE {user} CONNECTION LIMIT -1"));
    ebb.wait_line("the target is there");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn a_target_that_becomes_read_only_is_waited_for() {
    let world = World::new("promise_readonly", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    let mut ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    let database = world.database();
    world.target(&format!(
        "ALTER DATABASE {database} SET default_transaction_read_only = on;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ebb' AND datname = '{database}'"
    ));
    world.source("INSERT INTO t VALUES (2, 2)");
    ebb.wait_line("read-only transaction");
    // It is one state, which is said once in half a minute; smaller transactions are no remedy.
    wait_for("more tries", || ebb.log(), || http_get(&pages, "/_/varz").contains("ebb_apply_retries_total 6\n"));
    let log = ebb.log();
    assert!(log.matches("read-only transaction").count() == 1 && !log.contains("at once are tried"), "{log}");
    let mut administrator = Client::connect(Dialect::Postgres, &world.target_url());
    administrator.ask("SET default_transaction_read_only = off").expect("a setting");
    administrator.ask(&format!("ALTER DATABASE {database} RESET default_transaction_read_only")).expect("a setting");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

/// What passes by itself is tried again, and the transaction that is tried again is the same.
#[test]
fn deadlocks_and_timeouts_are_tried_again_whole() {
    let world = World::with_schemas(
        "promise_retry",
        "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY)",
        "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY);
         CREATE SEQUENCE attempts;
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$DECLARE codes text[] := '{40P01,55P03,40001,57014}';
             BEGIN IF nextval('attempts') <= 4 THEN
                 RAISE EXCEPTION 'not now' USING ERRCODE = codes[currval('attempts')];
             END IF; RETURN NULL; END$$;
         CREATE TRIGGER fail AFTER INSERT ON u FOR EACH STATEMENT EXECUTE FUNCTION fail();
         ALTER TABLE u ENABLE ALWAYS TRIGGER fail;",
    );
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = "--stagingSchema _replicator_1 --triggers fire";
    let ebb = world.fetch(&["--metrics-listen-addr", &pages, "--replicator-flags", flags]).ready();
    world.source("BEGIN; INSERT INTO t SELECT i, i FROM generate_series(1, 50) AS i; INSERT INTO u VALUES (1); COMMIT");
    world.wait_equal(&ebb, &["t", "u"]);
    assert_eq!(world.target("SELECT last_value FROM attempts"), "5");
    assert!(http_get(&pages, "/_/varz").contains("ebb_apply_retries_total 4\n"));
    ebb.stop();
}

#[test]
fn a_target_that_is_read_only_at_start_is_waited_for() {
    let world = World::new("restored_read_only", TABLE);
    begin(&world, 1);
    let set = |value: &str| {
        let mut client = Client::connect(Dialect::Postgres, &world.target_url());
        client.ask("SET default_transaction_read_only = off");
        let database = world.database();
        client.ask(&format!("ALTER DATABASE \"{database}\" SET default_transaction_read_only = {value}"));
    };
    set("on");
    let mut ebb = world.fetch(&[]);
    let line = ebb.wait_line("the target is read-only; waiting for it");
    assert!(line.contains("error_code\":\"EBB-T014\""), "{line}");
    world.source("INSERT INTO t VALUES (2, 2)");
    ebb.wait_line("cannot write to the target");
    ebb.must_run();
    set("off");
    ebb.wait_line("the target is there after");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

/// The server commits long after the connection was cut, while ebb has begun to repeat the transaction.
#[test]
fn a_commit_that_outlives_its_connection_counts_once() {
    let target = format!(
        "{TABLE};
         CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.7); RETURN NULL; END$$;
         CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION linger()"
    );
    let world = World::with_own_target(Dialect::Postgres, "promise_outlives", TABLE, &target);
    let flags = "--stagingSchema _replicator_1 -v --triggers fire";
    let mut ebb = world.fetch(&["--replicator-flags", flags]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    for round in 2..5 {
        world.proxy().cut_next(ebb_servers::Cut::AfterCommit);
        world.source(&format!("INSERT INTO t VALUES ({round}, {round})"));
        wait_for("a COMMIT to be cut", || ebb.log(), || !world.proxy().is_waiting());
        world.wait_equal(&ebb, &["t"]);
        ebb.must_run();
    }
    ebb.stop();
}
