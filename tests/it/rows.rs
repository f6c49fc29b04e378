//! Rows of every kind, from the source to the target.

use crate::harness::client::{Client, hold};
use crate::harness::world::{Dialect, World};

const SHOP: &str = "
    CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL);
    CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL REFERENCES customers, note text);
    CREATE TABLE lines (order_id bigint REFERENCES orders, line int, amount numeric(10,2), PRIMARY KEY (order_id, line));";
const SHOP_TABLES: &[&str] = &["customers", "orders", "lines"];

#[test]
fn inserts_updates_and_deletes_arrive() {
    let world = World::new("rows_basic", SHOP);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(1, 500) AS i");
    world.source("UPDATE customers SET name = 'second' WHERE id % 3 = 0");
    world.source("DELETE FROM customers WHERE id % 5 = 0");
    world.wait_equal(&ebb, SHOP_TABLES);
    assert_eq!(world.target("SELECT count(*) FROM customers").trim(), "400");
    world.source("DELETE FROM customers WHERE id > 1");
    world.wait_equal(&ebb, SHOP_TABLES);
    ebb.stop();
}

#[test]
fn transactions_over_several_tables_arrive_in_any_order_on_the_wire() {
    let world = World::new("rows_tables", SHOP);
    let ebb = world.fetch(&[]).ready();
    for round in 1..=20 {
        // Children come before their parents on the wire.
        world.inject(ebb_crdb::Fault::Reversed, 3, None);
        world.source(&format!(
            "BEGIN; INSERT INTO customers VALUES ({round}, 'c'); INSERT INTO orders VALUES ({round}, {round}, 'o');
             INSERT INTO lines SELECT {round}, i, i * 1.25 FROM generate_series(1, 5) AS i; COMMIT;"
        ));
        if round % 4 == 0 {
            world.source(&format!(
                "BEGIN; DELETE FROM lines WHERE order_id = {round}; DELETE FROM orders WHERE id = {round};
                 DELETE FROM customers WHERE id = {round}; COMMIT;"
            ));
        }
    }
    world.wait_equal(&ebb, SHOP_TABLES);
    ebb.stop();
}

#[test]
fn a_row_moves_from_a_deleted_parent_to_another() {
    let world = World::new("rows_parents", SHOP);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO customers VALUES (1, 'a'), (2, 'b'); INSERT INTO orders VALUES (1, 1, 'x')");
    world.source("BEGIN; UPDATE orders SET customer = 2; DELETE FROM customers WHERE id = 1; COMMIT;");
    world.wait_equal(&ebb, SHOP_TABLES);
    assert_eq!(world.target("SELECT customer FROM orders").trim(), "2");
    ebb.stop();
}

#[test]
fn a_changed_key_is_a_delete_and_an_insert() {
    let world = World::new("rows_key_change", SHOP);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO customers VALUES (1, 'a'), (2, 'b')");
    world.source("UPDATE customers SET id = 10 WHERE id = 1");
    world.wait_equal(&ebb, SHOP_TABLES);
    assert_eq!(world.target("SELECT string_agg(id::text, ',' ORDER BY id) FROM customers").trim(), "2,10");
    ebb.stop();
}

#[test]
fn a_unique_value_is_handed_from_a_deleted_row_to_a_new_one() {
    let world = World::new("rows_unique", "CREATE TABLE seats (id int PRIMARY KEY, seat text UNIQUE)");
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO seats VALUES (1, '1A')");
    world.wait_equal(&ebb, &["seats"]);
    world.source("BEGIN; DELETE FROM seats WHERE id = 1; INSERT INTO seats VALUES (2, '1A'); COMMIT;");
    world.wait_equal(&ebb, &["seats"]);
    world.source("INSERT INTO seats VALUES (3, '2B')");
    world.source("UPDATE seats SET seat = '3C' WHERE id = 3");
    world.source("INSERT INTO seats VALUES (4, '2B')");
    world.wait_equal(&ebb, &["seats"]);
    ebb.stop();
}

