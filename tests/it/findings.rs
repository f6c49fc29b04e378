//! What a start says of source and target: everything at once, before a row is received.

use crate::harness::target::MYSQLS;
use crate::harness::world::{Dialect, World};

const FIT_TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v varchar(3))";

#[test]
fn everything_that_does_not_fit_is_said_at_once() {
    let source = "CREATE TABLE lonely (id int PRIMARY KEY); CREATE TABLE keys (a int, b int, PRIMARY KEY (a, b));
        CREATE TABLE narrow (id bigint PRIMARY KEY, name text, price numeric(12,2), born date, more text, due timestamptz)";
    for dialect in [Dialect::Postgres, MYSQLS[0], MYSQLS[1]] {
        let target = "CREATE TABLE idle (id INT PRIMARY KEY); CREATE TABLE keys (a INT PRIMARY KEY, b INT);
            CREATE TABLE narrow (id INT PRIMARY KEY, name VARCHAR(5) NOT NULL, price DECIMAL(10,2), born BOOLEAN, due DATE, own INT NOT NULL)";
        let target = match dialect {
            Dialect::Postgres => target.to_owned(),
            Dialect::MySql(_) => {
                format!("{}; ALTER TABLE `keys` ENGINE = MyISAM", target.replace("TABLE keys", "TABLE `keys`"))
            }
        };
        let world = World::with_target(dialect, "findings", source, &target);
        let mut ebb = world.fetch(&["--logging", "debug", "--allow-rounding"]);
        let shown = if dialect == Dialect::Postgres { "public.narrow" } else { "findings.narrow" };
        let grouped = ebb.wait_line("values beyond the range of");
        assert!(grouped.contains("error_code\":\"EBB-K030\""), "{grouped}");
        assert!(grouped.contains(shown) && !grouped.contains("characters"), "{grouped}");
        for text in [
            "the source's public.narrow.name may be NULL",
            "every INT8 of public.narrow.id",
            "takes only texts of up to 5 characters",
            "digits before the point",
            "midnight",
        ] {
            ebb.wait_line(text);
        }
        let line = ebb.failure();
        let engine = if dialect == Dialect::Postgres { "need not be unique" } else { "its engine is MyISAM" };
        for text in [
            "public.lonely is missing",
            "several rows of the source's table public.keys could become one row",
            "column public.narrow.more",
            "--ignore-columns more",
            "born",
            "own",
            engine,
            "\\n3) ",
            "error_code\":\"EBB-K001\"",
        ] {
            assert!(line.contains(text), "{dialect:?}: {text:?} is not in {line}");
        }
        assert!(!line.contains("characters"), "{line}");
    }
}

#[test]
fn columns_that_only_the_source_has_can_be_left_out() {
    for dialect in [Dialect::Postgres, MYSQLS[0]] {
        let source = "CREATE TABLE t (id int PRIMARY KEY, v int, extra text, \"More\" int)";
        let world =
            World::with_target(dialect, "findings_ignored", source, "CREATE TABLE t (id INT PRIMARY KEY, v INT)");
        let ebb = world.fetch(&["--ignore-columns", "t.extra,more"]).ready();
        world.source("INSERT INTO t VALUES (1, 2, 'x', 3), (2, 3, NULL, NULL)");
        world.wait_target(&ebb, "SELECT COUNT(*), SUM(v) FROM t", "2|5");
        world.source("DELETE FROM t WHERE id = 1");
        world.wait_target(&ebb, "SELECT COUNT(*), SUM(v) FROM t", "1|3");
        ebb.stop();
    }
}

