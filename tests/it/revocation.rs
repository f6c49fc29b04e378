//! A client whose certificate is revoked: it is refused, and the connection that it has open ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use ebb_sdk::tls::{SslMode, TlsSettings};
use ebb_servers::Signal;
use rustls::{ClientConnection, StreamOwned};

use crate::harness::world::{Ebb, World, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";
/// Nothing that is awaited here takes so long.
const SILENCE: Duration = Duration::from_secs(20);

type Connection = StreamOwned<ClientConnection, TcpStream>;

/// Of the client with the certificate in `certs`.
fn connect(world: &World) -> Connection {
    let file = |name: &str| Some(world.dir().join("certs").join(name));
    let settings =
        TlsSettings { cert: file("client.crt"), key: file("client.key"), ..TlsSettings::new(SslMode::Require) };
    let config = Arc::new(settings.client_config().expect("a configuration"));
    let socket = TcpStream::connect(("127.0.0.1", world.port())).expect("it listens");
    socket.set_read_timeout(Some(SILENCE)).expect("a socket");
    let name = "localhost".try_into().expect("a name");
    StreamOwned::new(ClientConnection::new(config, name).expect("a client"), socket)
}

/// The answer to a request on it; empty where there is none any more.
fn ask(connection: &mut Connection) -> String {
    let mut bytes = [0; 4096];
    let asked =
        connection.write_all(b"GET /_/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").and_then(|()| connection.flush());
    let read = asked.and_then(|()| connection.read(&mut bytes)).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

fn start(world: &World) -> Ebb {
    let files = ["--tlsCertificate", "certs/server.crt", "--tlsPrivateKey", "certs/server.key"];
    let clients = ["--tlsClientCA", "certs/ca.crt", "--tlsClientCRL", "certs/revoked.crl", "--handshake-timeout", "1h"];
    world.start(&[&files[..], &clients].concat())
}

#[test]
fn who_is_revoked_is_refused_and_his_connection_ends() {
    let world = World::new("revoked", TABLE);
    world.run(&["certs", "--changefeeds-path", "secure.json"]);
    let mut ebb = start(&world);
    let mut open = connect(&world);
    let first = ask(&mut open);
    assert!(first.starts_with("HTTP/1.1 200"), "{first}\n{}", ebb.log());
    assert!(ask(&mut open).starts_with("HTTP/1.1 200"), "the connection stays");
    world.run(&["certs", "--revoke", "certs/client.crt"]);
    ebb.signal(Signal::HUP);
    ebb.wait_line("read certificates and keys again");
    let ended =
        || open.read(&mut [0; 1]).map_or_else(|error| error.kind() != std::io::ErrorKind::WouldBlock, |read| read == 0);
    assert!({ ended }(), "the connection does not end");
    assert_eq!(ask(&mut connect(&world)), "");
    let line = ebb.wait_line("a TLS handshake failed: 127.0.0.1: the client's certificate is revoked");
    assert!(line.contains("error_code\":\"EBB-R025\""), "{line}");
    // Its successor is heard, in a connection that is judged by the list as well.
    world.run(&["certs", "--renew", "--changefeeds-path", "secure.json"]);
    wait_for("the successor", || ebb.log(), || ask(&mut connect(&world)).starts_with("HTTP/1.1 200"));
    ebb.stop();
}

#[test]
fn a_list_that_revokes_nobody_is_refused() {
    let world = World::new("revoked_nobody", TABLE);
    world.run(&["certs", "--changefeeds-path", "secure.json"]);
    let target = world.target_url();
    for (more, expected) in [
        (&["--disableAuthentication"][..], "none are asked for"),
        (&["--webhook-auth-header", "Bearer x"], "none are asked for"),
        (&[], "no-such.crl"),
    ] {
        let args = [&["start", "--targetConn", &target, "--tlsClientCRL", "no-such.crl"][..], more].concat();
        let mut ebb = world.ebb(&args);
        assert_ne!(ebb.wait().code(), Some(0));
        assert!(ebb.log().contains(expected), "{expected:?} is not in {}", ebb.log());
    }
}
