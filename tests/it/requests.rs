//! Hostile and broken requests: each is answered by its cause or cut off in its time, and the changefeed goes on.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::harness::attack::{JSON, SETTINGS, TABLE, goes_on, receiver, took};
use crate::harness::pages::http_get;
use crate::harness::post::Post;
use crate::harness::raw_client::RawClient;
use crate::harness::world::{Ebb, World, free_port, wait_for};

/// A request whose length is not said in one way only.
const LENGTH_1: &str = "Content-Length: 1";

fn authorized(world: &World) -> Post<'_> {
    Post::new(world).without_certificate().header("Authorization: Bearer geheim")
}

#[test]
fn bodies_and_pauses_have_their_time() {
    let (world, ebb) = receiver("hostile_slow", "");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, began) = (RawClient::connect(&world, "http/1.1"), Instant::now());
            client.send_head(&world, &[JSON, "Content-Length: 1000"]);
            client.send("{");
            let (status, text) = client.answer();
            assert!(status == 408 && text.contains("--body-idle-timeout"), "{text}");
            took("a body that stops", began.elapsed(), 1);
        });
        scope.spawn(|| {
            let (mut client, began) = (RawClient::connect(&world, "http/1.1"), Instant::now());
            client.send_head(&world, &[JSON, "Content-Length: 1000"]);
            for _ in 0..30 {
                client.send("{");
                std::thread::sleep(Duration::from_millis(100));
            }
            let (status, text) = client.answer();
            assert!(status == 408 && text.contains("--body-timeout"), "{text}");
            took("a body that trickles", began.elapsed(), 3);
        });
        scope.spawn(|| {
            let mut client = RawClient::connect(&world, "http/1.1");
            client.send_head(&world, &[JSON, "Content-Length: 2"]);
            client.send("{}");
            assert_eq!(client.answer().0, 400);
            took("an idle connection", client.until_closed(), 2);
        });
    });
    goes_on(&world, ebb);
}

