//! Changefeeds that cannot send, or cannot be taken up again.
//!
//! Owns: what is said of them. Does not own: what ends a changefeed (`changefeed`).

use ebb_servers::Signal;

use super::{TABLE, fails, job, says};
use crate::harness::folders::{begin, replicate};
use crate::harness::forward::{dead_url, forward, source_port};
use crate::harness::world::{World, free_port, wait_for};

/// Another receiver, whose certificate the changefeed does not trust, has the port.
#[test]
fn a_receiver_that_the_changefeed_does_not_trust() {
    let world = World::new("codes_untrusted", TABLE);
    let elsewhere = world.dir().join("elsewhere").display().to_string();
    let stranger = ["--stagingSchema", "_replicator_2", "--staging-dir", &elsewhere, "--tlsSelfSigned"];
    let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
    command.args(["start", "--targetConn", &world.target_url(), "--bindAddr", &format!("127.0.0.1:{}", world.port())]);
    command.args(stranger).arg("--disableAuthentication");
    let mut stranger = crate::harness::world::Ebb::spawn(command);
    stranger.wait_line("receiver listening");
    let flags = format!("--stagingSchema _replicator_1 --bindAddr 127.0.0.1:{}", free_port());
    let mut ebb = world.fetch(&["--replicator-flags", &flags]).ready();
    world.source("INSERT INTO t VALUES (1, 1)");
    says(&mut ebb, ("C011", "nothing has arrived for 1", "ebb certs --renew --host localhost"));
    ebb.stop();
    stranger.stop();
}

#[test]
fn a_changefeed_that_an_error_has_paused_is_resumed() {
    let world = World::new("codes_paused", TABLE);
    world.write_changefeed_settings(r#"{"on_error": "pause"}"#);
    let mut ebb = world.fetch(&[]).ready();
    replicate(&world, &ebb, 1);
    world.source(&format!("SELECT crdb_internal.fail_changefeed({}, 'a replica is unavailable')", job(&world)));
    assert_eq!(ebb.wait().code(), Some(1), "{}", ebb.log());
    let mut ebb = world.fetch(&[]);
    says(&mut ebb, ("C013", "was paused by an error, and is resumed", "correct what it names"));
    replicate(&world, &ebb, 2);
    ebb.stop();
}

#[test]
fn a_changefeed_that_ended_while_the_source_was_down() {
    let world = World::new("codes_ended", TABLE);
    begin(&world, 1);
    world.source(&format!("CANCEL JOB {}", job(&world)));
    let port = free_port();
    let mut ebb = world.fetch(&["--source", &dead_url(&world, port)]);
    ebb.wait_line("cannot connect to the source");
    let _forward = forward(port, source_port(&world));
    fails(ebb, ("C032", "the changefeed of this staging folder has ended", "once source and target can both"));
    begin(&world, 2);
}

#[test]
fn an_authority_that_is_read_again_from_the_changefeeds_file() {
    let world = World::new("codes_authority", TABLE);
    world.run(&["certs", "--port", &world.port().to_string(), "--changefeeds-path", "secure.json"]);
    let certificates = "--tlsCertificate certs/server.crt --tlsPrivateKey certs/server.key";
    let flags = format!("--stagingSchema _replicator_1 {certificates}");
    let mut ebb = world.fetch(&["--changefeeds-path", "secure.json", "--replicator-flags", &flags]).ready();
    world.run(&["certs", "--out", "other", "--port", &world.port().to_string(), "--changefeeds-path", "other.json"]);
    std::fs::copy(world.dir().join("other.json"), world.dir().join("secure.json")).expect("a file");
    ebb.signal(Signal::HUP);
    says(&mut ebb, ("C033", "still shows the client certificate that it was created", "start ebb fetch again"));
    wait_for("the files", || ebb.log(), || ebb.log().contains("read certificates and keys again"));
    ebb.stop();
}
