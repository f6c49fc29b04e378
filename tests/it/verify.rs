//! `ebb verify`: both sides are compared as of one time, while rows change.

use serde_json::Value;

use crate::harness::comparison::{DIALECTS, counts, verify};
use crate::harness::world::World;

#[test]
fn what_differs_is_found_and_named() {
    for dialect in DIALECTS {
        let source = "CREATE TABLE t (id int8 PRIMARY KEY, name text, n numeric(10,2));
            CREATE TABLE u (a text, b int8, v int8, PRIMARY KEY (a, b))";
        let target = "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(40), n NUMERIC(10,2));
            CREATE TABLE u (a VARCHAR(40), b BIGINT, v BIGINT, PRIMARY KEY (a, b))";
        let world = World::with_target(dialect, "verify_differs", source, target);
        let ebb = world.fetch(&[]).ready();
        world.source("INSERT INTO t SELECT i, 'name ' || i, i FROM generate_series(1, 12000) AS i");
        world.source("INSERT INTO u SELECT 'o''Neil ' || i, i, i FROM generate_series(1, 100) AS i");
        world.wait_target(&ebb, "SELECT COUNT(*) FROM t", "12000");
        world.wait_target(&ebb, "SELECT COUNT(*) FROM u", "100");
        let (code, result) = verify(&world, &[]);
        assert_eq!((code, result["verdict"].as_str()), (Some(0), Some("equal")), "{result:#}");
        assert_eq!(counts(&result, "t"), [12000, 0, 0, 0].map(Some), "{result:#}");
        world.target("DELETE FROM t WHERE id = 7000");
        world.target("UPDATE t SET name = 'Name 3' WHERE id = 3");
        world.target("INSERT INTO t VALUES (-5, 'x', 1)");
        world.target("UPDATE u SET b = 1000 WHERE b = 7");
        let (code, result) = verify(&world, &[]);
        assert_eq!((code, result["verdict"].as_str()), (Some(3), Some("different")), "{result:#}");
        assert_eq!(counts(&result, "t"), [12000, 1, 1, 1].map(Some), "{result:#}");
        assert_eq!(counts(&result, "u"), [100, 1, 1, 0].map(Some), "{result:#}");
        let shown = result["shown"].as_array().expect("a list");
        assert_eq!(shown.len(), 5, "{result:#}");
        let different = shown.iter().find(|row| row["kind"] == "different").expect("a row that differs");
        assert_eq!(different["key"][0][1], "3", "{different:#}");
        assert_eq!(different["columns"][0]["source"], "name 3", "{different:#}");
        assert_eq!(different["columns"][0]["target"], "Name 3", "{different:#}");
        // What a person is given to look with shows the row.
        for row in shown {
            let seen = |sql: &Value, is_source: bool| {
                let sql = sql.as_str().expect("a statement");
                !(if is_source { world.source(sql) } else { world.target(sql) }).trim().is_empty()
            };
            let sides = (seen(&row["source_sql"], true), seen(&row["target_sql"], false));
            let expected = match row["kind"].as_str() {
                Some("missing") => (true, false),
                Some("extra") => (false, true),
                _ => (true, true),
            };
            assert_eq!(sides, expected, "{row:#}");
        }
        ebb.stop();
    }
}
