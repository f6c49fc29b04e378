//! A raw TLS client that keeps none of HTTP's rules unless told to.
//!
//! Owns: its connection, and how it sees the other side end it. Does not own: what it sends.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::world::{WAIT_MAX, World};

pub(crate) struct RawClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl RawClient {
    /// Shakes hands and says nothing yet. `alpn` is `http/1.1` or `h2`.
    pub(crate) fn connect(world: &World, alpn: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(world.certs().ca()).expect("the authority")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut stream = StreamOwned::new(connection, tcp(world));
        stream.flush().expect("a handshake");
        Self { stream }
    }

    /// `false` when the other side has ended the connection.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).and_then(|()| self.stream.flush()).is_ok()
    }

    /// The head of a request that may write, with these further headers.
    pub(crate) fn send_head(&mut self, world: &World, headers: &[&str]) -> bool {
        let head = format!("POST /{}/public HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer geheim\r\n", world.database());
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        self.send(format!("{head}{headers}\r\n"))
    }

    /// One answer: status and text. 0 when the connection ended without one.
    pub(crate) fn answer(&mut self) -> (u16, String) {
        let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let found = String::from_utf8_lossy(&text).into_owned();
            if let Some((head, body)) = found.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
                let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
                if body.len() >= length {
                    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
                    return (status, found);
                }
            }
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return (0, found),
                Ok(count) => text.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// How long it takes until the other side ends the connection.
    pub(crate) fn until_closed(mut self) -> Duration {
        closed(&mut self.stream)
    }
}

pub(crate) fn tcp(world: &World) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", world.port())).expect("the receiver listens");
    socket.set_read_timeout(Some(WAIT_MAX)).expect("an option");
    socket
}

/// Reads until the end.
pub(crate) fn closed(stream: &mut impl Read) -> Duration {
    let (began, mut chunk) = (Instant::now(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return began.elapsed(),
            Ok(_) => {}
            Err(error) => {
                let timed_out = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!timed_out, "the connection was never closed");
                return began.elapsed();
            }
        }
    }
}
