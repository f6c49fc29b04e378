//! What must be loud: rows after their time, a second changefeed, damaged staging, a full disk, a target that is down.

use crate::client::hold;
use crate::post::Post;
use crate::world::{Dialect, Ebb, World, free_port, http_get, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";

/// A body with one row of `t`, as the changefeed sends it.
fn row(id: u32, updated: &str) -> String {
    format!(
        r#"{{"payload":[{{"after":{{"id":{id},"v":1}},"key":[{id}],"topic":"t","updated":"{updated}"}}],"length":1}}"#
    )
}

/// Posts a body as the changefeed would, and returns the status code.
fn post(world: &World, body: &str) -> String {
    Post::new(world).send(body).status.to_string()
}

/// The progress row's timestamp, as CockroachDB writes it.
fn applied(world: &World) -> String {
    world.target("SELECT wall || '.' || lpad(logical::text, 10, '0') FROM ebb_progress")
}

fn staged_files(world: &World, extension: &str) -> Vec<std::path::PathBuf> {
    let folder = world.dir().join("staging/_replicator_1");
    let files = std::fs::read_dir(folder).expect("the staging folder").map(|entry| entry.expect("a file").path());
    files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// A time a moment ahead of what the changefeed has sent, by the clock that it uses too.
pub fn a_moment_from_now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_nanos();
    format!("{}.0000000000", now + 1_500_000_000)
}

/// A time that the test does not come to, and that ebb still takes.
pub fn an_hour_from_now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    format!("{}.0000000000", (now + std::time::Duration::from_secs(3600)).as_nanos())
}

