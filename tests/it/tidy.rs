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
    let exempt = |path: &Path| ["host/source", "host/cli"].iter().any(|room| path.starts_with(room));
    for (path, text) in sources(&["host"]).into_iter().filter(|(path, _)| !exempt(path)) {
        for name in ["postgres", "mysql", "mariadb", "sqlite"] {
            assert!(!text.to_lowercase().contains(name), "{} names {name}", path.display());
        }
    }
}

/// What no file of a folder, or no such file, may name.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "host/access",
        &["apply", "changefeed", "cli", "daemon", "order", "receive", "source", "stage", "tables", "target"],
    ),
    ("host/receive", &["apply", "changefeed", "cli", "daemon", "order", "source", "target"]),
    ("host/stage", &["apply", "changefeed", "cli", "daemon", "order", "receive", "source", "tables", "target"]),
    ("host/order.rs", &["apply", "changefeed", "cli", "daemon", "receive", "source", "target"]),
    ("host/apply", &["changefeed", "cli", "daemon", "receive", "source"]),
    ("host/source", &["apply", "changefeed", "cli", "daemon", "order", "receive", "stage", "tables", "target"]),
    ("host/target", &["apply", "changefeed", "cli", "daemon", "order", "receive", "source", "tables"]),
    ("host/tables", &["apply", "changefeed", "cli", "daemon", "order", "receive"]),
    ("host/triggers", &["apply", "changefeed", "cli", "daemon", "order", "receive", "source"]),
    ("host/changefeed", &["apply", "cli", "daemon", "order", "receive"]),
    (
        "host/plugin",
        &["apply", "changefeed", "cli", "config", "daemon", "order", "receive", "source", "stage", "tables", "target"],
    ),
    ("host/status", &["apply", "changefeed", "cli", "daemon", "order", "receive", "source", "tables", "target"]),
    (
        "host/history",
        &[
            "apply",
            "changefeed",
            "cli",
            "config",
            "daemon",
            "hooks",
            "order",
            "plugin",
            "receive",
            "source",
            "stage",
            "status",
            "tables",
            "target",
        ],
    ),
    (
        "host/hooks",
        &["apply", "changefeed", "cli", "daemon", "order", "receive", "source", "stage", "status", "tables", "target"],
    ),
    (
        "host/report",
        &["apply", "changefeed", "cli", "daemon", "order", "plugin", "receive", "source", "stage", "tables", "target"],
    ),
    ("host/commands", &["apply", "changefeed", "cli", "daemon", "order", "receive", "source"]),
    ("host/cli", &["apply", "changefeed", "daemon", "order", "plugin", "stage", "status", "tables", "target"]),
    (
        "host/verify",
        &["apply", "changefeed", "cli", "commands", "cutback", "daemon", "order", "receive", "stage", "status"],
    ),
    ("host/cutback", &["apply", "changefeed", "cli", "commands", "daemon", "order", "receive", "stage", "status"]),
    ("host/daemon", &["cli"]),
    (
        "host/config.rs",
        &["apply", "changefeed", "cli", "daemon", "order", "receive", "source", "stage", "tables", "target"],
    ),
    ("host/row.rs", &["apply", "changefeed", "cli", "daemon", "order", "receive", "source", "target"]),
    (
        "host/columns",
        &["apply", "changefeed", "cli", "daemon", "order", "receive", "row", "source", "stage", "tables", "target"],
    ),
    ("sdk", &["ebb"]),
    ("plugins", &["ebb"]),
];
/// A module of the program that a line names, or `ebb` for the program from another crate.
struct Import {
    line: usize,
    name: String,
}

/// The modules that code names, apart from its tests. Trees behind `use crate::{` count line by line.
fn imports(text: &str) -> Vec<Import> {
    let mut found = Vec::new();
    // How deep in braces the tree of a `use crate::{` is.
    let mut depth = None;
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    for (at, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
        let mut add = |name: String| found.push(Import { line: at + 1, name });
        let identifier = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        line.split("crate::").skip(1).map(identifier).filter(|name| !name.is_empty()).for_each(&mut add);
        if line.starts_with("use ebb::") || line.contains(" ebb::") || line.contains("(ebb::") {
            add("ebb".into());
        }
        let tree = match line.split_once("use crate::{") {
            Some((_, tree)) => {
                depth = Some(1);
                tree
            }
            None => line,
        };
        let mut begins = true;
        for (place, letter) in tree.char_indices() {
            let Some(open) = &mut depth else { break };
            if *open == 1 && begins && letter.is_alphabetic() {
                add(identifier(&tree[place..]));
            }
            begins = matches!(letter, '{' | ',' | ' ') && (begins || letter == ',');
            match letter {
                '{' => *open += 1,
                '}' if *open == 1 => depth = None,
                '}' => *open -= 1,
                _ => {}
            }
        }
    }
    found
}

/// Every place where a file breaks a rule, as `file:line names module`.
fn broken_rules(path: &Path, text: &str) -> Vec<String> {
    let rules = FORBIDDEN.iter().filter(|(room, _)| path.starts_with(room));
    let forbidden: Vec<&str> = rules.flat_map(|(_, names)| names.iter().copied()).collect();
    let is_forbidden = |import: &Import| forbidden.contains(&import.name.as_str());
    let place = |import: Import| format!("{}:{} names {}", path.display(), import.line, import.name);
    imports(text).into_iter().filter(is_forbidden).map(place).collect()
}

