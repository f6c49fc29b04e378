//! What the headers of requests cost: a name may be one byte on the wire and a hundred in memory.

use crate::stranger::Stranger;
use crate::world::{World, free_port, http_get, wait_for};

/// The process takes 35 MiB without an attack; what is sent here would take 300 as header maps.
const PEAK_MAX_KIB: u64 = 100 << 10;
const STRANGERS: usize = 100;

#[test]
fn headers_are_let_go_before_the_body_comes() {
    let world = World::new("headers", "CREATE TABLE t (id int PRIMARY KEY)");
    let mut keys = world.ebb(&["make-jwt", "--new-key", "a.key", "--allow", "headers.public"]);
    assert_eq!(keys.wait().code(), Some(0), "{}", keys.log());
    let (target, bind, pages) = (world.target_url(), format!("127.0.0.1:{}", world.port()), free_port());
    let pages = format!("127.0.0.1:{pages}");
    let mut ebb = world.ebb(&[
        "start",
        "--targetConn",
        &target,
        "--bindAddr",
        &bind,
        "--metricsAddr",
        &pages,
        "--jwt-public-keys",
        "a.key.pub",
    ]);
    ebb.wait_line("receiver listening");
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
    let mut strangers: Vec<_> = (0..STRANGERS).map(|_| Stranger::connect(&world, "h2")).collect();
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
