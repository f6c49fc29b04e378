//! Rows that come in another form than the tables have.
//!
//! Owns: rows too large, with a column missing, or staged under another key. Does not own: rows that a constraint refuses
//! (`row_errors`).

use super::{TABLE, fails, says};
use crate::harness::folders::replicate;
use crate::harness::post::{Post, one_row};
use crate::harness::world::World;

/// PostgreSQL takes no value of more than 2704 bytes into an index.
#[test]
fn a_row_that_is_too_large() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    let world = World::with_schemas("codes_large", table, &format!("{table}; CREATE INDEX ON t (v)"));
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t SELECT 1, string_agg(md5(i::text), '') FROM generate_series(1, 400) AS i");
    fails(ebb, ("W017", "cannot write to public.t: index row", "make room for the row on the target"));
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

/// A row that does not fit when it comes is refused at once; one that is staged is read by the key of the next start.
#[test]
fn a_row_of_another_key_than_the_target_has_now() {
    let world = World::new("codes_key", TABLE);
    let ca = world.certs().ca().display().to_string();
    let start = || world.start(&["--stagingSchema", "_replicator_1", "--tlsClientCA", &ca]);
    let ebb = start();
    let post = Post::new(&world);
    assert_eq!(post.send(&one_row(1, "1700000000000000000.0000000000")).status, 200);
    ebb.stop();
    world.target("ALTER TABLE t ADD COLUMN region int, DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (region)");
    let ebb = start();
    // It may end before it has answered.
    post.send(r#"{"resolved":"1700000000000000001.0000000000"}"#);
    let told = ("W022", "and its column region says otherwise", "both sides must have the same primary key");
    fails(ebb, told);
}