#[test]
fn no_room_names_what_lies_behind_it() {
    let is_test = |path: &Path| path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
    let mut broken = Vec::new();
    for (path, text) in sources(&["host", "sdk", "plugins"]).into_iter().filter(|(path, _)| !is_test(path)) {
        broken.extend(broken_rules(&path, &text));
    }
    assert!(broken.is_empty(), "forbidden by FORBIDDEN:\n{}", broken.join("\n"));
    for (room, _) in FORBIDDEN {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(room).exists(), "{room} is gone: its rule can go");
    }
}

#[test]
fn a_forbidden_name_is_found_wherever_it_stands() {
    let text = "use crate::error::Error;\nuse crate::{\n    buffer::{Buffer, apply},\n    daemon::Running, order,\n};\n\
                // crate::cli\nfn f() {\n    crate::changefeed::begin();\n}\n#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n";
    let places = [
        "host/receive/mod.rs:4 names daemon",
        "host/receive/mod.rs:4 names order",
        "host/receive/mod.rs:8 names changefeed",
    ];
    assert_eq!(broken_rules(Path::new("host/receive/mod.rs"), text), places);
    assert_eq!(broken_rules(Path::new("host/main.rs"), text), [""; 0]);
    assert_eq!(
        broken_rules(Path::new("sdk/url.rs"), "use ebb::stage::Store;\nuse ebb_sdk::Error;"),
        ["sdk/url.rs:1 names ebb"]
    );
}

/// Files that compute and do nothing else, as ARCHITECTURE.md says.
const PURE: &[&str] = &[
    "host/apply/plan.rs",
    "host/apply/retry.rs",
    "host/apply/table_plan.rs",
    "host/columns/canonical.rs",
    "host/columns/mod.rs",
    "host/names.rs",
    "host/order.rs",
    "host/receive/payload.rs",
    "host/row.rs",
    "host/tables/key.rs",
    "host/tables/route.rs",
];
const NOT_PURE: &[&str] =
    &["std::fs", "std::net", "std::io", "std::process", "tokio::", "tracing::", "SystemTime", "Instant"];

#[test]
fn files_that_compute_do_no_io() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in PURE {
        let text = fs::read_to_string(root.join(file)).expect("a pure file");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let found: Vec<_> = lines.filter(|line| NOT_PURE.iter().any(|name| line.contains(name))).collect();
        assert!(found.is_empty(), "{file} is to do no I/O: {found:?}");
    }
}

/// Where threads and tasks may begin, and who hears of their end.
const MAY_SPAWN: &[&str] = &[
    // The one place for threads.
    "host/threads.rs",
    // Those of a run, each of which ends it.
    "host/daemon/tasks.rs",
    // One for each connection: it ends alone.
    "host/receive/connection.rs",
    "host/status/pages/server.rs",
    // The driver's half of a connection: the next statement reports its end.
    "host/source/connect.rs",
    "plugins/postgres/connect.rs",
    // They wait for signals and do nothing that can fail.
    "host/signals.rs",
];

#[test]
fn nothing_is_spawned_where_its_end_would_be_overlooked() {
    let is_test = |path: &Path| path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
    let mut spawning = Vec::new();
    for (path, text) in sources(&["host", "sdk", "plugins"]).into_iter().filter(|(path, _)| !is_test(path)) {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let spawns = ["tokio::spawn(", "thread::spawn(", "Builder::new().name", "tasks.spawn(", "set.spawn("];
        if spawns.iter().any(|spawn| code.contains(spawn)) {
            spawning.push(path);
        }
    }
    let unknown: Vec<_> = spawning
        .iter()
        .filter(|path| !path.starts_with("host/daemon") && !MAY_SPAWN.iter().any(|may| path.ends_with(may)))
        .collect();
    assert!(unknown.is_empty(), "who hears of the end of what these start? {unknown:?}");
}

/// Words that others took the place of; a new one may be added once none of it is left.
const WORDS_GONE: &[&str] = &["doors", "incumbent", "Ladder", "Unfit", "Watched", "Matched", "Settled", "frontier"];
/// For a connection or a process it is "it", for a person "they".
const PRONOUNS: &[&str] = &["he", "him", "his"];

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

#[test]
fn words_that_are_gone_do_not_come_back() {
    let mut found = Vec::new();
    for (path, text) in sources(&["host", "sdk", "plugins", "tests", "examples", "benches", "fuzz/targets"]) {
        if path.ends_with("tidy.rs") {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment).to_lowercase();
            let gone = words(line).filter(|word| WORDS_GONE.contains(word));
            let pronouns = words(&comment).filter(|word| PRONOUNS.contains(word));
            found.extend(gone.chain(pronouns).map(|word| format!("{}:{} says {word}", path.display(), at + 1)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
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
    ("chromedriver", "chromium-driver"),
    ("cp", "coreutils"),
    ("curl", "curl"),
    ("initdb", "postgresql"),
    ("mariadb", "mariadb-client-core"),
    ("mariadb-install-db", "mariadb-server-core"),
    ("openssl", "openssl"),
    ("postgres", "postgresql"),
    ("psql", "postgresql-client"),
    ("script", "bsdutils"),
    ("sh", "dash"),
];
/// Debian marks them as essential: no machine is without them. `kill` and `ps` are in none of them.
const ESSENTIAL: &[&str] = &["bash", "bsdutils", "coreutils", "dash"];

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
        (".gitignore", ["certs/", "changefeed-secure.json", "*.key", "*.jwt", "*.auth"]),
        (".dockerignore", ["**/certs", "**/changefeed-secure.json", "**/*.key", "**/*.jwt", "**/*.auth"]),
    ] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file);
        for name in names {
            assert!(text.lines().any(|line| line == name), "{file} lacks {name}");
        }
    }
}