#[test]
fn a_table_may_consist_of_its_key() {
    let world = World::new("rows_pk_only", "CREATE TABLE tags (name text, place int, PRIMARY KEY (name, place))");
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO tags VALUES ('a', 1), ('b', 2), ('c', 3)");
    world.source("DELETE FROM tags WHERE name = 'b'");
    world.wait_equal(&ebb, &["tags"]);
    world.source("UPDATE tags SET place = place + 1");
    world.wait_equal(&ebb, &["tags"]);
    ebb.stop();
}

#[test]
fn keys_go_by_name_where_their_order_differs() {
    // Both columns have the same type and values that exist in the other one: by position the wrong rows would go.
    let world = World::with_schemas(
        "rows_key_order",
        "CREATE TABLE grid (x int, y int, v text, PRIMARY KEY (x, y))",
        "CREATE TABLE grid (v text, y int, x int, PRIMARY KEY (y, x))",
    );
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO grid SELECT x, y, x || ':' || y FROM generate_series(1, 4) x, generate_series(1, 4) y");
    world.source("DELETE FROM grid WHERE x < y");
    let cells = "SELECT string_agg(x || ',' || y || ',' || v, ' ' ORDER BY x, y) FROM grid";
    world.wait_target(&ebb, cells, world.source(cells).trim());
    ebb.stop();
}

/// `Ada` that becomes `ADA` is a delete and an insert at the source, and one row to a target that takes them for equal.
#[test]
fn a_key_changes_its_case_under_a_target_that_ignores_case() {
    let source = "CREATE TABLE people (name text PRIMARY KEY, n int)";
    let target = "CREATE EXTENSION citext; CREATE TABLE people (name citext PRIMARY KEY, n int)";
    let world = World::with_schemas("rows_case", source, target);
    let ebb = world.fetch(&[]).ready();
    let steps = [
        "INSERT INTO people VALUES ('Ada', 1), ('Bob', 1)",
        "UPDATE people SET name = 'ADA' WHERE name = 'Ada'",
        "DELETE FROM people WHERE name = 'Bob'; INSERT INTO people VALUES ('BOB', 3)",
        "UPDATE people SET name = 'ada', n = 4 WHERE name = 'ADA'; UPDATE people SET name = initcap(name)",
    ];
    for step in steps {
        world.source(&format!("BEGIN; {step}; COMMIT"));
        world.wait_equal(&ebb, &["people"]);
    }
    world.source("DELETE FROM people");
    world.wait_equal_maybe_empty(&ebb, &["people"]);
    let gate = hold(&world, "LOCK TABLE people IN ACCESS EXCLUSIVE MODE");
    for step in steps {
        world.source(step);
    }
    drop(gate);
    world.wait_equal(&ebb, &["people"]);
    // Two rows that the target cannot tell apart.
    world.source("INSERT INTO people VALUES ('bob', 9)");
    let line = ebb.failure();
    assert!(line.contains("name=bob") && line.contains("COLLATE"), "{line}");
    assert_eq!(world.target("SELECT string_agg(name || n, ' ' ORDER BY name) FROM people"), "Ada4 Bob3");
}

/// Written with checks suspended, since the target's cascade would act as well.
#[test]
fn a_key_changes_its_case_though_others_refer_to_it() {
    let source = "CREATE TABLE people (name text PRIMARY KEY, n int); \
                  CREATE TABLE pets (id int PRIMARY KEY, owner text REFERENCES people ON UPDATE CASCADE ON DELETE CASCADE)";
    let target = "CREATE EXTENSION citext; CREATE TABLE people (name citext PRIMARY KEY, n int); \
                  CREATE TABLE pets (id int PRIMARY KEY, owner citext REFERENCES people ON UPDATE CASCADE ON DELETE CASCADE)";
    let world = World::with_schemas("rows_case_cascade", source, target);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO people VALUES ('Bob', 1), ('Eve', 1); INSERT INTO pets VALUES (1, 'Bob'), (2, 'Eve')");
    world.wait_equal(&ebb, &["people", "pets"]);
    world.source("UPDATE people SET name = 'bob' WHERE name = 'Bob'");
    world.wait_equal(&ebb, &["people", "pets"]);
    world.source(
        "BEGIN; UPDATE people SET name = 'BOB' WHERE name = 'bob'; DELETE FROM people WHERE name = 'Eve'; COMMIT",
    );
    world.wait_equal(&ebb, &["people", "pets"]);
    ebb.stop();
}

