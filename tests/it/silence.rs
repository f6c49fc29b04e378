//! A changefeed that runs and does not get through: why is said, and that it gets through again.

use std::io::Write;
use std::net::TcpStream;

use crate::harness::forward::forward;
use crate::harness::world::{World, free_port};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";

#[test]
fn that_nothing_arrives_is_said_with_what_cockroachdb_reports() {
    let world = World::new("silence", TABLE);
    let port = free_port();
    world.write_changefeed_settings(&format!(r#"{{"port": {port}}}"#));
    let bind = format!("127.0.0.1:{}", world.port());
    let flags = format!("--stagingSchema _replicator_1 --bindAddr {bind}");
    let mut ebb = world.fetch(&["--replicator-flags", &flags]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    let line = ebb.wait_line("nothing has arrived for 1");
    for text in ["CockroachDB reports for job", "connection refused", "every CockroachDB node", "EBB-C010"] {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    let _forward = forward(port, world.port());
    ebb.wait_line("gets through again after");
    world.wait_equal(&ebb, &["t"]);
    ebb.stop();
}

#[test]
fn who_does_not_speak_tls_is_told_from_others() {
    let world = World::new("silence_plain", TABLE);
    let mut ebb = world.fetch(&[]).ready();
    for _ in 0..3 {
        let mut client = TcpStream::connect(("127.0.0.1", world.port())).expect("it listens");
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("a request");
    }
    let line = ebb.wait_line("a TLS handshake failed: 127.0.0.1: the client does not speak TLS");
    assert!(line.contains("EBB-R022") && line.contains("webhook-https://"), "{line}");
    ebb.stop();
}
