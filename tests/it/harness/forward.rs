//! A port that leads nowhere until it is forwarded.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::world::World;

/// The source's URL with a port where nobody listens.
pub(crate) fn dead_url(world: &World, port: u16) -> String {
    world.source_url().replace(&format!(":{}/", source_port(world)), &format!(":{port}/"))
}

pub(crate) fn source_port(world: &World) -> u16 {
    let url = world.source_url();
    let (_, rest) = url.split_once("@localhost:").expect("host and port");
    rest.split_once('/').expect("a database").0.parse().expect("a port")
}

/// What the port receives from now on goes to the other one.
pub(crate) fn forward(port: u16, real: u16) -> Cuttable {
    Cuttable::start(port, real)
}

/// A port that leads to another one, except while it is cut.
pub(crate) struct Cuttable {
    /// `None` while it is cut; else both ends of every connection.
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Cuttable {
    pub(crate) fn start(port: u16, real: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let open = Arc::new(Mutex::new(Some(Vec::new())));
        let shared = Arc::clone(&open);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut open = shared.lock().unwrap_or_else(PoisonError::into_inner);
                // A client that is not served is dropped, and sees the end.
                let Some(open) = open.as_mut() else { continue };
                let Ok(server) = TcpStream::connect(("127.0.0.1", real)) else { continue };
                open.extend([&client, &server].map(|socket| socket.try_clone().expect("a socket")));
                join(client, server);
            }
        });
        Self { open }
    }

    /// Ends every connection, and each that comes until it is mended.
    pub(crate) fn cut(&self) {
        for socket in self.open.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default() {
            // It may have ended by itself.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }
}

/// Copies in both directions.
fn join(client: TcpStream, server: TcpStream) {
    for (mut from, mut to) in
        [(client.try_clone().expect("a socket"), server.try_clone().expect("a socket")), (server, client)]
    {
        thread::spawn(move || {
            let _ = copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}
