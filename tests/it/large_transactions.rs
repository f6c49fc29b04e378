//! Source transactions that are larger than the limits, whose rows are read as they are written: they must mean the same as
//! those that are held whole.

use std::path::Path;

use tempfile::TempDir;

use crate::harness::receiver::{Message, Receiver};
use crate::harness::target::{self, MYSQLS};
use crate::harness::world::{Dialect, World, certs};

/// A row goes to another region while its unique value goes to another row. Columns of the target's own keep what they have,
/// and nothing that refers to the row goes with it.
#[test]
fn columns_of_the_targets_own_survive_a_move() {
    for dialect in [Dialect::Postgres, MYSQLS[0], MYSQLS[1]] {
        let source =
            "CREATE TABLE t (id int8 PRIMARY KEY, seat int8, v int8); ALTER TABLE t SET LOCALITY REGIONAL BY ROW";
        let target = "CREATE TABLE t (id BIGINT PRIMARY KEY, seat BIGINT NOT NULL UNIQUE, v BIGINT, own BIGINT UNIQUE,
                note VARCHAR(20) DEFAULT 'new');
            CREATE TABLE c (id BIGINT PRIMARY KEY, t BIGINT, FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE)";
        let world = World::with_target(dialect, "streamed_own", source, target);
        let flags = ["--replicator-flags", "--stagingSchema _replicator_1 -v --transaction-rows-max 2"];
        let ebb = world.fetch(&flags).ready();
        world.source("INSERT INTO t (id, seat, v) VALUES (6, 60, 0), (7, 70, 0)");
        world.wait_target(&ebb, "SELECT COUNT(*) FROM t", "2");
        world.target("UPDATE t SET note = 'mine', own = id WHERE id = 7; INSERT INTO c VALUES (1, 7)");
        world.source(
            "BEGIN; UPDATE t SET crdb_region = 'us-west1', seat = 71, v = 1 WHERE id = 7; \
             UPDATE t SET seat = 70, v = 1 WHERE id = 6; COMMIT",
        );
        let sql = "SELECT t.id, seat, v, own, note, c.id FROM t LEFT JOIN c ON c.t = t.id ORDER BY t.id";
        world.wait_target(&ebb, sql, "6|70|1||new|\n7|71|1|7|mine|1");
        ebb.stop();
    }
}

/// Rows of a table that the next run cannot write to are not passed over.
#[test]
fn rows_of_a_table_that_is_gone_end_the_run() {
    let server = target::shared(Dialect::Postgres, certs());
    let database = "streamed_gone";
    server.create_database(database).expect("a database");
    let sql = |text: &str| target::answer(server, database, text).expect("the target takes it");
    sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)");
    let folder = TempDir::new().expect("a temporary folder");
    let start = |folder: &Path| {
        let flags = ["--transaction-rows-max", "3"].map(String::from);
        Receiver::start(server, database, &server.url(database), folder, &flags)
    };
    let row = |topic: &str, id: u32| Message {
        topic: topic.into(),
        key: format!("[{id}]"),
        after: format!("{{\"id\": {id}}}"),
        before: None,
    };
    let mut receiver = start(folder.path()).expect("it starts");
    let rows: Vec<_> = (1..=5).flat_map(|id| [row("a", id), row("b", id)]).collect();
    receiver.rows(&rows).expect("they are taken");
    receiver.stop();
    sql("ALTER TABLE b RENAME TO c");
    let mut receiver = start(folder.path()).expect("it starts again");
    let ended = receiver.resolve().and_then(|()| receiver.wait_applied());
    let line = ended.expect_err("it ends").0;
    assert!(line.contains("a row of a table that this run does not apply"), "{line}");
    assert_eq!(sql("SELECT count(*) FROM a").trim(), "0");
}
