//! A TCP proxy in front of a database without TLS, which cuts connections at COMMIT.
//!
//! Owns: reading just enough of the clients' messages to see a COMMIT
//! (<https://www.postgresql.org/docs/current/protocol-message-formats.html>,
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>). Does not own: when to cut.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What happens to the connection that sends the next COMMIT of a transaction that may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cut {
    None = 0,
    /// It is cut before the server sees the COMMIT.
    BeforeCommit = 1,
    /// The server sees it, the client never learns the answer.
    AfterCommit = 2,
}

/// What the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Postgres,
    MySql,
}

/// Ends with the process that started it.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cut: AtomicU8,
    /// Client and server side of every connection, to cut them all.
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1, for a server on another.
    pub fn start(server_port: u16, protocol: Protocol) -> io::Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::<Shared>::default();
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is down refuses: the client sees its connection closed at once.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) {
                    let _ = serve(&client, &server, protocol, &accepting);
                }
            }
        });
        Ok(Proxy { port, shared })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Orders what happens to the next COMMIT, of whatever connection.
    pub fn cut_next(&self, cut: Cut) {
        self.shared.cut.store(cut as u8, Ordering::SeqCst);
    }

    /// Whether an order is still open.
    pub fn is_waiting(&self) -> bool {
        self.shared.cut.load(Ordering::SeqCst) != Cut::None as u8
    }

    /// Cuts every connection now, wherever it stands.
    pub fn cut_all(&self) {
        for stream in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(client: &TcpStream, server: &TcpStream, protocol: Protocol, shared: &Arc<Shared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    shared.open.lock().unwrap_or_else(PoisonError::into_inner).extend([client.try_clone()?, server.try_clone()?]);
    let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || copy(from_server, to_client));
    let (from_client, to_server, shared) = (client.try_clone()?, server.try_clone()?, Arc::clone(shared));
    thread::spawn(move || {
        let _ = forward(&from_client, &to_server, protocol, &shared);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    Ok(())
}

/// Answers go back as they come.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// Messages go on one by one.
fn forward(mut client: &TcpStream, mut server: &TcpStream, protocol: Protocol, shared: &Shared) -> io::Result<()> {
    if protocol == Protocol::Postgres {
        // The first has no type, only length and content.
        let mut startup = vec![0; 4];
        client.read_exact(&mut startup)?;
        let length = u32::from_be_bytes([startup[0], startup[1], startup[2], startup[3]]);
        read_rest(client, length.saturating_sub(4), &mut startup)?;
        server.write_all(&startup)?;
    }
    let mut writes = false;
    loop {
        let (message, query) = protocol.read(client)?;
        let query = &message[query..];
        if query.starts_with(b"BEGIN") || query.starts_with(b"START TRANSACTION") {
            // Where nothing was written nothing can be in doubt.
            writes = !query.windows(9).any(|part| part == b"READ ONLY");
        }
        let cut =
            if writes && query.starts_with(b"COMMIT") { shared.cut.swap(Cut::None as u8, Ordering::SeqCst) } else { 0 };
        if cut == Cut::BeforeCommit as u8 {
            client.shutdown(Shutdown::Both)?;
            return server.shutdown(Shutdown::Both);
        }
        if cut == Cut::AfterCommit as u8 {
            // No answer gets through any more, before the server can give one.
            client.shutdown(Shutdown::Both)?;
            return server.write_all(&message);
        }
        server.write_all(&message)?;
    }
}

impl Protocol {
    /// One message, and where in it the text of a query begins; at its end when it is none.
    fn read(self, mut client: &TcpStream) -> io::Result<(Vec<u8>, usize)> {
        match self {
            // Type, length with itself, content.
            Self::Postgres => {
                let mut message = vec![0; 5];
                client.read_exact(&mut message)?;
                let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]);
                read_rest(client, length.saturating_sub(4), &mut message)?;
                let query = if message[0] == b'Q' { 5 } else { message.len() };
                Ok((message, query))
            }
            // Length in three bytes, number, content, which begins with the command.
            Self::MySql => {
                const COM_QUERY: u8 = 3;
                let mut message = vec![0; 4];
                client.read_exact(&mut message)?;
                let length = u32::from_le_bytes([message[0], message[1], message[2], 0]);
                read_rest(client, length, &mut message)?;
                let is_query = message[3] == 0 && message.get(4) == Some(&COM_QUERY);
                let query = if is_query { 5 } else { message.len() };
                Ok((message, query))
            }
        }
    }
}

fn read_rest(mut from: &TcpStream, length: u32, message: &mut Vec<u8>) -> io::Result<()> {
    let start = message.len();
    message.resize(start + length as usize, 0);
    from.read_exact(&mut message[start..])
}
