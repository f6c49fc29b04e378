//! Tables and columns that do not fit, and rows of tables that are not known any more.
//!
//! Owns: findings of one table each, so that each is told by its own code. Does not own: several at once (`findings`).

use super::{TABLE, fails, says};
use crate::harness::client::hold;
use crate::harness::folders::{folder, replicate};
use crate::harness::forward::dead_url;
use crate::harness::pages::status;
use crate::harness::world::{World, free_port, wait_for};

/// A table of the source for each finding, which has its name.
const SOURCE: &str = "
    CREATE EXTENSION citext;
    CREATE TABLE cased (id int PRIMARY KEY, note int);
    CREATE TABLE filled (id int PRIMARY KEY);
    CREATE TABLE folded (name citext PRIMARY KEY);
    CREATE TABLE keyless (v int, rowid int8 PRIMARY KEY, CONSTRAINT \"crdb_not_visible:rowid\" CHECK (true));
    CREATE TABLE twin (id int PRIMARY KEY);
    CREATE TABLE shared (id int PRIMARY KEY); CREATE SCHEMA audit; CREATE TABLE audit.shared (id int PRIMARY KEY)";
const TARGET: &str = "
    CREATE TABLE cased (id int PRIMARY KEY, \"Note\" int, \"NOTE\" int);
    CREATE TABLE filled (id int PRIMARY KEY, own int NOT NULL);
    CREATE TABLE folded (name text PRIMARY KEY);
    CREATE TABLE keyless (v int PRIMARY KEY);
    CREATE TABLE \"Twin\" (id int PRIMARY KEY); CREATE TABLE \"TWIN\" (id int PRIMARY KEY);
    CREATE TABLE shared (id int PRIMARY KEY)";

/// The schema that the target has keeps its table, and a filter of tables would leave out both.
const SCHEMA_OF_ITS_OWN: &str = "create a schema audit with a table shared of its own on the target, or leave out the \
                                 tables of audit: --schema-filter '^public$'";

#[test]
fn tables_and_columns_that_do_not_fit() {
    let world = World::with_schemas("codes_tables", SOURCE, TARGET);
    for (table, told) in [
        ("cased", ("K010", "several columns of the target's table public.cased", "--case-sensitive")),
        ("filled", ("K012", "the target's column own of public.filled takes no NULL", "give \"own\" a default")),
        ("folded", ("K017", "has a column name of type CITEXT", "ALTER COLUMN name TYPE STRING")),
        ("keyless", ("K018", "the source's table public.keyless has no primary key", "ALTER PRIMARY KEY USING")),
        ("twin", ("K019", "several counterparts in codes_tables.public on the target", "--case-sensitive")),
        ("shared", ("K022", "audit.shared and public.shared, would both be written", SCHEMA_OF_ITS_OWN)),
    ] {
        fails(world.fetch(&["--table-filter", &format!("^{table}$")]), told);
    }
}

#[test]
fn a_release_that_sends_a_json_null_as_sql_null() {
    let world = World::of_release("23.2.8", "codes_json", "CREATE TABLE t (id int PRIMARY KEY, v jsonb)");
    let mut ebb = world.fetch(&[]).ready();
    says(&mut ebb, ("K014", "sends a JSON null as SQL NULL, and so it is written, in t", "CockroachDB to 24.2"));
    ebb.stop();
}

#[test]
fn topics_that_do_not_tell_tables_apart() {
    let world = World::new(
        "codes_topics",
        "CREATE TABLE t (id int PRIMARY KEY); CREATE SCHEMA audit; CREATE TABLE audit.t (id int PRIMARY KEY)",
    );
    let (source, ca) = (world.source_url(), world.certs().ca().display().to_string());
    let mut ebb = world.start(&["--sourceConn", &source, "--stagingSchema", "_replicator_1", "--tlsClientCA", &ca]);
    says(&mut ebb, ("K026", "the source has several tables called t", "WITH full_table_name"));
    ebb.stop();
}

/// Leaves a row staged that the target has not taken.
fn stage_a_row(world: &World) {
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    replicate(world, &ebb, 1);
    let gate = hold(world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO t VALUES (2, 2)");
    let now = world.source("SELECT cluster_logical_timestamp()");
    wait_for("a resolved timestamp", || ebb.log(), || status(&pages)["resolved"].as_str() > Some(now.trim()));
    ebb.kill9();
    drop(gate);
}

#[test]
fn tables_of_staged_rows_that_are_not_known() {
    let world = World::new("codes_staged", &format!("{TABLE}; CREATE TABLE other (id int PRIMARY KEY)"));
    stage_a_row(&world);
    let dead = dead_url(&world, free_port());
    let without = ["--source", &dead, "--table-exclusion-filter", "^other$"];
    let mut ebb = world.fetch(&without);
    says(&mut ebb, ("K054", "the changefeed sends them: public.other", "once CockroachDB can be reached"));
    ebb.stop();
    stage_another(&world);
    world.target("ALTER TABLE t RENAME TO moved");
    let gone = ("K043", "the target has no table public.t any more", "create it again on the target");
    fails(world.fetch(&["--source", &dead]), gone);
    world.target("ALTER TABLE moved RENAME TO t");
    std::fs::remove_file(folder(&world).join("tables")).expect("the file");
    let unknown = ("K042", "does not say which tables its rows are of", "start once without --apply-only");
    fails(world.fetch(&["--source", &dead, "--apply-only"]), unknown);
}

/// The same once more, under the changefeed that is there.
fn stage_another(world: &World) {
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]);
    world.wait_equal(&ebb, &["t"]);
    let gate = hold(world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO t VALUES (3, 3)");
    let now = world.source("SELECT cluster_logical_timestamp()");
    wait_for("a resolved timestamp", || ebb.log(), || status(&pages)["resolved"].as_str() > Some(now.trim()));
    ebb.kill9();
    drop(gate);
}
