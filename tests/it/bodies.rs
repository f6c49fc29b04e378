//! Bodies of a client with a valid credential that attacks, or of a changefeed that is broken: each is refused by its cause,
//! leaves nothing behind, and costs little memory.

use std::fs;
use std::io::Write;

use crate::harness::attack::{JSON, TABLE, goes_on, receiver};
use crate::harness::post::{Post, a_moment_from_now, one_row};
use crate::harness::raw_client::RawClient;
use crate::harness::world::{Ebb, World};

/// What the process may take in memory under any attack with the limits that are the default.
const MEMORY_MAX: usize = 256 << 20;
/// The default of `--body-bytes-max`.
const BODY_BYTES_MAX: usize = 34 << 20;

fn post(world: &World, body: &str) -> (u16, String) {
    let mut client = RawClient::connect(world, "http/1.1");
    client.send_head(world, &[JSON, &format!("Content-Length: {}", body.len())]);
    client.send(body);
    client.answer()
}

/// A time that is not resolved before the test ends.
fn soon() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    format!("{}000000000.0", now.as_secs() + 3600)
}

fn message(fields: &str) -> String {
    format!(r#"{{"payload":[{{{fields}, "topic": "t", "updated": "{}"}}]}}"#, soon())
}

#[test]
fn rows_of_the_wrong_shape_are_refused_and_the_log_names_them() {
    let (world, ebb) = receiver("insider_shapes", "");
    let check = |body: &str, why: &str| {
        let (status, text) = post(&world, body);
        assert!(!text.contains("666") && !text.contains("canary"), "CockroachDB keeps the answer: {text}");
        assert!(status == 400 && text.contains(why) && text.len() < 1000, "{body:.300}: {text}\n{}", ebb.log());
        // Nothing of it ends the run, and others go on.
        assert!(!ebb.log().contains("\"level\":\"error\""), "{}", ebb.log());
    };
    check(&message(r#""key": [666]"#), "does not say what its row is \"after\"");
    check(&message(r#""after": 1, "key": [666]"#), "not an object");
    check(&message(r#""after": {"id": 666}, "after": null, "key": [666]"#), "\"after\" is there twice");
    check(&message(r#""after": {"id": 666}, "key": [666], "key": [667]"#), "\"key\" is there twice");
    check(&message(r#""after": null, "key": {}"#), "no \"key\"");
    let twice = "a row of t: it has the column v more than once";
    check(&message(r#""after": {"id": 666, "v": 1, "v": 2}, "key": [666]"#), twice);
    check(&message(r#""after": null, "before": {"id": 666, "v": 1, "v": 2}, "key": [666]"#), twice);
    assert!(ebb.log().contains("\"key\":\"[666]\""), "{}", ebb.log());
    let many = vec![r#""v":1"#; 2_400_000].join(",");
    check(&message(&format!(r#""after": {{{many}}}, "key": [666]"#)), "a row of t: ");
    let elements = format!(r#"{{"payload":[["t", {}]]}}"#, soon());
    check(&elements, "not JSON of a changefeed's shape");
    let long = "x".repeat(100_000);
    check(&message(&format!(r#""after": {{"v": 1, "v": 1}}, "key": ["{long}"]"#)), "a row of t: ");
    assert!(ebb.log().contains("xxx…"), "{:.2000}", ebb.log());
    check(&message(&format!(r#""after": {{"{long}": 1, "{long}": 1}}, "key": [666]"#)), "xxx… more than once");
    // The rest of a body does not count either, and which table of the source `t` is has not been said by it.
    let wrong_case = message(r#""after": {"id": 666, "v": 1}, "key": [666]"#).replace("\"t\"", "\"T\"");
    check(&wrong_case, "table T is not one that ebb applies");
    goes_on(&world, ebb);
}

#[test]
fn keys_that_are_not_those_of_their_rows_are_not_acknowledged() {
    for (number, (fields, why)) in [
        (r#""after": null, "key": [666, 667]"#, "a key which has 2 values, and the primary key has 1 columns"),
        (r#""after": {"id": 666, "v": 1}, "key": []"#, "a key which has 0 values, and the primary key has 1 columns"),
        (
            r#""after": {"id": 667, "v": 1}, "key": [666]"#,
            "a row of t came with a key and its column id says otherwise",
        ),
        (r#""after": {"v": 1}, "key": [666]"#, "a row of t came with a key and has no value for the key column id"),
    ]
    .into_iter()
    .enumerate()
    {
        let (world, mut ebb) = receiver(&format!("insider_key_{number}"), "");
        let (status, text) = post(&world, &message(fields));
        assert!(status == 400 && text.contains(why) && !text.contains("666"), "{text}");
        // The changefeed would send it for ever: the source was asked again, and says the same.
        assert_eq!(ebb.wait().code(), Some(1));
        assert!(ebb.log().contains(why) && ebb.log().contains("error_code\":\"EBB-K051\""), "{}", ebb.log());
        let ebb = world.fetch(&["--replicator-flags", "--stagingSchema s -v"]);
        goes_on(&world, ebb);
    }
}

#[test]
fn no_body_costs_more_memory_than_its_limits() {
    let (world, ebb) =
        receiver("insider_memory", "--httpResponseTimeout 30s --body-idle-timeout 30s --body-timeout 1m");
    let filled = |begin: &str, part: &str, end: &str| {
        let count = (BODY_BYTES_MAX - begin.len() - end.len()) / part.len();
        [begin, &part.repeat(count), end].concat()
    };
    let (open, time) = (r#"{"payload":["#, soon());
    // Longer rows would not make more of it, and shorter ones take their time without optimisation.
    let row = format!(r#"{{"after":{{"id":1,"w":"{}"}},"key":[1],"topic":"t","updated":"{time}"}},"#, "w".repeat(1000));
    let tail = format!(r#","topic":"t","updated":"{time}"}}]}}"#);
    let bodies = [
        ("empty messages", filled(open, "{},", "{}]}")),
        ("rows, and then a bad one", filled(open, &row, "{}]}")),
        (
            "one column again and again",
            filled(r#"{"payload":[{"key":[1],"after":{"v":1"#, r#","v":1"#, &format!("}}{tail}")),
        ),
        ("a key of many values", filled(r#"{"payload":[{"after":null,"key":[1"#, ",1", &format!("]{tail}"))),
        (
            "a long topic",
            filled(r#"{"payload":[{"after":null,"key":[1],"updated":"1.0","topic":"\u0041"#, "x", "\"}]}"),
        ),
        ("deep nesting", filled(r#"{"payload":[{"other":"#, "[", "")),
        ("fields that nobody knows", filled(r#"{"payload":[{"a":1"#, r#","a":1"#, &tail[1..])),
        ("a long key", filled(r#"{"payload":[{"after":null,"key":["\u0041"#, "x", &format!("\"]{tail}"))),
    ];
    for (what, body) in &bodies {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(body.as_bytes()).expect("memory");
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
        zstd.write_all(body.as_bytes()).expect("memory");
        let (gzip, zstd) = (gzip.finish().expect("memory"), zstd.finish().expect("memory"));
        forget_peak(&ebb);
        std::thread::scope(|scope| {
            for (encoding, bytes) in
                [("gzip", &gzip), ("zstd", &zstd), ("gzip", &gzip), ("identity", &body.clone().into_bytes())]
            {
                let world = &world;
                let bytes = bytes.clone();
                scope.spawn(move || {
                    let mut client = RawClient::connect(world, "http/1.1");
                    let length = format!("Content-Length: {}", bytes.len());
                    client.send_head(world, &[JSON, &format!("Content-Encoding: {encoding}"), &length]);
                    client.send(bytes);
                    let (status, text) = client.answer();
                    assert!(matches!(status, 400 | 503) && text.len() < 1000, "{what}, {encoding}: {status} {text}");
                });
            }
        });
        let peak = peak_bytes(&ebb);
        println!("{what}: {} MiB at most", peak >> 20);
        assert!(peak < MEMORY_MAX, "{what}: {peak} bytes");
    }
    goes_on(&world, ebb);
}

/// The most memory since it was last forgotten.
fn peak_bytes(ebb: &Ebb) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", ebb.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel says so");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok()).expect("a number") << 10
}

/// Begins a new measurement of [`peak_bytes`], where the kernel lets us (proc(5), `clear_refs`).
fn forget_peak(ebb: &Ebb) {
    let _ = fs::write(format!("/proc/{}/clear_refs", ebb.pid()), "5");
}

#[test]
fn a_table_that_is_not_applied_is_refused_and_not_lost() {
    let world = World::new("promise_later", TABLE);
    let mut ebb = world.fetch(&[]).ready();
    let body = |topic: &str| one_row(1, &a_moment_from_now()).replace("\"t\"", &format!("\"{topic}\""));
    // The last one is a table of this name in another database.
    for topic in ["added_later", "t.family", "promise_later.public.t.family", "defaultdb.public.t"] {
        assert_eq!(Post::new(&world).send(&body(topic)).status, 400, "{topic}");
        ebb.wait_line(&format!("table {topic} is not one that ebb applies"));
    }
    assert_eq!(Post::new(&world).send(&body("promise_later.public.t")).status, 200);
    ebb.stop();
}

#[test]
fn a_body_that_was_cut_off_is_never_acknowledged() {
    let world = World::new("promise_cut", TABLE);
    let ebb = world.fetch(&[]).ready();
    let whole = one_row(5, &a_moment_from_now());
    for end in [0, 1, whole.len() / 2, whole.len() - 1] {
        assert_eq!(Post::new(&world).send(&whole[..end]).status, 400, "{end}");
    }
    assert_eq!(Post::new(&world).send(&whole).status, 200);
    ebb.stop();
}
