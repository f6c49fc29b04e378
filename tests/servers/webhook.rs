//! The changefeed's side of a webhook: requests over one TLS connection that is kept open.
//!
//! Owns: the connection, one request and its answer. Does not own: what is sent, and what an answer means.

use std::io::{Error as IoError, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::{Certs, Error, Result};

/// Longer than a receiver may hold a request.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// A sink `webhook-https://localhost:PORT/PATH`.
pub struct Webhook {
    port: u16,
    path: String,
    config: Arc<ClientConfig>,
    stream: Option<StreamOwned<ClientConnection, TcpStream>>,
}

impl Webhook {
    /// Shows the client certificate `name`, and trusts the authority of `certs`. Connects with the first request.
    pub fn new(certs: &Certs, name: &str, port: u16, path: &str) -> Result<Self> {
        let client = certs.client(name)?;
        let mut roots = RootCertStore::empty();
        let authority =
            CertificateDer::from_pem_file(certs.ca()).map_err(Error::because("cannot read the authority"))?;
        roots.add(authority).map_err(Error::because("the authority is no certificate"))?;
        let chain = CertificateDer::from_pem_file(&client.cert).map_err(Error::because("cannot read a certificate"))?;
        let key = PrivateKeyDer::from_pem_file(&client.key).map_err(Error::because("cannot read a private key"))?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Error::because("no version of TLS"))?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![chain], key)
            .map_err(Error::because("the client certificate cannot be used"))?;
        Ok(Self { port, path: path.to_owned(), config: Arc::new(config), stream: None })
    }

    /// Posts a body, over a new connection where the last one has ended. Status and text of the answer.
    pub fn post(&mut self, body: &str) -> Result<(u16, String)> {
        if self.stream.is_some()
            && let Ok(answer) = self.exchange(body)
        {
            return Ok(answer);
        }
        self.stream = Some(self.connect()?);
        let answer = self.exchange(body);
        if answer.is_err() {
            self.stream = None;
        }
        answer.map_err(Error::because("no answer from the webhook"))
    }

    fn connect(&self) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).map_err(Error::because("cannot reach the webhook"))?;
        let failed = || Error::because("cannot prepare a connection to the webhook");
        tcp.set_nodelay(true).map_err(failed())?;
        tcp.set_read_timeout(Some(ANSWER_WAIT)).map_err(failed())?;
        let name = ServerName::try_from("localhost").map_err(Error::because("no name of a server"))?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name);
        Ok(StreamOwned::new(connection.map_err(Error::because("cannot begin TLS"))?, tcp))
    }

    fn exchange(&mut self, body: &str) -> std::io::Result<(u16, String)> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        let head = format!(
            "POST /{} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.path,
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes())?;
        stream.flush()?;
        read_answer(stream)
    }
}

/// Reads until the end that Content-Length tells.
fn read_answer(stream: &mut impl Read) -> std::io::Result<(u16, String)> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                let status = status.ok_or_else(|| IoError::new(ErrorKind::InvalidData, "no status"))?;
                return Ok((status, String::from_utf8_lossy(&bytes[end + 4..]).into_owned()));
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let answer = |text: &str| read_answer(&mut text.as_bytes()).ok();
        assert_eq!(answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), Some((200, "ok".into())));
        assert_eq!(answer("HTTP/1.1 204 No Content\r\n\r\n"), Some((204, String::new())));
        assert_eq!(answer("HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nshort"), None);
    }
}
