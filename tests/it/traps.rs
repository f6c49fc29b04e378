//! The table of faults in CONTRIBUTING.md: every test that it names exists.
//!
//! Owns: finding them. Does not own: whether they notice the fault.

use std::path::{Path, PathBuf};

/// Where the tests of a crate stand, by the word in front of a test's name.
const CRATES: [(&str, &[&str]); 5] = [
    ("", &["host", "tests/it"]),
    ("crdb", &["tests/crdb"]),
    ("mysql", &["plugins/mysql"]),
    ("postgres", &["plugins/postgres"]),
    ("sdk", &["sdk"]),
];

/// Modules that several crates share.
const SHARED: [&str; 2] = ["tests/writer.rs", "tests/edges.rs"];

#[test]
fn every_test_of_the_table_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("CONTRIBUTING.md")).expect("CONTRIBUTING.md");
    let table = text.split("## Known faults").nth(1).expect("the table");
    let names: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).flat_map(quoted).collect();
    assert!(names.len() > 100, "{names:?}");
    let missing: Vec<_> = names.into_iter().filter(|name| !exists(root, name)).collect();
    assert!(missing.is_empty(), "CONTRIBUTING.md names tests that are not there: {missing:#?}");
    assert!(!exists(root, "rows::no_test_of_this_name") && !exists(root, "mysql rows::a_table_may_consist_of_its_key"));
}

fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn exists(root: &Path, name: &str) -> bool {
    let (of, name) = name.split_once(' ').unwrap_or(("", name));
    let (module, test) = name.split_once("::").unwrap_or(("", name));
    let (_, folders) = CRATES.iter().find(|(word, _)| *word == of).expect("a crate of the table");
    let mut files: Vec<PathBuf> = Vec::new();
    folders.iter().for_each(|folder| collect(&root.join(folder), &mut files));
    let of_module = |path: &PathBuf| {
        let path = path.with_extension("");
        path.components().any(|part| part.as_os_str() == module)
    };
    let shared = SHARED.iter().map(|path| root.join(path)).filter(|path| path.with_extension("").ends_with(module));
    let declaration = format!("fn {test}(");
    files
        .into_iter()
        .filter(of_module)
        .chain(shared)
        .any(|path| std::fs::read_to_string(&path).is_ok_and(|text| text.contains(&declaration)))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the project").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
