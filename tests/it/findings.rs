//! What a start says of source and target: everything at once, before a row is received.

use crate::target::MYSQLS;
use crate::world::{Dialect, World};

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
