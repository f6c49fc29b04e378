//! The pages of a running `ebb`: status and metrics.
//!
//! Owns: asking for one. Does not own: what it should say.

use super::world::{Ebb, wait_for};

/// What `/_/status` says.
pub(crate) fn status(pages: &str) -> serde_json::Value {
    let page = http_get(pages, "/_/status");
    serde_json::from_str(&page[page.find('{').expect("JSON")..]).expect("JSON")
}

/// What `/_/history` says.
pub(crate) fn history(pages: &str) -> Vec<serde_json::Value> {
    let page = http_get(pages, "/_/history");
    serde_json::from_str(&page[page.find('[').expect("JSON")..]).expect("JSON")
}

/// Waits until the history has so many events of a name, and returns the last of them.
pub(crate) fn wait_event(ebb: &Ebb, pages: &str, name: &str, count: usize) -> serde_json::Value {
    let found = || history(pages).into_iter().filter(|entry| entry["event"] == name).collect::<Vec<_>>();
    wait_for(
        &format!("{count} events {name}"),
        || format!("{:#?}\n{}", history(pages), ebb.log()),
        || found().len() >= count,
    );
    found().pop().expect("an event")
}

pub(crate) fn http_get(addr: &str, path: &str) -> String {
    try_http_get(addr, path).expect("the pages answer")
}

pub(crate) fn try_http_get(addr: &str, path: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(addr)?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).map(|_| answer)
}