/// Starts `ebb fetch`, which must fail with one error line that holds all of these.
fn fails(world: &World, more: &[&str], expected: &[&str]) {
    let line = world.fetch(more).failure();
    for text in expected {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    assert!(!line.contains("geheim"), "{line}");
}

#[test]
fn the_source_is_not_fit() {
    let world = World::new("fail_source", FIT_TABLE);
    world.source("SET CLUSTER SETTING kv.rangefeed.enabled = false");
    fails(
        &world,
        &[],
        &["error_code\":\"EBB-S021\"", "rangefeeds are off", "SET CLUSTER SETTING kv.rangefeed.enabled = true;"],
    );
    let source = "postgres://root@localhost:1/defaultdb?sslmode=require";
    fails(
        &world,
        &["--source", source],
        &["error_code\":\"EBB-S010\"", "cannot connect to the source postgres://root@localhost:1/defaultdb"],
    );
    let target = world.target_url();
    fails(&world, &["--source", &target], &["error_code\":\"EBB-S018\"", "is not a CockroachDB", "are they swapped?"]);
    let plain = world.source_url().replace("verify-full", "disable");
    fails(&world, &["--source", &plain], &["error_code\":\"EBB-S015\"", "sslmode=disable", "--allow-tls-mode-disable"]);
}

#[test]
fn the_target_is_not_fit() {
    let world = World::new("fail_target", FIT_TABLE);
    let wrong = world.target_url_as("postgres", "geheim");
    fails(&world, &["--target", &wrong], &["password authentication failed", "see user and password"]);
    let gone = world.target_url().replace(world.database(), "no_such_database");
    fails(&world, &["--target", &gone], &["no_such_database", "does not exist"]);
    let source = world.source_url();
    fails(&world, &["--target", &source], &["is a CockroachDB", "are they swapped?"]);
    let plain = world.target_url().replace("verify-full", "disable");
    fails(&world, &["--target", &plain], &["sslmode=disable", "--allow-tls-mode-disable"]);
    let untrusted = world.target_url().replace("ca.crt", "no-such-file.crt");
    fails(&world, &["--target", &untrusted], &["sslrootcert", "no-such-file.crt"]);
}

/// All that lacks is named at the start, in one statement, which mends it.
#[test]
fn rights_that_lack_are_named_with_the_statement_that_grants_them() {
    for dialect in [Dialect::Postgres, MYSQLS[0], MYSQLS[1]] {
        let tables = "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);
            CREATE TABLE c (id int PRIMARY KEY)";
        let world = World::with_target(dialect, "fail_rights", tables, tables);
        let (database, user) = (world.database(), "lacking");
        world.target(&match dialect {
            Dialect::Postgres => format!(
                "DROP ROLE IF EXISTS {user}; CREATE ROLE {user} LOGIN PASSWORD 'x'; GRANT CREATE, USAGE ON SCHEMA public TO {user};
                 GRANT SELECT, INSERT, UPDATE ON a, b TO {user}; GRANT ALL ON c TO {user}"
            ),
            _ => format!(
                "CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY 'x'; GRANT CREATE, TRIGGER ON {database}.* TO '{user}'@'%';
                 GRANT CREATE, SELECT, INSERT, UPDATE ON {database}.ebb_progress TO '{user}'@'%';
                 GRANT SELECT, INSERT, UPDATE ON {database}.a TO '{user}'@'%';
                 GRANT SELECT, INSERT, UPDATE ON {database}.b TO '{user}'@'%';
                 GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.c TO '{user}'@'%'"
            ),
        });
        let target = world.target_url_as(user, "x");
        let line = world.fetch(&["--target", &target]).failure();
        let error: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let (message, hint) = (error["message"].to_string(), error["hint"].as_str().expect("a hint").to_owned());
        assert!(line.contains("EBB-T016") && message.contains("lacks DELETE on "), "{dialect:?}: {line}");
        assert!(message.contains(if dialect == Dialect::Postgres { "public\\\".\\\"b" } else { "`b`" }), "{line}");
        let (_, grants) = hint.split_once("as an administrator of the target: ").expect("a statement");
        world.target(grants);
        let ebb = world.fetch(&["--target", &target]).ready();
        world.source("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1)");
        world.wait_equal(&ebb, &["a", "b", "c"]);
        ebb.stop();
    }
}

#[test]
fn tables_do_not_match() {
    let world = World::with_schemas("fail_tables", FIT_TABLE, "CREATE TABLE other (id int)");
    let missing = "the source's table public.t is missing on the target";
    let schema = format!("{}.public has no table t", world.database());
    let hint = format!("create the table t in {}.public on the target", world.database());
    fails(&world, &[], &["error_code\":\"EBB-K020\"", missing, &schema, &hint, "--table-exclusion-filter '^t$'"]);
    world.target("CREATE VIEW t AS SELECT 1 AS id, 'a' AS v");
    fails(&world, &[], &["error_code\":\"EBB-K020\"", "public.t has no table on the target", "public.t is a view"]);
    world.target("DROP VIEW t; CREATE TABLE t (id int, v varchar(3))");
    fails(
        &world,
        &[],
        &["error_code\":\"EBB-K025\"", "the target's table public.t has no primary key", "ADD PRIMARY KEY"],
    );
    world.target("ALTER TABLE t ADD PRIMARY KEY (v)");
    fails(
        &world,
        &[],
        &["error_code\":\"EBB-K016\"", "primary keys of public.t differ", "(id) at the source, (v) on the target"],
    );
    world.target("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)");
    fails(
        &world,
        &[],
        &["error_code\":\"EBB-K011\"", "the target's table public.t lacks the source's column public.t.v"],
    );
}

/// Somebody wants it so.
#[test]
fn a_table_that_a_filter_leaves_out_is_not_warned_of() {
    let tables = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)";
    let world =
        World::with_schemas("findings_filtered", tables, &format!("{tables}; CREATE TABLE own (id int PRIMARY KEY)"));
    let mut ebb = world.fetch(&["--table-exclusion-filter", "^u$"]);
    let line = ebb.wait_line("no row will come for 1 tables of the target: own");
    assert!(line.contains("error_code\":\"EBB-K023\""), "{line}");
    ebb.stop();
}

#[test]
fn what_the_sources_connection_lacks_is_said() {
    let world = World::new("fail_connection", FIT_TABLE);
    let (own, other) = (world.certs().ca().display().to_string(), world.certs().server().cert.display().to_string());
    let strange = world.source_url().replace(&own, &other);
    fails(&world, &["--source", &strange], &["error_code\":\"EBB-S013\"", "ebb trusts those in", "sslrootcert=PATH"]);
    // PostgreSQL asks for a password before anybody asks what it is.
    let silent = world.target_url_as("postgres", "geheim").replace(":geheim@", "@");
    fails(&world, &["--source", &silent], &["error_code\":\"EBB-S011\"", "asks for a password", "EBB_SOURCE"]);
    let open = world.source_url().replace("verify-full", "require");
    let open = open.replace(&format!("sslrootcert={own}"), "connect_timeout=9");
    let mut ebb = world.fetch(&["--source", &open]);
    let line = ebb.wait_line("the server's certificate is not verified (sslmode=require)");
    assert!(line.contains("error_code\":\"EBB-S016\""), "{line}");
    ebb.stop();
    let gone = world.source_url().replace("ca.crt", "no-such-file.crt");
    fails(&world, &["--source", &gone], &["error_code\":\"EBB-S014\"", "no-such-file.crt"]);
    let unknown = format!("{}&nonsense=1", world.source_url());
    let mut ebb = world.fetch(&["--source", &unknown]);
    assert_eq!(ebb.wait().code(), Some(2), "{}", ebb.log());
    assert!(ebb.log().contains("error[EBB-S017]: --source has an unknown parameter, nonsense"), "{}", ebb.log());
    fails(&world, &["--table-filter", "^nothing$"], &["error_code\":\"EBB-S023\"", "--schema-filter"]);
}