#[test]
fn malformed_requests_are_answered_by_their_cause() {
    let (world, mut ebb) = receiver("hostile_malformed", "--body-bytes-max 1048576 --header-bytes-max 16384");
    let raw = |head: &[&str], body: &str| {
        let mut client = RawClient::connect(&world, "http/1.1");
        client.send_head(&world, head);
        client.send(body);
        client.answer().0
    };
    assert_eq!(raw(&[JSON, "Content-Length: 2", LENGTH_1], "{}"), 400, "two lengths");
    assert_eq!(raw(&[JSON, "Content-Length: -1"], "{}"), 400, "no length");
    assert_eq!(raw(&[JSON, "Transfer-Encoding: chunked"], "2\r\n{}\r\n0\r\n\r\n"), 400, "chunked, and then no rows");
    assert_eq!(raw(&[JSON, "Transfer-Encoding: chunked"], "zz\r\n"), 400, "no chunk");
    assert_eq!(raw(&[JSON, "Content-Length: 1048577"], ""), 413, "said to be too large");
    assert_eq!(raw(&["Content-Type: text/csv", "Content-Length: 2"], "{}"), 415, "another format");
    assert_eq!(raw(&[JSON, "Content-Encoding: br", "Content-Length: 2"], "{}"), 415, "another compression");
    assert_eq!(raw(&[JSON, "Content-Encoding: gzip", "Content-Length: 2"], "{}"), 400, "no gzip");
    assert_eq!(raw(&[JSON, "Content-Encoding: zstd", "Content-Length: 2"], "{}"), 400, "no zstd");
    let post = |path: &str| authorized(&world).path(path).send("{}").status;
    assert_eq!(post("nowhere/public"), 404);
    assert_eq!(post("a/b/c/d/%ff"), 404);
    assert_eq!(post(&format!("{}/public?ebb_staging=other", world.database())), 409);
    assert_eq!(post("_/varz"), 404, "pages for operators are not on this port");
    let mut client = RawClient::connect(&world, "http/1.1");
    client
        .send(format!("GET /{}/public HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer geheim\r\n\r\n", world.database()));
    assert_eq!(client.answer().0, 405);
    for (text, code) in [
        ("a changefeed sends POST", "R033"),
        ("is larger than 1048576 bytes", "R038"),
        ("is not application/json", "R035"),
        ("is not a schema of the target", "R032"),
        ("the staging folder of another ebb", "R034"),
        ("cannot be decompressed", "R037"),
    ] {
        let line = ebb.wait_line(text);
        assert!(line.contains(&format!("error_code\":\"EBB-{code}")), "{line}");
    }
    // 1 MiB of headers, from somebody who may write and from a stranger.
    let wide = format!("X-Wide: {}", "a".repeat(1 << 20));
    assert!(matches!(raw(&[JSON, &wide], ""), 431 | 0), "the answer may be lost under what is still unread");
    let mut stranger = RawClient::connect(&world, "http/1.1");
    stranger.send(format!("GET / HTTP/1.1\r\n{wide}\r\n\r\n"));
    assert!(matches!(stranger.answer().0, 431 | 0));
    // A client that goes away in the middle of its body.
    let mut client = RawClient::connect(&world, "http/1.1");
    client.send_head(&world, &[JSON, "Content-Length: 1000"]);
    client.send(r#"{"payload":[{"after":{"id":666,"v":1},"key":[666],"topic":"t","updated":"9000000000000000000.0"}],"length":1}"#);
    drop(client);
    ebb.wait_line("the body was cut off");
    goes_on(&world, ebb);
}

#[test]
fn compressed_bombs_are_cut_off() {
    let (world, ebb) = receiver("hostile_bombs", "--body-bytes-max 16777216 --in-flight-bytes-max 33554432");
    let zeros = vec![b' '; 1 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    (0..1024).for_each(|_| gzip.write_all(&zeros).expect("memory"));
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 19).expect("an encoder");
    (0..1024).for_each(|_| zstd.write_all(&zeros).expect("memory"));
    let bombs = [("gzip", gzip.finish().expect("memory")), ("zstd", zstd.finish().expect("memory"))];
    let before = resident_bytes(&ebb);
    for _ in 0..3 {
        for (encoding, bomb) in &bombs {
            let mut client = RawClient::connect(&world, "http/1.1");
            let length = format!("Content-Length: {}", bomb.len());
            client.send_head(&world, &[JSON, &format!("Content-Encoding: {encoding}"), &length]);
            client.send(bomb);
            assert_eq!(client.answer().0, 413, "{encoding}");
        }
    }
    let grown = resident_bytes(&ebb).saturating_sub(before);
    // The allocator keeps some of what was used in passing.
    assert!(grown < 256 << 20, "{grown} bytes more after six bombs of 1 GiB");
    goes_on(&world, ebb);
}

#[test]
fn memory_is_taken_as_bytes_arrive_and_slow_bodies_give_way() {
    let limits = "--body-bytes-max 1048576 --in-flight-bytes-max 1 --httpResponseTimeout 20s --body-idle-timeout 12s \
                  --body-timeout 30s";
    let (world, ebb) = receiver("hostile_memory", limits);
    // Nothing is kept for somebody who may not write.
    let mut stranger = RawClient::connect(&world, "http/1.1");
    stranger.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{JSON}\r\nContent-Length: 1048576\r\n\r\n{{"));
    let quickest = (0..3).map(|_| {
        let mut client = RawClient::connect(&world, "http/1.1");
        let began = Instant::now();
        client.send_head(&world, &[JSON, "Content-Length: 2"]);
        client.send("{}");
        assert_eq!(client.answer().0, 400);
        began.elapsed()
    });
    assert!(quickest.min().expect("three") < Duration::from_millis(900));
    // Stated lengths are not believed: who has sent one byte holds no more than that.
    let stating: Vec<_> = (0..20)
        .map(|_| {
            let mut holder = RawClient::connect(&world, "http/1.1");
            holder.send_head(&world, &[JSON, "Content-Length: 1048576"]);
            holder.send("{");
            holder
        })
        .collect();
    assert_eq!(large(&world).0, 400, "there is memory for a body of 1 MiB");
    drop(stating);
    // All memory is taken by bodies that do not go on.
    let holders: Vec<_> = (0..10)
        .map(|_| {
            let mut holder = RawClient::connect(&world, "http/1.1");
            holder.send_head(&world, &[JSON, "Content-Length: 1048576"]);
            holder.send(vec![b' '; (1 << 20) - 1]);
            holder
        })
        .collect();
    let began = Instant::now();
    assert_eq!(large(&world).0, 400, "it was held until others had given way");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let answers: Vec<_> = holders.into_iter().map(|mut holder| holder.answer()).collect();
    assert!(answers.iter().all(|(status, _)| matches!(status, 503 | 408)), "{answers:?}");
    let (_, gave_way) = answers.iter().find(|(status, _)| *status == 503).expect("somebody gave way");
    assert!(gave_way.contains("--in-flight-bytes-max"), "{gave_way}");
    assert!(gave_way.to_lowercase().contains("retry-after: 1"), "{gave_way}");
    goes_on(&world, ebb);
}

/// A body of 1 MiB that says nothing.
fn large(world: &World) -> (u16, String) {
    let mut client = RawClient::connect(world, "http/1.1");
    client.send_head(world, &[JSON, "Content-Length: 1048576"]);
    client.send([&[b' '; (1 << 20) - 2][..], b"{}"].concat());
    client.answer()
}

#[test]
fn unknown_paths_and_topics_do_not_grow_memory() {
    let pages = format!("127.0.0.1:{}", free_port());
    let (world, ebb) = receiver("hostile_paths", &format!("--metricsAddr {pages}"));
    let flood = |client: &mut RawClient, from: usize, to: usize| {
        for number in from..to {
            let path = format!("/nowhere_{number}_{}/{number}", "x".repeat(500));
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer geheim\r\nContent-Length: 0\r\n\r\n");
            assert!(client.send(head));
            assert_eq!(client.answer().0, 404);
        }
    };
    let mut client = RawClient::connect(&world, "http/1.1");
    flood(&mut client, 0, 500);
    let before = resident_bytes(&ebb);
    flood(&mut client, 500, 8_000);
    for number in 0..300 {
        let topic = format!("topic_{number}_{}", "y".repeat(100_000));
        let body = format!(r#"{{"payload":[{{"after":{{}},"key":[1],"topic":"{topic}","updated":"1.0"}}]}}"#);
        client.send_head(&world, &[JSON, &format!("Content-Length: {}", body.len())]);
        client.send(body);
        let (status, text) = client.answer();
        assert!(status == 400 && text.len() < 1000, "{text}");
    }
    let grown = resident_bytes(&ebb).saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes more after 7,500 unknown paths and 300 unknown topics");
    let lines = ebb.log().lines().filter(|line| line.contains("a request was refused")).count();
    assert!(lines < 300, "{lines} lines were logged");
    wait_for(
        "the metric",
        || ebb.log(),
        || http_get(&pages, "/_/varz").contains("ebb_requests_refused_total{code=\"404\"} 8000"),
    );
    goes_on(&world, ebb);
}

fn resident_bytes(ebb: &Ebb) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", ebb.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel says so");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok()).expect("a number") << 10
}

#[test]
fn floods_of_http2_end_the_connection_only() {
    let (world, ebb) = receiver("hostile_http2", "--header-bytes-max 16384");
    for client in ["resets", "settings", "headers"] {
        let mut stranger = RawClient::connect(&world, "h2");
        stranger.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        stranger.send(frame(4, 0, 0, &[]));
        let began = Instant::now();
        let mut stream = 1;
        let frames = match client {
            // A stream is opened and given up, again and again.
            "resets" => |stream: u32| [frame(1, 5, stream, GET), frame(3, 0, stream, &[0, 0, 0, 8])].concat(),
            "settings" => |_| frame(4, 0, 0, &[]),
            // Headers that never end.
            _ => |stream: u32| if stream == 1 { frame(1, 1, 1, GET) } else { frame(9, 0, 1, &[b'a'; 8000]) },
        };
        while began.elapsed() < Duration::from_secs(10) && stranger.send(frames(stream)) {
            stream += 2;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{client}: still connected after {stream} streams");
    }
    // The same from a client that may write: it is heard for longer, but takes no more memory.
    let mut client = RawClient::connect(&world, "h2");
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(frame(4, 0, 0, &[]));
    let request = [GET, &[0x57, 13], b"Bearer geheim"].concat();
    let (before, began, mut stream) = (resident_bytes(&ebb), Instant::now(), 1);
    let open_and_reset = |stream: u32| [frame(1, 5, stream, &request), frame(3, 0, stream, &[0, 0, 0, 8])].concat();
    while began.elapsed() < Duration::from_secs(2) && client.send(open_and_reset(stream)) {
        stream += 2;
    }
    let grown = resident_bytes(&ebb).saturating_sub(before);
    assert!(stream > 40 && grown < 64 << 20, "{grown} bytes more after {stream} streams");
    goes_on(&world, ebb);
}

/// `GET /` as HPACK's static table has it.
const GET: &[u8] = &[0x82, 0x84, 0x87, 0x41, 0x01, b'x'];

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[test]
fn a_topic_makes_no_line_of_its_own_and_steers_no_terminal() {
    let world = World::new("hostile_topic", TABLE);
    world.write_changefeed_settings(SETTINGS);
    let mut ebb = world.fetch(&["--use-console-writer", "--replicator-flags", "--stagingSchema s"]);
    ebb.wait_line("changefeed created");
    let body = r#"{"payload":[{"after":{},"key":[1],"topic":"x\n12:00:00 error forged\u001b[2J","updated":"1.0"}],"length":1}"#;
    let answer = authorized(&world).send(body);
    assert!(answer.status == 400 && answer.body.contains("\\n12:00:00 error forged\\u{1b}[2J"), "{}", answer.body);
    let line = ebb.wait_line("a request was refused");
    assert!(line.contains("\\n12:00:00 error forged\\u{1b}[2J"), "{line}");
    goes_on(&world, ebb);
}
