//! Rules of the code that no lint knows.

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 400;
/// Longer files, each for a reason: tables of data or one subject that would not become clearer in two.
const LONGER: &[&str] = &[];

fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut files = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder of the project");
            open.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            files.push((path.strip_prefix(root).expect("inside").to_owned(), text));
        }
    }
    assert!(!files.is_empty());
    files
}

#[test]
fn every_file_says_what_it_owns_and_is_not_too_long() {
    for (path, text) in sources(&["host", "sdk", "plugins", "tests", "examples", "benches", "fuzz/targets"]) {
        assert!(text.starts_with("//!"), "{} does not open with //!", path.display());
        let lines = text.lines().count();
        let allowed = LONGER.iter().any(|longer| path == Path::new(longer));
        assert!(lines <= LINES_MAX || allowed, "{} has {lines} lines", path.display());
    }
}

#[test]
fn no_dialect_is_named_in_the_host() {
    // `source` speaks CockroachDB's own protocol; `cli` quotes commands in its help and its tests.
    let exempt = |path: &Path| path.starts_with("host/source") || path.starts_with("host/cli");
    for (path, text) in sources(&["host"]).into_iter().filter(|(path, _)| !exempt(path)) {
        for name in ["postgres", "mysql", "mariadb", "sqlite"] {
            assert!(!text.to_lowercase().contains(name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn unsafe_stands_where_it_may_and_says_why() {
    let allowed = ["host/plugin/library.rs", "sdk/abi.rs", "sdk/export.rs"].map(Path::new);
    for (path, text) in sources(&["host", "sdk", "plugins", "tests", "examples", "benches", "fuzz/targets"]) {
        if path.ends_with("tidy.rs") {
            continue;
        }
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let has_unsafe = code
            .clone()
            .any(|line| line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl"));
        assert!(!has_unsafe || allowed.contains(&path.as_path()), "{} has unsafe code", path.display());
    }
}
