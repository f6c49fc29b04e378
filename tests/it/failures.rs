//! What cannot work gives one clear error and a code other than 0.

use crate::world::World;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v varchar(3))";

/// Starts `ebb fetch`, which must fail with one error line that holds all of these.
fn check(world: &World, more: &[&str], expected: &[&str]) {
    let line = world.fetch(more).failure();
    for text in expected {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    assert!(!line.contains("geheim"), "{line}");
}

#[test]
fn the_source_is_not_fit() {
    let world = World::new("fail_source", TABLE);
    world.source("SET CLUSTER SETTING kv.rangefeed.enabled = false");
    check(&world, &[], &["rangefeeds are off", "SET CLUSTER SETTING kv.rangefeed.enabled = true;"]);
    let source = "postgres://root@localhost:1/defaultdb?sslmode=require";
    check(&world, &["--source", source], &["cannot connect to the source postgres://root@localhost:1/defaultdb"]);
    let target = world.target_url();
    check(&world, &["--source", &target], &["is not a CockroachDB", "are they swapped?"]);
    let plain = world.source_url().replace("verify-full", "disable");
    check(&world, &["--source", &plain], &["sslmode=disable", "--allow-tls-mode-disable"]);
}

#[test]
fn the_target_is_not_fit() {
    let world = World::new("fail_target", TABLE);
    let wrong = world.target_url_as("postgres", "geheim");
    check(&world, &["--target", &wrong], &["password authentication failed", "see user and password"]);
    let gone = world.target_url().replace(world.database(), "no_such_database");
    check(&world, &["--target", &gone], &["no_such_database", "does not exist"]);
    let source = world.source_url();
    check(&world, &["--target", &source], &["is a CockroachDB", "are they swapped?"]);
    let plain = world.target_url().replace("verify-full", "disable");
    check(&world, &["--target", &plain], &["sslmode=disable", "--allow-tls-mode-disable"]);
    let untrusted = world.target_url().replace("ca.crt", "no-such-file.crt");
    check(&world, &["--target", &untrusted], &["sslrootcert", "no-such-file.crt"]);
}

#[test]
fn tables_do_not_match() {
    let world = World::with_schemas("fail_tables", TABLE, "CREATE TABLE other (id int)");
    check(&world, &[], &["the source's table public.t is missing on the target", "--table-exclusion-filter '^t$'"]);
    world.target("CREATE TABLE t (id int, v varchar(3))");
    check(&world, &[], &["the target's table public.t has no primary key", "ADD PRIMARY KEY"]);
    world.target("ALTER TABLE t ADD PRIMARY KEY (v)");
    check(&world, &[], &["primary keys of public.t differ", "(id) at the source, (v) on the target"]);
    world.target("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)");
    check(&world, &[], &["the target's table public.t lacks the source's column public.t.v"]);
}

#[test]
fn a_row_that_the_target_refuses_stops_with_its_name() {
    let world = World::with_schemas("fail_row", "CREATE TABLE t (id int PRIMARY KEY, v text)", TABLE);
    let mut ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 'abc')");
    world.wait_equal(&ebb, &["t"]);
    world.source("BEGIN; INSERT INTO t SELECT i, 'ok' FROM generate_series(2, 50) AS i; UPDATE t SET v = 'too long' WHERE id = 33; COMMIT");
    assert_eq!(ebb.wait().code(), Some(1));
    let error = ebb.failure();
    for text in ["value too long", "public.t", "id=33", "\"code\":\"22001\""] {
        assert!(error.contains(text), "{text:?} is not in {error}");
    }
    assert_eq!(world.target("SELECT count(*) FROM t").trim(), "1", "nothing of the transaction is there");
    // Mended, the same command goes on.
    world.target("ALTER TABLE t ALTER COLUMN v TYPE text");
    let ebb = world.fetch(&[]);
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn the_changefeed_is_cancelled_by_somebody() {
    let world = World::new("fail_cancelled", TABLE);
    let mut ebb = world.fetch(&[]).ready();
    world.source(world.source("SELECT 'CANCEL JOB ' || job_id FROM [SHOW CHANGEFEED JOBS]").trim());
    assert_eq!(ebb.wait().code(), Some(1));
    let error = ebb.failure();
    assert!(error.contains("was cancelled") || error.contains("has ended"), "{error}");
    assert!(error.contains("start ebb again"), "{error}");
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 'a')");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn a_running_changefeed_is_not_taken_from_a_run_that_is_not_known() {
    let world = World::new("fail_unknown_run", TABLE);
    world.fetch(&[]).ready().stop();
    check(
        &world,
        &["--replicator-flags", "--stagingSchema another"],
        &["already sends these tables here", "give --stagingSchema of the run that created it", "CANCEL JOB"],
    );
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
