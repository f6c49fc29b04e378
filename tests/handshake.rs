//! A TLS handshake in memory. A module of the tests of the host's receiver and of the sdk.
//!
//! Owns: carrying bytes between both sides. Does not own: their configurations, or what should come of them.

use rustls::{ClientConnection, ServerConnection};

/// Carries bytes until neither side has more to say, tickets behind the handshake included. `false` where a side refuses.
pub(super) fn shake(client: &mut ClientConnection, server: &mut ServerConnection) -> bool {
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory takes all");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("memory gives all");
            if server.process_new_packets().is_err() {
                return false;
            }
        }
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("memory takes all");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory gives all");
            if client.process_new_packets().is_err() {
                return false;
            }
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking(), "neither side goes on");
    true
}
