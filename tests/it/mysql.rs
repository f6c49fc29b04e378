//! The whole job on MySQL and MariaDB: rows, names, values, and rows that stand in each other's way, with the seed's
//! command over TLS, as `root` and as a user with rights on rows only.

use crate::harness::target::MYSQLS;
use crate::harness::world::{Dialect, Ebb, World};

/// Runs the transactions at the source one after the other, then all of them again while ebb is down.
fn check(name: &str, schema: [&str; 2], tables: &[&str], steps: &[&str]) {
    for dialect in MYSQLS {
        let world = World::with_target(dialect, name, schema[0], schema[1]);
        let ebb = start_plain(&world);
        for step in steps {
            world.source(&format!("BEGIN; {step}; COMMIT"));
            world.wait_equal_maybe_empty(&ebb, tables);
        }
        let delete: Vec<_> = tables.iter().map(|table| format!("DELETE FROM {table}")).collect();
        world.source(&format!("BEGIN; {}; COMMIT", delete.join("; ")));
        world.wait_equal_maybe_empty(&ebb, tables);
        ebb.stop();
        for step in steps {
            world.source(&format!("BEGIN; {step}; COMMIT"));
        }
        let ebb = world.fetch(&[]);
        world.wait_equal_maybe_empty(&ebb, tables);
        ebb.stop();
    }
}

/// As a user who may write rows and make the progress table.
fn start_plain(world: &World) -> Ebb {
    let name = format!("{}_app", world.database());
    world.target(&format!(
        "CREATE USER '{name}'@'%' IDENTIFIED BY 'x'; GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, TRIGGER ON {}.* TO '{name}'@'%'",
        world.database()
    ));
    world.fetch(&["--target", &world.target_url_as(&name, "x")]).ready()
}

#[test]
fn inserts_updates_and_deletes_arrive() {
    check(
        "mysql_rows",
        [
            "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL);
             CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL REFERENCES customers, note text);
             CREATE TABLE items (order_id bigint REFERENCES orders, item int, amount numeric(10,2), PRIMARY KEY (order_id, item))",
            "CREATE TABLE customers (id BIGINT PRIMARY KEY, name VARCHAR(50) NOT NULL);
             CREATE TABLE orders (id BIGINT PRIMARY KEY, customer BIGINT NOT NULL, note TEXT, FOREIGN KEY (customer) REFERENCES customers (id));
             CREATE TABLE items (order_id BIGINT, item INT, amount DECIMAL(10,2), PRIMARY KEY (item, order_id),
                 FOREIGN KEY (order_id) REFERENCES orders (id))",
        ],
        &["items", "orders", "customers"],
        &[
            "INSERT INTO customers SELECT i, 'customer ' || i || ' Größe 🐘' FROM generate_series(1, 3000) AS i;
             INSERT INTO orders SELECT i, i, CASE WHEN i % 2 = 0 THEN 'note' END FROM generate_series(1, 3000) AS i;
             INSERT INTO items SELECT i, 1, i * 1.25 FROM generate_series(1, 3000) AS i",
            "UPDATE customers SET name = 'second' WHERE id % 3 = 0; DELETE FROM items WHERE order_id % 5 = 0; DELETE FROM orders WHERE id % 5 = 0",
            "UPDATE orders SET customer = 1; DELETE FROM items WHERE order_id > 9; DELETE FROM customers WHERE id > 1",
        ],
    );
}

#[test]
fn rows_that_refer_to_each_other() {
    let late = "DEFERRABLE INITIALLY DEFERRED";
    check(
        "mysql_circle",
        [
            &format!(
                "CREATE TABLE teams (id int PRIMARY KEY, head int, name text);
                 CREATE TABLE people (id int PRIMARY KEY, team int NOT NULL REFERENCES teams {late});
                 ALTER TABLE teams ADD FOREIGN KEY (head) REFERENCES people {late};
                 CREATE TABLE nodes (id int PRIMARY KEY, parent int NOT NULL REFERENCES nodes {late})"
            ),
            "CREATE TABLE teams (id INT PRIMARY KEY, head INT, name TEXT);
             CREATE TABLE people (id INT PRIMARY KEY, team INT NOT NULL, FOREIGN KEY (team) REFERENCES teams (id));
             ALTER TABLE teams ADD FOREIGN KEY (head) REFERENCES people (id);
             CREATE TABLE nodes (id INT PRIMARY KEY, parent INT NOT NULL, FOREIGN KEY (parent) REFERENCES nodes (id))",
        ],
        &["teams", "people", "nodes"],
        &[
            "INSERT INTO teams VALUES (1, 1, 'a'), (2, 3, 'b'); INSERT INTO people VALUES (1, 1), (2, 1), (3, 2);
             INSERT INTO nodes SELECT i, least(i * 2 + 1, 1000) FROM generate_series(1, 1000) AS i",
            "INSERT INTO people VALUES (4, 2); UPDATE teams SET head = 4 WHERE id = 2; DELETE FROM people WHERE id = 3;
             INSERT INTO nodes VALUES (2000, 1000); UPDATE nodes SET parent = 2000 WHERE id < 5",
            "DELETE FROM teams; DELETE FROM people; DELETE FROM nodes WHERE id > 500 AND id < 1000;
             UPDATE nodes SET parent = 2000 WHERE id <= 500",
        ],
    );
}

