//! The life of a changefeed: what is missing for one, how releases differ, what ends it, and how it is taken up again.

use crate::harness::pages::http_get;
use crate::harness::world::{World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";
/// An old one, the last with quoted topics, the first with bare ones, and a new one.
const RELEASES: [&str; 4] = ["23.1.29", "25.3.5", "25.4.7", "26.1.3"];

fn name(prefix: &str, release: &str) -> String {
    format!("{prefix}_{}", release.replace('.', "_"))
}

/// The one job, once its status is this.
fn wait_status(world: &World, log: impl Fn() -> String, expected: &str) {
    let status = "SELECT status FROM [SHOW CHANGEFEED JOBS] ORDER BY job_id DESC LIMIT 1";
    wait_for(&format!("the job to be {expected}"), log, || world.source(status) == expected);
}

fn job(world: &World) -> String {
    world.source("SELECT job_id FROM [SHOW CHANGEFEED JOBS] ORDER BY job_id DESC LIMIT 1")
}

#[test]
fn every_release_names_tables_in_its_way() {
    let schema = r#"CREATE TABLE plain (id int PRIMARY KEY);
        CREATE TABLE "My Table" (id int PRIMARY KEY, "select" int);
        CREATE TABLE "odd""name" (id int PRIMARY KEY)"#;
    for release in RELEASES {
        let world = World::of_release(release, &name("cf_names", release), schema);
        let ebb = world.fetch(&[]).ready();
        world.source(
            r#"INSERT INTO plain VALUES (1); INSERT INTO "My Table" VALUES (1, 2); INSERT INTO "odd""name" VALUES (3)"#,
        );
        world.wait_equal(&ebb, &["plain", r#""My Table""#, r#""odd""name""#]);
        ebb.stop();
        // Found again, whatever columns the release lists.
        let mut ebb = world.fetch(&[]);
        ebb.wait_line("using the running changefeed");
        world.source(r#"DELETE FROM "My Table""#);
        world.wait_equal_maybe_empty(&ebb, &[r#""My Table""#]);
        ebb.stop();
    }
}

#[test]
fn tables_of_one_name_in_two_schemas_are_told_apart() {
    let schema = "CREATE TABLE a (id int PRIMARY KEY); CREATE SCHEMA other; CREATE TABLE other.a (id int PRIMARY KEY)";
    for release in ["25.2.1", "25.4.7"] {
        let world = World::of_release(release, &name("cf_schemas", release), schema);
        let ebb = world.fetch(&["--table-filter", "^a$"]).ready();
        world.source("INSERT INTO a VALUES (1); INSERT INTO other.a VALUES (2)");
        world.wait_equal(&ebb, &["a", "other.a"]);
        ebb.stop();
    }
}

#[test]
fn missing_rights_are_named_with_their_grant() {
    let world = World::new("cf_rights", TABLE);
    // The stand-in's server shows keys to those only who may do more than read.
    world.source("CREATE USER app; GRANT ALL ON t TO app");
    let source = world.source_url_as("app");
    let refused = |expected: &[&str]| {
        let line = world.fetch(&["--source", &source]).failure();
        expected.iter().for_each(|text| assert!(line.contains(text), "{text:?} is not in {line}"));
    };
    refused(&["error_code\":\"EBB-S020\"", "to show cluster setting", "GRANT SYSTEM VIEWCLUSTERSETTING TO app;"]);
    world.source("GRANT SYSTEM VIEWCLUSTERSETTING TO app");
    refused(&["error_code\":\"EBB-C021\"", "requires the CHANGEFEED privilege", "GRANT CHANGEFEED ON TABLE t TO app;"]);
    world.source("GRANT CHANGEFEED ON TABLE t TO app");
    let ebb = world.fetch(&["--source", &source]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn licences_are_asked_for_where_they_are_needed() {
    for (release, state, expected) in [
        ("24.2.3", "none", "SET CLUSTER SETTING enterprise.license"),
        ("24.2.3", "expired", "SET CLUSTER SETTING enterprise.license"),
        ("25.2.1", "none", "Obtain and install a valid license to continue"),
        ("25.2.1", "expired", "Obtain and install a new license to continue"),
    ] {
        let world = World::of_release(release, &name(&format!("cf_{state}"), release), TABLE);
        world.source(&format!("CALL crdb_internal.license('{state}')"));
        let line = world.fetch(&[]).failure();
        assert!(
            line.to_lowercase().contains("license")
                && line.contains("error_code\":\"EBB-C022\"")
                && line.contains(expected),
            "{line}"
        );
        // Nothing was begun that a second start would stumble over.
        world.source("CALL crdb_internal.license('valid')");
        let ebb = world.fetch(&[]).ready();
        world.source("INSERT INTO t VALUES (1, 1)");
        world.wait_equal(&ebb, &["t"]);
        ebb.stop();
    }
}

#[test]
fn releases_under_an_advisory_are_warned_of() {
    let world = World::of_release("23.1.14", "cf_advisory", TABLE);
    let log = world.fetch(&[]).ready().stop();
    assert!(
        log.contains("A-104309")
            && log.contains("error_code\":\"EBB-S024\"")
            && log.contains("v23.1.16 or later")
            && !log.contains("A-123371"),
        "{log}"
    );
    let world = World::of_release("23.2.5", "cf_advisory_scan", TABLE);
    world.write_changefeed_settings(r#"{"initial_scan": "yes"}"#);
    let log = world.fetch(&[]).ready().stop();
    assert!(log.contains("A-123371") && !log.contains("A-104309"), "{log}");
    let world = World::of_release("26.1.3", "cf_no_advisory", TABLE);
    let log = world.fetch(&[]).ready().stop();
    assert!(!log.contains("technical advisory"), "{log}");
}

#[test]
fn what_ends_a_changefeed_is_said_with_what_to_do() {
    let failed = |text: &str| format!("SELECT crdb_internal.fail_changefeed(JOB, '{text}')");
    let gone = failed("batch timestamp 1,0 must be after replica GC threshold 2,0 (r45: /Table/104)");
    let old = failed("protected timestamp age exceeds changefeed.protect_timestamp.max_age");
    for (name, sql, expected) in [
        ("cf_truncated", "TRUNCATE t", ["error_code\":\"EBB-C015\"", "was truncated", "--table-exclusion-filter"]),
        ("cf_dropped", "DROP TABLE t", ["error_code\":\"EBB-C016\"", "was dropped", "goes on without the table"]),
        (
            "cf_family",
            "SELECT crdb_internal.add_family('t')",
            ["error_code\":\"EBB-C017\"", "with 2 families", "--table-exclusion-filter"],
        ),
        ("cf_gc", &gone, ["error_code\":\"EBB-C018\"", "GC threshold", "load the target anew"]),
        ("cf_protected", &old, ["error_code\":\"EBB-C018\"", "protected timestamp", "load the target anew"]),
    ] {
        let world = World::new(name, TABLE);
        let mut ebb = world.fetch(&[]).ready();
        world.source("INSERT INTO t VALUES (1, 1)");
        world.wait_equal(&ebb, &["t"]);
        world.source(&sql.replace("JOB", &job(&world)));
        assert_eq!(ebb.wait().code(), Some(1), "{}", ebb.log());
        let line = ebb.failure();
        expected.iter().for_each(|text| assert!(line.contains(text), "{text:?} is not in {line}"));
        // What the history says of the changefeed, also where its end was asked for.
        let said = world.run(&["status", "--history", "--stagingSchema", "_replicator_1"]);
        let last = said.lines().last().expect("an event");
        assert!(last.contains("the changefeed has failed: ") && last.ends_with(" has ended"), "{said}");
        assert!(!said.contains("keeps running"), "{said}");
    }
}

#[test]
fn families_are_refused_before_anything_begins() {
    let world = World::new("cf_families", TABLE);
    world.source("SELECT crdb_internal.add_family('t')");
    let line = world.fetch(&[]).failure();
    assert!(
        line.contains("multiple column families")
            && line.contains("error_code\":\"EBB-C017\"")
            && line.contains("--table-exclusion-filter"),
        "{line}"
    );
}

#[test]
fn a_changefeed_that_an_error_has_paused_is_not_waited_for() {
    let world = World::new("cf_on_error", "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    world.write_changefeed_settings(r#"{"on_error": "pause"}"#);
    let mut ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)");
    world.wait_equal(&ebb, &["t", "u"]);
    world.source("TRUNCATE t; INSERT INTO u VALUES (2)");
    assert_eq!(ebb.wait().code(), Some(1), "{}", ebb.log());
    let line = ebb.failure();
    for text in
        ["error_code\":\"EBB-C015\"", "was truncated", "on_error=pause", "CANCEL JOB", "--table-exclusion-filter"]
    {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    // As the error says.
    world.source(&format!("CANCEL JOB {}", job(&world)));
    wait_status(&world, String::new, "canceled");
    let ebb = world.fetch(&["--table-exclusion-filter", "^t$"]).ready();
    world.source("INSERT INTO u VALUES (3)");
    world.wait_equal(&ebb, &["u"]);
    ebb.stop();
}

#[test]
fn a_run_goes_on_without_a_table_that_was_dropped() {
    let world = World::new("cf_goes_on", "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    let mut ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)");
    world.wait_equal(&ebb, &["t", "u"]);
    world.source("INSERT INTO u VALUES (2); DROP TABLE t");
    assert_eq!(ebb.wait().code(), Some(1), "{}", ebb.log());
    assert!(ebb.failure().contains("goes on without the table"));
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO u VALUES (3)");
    world.wait_equal(&ebb, &["u"]);
    ebb.stop();
}

#[test]
fn a_changefeed_that_somebody_pauses_is_waited_for_and_told() {
    let world = World::new("cf_paused", TABLE);
    let mut ebb = world.fetch(&[]).ready();
    world.source(&format!("PAUSE JOB {}", job(&world)));
    let line = ebb.wait_line("was paused by somebody");
    assert!(line.contains("RESUME JOB") && line.contains("error_code\":\"EBB-C012\""), "{line}");
    let line = ebb.wait_line("was paused by somebody 3");
    assert!(line.contains(" s ago"), "{line}");
    world.source("INSERT INTO t VALUES (1, 1)");
    world.source(&format!("RESUME JOB {}", job(&world)));
    ebb.wait_line("was resumed");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn one_that_backs_off_is_woken() {
    let world = World::new("cf_wake", TABLE);
    world.fetch(&[]).ready().stop();
    world.source("INSERT INTO t VALUES (1, 1)");
    let status = "SELECT running_status FROM [SHOW CHANGEFEED JOBS]";
    wait_for("it to back off", String::new, || world.source(status).contains("transient error"));
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("woken from its back-off");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn a_secret_that_was_replaced_reaches_the_changefeed() {
    let world = World::new("cf_altered", TABLE);
    let settings = |secret: &str, more: &str| {
        let query = r#""sink_query_parameters": "insecure_tls_skip_verify=true""#;
        world.write_changefeed_settings(&format!(r#"{{{query}, "webhook_auth_header": "Bearer {secret}"{more}}}"#));
    };
    settings("geheim", r#", "compression": "gzip""#);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    let first = job(&world);
    ebb.stop();
    for secret in ["geheimer", "ganz_geheim"] {
        settings(secret, "");
        let mut ebb = world.fetch(&[]);
        ebb.wait_line("the changefeed had other settings, and was altered");
        world.source(&format!("INSERT INTO t VALUES ({}, 1)", secret.len()));
        world.wait_equal(&ebb, &["t"]);
        let log = ebb.stop();
        assert!(!log.contains("geheim"), "{log}");
    }
    assert_eq!(job(&world), first, "it is the same changefeed");
    // With nothing changed it is not touched.
    let mut ebb = world.fetch(&[]);
    ebb.wait_line("using the running changefeed");
    assert!(!ebb.stop().contains("was altered"));
    let kept = std::fs::read_to_string(world.dir().join("staging/_replicator_1/changefeed")).expect("the memory");
    assert!(!kept.contains("geheim"), "{kept}");
}

#[test]
fn settings_that_cockroachdb_would_refuse_are_refused_at_once() {
    let world = World::new("cf_settings", TABLE);
    for (settings, expected) in [
        (r#"{"webhook_sink_config": "{\"Flush\":{\"Bytes\":1048576}}"}"#, "\"Frequency\":\"1s\""),
        (r#"{"tables": "t"}"#, "known are host, port, sink_query_parameters"),
        (r#"{"on_error": "ignore"}"#, "\"pause\""),
        (r#"{"compression": "lz4"}"#, "\"zstd\""),
        (r#"{"extra_headers": "X"}"#, "JSON object"),
    ] {
        world.write_changefeed_settings(settings);
        let mut ebb = world.fetch(&[]);
        assert_eq!(ebb.wait().code(), Some(2), "{}", ebb.log());
        assert!(ebb.log().contains(expected), "{expected} is not in {}", ebb.log());
    }
    let pages = format!("127.0.0.1:{}", free_port());
    let more = r#"{"gc_protect_expires_after": "24h", "on_error": "fail", "compression": "zstd", "webhook_client_timeout": "5s"}"#;
    world.write_changefeed_settings(more);
    let ebb = world.fetch(&["--replicator-flags", &format!("--stagingSchema s --metricsAddr {pages}")]).ready();
    let description = world.source("SELECT description FROM [SHOW CHANGEFEED JOBS]");
    for option in ["gc_protect_expires_after = '24h'", "on_error = 'fail'", "compression = 'zstd'"] {
        assert!(description.contains(option), "{description}");
    }
    assert!(http_get(&pages, "/_/status").contains("client certificate"));
    ebb.stop();
}

/// What was written between the move to CockroachDB and the start of ebb is not lost.
#[test]
fn a_new_run_begins_at_the_cursor() {
    let world = World::new("feed_cursor", "CREATE TABLE t (id int PRIMARY KEY, v int)");
    let before = world.source("SELECT cluster_logical_timestamp()");
    world.source("INSERT INTO t VALUES (1, 1)");
    let line = world.fetch(&["--cursor", "9000000000000000000.0"]).failure();
    assert!(line.contains("lies in the future") && line.contains("error_code\":\"EBB-C019\""), "{line}");
    world.write_changefeed_settings(&format!(r#"{{"cursor": "{}"}}"#, before.trim()));
    let mut ebb = world.fetch(&[]).ready();
    let said = ebb.wait_line("new run: changes after");
    assert!(said.contains(&format!("after {} are replicated", before.trim())), "{said}");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
    // Later it goes on where the target stands.
    world.source("INSERT INTO t VALUES (2, 2)");
    let mut ebb = world.fetch(&["--cursor", before.trim()]);
    ebb.wait_line("is for a new run");
    world.wait_equal(&ebb, &["t"]);
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
    assert!(
        line.contains(&format!("CANCEL JOB {}", job.trim())) && line.contains("error_code\":\"EBB-C024\""),
        "{line}"
    );
    world.source(&format!("CANCEL JOB {}", job.trim()));
    // And one that is made later.
    let ebb = world.fetch(&["--table-filter", "^t$"]).ready();
    let job = create();
    let line = ebb.failure();
    // Whichever is noticed first: the job, or what it sends.
    assert!(line.contains(&format!("another changefeed (job {})", job.trim())), "{line}");
}

#[test]
fn the_changefeed_is_cancelled_by_somebody() {
    let world = World::new("fail_cancelled", TABLE);
    let mut ebb = world.fetch(&[]).ready();
    world.source(world.source("SELECT 'CANCEL JOB ' || job_id FROM [SHOW CHANGEFEED JOBS]").trim());
    assert_eq!(ebb.wait().code(), Some(1));
    let error = ebb.failure();
    assert!(error.contains("was cancelled") || error.contains("has ended"), "{error}");
    assert!(error.contains("start ebb again") && error.contains("error_code\":\"EBB-C014\""), "{error}");
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn a_running_changefeed_is_not_taken_from_a_run_that_is_not_known() {
    let world = World::new("fail_unknown_run", TABLE);
    world.fetch(&[]).ready().stop();
    let line = world.fetch(&["--replicator-flags", "--stagingSchema another"]).failure();
    for text in [
        "already sends these tables here",
        "give --stagingSchema of the run that created it",
        "CANCEL JOB",
        "are then lost for the target",
        "error_code\":\"EBB-C025\"",
    ] {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    assert!(!line.contains("geheim"), "{line}");
}
