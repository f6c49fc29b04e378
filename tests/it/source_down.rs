//! A start while CockroachDB is down or gone: what was acknowledged is applied all the same.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use crate::client::hold;
use crate::world::{Ebb, World, free_port, status, wait_for};

const TABLE: &str = "CREATE TABLE t (region int, id int, v int, PRIMARY KEY (region, id))";
/// The same key in another order: a delete is placed by its columns, which the source has told.
const SWAPPED: &str = "CREATE TABLE t (region int, id int, v int, PRIMARY KEY (id, region))";

/// The source's URL with a port where nobody listens.
fn dead_url(world: &World, port: u16) -> String {
    let url = world.source_url();
    let (before, rest) = url.split_once("@localhost:").expect("host and port");
    let (_, after) = rest.split_once('/').expect("a database");
    format!("{before}@localhost:{port}/{after}")
}

/// Leaves three rows and a delete staged that the target has not taken, and ends ebb.
fn stage_and_die(world: &World) {
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = world.fetch(&["--metrics-listen-addr", &pages]).ready();
    world.source("INSERT INTO t VALUES (1, 7, 1), (7, 1, 2)");
    world.wait_equal(&ebb, &["t"]);
    let gate = hold(world, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    world.source("INSERT INTO t VALUES (2, 2, 2); DELETE FROM t WHERE region = 1 AND id = 7");
    let now = world.source("SELECT cluster_logical_timestamp()").trim().to_owned();
    wait_for("a resolved timestamp", || ebb.log(), || status(&pages)["resolved"].as_str() > Some(&now));
    ebb.kill9();
    drop(gate);
}

#[test]
fn what_is_staged_is_applied_and_the_source_is_looked_for() {
    let world = World::with_schemas("source_down", TABLE, SWAPPED);
    stage_and_die(&world);
    let port = free_port();
    let mut ebb = world.fetch(&["--source", &dead_url(&world, port)]);
    ebb.wait_line("cannot connect to the source");
    // The stand-in still sends, and what it sends is taken.
    world.source("INSERT INTO t VALUES (3, 3, 3)");
    world.wait_equal(&ebb, &["t"]);
    let _forward = forward(&world, port);
    ebb.wait_line("the source is there again");
    ebb.wait_line("using the running changefeed");
    world.source("DELETE FROM t WHERE region = 7 AND id = 1");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn a_first_start_needs_the_source() {
    let world = World::new("source_never", TABLE);
    let line = world.fetch(&["--source", &dead_url(&world, free_port())]).failure();
    assert!(line.contains("cannot connect to the source"), "{line}");
}

#[test]
fn apply_only_ends_when_all_is_applied() {
    let world = World::with_schemas("source_apply_only", TABLE, SWAPPED);
    let dead = dead_url(&world, free_port());
    let line = world.fetch(&["--source", &dead, "--apply-only"]).failure();
    assert!(line.contains("nothing is staged for _replicator_1"), "{line}");
    stage_and_die(&world);
    world.source("CANCEL JOBS (SELECT job_id FROM [SHOW CHANGEFEED JOBS])");
    let mut ebb: Ebb = world.fetch(&["--source", &dead, "--apply-only"]);
    assert_eq!(ebb.wait().code(), Some(0), "{}", ebb.log());
    assert!(ebb.log().contains("everything staged was applied"), "{}", ebb.log());
    world.wait_equal(&ebb, &["t"]);
}

/// What the port receives from now on goes to the stand-in.
fn forward(world: &World, port: u16) -> thread::JoinHandle<()> {
    let url = world.source_url();
    let (_, rest) = url.split_once("@localhost:").expect("host and port");
    let real: u16 = rest.split_once('/').expect("a database").0.parse().expect("a port");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", real)).expect("the stand-in");
            for (mut from, mut to) in
                [(client.try_clone().expect("a socket"), server.try_clone().expect("a socket")), (server, client)]
            {
                thread::spawn(move || {
                    let _ = copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    })
}
