//! Primary keys and names of the source that change where ebb cannot follow.
//!
//! Owns: that each ends the run with what is to be done. Does not own: changes that are followed (`keys`).

use super::{TABLE, fails, says};
use crate::harness::folders::replicate;
use crate::harness::forward::{Cuttable, dead_url, source_port};
use crate::harness::world::{World, free_port, wait_for};

const PAIR: &str = "CREATE TABLE t (a int8, b int8, PRIMARY KEY (a, b))";
const SWAP: &str = "ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (b, a)";

#[test]
fn a_table_that_is_renamed_while_ebb_runs() {
    let world = World::new("codes_renamed", TABLE);
    let ebb = world.fetch(&[]).ready();
    replicate(&world, &ebb, 1);
    world.source("ALTER TABLE t RENAME TO u; DELETE FROM u");
    fails(ebb, ("K047", "the source's table public.t was dropped or renamed", "cancel the changefeed first"));
}

#[test]
fn a_key_that_was_changed_before_the_history_of_the_source() {
    let world = World::new("codes_undated", PAIR);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO t VALUES (1, 2)");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
    world.source(SWAP);
    world.source("SELECT crdb_internal.collect_garbage('0 seconds')");
    let told = ("K049", "from (a, b) to (b, a), and ebb cannot find out when", "load the table anew");
    fails(world.fetch(&[]), told);
}

/// Takes as long as ebb waits for the source before it goes on without asking it, which is half a minute.
#[test]
fn a_key_that_was_changed_while_the_source_could_not_be_asked() {
    let world = World::new("codes_blindly", PAIR);
    let port = free_port();
    let source = Cuttable::start(port, source_port(&world));
    let mut ebb = world.fetch(&["--source", &dead_url(&world, port)]).ready();
    world.source("INSERT INTO t VALUES (1, 2), (3, 4), (5, 6), (7, 8)");
    world.wait_equal(&ebb, &["t"]);
    source.cut();
    world.source(SWAP);
    world.source("DELETE FROM t WHERE a = 1");
    says(&mut ebb, ("K050", "the source's primary keys cannot be read", "check that CockroachDB runs"));
    source.mend();
    // The source is asked for a delete only, and not again within some seconds.
    wait_for(
        "the change to be noticed",
        || ebb.log(),
        || {
            world.source("INSERT INTO t VALUES (9, 9); DELETE FROM t WHERE a = 9");
            ebb.log().contains("EBB-K048")
        },
    );
    let ended = "while the source could not be asked: deletes among them may have met other rows";
    fails(ebb, ("K048", ended, "compare each of these tables on both sides, correct the rows that differ"));
}
