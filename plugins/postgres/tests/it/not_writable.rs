//! What stands between a table and its rows is told with the statement that mends it, and that statement does.

use ebb_sdk::{NotWritable, Session as _};

use crate::world::{World, connect, table_of};

async fn not_writable(world: &World, table: &str) -> Vec<NotWritable> {
    table_of(&world.session().await.describe().await.expect("a catalog"), table).not_writable.clone()
}

/// Every reason contains what is expected; each hint is run, and then there is none left.
async fn check(world: &World, table: &str, expected: &[&str]) {
    let found = not_writable(world, table).await;
    assert_eq!(found.len(), expected.len(), "{table}: {found:?}");
    for (not_writable, expected) in found.iter().zip(expected) {
        assert!(not_writable.why.contains(expected), "{table}: {not_writable:?}");
        world.sql(&not_writable.hint);
    }
    assert_eq!(not_writable(world, table).await, [], "{table}");
}

#[tokio::test]
async fn rules() {
    let world = World::new(
        "unfit_rules",
        "CREATE TABLE \"T\" (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY, v text);
         CREATE RULE \"also i\" AS ON INSERT TO \"T\" DO ALSO INSERT INTO other VALUES (NEW.id, NEW.v);
         CREATE RULE no_delete AS ON DELETE TO \"T\" DO INSTEAD NOTHING;
         CREATE RULE off AS ON DELETE TO \"T\" DO INSTEAD NOTHING; ALTER TABLE \"T\" DISABLE RULE off;
         CREATE TABLE u (id int PRIMARY KEY, v text);
         CREATE RULE off AS ON UPDATE TO u DO INSTEAD NOTHING; ALTER TABLE u DISABLE RULE off;
         CREATE TABLE whole (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (10);
         CREATE RULE no_delete AS ON DELETE TO part DO INSTEAD NOTHING;
         CREATE RULE no_insert AS ON INSERT TO part DO INSTEAD NOTHING;",
    );
    // PostgreSQL takes no upsert while a rule for UPDATE is there, though it is disabled.
    let mut writer = world.writer().await;
    writer.upsert("u", &["id", "v"], &[&["1", "\"a\""]]).await.unwrap_err();
    check(&world, "T", &["rule also i makes something else of INSERT", "rule no_delete"]).await;
    check(&world, "u", &["rule off makes something else of UPDATE"]).await;
    // Rules of partitions do not act on what comes through the whole.
    check(&world, "whole", &[]).await;
    let mut writer = world.writer().await;
    for table in ["T", "u"] {
        writer.upsert(table, &["id", "v"], &[&["1", "\"a\""]]).await.unwrap();
        writer.delete(table, &["id"], &[&["1"]]).await.unwrap();
    }
    writer.upsert("whole", &["id"], &[&["1"], &["2"]]).await.unwrap();
    writer.delete("whole", &["id"], &[&["1"]]).await.unwrap();
    assert_eq!(world.sql("SELECT id FROM whole"), "2");
}

#[tokio::test]
async fn children_that_hold_rows() {
    let world = World::new(
        "unfit_children",
        "CREATE TABLE payment (id int PRIMARY KEY, v text); CREATE SCHEMA s;
         CREATE TABLE s.\"Child\" () INHERITS (payment); CREATE TABLE grandchild () INHERITS (s.\"Child\");
         CREATE TABLE quiet (id int PRIMARY KEY); CREATE TABLE nothing () INHERITS (quiet);
         INSERT INTO grandchild VALUES (1, 'a');",
    );
    assert_eq!(not_writable(&world, "quiet").await, []);
    check(&world, "payment", &["rows of \"s\".\"Child\""]).await;
}

/// PostgreSQL 16 and later have no such partitions.
#[tokio::test]
async fn columns_that_only_a_partition_computes() {
    let world = World::new(
        "unfit_computed",
        "CREATE TABLE whole (id int PRIMARY KEY, a int, \"B\" int) PARTITION BY RANGE (id);
         CREATE TABLE middle PARTITION OF whole FOR VALUES FROM (0) TO (20) PARTITION BY RANGE (id);
         CREATE TABLE all_of_it (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a) STORED) PARTITION BY RANGE (id);
         CREATE TABLE part PARTITION OF all_of_it FOR VALUES FROM (0) TO (20);",
    );
    check(&world, "all_of_it", &[]).await;
    if world.sql("SELECT current_setting('server_version_num')::int < 160000") == "t" {
        world.sql("CREATE TABLE low (id int NOT NULL, a int, \"B\" int GENERATED ALWAYS AS (a + 1) STORED)");
        world.sql("ALTER TABLE middle ATTACH PARTITION low FOR VALUES FROM (0) TO (10)");
        check(&world, "whole", &["low\" computes the column B"]).await;
    }
}

#[tokio::test]
async fn row_security() {
    let world = World::new(
        "unfit_policies",
        "CREATE ROLE unfit_app LOGIN PASSWORD 'p'; GRANT ALL ON SCHEMA public TO unfit_app;
         CREATE TABLE other (id int PRIMARY KEY); GRANT ALL ON other TO unfit_app; ALTER TABLE other ENABLE ROW LEVEL SECURITY;
         CREATE TABLE own (id int PRIMARY KEY); ALTER TABLE own OWNER TO unfit_app; ALTER TABLE own ENABLE ROW LEVEL SECURITY;
         CREATE TABLE forced (id int PRIMARY KEY); ALTER TABLE forced OWNER TO unfit_app;
         ALTER TABLE forced ENABLE ROW LEVEL SECURITY; ALTER TABLE forced FORCE ROW LEVEL SECURITY;",
    );
    let describe = async || connect(&world.url_as("unfit_app", "p")).await.unwrap().describe().await.unwrap();
    let catalog = describe().await;
    assert_eq!(table_of(&catalog, "own").not_writable, []);
    for table in ["forced", "other"] {
        let not_writable = &table_of(&catalog, table).not_writable;
        assert!(
            not_writable.len() == 1 && not_writable[0].why.contains("row security hides rows from the user unfit_app"),
            "{not_writable:?}"
        );
        world.sql(&not_writable[0].hint);
    }
    let catalog = describe().await;
    assert!(catalog.tables.iter().all(|table| table.not_writable.is_empty()), "{catalog:?}");
    // A superuser sees all.
    assert_eq!(not_writable(&world, "other").await, []);
    world.sql("DROP OWNED BY unfit_app; DROP ROLE unfit_app");
}

#[tokio::test]
async fn keys_that_do_not_convert() {
    let world = World::new(
        "unfit_keys",
        "CREATE TABLE computed (a int NOT NULL, \"K\" int GENERATED ALWAYS AS (a * 10) STORED PRIMARY KEY, v text);
         CREATE TABLE document (id int, k jsonb, PRIMARY KEY (id, k)); CREATE TABLE spans (k int4range PRIMARY KEY);
         CREATE TYPE pair AS (a int, b int); CREATE TABLE pairs (k pair PRIMARY KEY);
         CREATE TABLE lapses (k interval year to month PRIMARY KEY); CREATE TABLE lists (k jsonb[] PRIMARY KEY);
         CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN d AS mood;
         CREATE TABLE fit (a d, b numeric(5,2), c timestamptz(0), d text[], e inet, PRIMARY KEY (a, b, c, d, e));",
    );
    check(&world, "computed", &["the column K of its primary key is computed"]).await;
    check(&world, "document", &["the column k of its primary key is a jsonb"]).await;
    for table in ["spans", "pairs", "lapses", "lists"] {
        check(&world, table, &["values that differ at the source may be equal"]).await;
    }
    check(&world, "fit", &[]).await;
}
