//! `ebb verify` over tables of every shape, what it is asked for, and what it refuses.

use crate::harness::client::hold;
use crate::harness::comparison::{begin, counts, must_be_equal, must_differ, refused, result, table, verify_text};
use crate::harness::pages::status;
use crate::harness::world::{World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (id int8 PRIMARY KEY, v text)";

#[test]
fn tables_of_every_shape_are_compared() {
    let world = World::with_schemas(
        "verify_shapes",
        "CREATE TABLE nothing (id int8 PRIMARY KEY);
         CREATE TABLE grid (x int8, y int8, v text, PRIMARY KEY (x, y));
         CREATE TABLE \"Odd \"\"Name\" (\"Select\" int8 PRIMARY KEY, \"a b\" text, \"UPPER\" text, lower text);
         CREATE TABLE sums (a int8 PRIMARY KEY, b int8, total int8 GENERATED ALWAYS AS (a + b) STORED);
         CREATE TABLE spare (id int8 PRIMARY KEY, v text, unwanted text);
         CREATE TABLE names (n varchar(3) PRIMARY KEY, d decimal(10,2));
         CREATE TABLE only_key (a text, b int8, PRIMARY KEY (a, b));
         CREATE TABLE regions (id int8 PRIMARY KEY, v int8); ALTER TABLE regions SET LOCALITY REGIONAL BY ROW",
        "CREATE TABLE nothing (id int8 PRIMARY KEY);
         CREATE TABLE grid (v text, y int8, x int8, more text DEFAULT 'here', PRIMARY KEY (y, x));
         CREATE TABLE \"Odd \"\"Name\" (\"UPPER\" text, \"a b\" text, \"Select\" int8 PRIMARY KEY, \"LOWER\" text);
         CREATE TABLE sums (a int8 PRIMARY KEY, b int8, total int8 GENERATED ALWAYS AS (a + b) STORED);
         CREATE TABLE spare (id int8 PRIMARY KEY, v text);
         CREATE TABLE names (n varchar(30) PRIMARY KEY, d decimal(10,2));
         CREATE TABLE only_key (b int8, a text, PRIMARY KEY (b, a));
         CREATE TABLE regions (id int8 PRIMARY KEY, v int8)",
    );
    let flags = ["--ignore-columns", "spare.unwanted"];
    let ebb = world.fetch(&flags).ready();
    world.source(
        "BEGIN; INSERT INTO grid SELECT x, y, x || ':' || y FROM generate_series(1, 20) x, generate_series(1, 20) y;
         INSERT INTO \"Odd \"\"Name\" VALUES (1, 'it''s', '\"', '\\'), (2, 'ä', NULL, '');
         INSERT INTO sums (a, b) VALUES (1, 2), (3, 4); INSERT INTO spare VALUES (1, 'v', 'x');
         INSERT INTO names VALUES ('abc', 1.25); INSERT INTO only_key VALUES ('it''s', 1), ('b', 2);
         INSERT INTO regions SELECT i, i FROM generate_series(1, 30) AS i; COMMIT",
    );
    world.wait_target(&ebb, "SELECT count(*) FROM only_key", "2");
    let found = must_be_equal(&world, &flags);
    let compared = ["nothing", "grid", "sums", "spare", "names", "only_key"].map(|name| counts(&found, name)[0]);
    assert_eq!(compared, [0, 400, 2, 1, 1, 2].map(Some), "{found:#}");
    assert_eq!(counts(&found, "Odd \"Name"), [2, 0, 0, 0].map(Some), "{found:#}");
    world.target(
        "INSERT INTO nothing VALUES (7); DELETE FROM grid WHERE (x, y) = (3, 4); INSERT INTO grid VALUES ('', 4, 30);
         UPDATE \"Odd \"\"Name\" SET \"LOWER\" = NULL WHERE \"Select\" = 2; INSERT INTO names VALUES ('abcd', 1);
         UPDATE only_key SET a = 'B' WHERE a = 'b';
         UPDATE regions SET id = 77 WHERE id = 7; UPDATE regions SET v = 0 WHERE id = 30",
    );
    let found = must_differ(&world, &flags);
    for (name, expected) in [
        ("nothing", [0, 0, 1, 0]),
        ("grid", [400, 1, 1, 0]),
        ("Odd \"Name", [2, 0, 0, 1]),
        ("names", [1, 0, 1, 0]),
        ("only_key", [2, 1, 1, 0]),
        ("regions", [30, 1, 1, 1]),
        ("sums", [2, 0, 0, 0]),
    ] {
        assert_eq!(
            (counts(&found, name), &table(&found, name)["unexplained"]),
            (expected.map(Some), &0.into()),
            "{name}"
        );
    }
    ebb.stop();
}

/// What is asked for is compared, everything is counted, and not all of it shown.
#[test]
fn it_compares_what_it_is_asked_for() {
    let schema = format!("{TABLE}; CREATE TABLE u (id int8 PRIMARY KEY, v text)");
    let world = World::new("verify_asked", &schema);
    let ebb = world.fetch(&[]).ready();
    world.source(
        "BEGIN; INSERT INTO t SELECT i, 'v' FROM generate_series(1, 50) AS i; INSERT INTO u VALUES (1, 'u'); COMMIT",
    );
    world.wait_equal(&ebb, &["t", "u"]);
    world.target("UPDATE t SET v = 'w' WHERE id <= 5");
    for name in ["u", "public.u"] {
        let found = must_be_equal(&world, &["--tables", name]);
        assert_eq!((found["tables"].as_array().map(Vec::len), &found["every_table"]), (Some(1), &false.into()));
    }
    let found = must_be_equal(&world, &["--only-keys"]);
    assert_eq!((&found["only_keys"], counts(&found, "t")[0]), (&true.into(), Some(50)));
    let found = must_differ(&world, &["--limit", "2"]);
    assert_eq!((found["shown"].as_array().map(Vec::len), counts(&found, "t")[3]), (Some(2), Some(5)), "{found:#}");
    for field in
        ["verdict", "finished", "only_keys", "every_table", "differences", "tables", "shown", "rows", "seconds"]
    {
        assert!(!found[field].is_null(), "{field} is not in {found:#}");
    }
    let (code, text) = verify_text(&world, &["--limit", "2"]);
    println!("{text}");
    assert_eq!(code, Some(3), "{text}");
    for said in [
        "public.t id=1 differs\n  v: 'v' at the source, 'w' on the target\n",
        "target: SELECT * FROM \"public\".\"t\" WHERE \"id\" = '1';\n",
        "\n3 more differences are not shown (--limit shows more)\n",
        "\nDIFFERENT: 5 rows differ\n",
    ] {
        assert!(text.contains(said), "{said:?} is not in {text}");
    }
    let (code, text) = verify_text(&world, &["--tables", "u"]);
    assert!(
        code == Some(0)
            && text.ends_with("EQUAL: the chosen tables of both sides are equal, as of the time of each table\n")
    );
    let error = refused(&world, &["--tables", "u,nowhere"]);
    assert!(error.contains("EBB-V015") && error.contains("public.t, public.u"), "{error}");
    // Where no value may be shown, none is, also not within a statement.
    let (_, text) = verify_text(&world, &["--log-values", "off"]);
    assert!(!text.contains("'w'") && !text.contains("'1'") && text.contains("5 rows differ"), "{text}");
    ebb.stop();
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let world = World::new("verify_refused", TABLE);
    let error = refused(&world, &[]);
    assert!(error.contains("EBB-V010") && error.contains("start ebb fetch"), "{error}");
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 'a')");
    world.wait_equal(&ebb, &["t"]);
    let error = refused(&world, &["--replicator-flags", "--stagingSchema another"]);
    assert!(error.contains("EBB-V010") && error.contains("another"), "{error}");
    ebb.stop();
    world.target("ALTER TABLE t DROP COLUMN v");
    let error = refused(&world, &[]);
    assert!(error.contains("EBB-V016") && error.contains("public.t") && error.contains('v'), "{error}");
}

