//! A TCP port that is listened on.
//!
//! Owns: what keeps one from being opened, and what mends it. Does not own: what is served there (`receive`, `status`).

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::code;
use crate::error::{Error, Result};

/// Below it, ports are reserved.
const UNRESERVED: u16 = 1024;

/// `flag`: what the address was given with.
pub async fn listen(addr: SocketAddr, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| explained(addr, flag, &error))
}

fn explained(addr: SocketAddr, flag: &str, error: &std::io::Error) -> Error {
    let port = addr.port();
    let (code, why, hint) = match error.kind() {
        ErrorKind::AddrInUse => (
            code::receiver::ADDRESS_IN_USE,
            "another process listens there".to_owned(),
            format!("choose a free port with {flag}, or end that process: ss -ltnp 'sport = :{port}' shows it"),
        ),
        ErrorKind::PermissionDenied if port < UNRESERVED => (
            code::receiver::PORT_RESERVED,
            format!("Permission denied: ports below {UNRESERVED} need the capability CAP_NET_BIND_SERVICE"),
            format!(
                "choose a port from {UNRESERVED} up with {flag}, or give ebb the capability: \
                 AmbientCapabilities=CAP_NET_BIND_SERVICE in its systemd unit"
            ),
        ),
        ErrorKind::AddrNotAvailable => (
            code::receiver::ADDRESS,
            "this machine does not have that address".to_owned(),
            format!("give {flag} an address of this machine (ip addr shows them), or [::]:{port} for all of them"),
        ),
        _ => (code::receiver::ADDRESS, error.to_string(), format!("choose another address with {flag}")),
    };
    Error::new(code, format!("cannot listen on {addr}: {why}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_port_closed_is_told_apart() {
        let check = |addr: &str, kind: ErrorKind, code, hint: &str| {
            let error = explained(addr.parse().unwrap(), "--bindAddr", &kind.into());
            assert_eq!(error.code, code, "{error}");
            assert!(error.hint.as_deref().unwrap().contains(hint), "{error:?}");
        };
        check("[::]:443", ErrorKind::AddrInUse, code::receiver::ADDRESS_IN_USE, "sport = :443");
        check("[::]:443", ErrorKind::PermissionDenied, code::receiver::PORT_RESERVED, "CAP_NET_BIND_SERVICE");
        check("[::]:4430", ErrorKind::PermissionDenied, code::receiver::ADDRESS, "--bindAddr");
        check("10.1.2.3:443", ErrorKind::AddrNotAvailable, code::receiver::ADDRESS, "[::]:443");
    }
}
