//! Staging folders that cannot be used.
//!
//! Owns: folders and files as a start finds them. Does not own: what happens to them while ebb runs (`staging`).

use std::fs;

use super::{TABLE, fails};
use crate::harness::folders::{begin, folder, replicate, resume};
use crate::harness::world::World;

#[test]
fn a_folder_that_cannot_be_used() {
    let world = World::new("codes_folder", TABLE);
    let file = world.dir().join("file");
    fs::write(&file, "").expect("a file");
    let below = format!("--stagingSchema _replicator_1 --staging-dir {}", file.join("staging").display());
    let told = ("D010", "Not a directory", "--staging-dir");
    fails(world.fetch(&["--replicator-flags", &below]), told);
    let mut first = world.fetch(&[]).ready();
    let running = format!("ebb already runs with this staging schema (pid {})", first.pid());
    let told = ("D011", running.as_str(), "ebb status --stagingSchema '_replicator_1' --staging-dir '");
    fails(world.fetch(&[]), told);
    // Whoever begins a second run beside it has two that write to one target.
    let last = world.fetch(&[]).failure();
    assert!(!last.contains("another --stagingSchema") && !last.contains("another --staging-dir"), "{last}");
    first.must_run();
    replicate(&world, &first, 1);
    first.stop();
}

/// A file as ebb writes it: a line of JSON, and its checksum.
fn sealed(json: &str) -> String {
    format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes()))
}

#[test]
fn a_state_that_cannot_be_used() {
    let world = World::new("codes_state", TABLE);
    begin(&world, 1);
    let state = folder(&world).join("state");
    let kept = fs::read(&state).expect("the state");
    fs::remove_file(&state).expect("the state");
    fails(world.fetch(&[]), ("D013", "and no file \"state\"", "put it back, or move the folder aside"));
    fs::write(&state, sealed(r#"{"format":1000}"#)).expect("a state");
    fails(world.fetch(&[]), ("D014", "has format 1000", "start the version of ebb that wrote it"));
    fs::write(&state, kept).expect("the state");
    resume(&world, 2);
}

#[test]
fn a_file_that_was_changed_by_hand() {
    let world = World::new("codes_files", TABLE);
    begin(&world, 1);
    for (name, message, hint) in [
        ("starts", "the starts in the staging folder cannot be read", "put it back"),
        ("keys", "the primary keys in the staging folder cannot be read", "put it back"),
        ("changefeed", "the changefeed's settings in the staging folder cannot be read", "remove the file"),
        ("refused-tables", "the tables that were refused in the staging folder", "put it back"),
    ] {
        let path = folder(&world).join(name);
        let kept = fs::read(&path).ok();
        fs::write(&path, sealed(r#""of another form""#)).expect("a file");
        fails(world.fetch(&[]), ("D016", message, hint));
        match kept {
            Some(kept) => fs::write(&path, kept),
            None => fs::remove_file(&path),
        }
        .expect("a file");
    }
    resume(&world, 2);
}
