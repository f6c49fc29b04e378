//! Who may read the pages, what a browser is told of them, and many readers at once.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::harness::browser::Browser;
use crate::harness::codes;
use crate::harness::pages::{http_get, status};
use crate::harness::raw_client::closed;
use crate::harness::world::{Ebb, World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";
const PASSWORD: &str = "4d8e0c5a91b7f3e2";
const EBB: &str = env!("CARGO_BIN_EXE_ebb");
/// At once; the feed has some of its own.
const CONNECTIONS_MAX: usize = 256;
/// Of an answer with little in it; the machine may be busy.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// `ebb start` with its pages on this address.
fn start(world: &World, pages: &str, more: &[&str]) -> Ebb {
    let flags = ["--metricsAddr", pages, "--stagingSchema", "_replicator_1", "--disableAuthentication", "-v"];
    let mut ebb = world.start(&[&flags[..], more].concat());
    ebb.wait_line("pages listening");
    ebb
}

fn ask(pages: &str, request: &str) -> String {
    let mut socket = TcpStream::connect(pages).expect("the pages listen");
    write!(socket, "{request}\r\nConnection: close\r\n\r\n").expect("it is taken");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn every_answer_tells_a_browser_what_it_may_not_do() {
    let world = World::new("pages_headers", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = start(&world, &pages, &[]);
    for path in
        ["/", "/_/page.js", "/_/page.css", "/_/page.svg", "/_/status", "/_/trend", "/metrics", "/_/livez", "/no"]
    {
        let answer = ask(&pages, &format!("GET {path} HTTP/1.1\r\nHost: localhost"));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'; ",
            "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "x-frame-options: DENY",
            "cache-control: no-store",
            "cross-origin-opener-policy: same-origin",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(header), "{path}: {header:?} is not in {head}");
        }
        assert!(
            !body.contains("http://") || path == "/_/page.js" || path == "/_/page.svg",
            "{path} is from elsewhere: {body}"
        );
        let bare = ask(&pages, &format!("HEAD {path} HTTP/1.1\r\nHost: localhost"));
        assert!(bare.ends_with("\r\n\r\n") && bare[..12] == head[..12], "{path}: {bare}");
    }
    let refused = ask(&pages, "POST /_/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0");
    assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET, HEAD"), "{refused}");
    // A site whose name leads to this machine cannot read them in its visitor's browser.
    for path in ["/", "/_/status", "/_/events", "/metrics"] {
        let refused = ask(&pages, &format!("GET {path} HTTP/1.1\r\nHost: evil.example"));
        assert!(refused.starts_with("HTTP/1.1 421") && !refused.contains("_replicator_1"), "{refused}");
    }
    assert!(ask(&pages, "GET /_/livez HTTP/1.1\r\nHost: balancer.example").starts_with("HTTP/1.1 200"));
    ebb.stop();
}

#[test]
fn a_password_opens_the_pages_and_nothing_else_does() {
    let world = World::new("pages_password", TABLE);
    let file = world.dir().join("pages.auth");
    fs::write(&file, format!("basic:ann:{PASSWORD}\n")).expect("a file");
    let set_mode = |mode: u32| fs::set_permissions(&file, Permissions::from_mode(mode)).expect("a mode");
    let (port, file) = (free_port(), file.display().to_string());
    let pages = format!("localhost:{port}");
    // A file of root may be read by its group.
    set_mode(0o644);
    let log = start(&world, &pages, &["--metricsAuth", &file]).stop();
    assert!(log.contains("EBB-A035") && log.contains("chmod 0600") && log.contains("mode 0644"), "{log}");
    set_mode(0o600);
    let ebb = start(&world, &pages, &["--metricsAuth", &file, "--metricsTls"]);
    assert!(!ebb.log().contains("EBB-A035"), "{}", ebb.log());
    let ca = world.certs().ca().display().to_string();
    let curl = |user: &[&str], path: &str| {
        let url = format!("https://{pages}{path}");
        let output = world.bare("curl").args(["-s", "-i", "--http1.1", "--cacert", &ca, &url]).args(user).output();
        String::from_utf8(output.expect("curl").stdout).expect("text")
    };
    for path in ["/", "/_/status", "/_/events", "/_/trend", "/metrics", "/_/page.js"] {
        for user in [&[][..], &["-u", "ann:wrong"], &["-u", "ben:4d8e0c5a91b7f3e2"], &["--oauth2-bearer", PASSWORD]] {
            let refused = curl(user, path);
            assert!(refused.starts_with("HTTP/1.1 401"), "{path}: {refused}");
            assert!(refused.contains("www-authenticate: Basic realm=\"ebb\""), "{refused}");
        }
    }
    for probe in ["/_/livez", "/_/healthz", "/_/readyz"] {
        assert!(curl(&[], probe).starts_with("HTTP/1.1 200"), "{probe}");
    }
    let known = format!("ann:{PASSWORD}");
    assert!(curl(&["-u", &known], "/_/status").contains("_replicator_1"));
    // The staging folder has what opens them, and says which certificate it is.
    assert!(world.run(&["status", "--stagingSchema", "_replicator_1"]).contains("_replicator_1"));
    let of_address = ["status", "--metricsAddr", &pages, "--metricsAuth", &file, "--metricsCA", &ca];
    assert!(world.run(&of_address).contains("_replicator_1"));
    let refused = |args: &[&str], expected: &str| {
        let output = codes::output(world.bare(EBB).args(args));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(expected), "{expected:?} is not in {error}");
    };
    let wrong = ["status", "--metricsAddr", &pages, "--metricsCA", &ca];
    refused(&wrong, "want a password or token");
    let other = [&wrong[..], &["--metricsAuth", "bearer:4d8e0c5a91b7f3e2"]].concat();
    refused(&other, "is not the password or token of the run");
    refused(&["status", "--metricsAddr", &pages, "--metricsAuth", &file], "it serves HTTPS: give --metricsCA");
    let elsewhere = ["status", "--metricsAddr", "192.0.2.1:3030", "--metricsAuth", &file];
    refused(&elsewhere, "EBB-A034");
    refused(&["status", "--metricsAddr", &pages, "--metricsCA", &file], "--metricsCA");
    refused(&["status", "--metricsAddr", &pages, "--metricsAuth", "basic:ann:short"], "shorter than 12");
    assert!(!ask(&pages, "GET /_/livez HTTP/1.1\r\nHost: localhost").contains("200 OK"), "they answer without TLS");
    let browser = Browser::start();
    browser.open(&format!("https://{known}@{pages}/_/livez"));
    browser.open(&format!("https://{known}@{pages}/_/status"));
    // Whoever has shown it once is not asked again.
    browser.open(&format!("https://{pages}/"));
    // "Starting: nothing has arrived yet", and "Nothing arrives" after a while.
    browser.wait_text("h1", "othing ", || ebb.log());
    let charts = || browser.script("return document.querySelectorAll('figure svg').length") == 3;
    wait_for("three charts", || ebb.log(), charts);
    // Of what is no page a browser asks for an icon, at some time.
    let complaints: Vec<_> = browser.console().into_iter().filter(|line| !line.contains("favicon.ico")).collect();
    assert_eq!(complaints, [""; 0]);
    drop(browser);
    let log = ebb.stop();
    assert!(!log.contains(PASSWORD) && !log.contains("EBB-A033"), "{log}");
}

