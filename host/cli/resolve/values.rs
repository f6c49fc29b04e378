//! Single values: counts, durations, addresses.
//!
//! Owns: what a value may be whatever the flag. Does not own: combinations of flags.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use crate::code;
use crate::error::{Error, Result};

pub(in crate::cli) fn at_least_one(flag: &str, value: usize) -> Result<usize> {
    if value == 0 {
        Err(Error::new(code::settings::VALUE, format!("{flag} 0 admits nothing")).hint("give at least 1"))
    } else {
        Ok(value)
    }
}

pub(in crate::cli) fn not_zero(flag: &str, value: Duration) -> Result<Duration> {
    if value.is_zero() {
        return Err(
            Error::new(code::settings::VALUE, format!("{flag} 0 leaves no time")).hint("give a duration such as 30s")
        );
    }
    Ok(value)
}

/// `host:port`, or `:port` for every interface, as Go writes it.
pub(super) fn address(flag: &str, text: &str) -> Result<SocketAddr> {
    let refused = |why: String| {
        Error::new(code::settings::VALUE, format!("{flag} is not an address: {why}"))
            .hint(format!("give {flag} as host:port or :port"))
    };
    if let Some(port) = text.strip_prefix(':') {
        let port = port.parse().map_err(|_| refused("the port is not a number from 0 to 65535".into()))?;
        return Ok(SocketAddr::new(every_interface(), port));
    }
    let mut found = text.to_socket_addrs().map_err(|error| refused(error.to_string()))?;
    found.next().ok_or_else(|| refused("the name has no address".into()))
}

/// The IPv6 address serves IPv4 too, where the machine has IPv6 at all.
fn every_interface() -> IpAddr {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}