/// Unique values rotate, though others hang on their rows and MySQL knows no constraint that waits.
#[test]
fn unique_values_rotate() {
    let late = "DEFERRABLE INITIALLY DEFERRED";
    check(
        "mysql_seats",
        [
            &format!(
                "CREATE TABLE guests (id int PRIMARY KEY, seat int UNIQUE {late}, ticket varchar(9) UNIQUE {late});
                 CREATE TABLE bags (id int PRIMARY KEY, guest int REFERENCES guests {late})"
            ),
            "CREATE TABLE guests (id INT PRIMARY KEY, seat INT NOT NULL UNIQUE, ticket VARCHAR(9) UNIQUE);
             CREATE TABLE bags (id INT PRIMARY KEY, guest INT, FOREIGN KEY (guest) REFERENCES guests (id) ON DELETE CASCADE)",
        ],
        &["guests", "bags"],
        &[
            "INSERT INTO guests SELECT i, i, 't' || i FROM generate_series(1, 20) AS i; INSERT INTO bags SELECT i, i FROM generate_series(1, 20) AS i",
            "UPDATE guests SET seat = 3 - seat WHERE id IN (1, 2)",
            "UPDATE guests SET seat = seat % 20 + 1, ticket = 't' || seat",
            "DELETE FROM bags WHERE guest = 5; DELETE FROM guests WHERE id = 5; INSERT INTO guests VALUES (100, 6, 't5x');
             UPDATE guests SET seat = 500 WHERE id = 7",
            "UPDATE bags SET guest = 100; DELETE FROM guests WHERE id < 10",
        ],
    );
}

#[test]
fn a_row_that_the_targets_key_refuses_is_refused() {
    for dialect in MYSQLS {
        let source = "CREATE TABLE a (id int PRIMARY KEY, u text); CREATE TABLE b (id int PRIMARY KEY, a int)";
        let target = "CREATE TABLE a (id INT PRIMARY KEY, u VARCHAR(9), UNIQUE one_u (u));
            CREATE TABLE b (id INT PRIMARY KEY, a INT, CONSTRAINT b_needs_a FOREIGN KEY (a) REFERENCES a (id))";
        for (row, expected) in [
            ("INSERT INTO b VALUES (1, 7)", ["b_needs_a", "id=1"]),
            ("INSERT INTO a VALUES (2, 'x')", ["one_u", "'x'"]),
            ("INSERT INTO a VALUES (3, 'ten letters')", ["column u", "id=3"]),
        ] {
            let world = World::with_target(dialect, &format!("mysql_refused_{}", row.len()), source, target);
            let ebb = world.fetch(&[]).ready();
            world.source("INSERT INTO a VALUES (1, 'x')");
            world.wait_equal(&ebb, &["a"]);
            world.source(row);
            let line = ebb.failure();
            for text in expected {
                assert!(line.contains(text), "{dialect:?}: {text:?} is not in {line}");
            }
            assert_eq!(world.target("SELECT (SELECT COUNT(*) FROM a) + (SELECT COUNT(*) FROM b)"), "1");
        }
    }
}

#[test]
fn a_key_changes_its_case_under_a_target_that_ignores_case() {
    check(
        "mysql_case",
        [
            "CREATE TABLE people (name text PRIMARY KEY, n int)",
            "CREATE TABLE people (name VARCHAR(20) PRIMARY KEY, n INT)",
        ],
        &["people"],
        &[
            "INSERT INTO people VALUES ('Ada', 1), ('Bob', 1)",
            "UPDATE people SET name = 'ADA' WHERE name = 'Ada'",
            "DELETE FROM people WHERE name = 'Bob'; INSERT INTO people VALUES ('BOB', 3)",
            "UPDATE people SET name = initcap(name), n = 4",
        ],
    );
}

#[test]
fn names_of_every_kind() {
    let long = "n".repeat(63);
    for dialect in MYSQLS {
        let world = World::with_target(
            dialect,
            "mysql_names",
            &format!(
                "CREATE TABLE \"Select\" (\"Order By\" int PRIMARY KEY, \"a`b\" int, \"Größe\" int, \"{long}\" int, \"left\" int)"
            ),
            &format!(
                "CREATE TABLE `Select` (`order by` INT PRIMARY KEY, `a``b` INT, `Größe` INT, `{long}` INT, `LEFT` INT)"
            ),
        );
        let ebb = world.fetch(&[]).ready();
        world.source("INSERT INTO \"Select\" VALUES (1, 2, 3, 4, 5), (2, 2, 3, 4, 5)");
        world.wait_target(&ebb, "SELECT COUNT(*), SUM(`a``b` + `Größe` + `left`) FROM `Select`", "2|20");
        world.source("DELETE FROM \"Select\" WHERE \"Order By\" = 1");
        world.wait_target(&ebb, &format!("SELECT `Order By`, `{long}` FROM `Select`"), "2|4");
        ebb.stop();
    }
}

#[test]
fn triggers_of_the_target_are_named_at_start() {
    for dialect in MYSQLS {
        let schema = "CREATE TABLE t (id int PRIMARY KEY, n int)";
        let world = World::with_target(dialect, "mysql_triggers", schema, schema);
        world.target("CREATE TRIGGER twice BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n * 2");
        let line = world.fetch(&[]).failure();
        assert!(line.contains("mysql_triggers.t") && line.contains("suspended: twice"), "{line}");
        assert!(line.contains("--triggers drop") && line.contains("--triggers fire"), "{line}");
        assert_ne!(dialect, Dialect::Postgres);
    }
}