#[test]
fn pages_for_everybody_are_warned_of() {
    let world = World::new("pages_warnings", TABLE);
    let pages = format!("0.0.0.0:{}", free_port());
    let log = start(&world, &pages, &[]).stop();
    assert!(log.contains("EBB-A033") && log.contains("--metricsAuth FILE"), "{log}");
    let token = format!("bearer:{PASSWORD}");
    let mut command = world.bare(EBB);
    let server = world.certs().server();
    command
        .env("EBB_TLS_CERTIFICATE", server.cert)
        .env("EBB_TLS_PRIVATE_KEY", server.key)
        .env("EBB_METRICS_AUTH", &token);
    command.args(["start", "--targetConn", &world.target_url(), "--bindAddr", "127.0.0.1:0", "--metricsAddr", &pages]);
    command.args(["--stagingSchema", "_replicator_1", "--disableAuthentication", "-v"]);
    let mut ebb = Ebb::spawn(command);
    ebb.wait_line("pages listening");
    assert!(ebb.log().contains("EBB-A034") && !ebb.log().contains("EBB-A033"), "{}", ebb.log());
    // An address of this machine that is not loopback goes by any name.
    let port = pages.rsplit_once(':').expect("a port").1;
    let answer = ask(
        &format!("127.0.0.1:{port}"),
        &format!("GET /_/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {PASSWORD}"),
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(world.run(&["status", "--stagingSchema", "_replicator_1"]).contains("_replicator_1"));
    assert!(!ebb.stop().contains(PASSWORD));
    let log = start(&world, &pages, &["--metricsAuth", &token, "--metricsTls"]).stop();
    assert!(!log.contains("EBB-A033") && !log.contains("EBB-A034"), "{log}");
}

/// Slow readers cost each other their places, but neither a probe nor the feed its answer.
#[test]
fn hundreds_of_slow_readers_do_not_keep_a_probe_waiting() {
    let world = World::new("pages_flood", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = "--stagingSchema _replicator_1 -v";
    let ebb = world.fetch(&["--metrics-listen-addr", &pages, "--replicator-flags", flags]).ready();
    let connect = |request: &str| {
        let mut socket = TcpStream::connect(&pages).expect("the pages listen");
        // What is closed before it has asked was too slow.
        let _ = write!(socket, "{request}");
        socket
    };
    let probe = || {
        let began = Instant::now();
        let answer = http_get(&pages, "/_/livez");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(began.elapsed() < ANSWER_MAX, "{:?}", began.elapsed());
    };
    let sockets = || {
        let files = fs::read_dir(format!("/proc/{}/fd", ebb.pid())).expect("it runs").flatten();
        let links = files.filter_map(|file| fs::read_link(file.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    };
    let without = sockets();
    let mut slow = Vec::new();
    for round in 0..10 {
        slow.extend((0..30).map(|_| connect("GET / HTTP/1.1\r\nX: ")));
        slow.extend((0..10).map(|_| connect("GET /_/events HTTP/1.1\r\nHost: localhost\r\n\r\n")));
        probe();
        assert!(sockets() < without + CONNECTIONS_MAX + 10, "{} sockets, {without} without readers", sockets());
        world.source(&format!("INSERT INTO t VALUES ({round}, 'a')"));
    }
    world.wait_equal(&ebb, &["t"]);
    // Connections end by themselves: those that do not finish their headers, and of streams all but eight.
    let mut last = connect("GET / HTTP/1.1\r\nX: ");
    let took = closed(&mut last);
    assert!((4..9).contains(&took.as_secs()), "{took:?}");
    wait_for("the end of most connections", || format!("{} sockets", sockets()), || sockets() < without + 20);
    probe();
    assert_eq!(status(&pages)["rows_applied"], 10);
    drop(slow);
    ebb.stop();
}

/// Whoever is refused gives way first, whatever comes.
#[test]
fn a_crowd_without_the_password_does_not_keep_a_probe_out() {
    let world = World::new("pages_crowd", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = start(&world, &pages, &["--metricsAuth", &format!("bearer:{PASSWORD}")]);
    let connect = || TcpStream::connect(&pages).expect("the pages listen");
    let asked = |socket: &mut TcpStream, path: &str| {
        let mut begin = [0; 12];
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is taken");
        socket.read_exact(&mut begin).map(|()| String::from_utf8_lossy(&begin).into_owned())
    };
    let mut crowd: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connect()).collect();
    for socket in &mut crowd {
        assert_eq!(asked(socket, "/").expect("an answer"), "HTTP/1.1 401");
    }
    let mut probe = connect();
    crowd.extend((0..CONNECTIONS_MAX / 4).map(|_| connect()));
    assert_eq!(asked(&mut probe, "/_/livez").expect("it has not given way"), "HTTP/1.1 200");
    ebb.stop();
}

/// Hundreds of requests at once on a few connections take turns with those of others, and come to an end.
#[test]
fn a_connection_ends_after_a_hundred_requests() {
    let world = World::new("pages_pipelined", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = start(&world, &pages, &[]);
    let request = "GET /_/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut socket = TcpStream::connect(&pages).expect("the pages listen");
    write!(socket, "{}", request.repeat(150)).expect("they are taken");
    let mut answers = Vec::new();
    // Closing with requests unread may reset the connection once all is answered.
    let _ = socket.read_to_end(&mut answers);
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 100);
    assert_eq!(answers.matches("connection: close").count(), 1);
    let flood: Vec<_> = (0..8)
        .map(|_| {
            let mut socket = TcpStream::connect(&pages).expect("the pages listen");
            let _ = write!(socket, "{}", request.repeat(1000));
            socket
        })
        .collect();
    let began = Instant::now();
    assert!(http_get(&pages, "/_/livez").starts_with("HTTP/1.1 200"));
    assert!(began.elapsed() < ANSWER_MAX, "{:?}", began.elapsed());
    drop(flood);
    let foreign = "Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors";
    assert!(ask(&pages, &format!("GET /_/page.js HTTP/1.1\r\n{foreign}")).starts_with("HTTP/1.1 403"));
    assert!(ask(&pages, &format!("GET /_/livez HTTP/1.1\r\n{foreign}")).starts_with("HTTP/1.1 200"));
    ebb.stop();
}

#[test]
fn of_many_streams_the_oldest_gives_way() {
    let world = World::new("pages_streams", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    let ebb = start(&world, &pages, &[]);
    let mut streams: Vec<_> = (0..9)
        .map(|_| {
            let mut socket = TcpStream::connect(&pages).expect("the pages listen");
            write!(socket, "GET /_/events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is taken");
            let mut begin = [0; 15];
            socket.read_exact(&mut begin).expect("an answer");
            assert_eq!(&begin, b"HTTP/1.1 200 OK");
            socket
        })
        .collect();
    let mut oldest = String::new();
    streams.remove(0).read_to_string(&mut oldest).expect("its end");
    assert!(oldest.contains("data: {") && oldest.ends_with("\r\n0\r\n\r\n"), "{oldest}");
    // The others are told every second.
    let events = |socket: &mut TcpStream| {
        let (mut heard, mut bytes) = (String::new(), [0; 4096]);
        while heard.matches("data: {").count() < 3 {
            let read = socket.read(&mut bytes).expect("events");
            assert!(read > 0, "the stream has ended: {heard}");
            heard.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    };
    streams.iter_mut().for_each(events);
    ebb.stop();
}