/// A user without the right to hold history compares all the same, and neither side has anything more then.
#[test]
fn nothing_is_written_on_either_side() {
    let world = World::new("verify_reader", TABLE);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 'a'); CREATE USER reader; GRANT ALL ON TABLE t TO reader");
    world.source("GRANT SYSTEM VIEWCLUSTERSETTING TO reader");
    world.wait_equal(&ebb, &["t"]);
    let found = must_be_equal(&world, &["--source", &world.source_url_as("reader")]);
    let history = found["history"].as_str().expect("text");
    assert!(history.contains("did not hold the history") && history.contains("REPLICATION"), "{history}");
    let tables = "SELECT string_agg(table_name, ',' ORDER BY table_name) FROM information_schema.tables \
                  WHERE table_schema = 'public'";
    let before = world.target(tables);
    must_be_equal(&world, &[]);
    assert_eq!(world.target(tables), before);
    assert_eq!(world.source(tables), "t");
    let held = "SELECT count(*) FROM [SHOW JOBS] WHERE job_type = 'HISTORY RETENTION' AND status = 'running'";
    assert_eq!(world.source(held), "0");
    ebb.stop();
}

/// Reading waits while the running ebb is behind.
#[test]
fn replication_goes_first() {
    let world = World::new("verify_lag", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    world.source("INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) AS i");
    world.wait_equal(&ebb, &["t"]);
    let gate = hold(&world, "LOCK TABLE t IN SHARE MODE");
    world.source("INSERT INTO t VALUES (101, 'v')");
    let lag = || status(&pages)["apply_lag_seconds"].as_f64().unwrap_or(0.0);
    wait_for("a target that is behind", || ebb.log(), || lag() > 1.5);
    let mut comparison = begin(&world, &["--json", "--max-lag", "1s"]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(comparison.ended().is_none(), "{}", comparison.log());
    drop(gate);
    assert_eq!(comparison.wait().code(), Some(0), "{}", comparison.log());
    let found = result(&comparison);
    // The snapshot is of what it has waited for.
    assert_eq!(counts(&found, "t"), [101, 0, 0, 0].map(Some), "{found:#}");
    assert_eq!(must_be_equal(&world, &["--max-lag", "0s"])["verdict"], "equal");
    ebb.stop();
}

/// Each round begins anew, and the end of the last one is no failure of those before.
#[test]
fn round_after_round_is_compared() {
    let world = World::new("verify_rounds", TABLE);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) AS i");
    world.wait_equal(&ebb, &["t"]);
    let mut comparison = begin(&world, &["--continuous"]);
    let rounds = |word: &str| comparison.log().matches(word).count();
    wait_for("two rounds", || comparison.log(), || rounds("EQUAL") >= 2);
    world.target("UPDATE t SET v = 'w' WHERE id = 7");
    wait_for("a difference", || comparison.log(), || rounds("DIFFERENT") >= 1);
    comparison.signal(rustix::process::Signal::INT);
    assert_eq!(comparison.wait().code(), Some(3), "{}", comparison.log());
    ebb.stop();
}