#[test]
fn a_row_after_its_time_stops_ebb_and_a_repeat_does_not() {
    let world = World::new("promise_late", TABLE);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    let time = a_moment_from_now();
    assert_eq!(post(&world, &row(1, &time)), "200");
    wait_for("the time to be applied", || ebb.log(), || applied(&world) > time);
    // The same row again: it was applied, and is skipped.
    assert_eq!(post(&world, &row(1, &time)), "200");
    // Another row of that time never came.
    assert_ne!(post(&world, &row(7, &time)), "200");
    let line = ebb.failure();
    for text in [
        "a row of public.t with key [7]",
        &time,
        "came for the first time",
        "SHOW CHANGEFEED JOBS",
        "A-104309",
        "initial_scan",
    ] {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    assert_eq!(world.target("SELECT count(*) FROM t"), "1");
}

#[test]
fn a_repeat_is_known_after_a_new_start() {
    let world = World::new("promise_repeat", TABLE);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    let time = a_moment_from_now();
    assert_eq!(post(&world, &row(1, &time)), "200");
    wait_for("the time to be applied", || ebb.log(), || applied(&world) > time);
    ebb.kill9();
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("using the running changefeed");
    assert_eq!(post(&world, &row(1, &time)), "200");
    assert_ne!(post(&world, &row(50, &time)), "200");
    assert!(ebb.failure().contains("with key [50]"));
}

#[test]
fn a_delete_of_a_row_that_never_was_changes_nothing() {
    let world = World::new("promise_phantom", TABLE);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    let time = a_moment_from_now();
    let phantom = format!(r#"{{"payload":[{{"after":null,"key":[77],"topic":"t","updated":"{time}"}}],"length":1}}"#);
    assert_eq!(post(&world, &phantom), "200");
    wait_for("the time to be applied", || ebb.log(), || applied(&world) > time);
    assert_eq!(world.target("SELECT id FROM t"), "1");
    ebb.stop();
}

#[test]
fn a_table_that_is_not_applied_is_refused_and_not_lost() {
    let world = World::new("promise_later", TABLE);
    let mut ebb = world.fetch(&[]).ready();
    let body = |topic: &str| row(1, &a_moment_from_now()).replace("\"t\"", &format!("\"{topic}\""));
    // The last one is a table of this name in another database.
    for topic in ["added_later", "t.family", "promise_later.public.t.family", "defaultdb.public.t"] {
        assert_eq!(post(&world, &body(topic)), "400", "{topic}");
        ebb.wait_line(&format!("table {topic} is not one that ebb applies"));
    }
    assert_eq!(post(&world, &body("promise_later.public.t")), "200");
    ebb.stop();
}

#[test]
fn a_body_that_was_cut_off_is_never_acknowledged() {
    let world = World::new("promise_cut", TABLE);
    let ebb = world.fetch(&[]).ready();
    let whole = row(5, &a_moment_from_now());
    for end in [0, 1, whole.len() / 2, whole.len() - 1] {
        assert_eq!(post(&world, &whole[..end]), "400", "{end}");
    }
    assert_eq!(post(&world, &whole), "200");
    ebb.stop();
}

/// A large source transaction, under the eyes of a session that looks all the time.
#[test]
fn a_transaction_of_20000_rows_is_seen_whole_or_not_at_all() {
    let world = World::new("promise_whole", TABLE);
    let ebb = world.fetch(&["--replicator-flags", "--stagingSchema _replicator_1 --transaction-rows-max 1000"]).ready();
    let mut observer = crate::client::Client::connect(Dialect::Postgres, &world.target_url());
    world.source("INSERT INTO t SELECT i, 1 FROM generate_series(1, 20000) AS i");
    let (mut looks, mut found) = (0, String::from("0"));
    while found != "20000" {
        found = observer.ask("SELECT count(*) FROM t").expect("the target answers");
        assert!(found == "0" || found == "20000", "{found} rows are visible\n{}", ebb.log());
        looks += 1;
    }
    assert!(looks > 3, "it was too quick to be seen");
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
fn a_target_that_becomes_read_only_is_waited_for() {
    let world = World::new("promise_readonly", TABLE);
    let mut ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    let database = world.database();
    world.target(&format!(
        "ALTER DATABASE {database} SET default_transaction_read_only = on;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ebb' AND datname = '{database}'"
    ));
    world.source("INSERT INTO t VALUES (2, 2)");
    ebb.wait_line("read-only transaction");
    let mut administrator = crate::client::Client::connect(Dialect::Postgres, &world.target_url());
    administrator.ask("SET default_transaction_read_only = off").expect("a setting");
    administrator.ask(&format!("ALTER DATABASE {database} RESET default_transaction_read_only")).expect("a setting");
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

#[test]
fn two_changefeeds_into_one_receiver_are_refused() {
    let world = World::new("promise_two", "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    let query = world.certs().sink_query("changefeed").expect("a client certificate");
    let create = || {
        world.source(&format!(
            "CREATE CHANGEFEED FOR TABLE u INTO 'webhook-https://localhost:{}/{}/public?{query}' \
             WITH updated, resolved = '100ms', min_checkpoint_frequency = '100ms'",
            world.port(),
            world.database()
        ))
    };
    // One that was there before.
    let job = create();
    let line = world.fetch(&["--table-filter", "^t$"]).failure();
    assert!(line.contains(&format!("another changefeed (job {})", job.trim())), "{line}");
    assert!(line.contains(&format!("CANCEL JOB {}", job.trim())), "{line}");
    world.source(&format!("CANCEL JOB {}", job.trim()));
    // And one that is made later.
    let ebb = world.fetch(&["--table-filter", "^t$"]).ready();
    let job = create();
    let line = ebb.failure();
    // Whichever is noticed first: the job, or what it sends.
    assert!(line.contains(&format!("another changefeed (job {})", job.trim())), "{line}");
}

#[test]
fn damaged_staging_is_named_and_not_applied() {
    let world = World::new("promise_damage", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO t SELECT i, 1 FROM generate_series(1, 500) AS i");
    wait_for(
        "rows to be received",
        || ebb.log(),
        || http_get(&pages, "/_/varz").contains("ebb_rows_received_total 500\n"),
    );
    ebb.kill9();
    drop(gate);
    let logs = staged_files(&world, "log");
    let log = logs.iter().max_by_key(|path| std::fs::metadata(path).expect("a file").len()).expect("a log");
    let mut bytes = std::fs::read(log).expect("the log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(log, &bytes).expect("the damaged log");
    let line = world.fetch(&[]).failure();
    let name = log.file_name().expect("a name").to_string_lossy();
    assert!(line.contains(&*name) && line.contains("is damaged: its checksum does not fit at byte"), "{line}");
    assert_eq!(world.target("SELECT count(*) FROM t"), "0");
    // The hint is the way out: without the folder the rows come again.
    std::fs::remove_dir_all(world.dir().join("staging")).expect("the folder");
    let mut ebb = world.fetch(&["--replicator-flags", "--stagingSchema _replicator_1 --take-over"]);
    ebb.wait_line("the staging folder is gone; replacing the changefeed");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn a_full_staging_holds_requests_and_loses_nothing() {
    let world = World::new("promise_full", "CREATE TABLE t (id int PRIMARY KEY, v text)");
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = "--stagingSchema _replicator_1 --staging-max-bytes 4000000 --httpResponseTimeout 2s";
    let mut ebb = world.fetch(&["--replicator-flags", flags, "--metrics-listen-addr", &pages]).ready();
    let gate = hold(&world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    for round in 0..60 {
        world.source(&format!(
            "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series({}, {}) AS i",
            round * 100,
            round * 100 + 99
        ));
    }
    ebb.wait_line("staging is full");
    let varz = http_get(&pages, "/_/varz");
    assert!(varz.contains("ebb_staging_full 1\n") && varz.contains("ebb_staging_hours_left 0\n"), "{varz}");
    // Held first, then told to come again; never taken.
    wait_for("a refusal", || ebb.log(), || ebb.log().contains("staging is behind"));
    drop(gate);
    ebb.wait_line("staging has room again");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

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
    assert!(line.contains("not reached within 1 s") && line.contains("--target-wait"), "{line}");
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
