//! Commands that find a run by its staging folder: whoever has its address is neither believed nor told what opens pages.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::harness::codes;
use crate::harness::folders::TABLE;
use crate::harness::world::{Ebb, World, free_port, wait_for};

const EBB: &str = env!("CARGO_BIN_EXE_ebb");
const SCHEMA: [&str; 2] = ["--stagingSchema", "_replicator_1"];
const PASSWORD: &str = "bearer:4d8e0c5a91b7f3e2";

fn ebb(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let output = codes::output(world.bare(EBB).args(args).args(SCHEMA).env("EBB_METRICS_AUTH", PASSWORD));
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn replicating(world: &World, more: &[&str]) -> Ebb {
    let ebb = world.fetch(&[&["--replicator-flags", "--stagingSchema _replicator_1"], more].concat()).ready();
    world.source("INSERT INTO t VALUES (7, 1)");
    world.wait_equal(&ebb, &["t"]);
    ebb
}

/// Answers everything as an ebb that is well would, but for the proof; and keeps what it is asked.
fn impostor(address: &str) -> Arc<Mutex<String>> {
    let listener = TcpListener::bind(address).expect("the address of the run that has ended");
    let asked = Arc::<Mutex<String>>::default();
    let heard = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = socket.read(&mut bytes) {
                heard.lock().expect("its text").push_str(&String::from_utf8_lossy(&bytes[..read]));
                let status = r#"{"line":"behind 0.0 s","feed":"_replicator_1","applied":"9999999999999999999.0"}"#;
                let proof = "0".repeat(64);
                let head = format!("HTTP/1.1 200 OK\r\nebb-proof: {proof}\r\ncontent-length: {}\r\n\r\n", status.len());
                let _ = write!(socket, "{head}{status}");
            }
        }
    });
    asked
}

#[test]
fn whoever_has_the_address_of_a_run_that_has_ended_is_not_believed() {
    let world = World::new("impostor", TABLE);
    let pages = format!("127.0.0.1:{}", free_port());
    replicating(&world, &["--metrics-listen-addr", &pages]).kill9();
    let asked = impostor(&pages);
    for args in [&["status"][..], &["status", "--json"]] {
        let (code, text) = ebb(&world, args);
        assert!(code == Some(1) && text.contains("EBB-F027") && text.contains("not the ebb of this staging"), "{text}");
        assert!(!text.contains("behind 0.0 s"), "{text}");
    }
    let (code, text) = ebb(&world, &["trace", "t", "7"]);
    assert!(code == Some(0) && !text.contains("the target has every change up to"), "{text}");
    let (code, text) = ebb(&world, &["support-bundle", "--out", "b.json"]);
    assert!(code == Some(0) && text.contains("left out: status: what answers at "), "{text}");
    let asked = asked.lock().expect("its text").to_ascii_lowercase();
    assert!(
        asked.contains("ebb-nonce: ") && !asked.contains("authorization") && !asked.contains("/_/status"),
        "{asked}"
    );
}

#[test]
fn a_run_without_pages_is_told_from_none() {
    let world = World::new("impostor_none", TABLE);
    let taken = TcpListener::bind("127.0.0.1:0").expect("an address");
    let pages = taken.local_addr().expect("an address").to_string();
    drop(taken);
    let run = replicating(&world, &["--metrics-listen-addr", &pages]);
    assert_eq!(ebb(&world, &["status"]).0, Some(0));
    // As a start leaves it that serves no pages.
    let note = world.dir().join("staging/_replicator_1/pages");
    let folder = note.parent().expect("a folder");
    assert!(note.is_file(), "{:?}", std::fs::read_dir(folder).map(Iterator::count));
    std::fs::rename(&note, world.dir().join("pages")).expect("a note");
    let (code, text) = ebb(&world, &["status"]);
    assert!(code == Some(1) && text.contains("EBB-F026") && text.contains("runs, and serves no pages"), "{text}");
    let (code, text) = ebb(&world, &["trace", "t", "7"]);
    assert!(
        code == Some(0) && text.contains("the ebb that runs was not asked") && !text.contains("no ebb runs"),
        "{text}"
    );
    // A pipe would be waited for.
    mknodat(CWD, &note, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    let (code, text) = ebb(&world, &["status"]);
    assert!(code == Some(1) && text.contains("is no ordinary file"), "{text}");
    std::fs::remove_file(&note).expect("the pipe");
    run.kill9();
    wait_for("the end of the run", String::new, || ebb(&world, &["status"]).1.contains("no ebb of _replicator_1 runs"));
}
