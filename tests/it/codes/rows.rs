//! Rows that come in another form than the tables have.
//!
//! Owns: rows too large, and rows with columns missing. Does not own: rows that a constraint refuses (`row_errors`).

use super::{TABLE, fails, says};
use crate::harness::folders::replicate;
use crate::harness::post::Post;
use crate::harness::world::World;

/// PostgreSQL takes no value of more than 2704 bytes into an index.
#[test]
fn a_row_that_is_too_large() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    let world = World::with_schemas("codes_large", table, &format!("{table}; CREATE INDEX ON t (v)"));
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t SELECT 1, string_agg(md5(i::text), '') FROM generate_series(1, 400) AS i");
    fails(ebb, ("W017", "index row", ""));
}

#[test]
fn a_column_that_the_source_drops() {
    let world = World::new("codes_column", TABLE);
    let mut ebb = world.fetch(&[]).ready();
    replicate(&world, &ebb, 1);
    world.source("ALTER TABLE t DROP COLUMN v; INSERT INTO t VALUES (2)");
    says(&mut ebb, ("W021", "rows of public.t come without v", "drop them on the target too"));
    ebb.stop();
}

#[test]
fn a_row_without_a_column_of_the_key() {
    let schema = "CREATE TABLE t (id int, region int, PRIMARY KEY (id, region))";
    let world = World::with_schemas("codes_key", TABLE, schema);
    let ca = world.certs().ca().display().to_string();
    let ebb = world.start(&["--stagingSchema", "_replicator_1", "--tlsClientCA", &ca]);
    let row = r#"{"after":{"id":1},"key":[1,1],"topic":"t","updated":"1700000000000000000.0000000000"}"#;
    let post = Post::new(&world);
    assert_eq!(post.send(&format!(r#"{{"payload":[{row}],"length":1}}"#)).status, 200);
    // It may end before it has answered.
    post.send(r#"{"resolved":"1700000000000000001.0000000000"}"#);
    fails(ebb, ("W023", "a row of public.t has no value for the key column region", "the same primary key"));
}