#[test]
fn the_target_computes_its_own_columns() {
    let world = World::with_schemas(
        "rows_generated",
        "CREATE TABLE items (id bigint PRIMARY KEY, price numeric, amount int, total numeric)",
        "CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, price numeric, amount int,
             total numeric GENERATED ALWAYS AS (price * amount) STORED, seen timestamptz NOT NULL DEFAULT now())",
    );
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO items VALUES (42, 1.50, 2, 99), (43, 2.00, 0, 98)");
    world.wait_target(&ebb, "SELECT string_agg(id || '=' || total, ' ' ORDER BY id) FROM items", "42=3.00 43=0.00");
    let seen = world.target("SELECT seen FROM items WHERE id = 42");
    world.source("UPDATE items SET amount = 4 WHERE id = 42");
    world.wait_target(&ebb, "SELECT total FROM items WHERE id = 42", "6.00");
    assert_eq!(world.target("SELECT seen FROM items WHERE id = 42"), seen, "a column of the target's own is kept");
    ebb.stop();
}

#[test]
fn one_transaction_larger_than_the_limits_arrives_whole() {
    let world = World::new("rows_large", SHOP);
    let flags = "--stagingSchema s -v --transaction-rows-max 100";
    let ebb = world.fetch(&["--replicator-flags", flags]).ready();
    world.source(
        "BEGIN; INSERT INTO customers SELECT i, 'c' FROM generate_series(1, 1500) AS i;
         INSERT INTO orders SELECT i, i, 'o' FROM generate_series(1, 1500) AS i; COMMIT;",
    );
    // Whatever a second connection sees, it never sees a part.
    let seen = "SELECT (SELECT count(*) FROM customers) + (SELECT count(*) FROM orders)";
    crate::harness::world::wait_for(
        "the transaction",
        || ebb.log(),
        || match world.target(seen).trim() {
            "0" => false,
            "3000" => true,
            part => panic!("{part} of 3000 rows are visible"),
        },
    );
    world.source("BEGIN; DELETE FROM orders; DELETE FROM customers; INSERT INTO customers VALUES (7, 'last'); COMMIT;");
    world.wait_equal(&ebb, SHOP_TABLES);
    ebb.stop();
}

#[test]
fn values_of_the_shop_come_over_exactly() {
    let world = World::new(
        "rows_values",
        "CREATE TYPE state AS ENUM ('new', 'paid');
         CREATE TABLE v (id uuid PRIMARY KEY, n numeric(20,4), t timestamptz, d date, j jsonb, a text[], s state, b boolean,
             f double precision, x bytea)",
    );
    let ebb = world.fetch(&[]).ready();
    world.source(
        r#"INSERT INTO v VALUES
        ('7f9c24e8-3b12-4fef-91e0-56a2d5a246ec', 1234567890123456.7891, '2024-02-29 23:59:59.123456+02', '0044-03-15 BC',
         '{"b": 1, "a": [1.10, null, "x\"y"]}', ARRAY['sky', NULL, 'a,b"c{}\'], 'paid', true, 1e100, '\x00ff6869'),
        ('00000000-0000-0000-0000-000000000000', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        ('00000000-0000-0000-0000-000000000001', 0, '1970-01-01Z', 'infinity', '"text"', '{}', 'new', false, '-0', ''),
        ('00000000-0000-0000-0000-000000000002', 'NaN', '12345-01-01Z', '9999-12-31', '[]', '{""}', 'new', false, 'NaN', '\x')"#,
    );
    world.wait_equal(&ebb, &["v"]);
    ebb.stop();
}

/// A large source transaction, under the eyes of a session that looks all the time.
#[test]
fn a_transaction_of_20000_rows_is_seen_whole_or_not_at_all() {
    let world = World::new("promise_whole", "CREATE TABLE t (id int PRIMARY KEY, v int)");
    let ebb = world.fetch(&["--replicator-flags", "--stagingSchema _replicator_1 --transaction-rows-max 1000"]).ready();
    let mut observer = Client::connect(Dialect::Postgres, &world.target_url());
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
