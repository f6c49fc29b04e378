//! A program that answers in a database's place, has no TLS, and keeps what it is told.
//!
//! Owns: the first messages of both protocols, up to the password. Does not own: judging what may be told to it.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Protocol;

/// Version, capabilities without TLS, and the challenge of a MySQL server.
const GREETING: &[u8] = b"\x0a8.0.30\0\x01\0\0\0aaaaaaaa\0\x0f\xa2\xff\x02\0\x08\0\x15\0\0\0\0\0\0\0\0\0\0\
    aaaaaaaaaaaa\0mysql_native_password\0";
const SSL_REQUEST: u32 = 80_877_103;
const CLEARTEXT_PASSWORD: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const SILENCE: Duration = Duration::from_secs(10);

/// Ends with the process that started it.
pub struct Impostor {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Impostor {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(protocol: Protocol) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                // The other side hangs up when it has had enough.
                thread::spawn(move || drop(talk(socket, protocol, &kept)));
            }
        });
        Ok(Self { port, heard })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Everything that came behind the question for TLS, of all connections.
    pub fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn talk(mut socket: TcpStream, protocol: Protocol, kept: &Mutex<Vec<u8>>) -> io::Result<()> {
    socket.set_read_timeout(Some(SILENCE))?;
    match protocol {
        Protocol::Postgres => {
            let mut first = [0; 8];
            socket.read_exact(&mut first)?;
            match first[4..] == SSL_REQUEST.to_be_bytes() {
                true => socket.write_all(b"N")?,
                false => keep(kept, &first),
            }
            // The start of the session, whatever its length; then the password.
            let mut bytes = [0; 4096];
            let read = socket.read(&mut bytes)?;
            keep(kept, &bytes[..read]);
            if read > 0 {
                socket.write_all(CLEARTEXT_PASSWORD)?;
            }
        }
        Protocol::MySql => {
            let length = u32::try_from(GREETING.len()).unwrap_or(0).to_le_bytes();
            socket.write_all(&[&length[..3], b"\0", GREETING].concat())?;
        }
    }
    let mut bytes = [0; 4096];
    let read = socket.read(&mut bytes)?;
    keep(kept, &bytes[..read]);
    Ok(())
}

fn keep(kept: &Mutex<Vec<u8>>, bytes: &[u8]) {
    kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
}
