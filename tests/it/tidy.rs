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

/// Programs that tests, demo and benches start, and the Debian packages that they come from.
const PROGRAMS: &[(&str, &str)] = &[
    ("/usr/sbin/mariadbd", "mariadb-server-core"),
    ("bash", "bash"),
    ("cp", "coreutils"),
    ("curl", "curl"),
    ("initdb", "postgresql"),
    ("mariadb", "mariadb-client-core"),
    ("mariadb-install-db", "mariadb-server-core"),
    ("openssl", "openssl"),
    ("postgres", "postgresql"),
    ("psql", "postgresql-client"),
    ("sh", "dash"),
];
/// Debian marks them as essential: no machine is without them. `kill` and `ps` are in none of them.
const ESSENTIAL: &[&str] = &["bash", "coreutils", "dash"];

/// A machine that was used before has programs that a new one lacks.
#[test]
fn every_program_that_is_started_is_installed_by_make() {
    let makefile = Path::new(env!("CARGO_MANIFEST_DIR")).join("Makefile");
    let makefile = fs::read_to_string(makefile).expect("the Makefile");
    let listed: Vec<&str> =
        makefile.lines().filter(|line| line.starts_with("PACKAGES")).flat_map(|line| line.split([' ', '\t'])).collect();
    for (path, text) in sources(&["host", "sdk", "plugins", "tests", "examples", "benches"]) {
        if path.ends_with("tidy.rs") {
            continue;
        }
        for program in started(&text) {
            let package = PROGRAMS.iter().find(|(name, _)| *name == program).map(|(_, package)| *package);
            let package = package.unwrap_or_else(|| panic!("{} starts {program}, of no known package", path.display()));
            let is_there = ESSENTIAL.contains(&package) || listed.contains(&package);
            assert!(is_there, "{} starts {program}, but PACKAGES of the Makefile lacks {package}", path.display());
        }
    }
}

/// The programs that a file names where it starts them.
fn started(text: &str) -> impl Iterator<Item = &str> {
    let starts = ["Command::new(\"", "bin.join(\"", ".bare(\""];
    starts.into_iter().flat_map(|start| text.split(start).skip(1)).filter_map(|rest| rest.split('"').next())
}

#[test]
fn programs_are_found_where_they_are_started() {
    let text = "Command::new(\"kill\").arg(x); Command::new(&program); run(Command::new(self.bin.join(\"initdb\")))";
    assert_eq!(started(text).collect::<Vec<_>>(), ["kill", "initdb"]);
}

/// What `ebb certs` and `ebb make-jwt` make in the folder that somebody tries them in.
#[test]
fn keys_stay_out_of_git_and_of_images() {
    for (file, names) in [
        (".gitignore", ["certs/", "changefeed-secure.json", "*.key", "*.jwt"]),
        (".dockerignore", ["**/certs", "**/changefeed-secure.json", "**/*.key", "**/*.jwt"]),
    ] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file);
        for name in names {
            assert!(text.lines().any(|line| line == name), "{file} lacks {name}");
        }
    }
}
