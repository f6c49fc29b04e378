//! What a feed may do: repeat, reorder, lose answers, go back. The target ends up equal, and no row is applied twice.

use ebb_crdb::Fault;

use crate::harness::world::{World, wait_for};

/// Counts every write of a row on the target: a repeat that is applied again would be counted again.
const TARGET: &str = "
    CREATE TABLE t (id int PRIMARY KEY, v int);
    CREATE TABLE writes (n bigserial PRIMARY KEY, id int, v int);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN INSERT INTO writes (id, v) VALUES (NEW.id, NEW.v); RETURN NEW; END$$;
    CREATE TRIGGER note AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note();
    ALTER TABLE t ENABLE ALWAYS TRIGGER note;";

/// Returns what ebb has said.
fn check(name: &str, settings: &str, faults: &[(Fault, u32, Option<u32>)]) -> String {
    let world = World::with_schemas(name, "CREATE TABLE t (id int PRIMARY KEY, v int)", TARGET);
    world.write_changefeed_settings(settings);
    let ebb = world
        .fetch(&["--table-filter", "^t$", "--replicator-flags", "--stagingSchema _replicator_1 --triggers fire"])
        .ready();
    world.source("INSERT INTO t SELECT i, 0 FROM generate_series(1, 50) AS i");
    for round in 1..=12 {
        if let Some(&(fault, count, amount)) = faults.get(round % (faults.len() + 1)) {
            world.inject(fault, count, amount);
        }
        world.source(&format!("UPDATE t SET v = {round} WHERE id % 4 = {round} % 4"));
        world.source(&format!("DELETE FROM t WHERE id = {round}; INSERT INTO t VALUES ({}, {round})", 100 + round));
    }
    world.wait_equal(&ebb, &["t"]);
    // A fault happens to rows that come by, so some more come until all have happened.
    for &(fault, ..) in faults {
        wait_for(
            &format!("{fault:?} to have happened"),
            || ebb.log(),
            || {
                world.source("UPDATE t SET v = v + 100 WHERE id = 50");
                world.faults_left(fault) == 0
            },
        );
    }
    // Whatever comes late changes nothing any more.
    world.source("INSERT INTO t VALUES (1000, 1000)");
    world.wait_equal(&ebb, &["t"]);
    let twice = world.target("SELECT id, v, count(*) FROM writes GROUP BY id, v HAVING count(*) > 1");
    assert_eq!(twice.trim(), "", "written twice\n{}", ebb.log());
    let back = world.target("SELECT count(*) FROM writes a JOIN writes b ON a.id = b.id AND a.n < b.n AND a.v > b.v");
    assert_eq!(back.trim(), "0", "an older version came after a newer one\n{}", ebb.log());
    ebb.stop()
}

#[test]
fn answers_are_lost() {
    check("feed_answer_lost", "{}", &[(Fault::AnswerLost, 4, None)]);
}

#[test]
fn connections_are_cut_in_the_middle_of_a_body() {
    check("feed_cut", "{}", &[(Fault::CutMidBody, 4, None)]);
}

#[test]
fn a_suffix_comes_again_with_gaps() {
    check("feed_replay", "{}", &[(Fault::Replay, 1, Some(60))]);
}

#[test]
fn rows_come_twice_and_older_after_newer() {
    check("feed_duplicates", "{}", &[(Fault::Duplicates, 3, None), (Fault::Reversed, 3, None)]);
}

#[test]
fn resolved_repeats_and_goes_back() {
    check("feed_resolved", "{}", &[(Fault::ResolvedRepeated, 2, None), (Fault::ResolvedBack, 2, None)]);
}

#[test]
fn slow_requests_and_unknown_fields() {
    let log = check("feed_slow", "{}", &[(Fault::Slow, 2, Some(300)), (Fault::ExtraFields, 3, None)]);
    assert!(!log.contains("a request was refused"), "{log}");
}

#[test]
fn compressed_bodies() {
    check("feed_gzip", r#"{"compression": "gzip"}"#, &[(Fault::Replay, 1, Some(20))]);
    check("feed_zstd", r#"{"compression": "zstd"}"#, &[(Fault::AnswerLost, 2, None)]);
}

#[test]
fn an_initial_scan_comes_first() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    let world = World::new("feed_scan", schema);
    world.source("INSERT INTO t SELECT i, 'before' FROM generate_series(1, 300) AS i");
    world.write_changefeed_settings(r#"{"initial_scan": "yes"}"#);
    let ebb = world.fetch(&[]).ready();
    world.source("UPDATE t SET v = 'after' WHERE id <= 10");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}
