//! Connections that somebody floods the receiver or the pages with, or holds open: each is cut off in its time, and the
//! changefeed goes on.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::harness::attack::{JSON, goes_on, receiver, took};
use crate::harness::pages::http_get;
use crate::harness::raw_client::{RawClient, closed, tcp};
use crate::harness::world::{Ebb, World, free_port, wait_for};

/// The process takes 35 MiB without an attack; the headers that are sent here would take 300 as header maps.
const PEAK_MAX_KIB: u64 = 100 << 10;
const STRANGERS: usize = 100;

#[test]
fn strangers_have_little_time() {
    let (world, ebb) = receiver("hostile_time", "");
    std::thread::scope(|scope| {
        scope.spawn(|| took("silence", closed(&mut tcp(&world)), 1));
        scope.spawn(|| {
            let mut socket = tcp(&world);
            socket.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is taken");
            assert!(closed(&mut socket) < Duration::from_secs(1), "what is no TLS ends at once");
        });
        scope.spawn(|| {
            let mut socket = tcp(&world);
            // The beginning of a ClientHello.
            socket.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).expect("it is taken");
            took("half a handshake", closed(&mut socket), 1);
        });
        scope.spawn(|| took("silence behind the handshake", RawClient::connect(&world, "http/1.1").until_closed(), 1));
        scope.spawn(|| took("silence of HTTP/2", RawClient::connect(&world, "h2").until_closed(), 1));
        scope.spawn(|| {
            let (mut stranger, began) = (RawClient::connect(&world, "http/1.1"), Instant::now());
            stranger.send("POST / HTTP/1.1\r\n");
            while stranger.send("X-Slow: 1\r\n") {
                std::thread::sleep(Duration::from_millis(100));
            }
            took("headers that trickle", began.elapsed(), 1);
        });
    });
    goes_on(&world, ebb);
}

#[test]
fn floods_of_strangers_leave_room_for_the_changefeed() {
    let (world, ebb) =
        receiver("hostile_flood", "--untrusted-connections-max 20 --handshake-timeout 30s --idle-timeout 1m");
    let mut first = tcp(&world);
    let others: Vec<_> = (0..200).map(|_| tcp(&world)).collect();
    assert!(closed(&mut first) < Duration::from_secs(5), "the oldest gives way");
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    assert!(sockets(&ebb) < 60, "{} sockets are open", sockets(&ebb));
    drop(others);
    // A connection that was refused has no second try, though its time is not over.
    let mut stranger = RawClient::connect(&world, "http/1.1");
    stranger.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{JSON}\r\nContent-Length: 2\r\n\r\n{{}}"));
    assert_eq!(stranger.answer().0, 401);
    assert!(stranger.until_closed() < Duration::from_secs(5));
    goes_on(&world, ebb);
}

#[test]
fn places_of_trusted_clients_are_limited_too() {
    let (world, ebb) = receiver("hostile_places", "--connections-max 5 --idle-timeout 1m");
    // The changefeed has some of the places itself.
    let mut holders: Vec<RawClient> = (0..6).map(|_| RawClient::connect(&world, "http/1.1")).collect();
    let answers: Vec<_> = holders
        .iter_mut()
        .map(|holder| {
            holder.send_head(&world, &[JSON, "Content-Length: 2"]);
            holder.send("{}");
            holder.answer()
        })
        .collect();
    assert!(answers.iter().any(|(status, _)| *status == 400), "{answers:?}");
    let refused = answers.iter().find(|(status, _)| *status == 503).expect("one of six finds no place");
    assert!(refused.1.contains("--connections-max"), "{answers:?}");
    drop(holders);
    goes_on(&world, ebb);
}

#[test]
fn pages_answer_while_connections_to_them_are_idle() {
    let pages = format!("127.0.0.1:{}", free_port());
    let (world, ebb) = receiver("insider_pages", &format!("--metricsAddr {pages}"));
    let ask = |connection: &mut std::net::TcpStream| {
        connection.write_all(b"GET /_/healthz HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is open");
        let mut answer = [0; 15];
        connection.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        // The rest of the head, and the text.
        let mut rest = [0; 4096];
        assert!(connection.read(&mut rest).expect("the rest") > 0);
    };
    // Answered once, so that each has come to its turn, and idle from then on.
    let connect = || {
        let mut connection = std::net::TcpStream::connect(&pages).expect("the pages listen");
        ask(&mut connection);
        connection
    };
    // One is in use, and comes to its turn again with every request.
    let mut used = connect();
    let mut ask = || ask(&mut used);
    let mut idle: Vec<_> = (0..40).map(|_| connect()).collect();
    ask();
    idle.extend((0..61).map(|_| connect()));
    let began = Instant::now();
    assert!(http_get(&pages, "/_/healthz").contains("200 OK"));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    ask();
    drop(idle);
    goes_on(&world, ebb);
}

/// What headers cost: a name may be one byte on the wire and a hundred in memory.
#[test]
fn headers_are_let_go_before_the_body_comes() {
    let world = World::new("headers", "CREATE TABLE t (id int PRIMARY KEY)");
    let mut keys = world.ebb(&["make-jwt", "--new-key", "a.key", "--allow", "headers.public"]);
    assert_eq!(keys.wait().code(), Some(0), "{}", keys.log());
    let pages = format!("127.0.0.1:{}", free_port());
    let mut ebb = world.start(&["--metricsAddr", &pages, "--jwt-public-keys", "a.key.pub"]);
    // POST, https, a path and an authority of one letter; then a name of HPACK's table, without a value, again and again.
    let block = [&[0x83, 0x84, 0x87, 0x41, 0x01, b'x'][..], &[0x8f; 350]].concat();
    let mut requests = Vec::new();
    for stream in (1..128_u32).step_by(2) {
        // HEADERS with END_HEADERS, and without END_STREAM: a body is to come.
        requests.extend_from_slice(&u32::try_from(block.len()).expect("short").to_be_bytes()[1..]);
        requests.extend_from_slice(&[1, 4]);
        requests.extend_from_slice(&stream.to_be_bytes());
        requests.extend_from_slice(&block);
    }
    let mut strangers: Vec<_> = (0..STRANGERS).map(|_| RawClient::connect(&world, "h2")).collect();
    for stranger in &mut strangers {
        stranger.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        stranger.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        stranger.send(&requests);
    }
    let refused = || {
        let metrics = http_get(&pages, "/_/varz");
        let line = metrics.lines().find(|line| line.starts_with("ebb_requests_refused_total{code=\"401\"}"));
        line.and_then(|line| line.rsplit_once(' ')).and_then(|(_, count)| count.parse::<usize>().ok()).unwrap_or(0)
    };
    wait_for("the refusals", || ebb.log(), || refused() >= STRANGERS);
    let status = std::fs::read_to_string(format!("/proc/{}/status", ebb.pid())).expect("it runs");
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel says so");
    let kib: u64 = peak.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
    assert!(kib < PEAK_MAX_KIB, "{peak}");
    ebb.must_run();
    ebb.stop();
}

/// Open sockets of the process.
fn sockets(ebb: &Ebb) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", ebb.pid())).expect("it runs").flatten();
    let is_socket = |path: std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|link| link.to_string_lossy().starts_with("socket:"))
    };
    files.filter(|file| is_socket(file.path())).count()
}
