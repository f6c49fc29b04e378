//! A port that leads nowhere until it is forwarded.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
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
pub(crate) fn forward(port: u16, real: u16) -> thread::JoinHandle<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", real)).expect("the server");
            for (mut from, mut to) in
                [(client.try_clone().expect("a socket"), server.try_clone().expect("a socket")), (server, client)]
            {
                thread::spawn(move || {
                    let _ = copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    })
}
