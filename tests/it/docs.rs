//! The documents: every command in them is run, every link leads somewhere, and every page of reference says what the program
//! does.
//!
//! Above each block of `sh`, `sql` or `rust` stands a comment that says who runs it: `<!-- run here -->` (this file, without
//! servers), `<!-- run by: module::test -->` (a test of this program), or `<!-- not run: reason -->`.
//! Owns: these rules. Does not own: the procedures themselves (`runbooks`, `procedures` and others).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::pages::{http_get, status};
use crate::harness::world::{Dialect, World, free_port, wait_for};
use crate::runbooks;

/// Languages whose blocks are commands.
const COMMANDS: &[&str] = &["sh", "sql", "rust"];
/// Those that are only shown.
const SHOWN: &[&str] = &["json", "text", "toml"];

const LINE_CHARS_MAX: usize = 120;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents for users, with their text.
fn documents() -> Vec<(PathBuf, String)> {
    let pages = fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let others = ["README.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root().join(name));
    let mut paths: Vec<PathBuf> = others.into_iter().chain(pages).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).expect("a document"))).collect()
}

/// Whether it belongs to the book.
fn is_page(path: &Path) -> bool {
    path.parent() == Some(&root().join("docs"))
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect(name)
}

/// A fenced block.
#[derive(Debug, PartialEq)]
struct Block {
    /// Of the opening fence, from 1 on.
    line: usize,
    language: String,
    /// What the comment above it says.
    mark: Option<String>,
    text: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut open, mut above) = (Vec::new(), None::<Block>, "");
    for (at, line) in text.lines().enumerate() {
        let words = line.trim();
        match (&mut open, words.strip_prefix("```")) {
            (None, Some(language)) => {
                let mark = above.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")).map(str::to_owned);
                open = Some(Block { line: at + 1, language: language.to_owned(), mark, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([words, "\n"]),
            (None, None) => {}
        }
        above = words;
    }
    assert!(open.is_none(), "a block is not closed: {open:?}");
    blocks
}

#[test]
fn blocks_are_found_with_their_marks() {
    let text = "a\n\n  <!-- run here -->\n  ```sh\n  ls\n  ```\n```\nx\n```\n";
    let block = |line, language: &str, mark: Option<&str>, text: &str| Block {
        line,
        language: language.to_owned(),
        mark: mark.map(str::to_owned),
        text: text.to_owned(),
    };
    assert_eq!(blocks(text), [block(4, "sh", Some("run here"), "ls\n"), block(7, "", None, "x\n")]);
}

#[test]
fn lines_of_text_are_not_too_long() {
    let mut long = Vec::new();
    for (path, text) in documents() {
        let mut is_text = true;
        for (at, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_text = !is_text;
            }
            // Tests make the pages of types, and `ebb explain` prints the page of errors.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_made = name.starts_with("types-") || name == "errors.md";
            if is_text && !is_made && !line.starts_with('|') && line.chars().count() > LINE_CHARS_MAX {
                long.push(format!("{}:{}", path.display(), at + 1));
            }
        }
    }
    assert!(long.is_empty(), "longer than {LINE_CHARS_MAX} characters:\n{}", long.join("\n"));
}

/// The names of this program's tests, as `module::test`.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for entry in fs::read_dir(root().join("tests/it")).expect("the tests") {
        let path = entry.expect("an entry").path();
        let Some(module) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".rs")) else { continue };
        let text = fs::read_to_string(&path).expect("a source file");
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        for test in text.split("#[test]\nfn ").skip(1) {
            tests.insert(format!("{module}::{}", test.split(|c| !is_name(c)).next().unwrap_or_default()));
        }
    }
    tests
}

/// What is wrong with a block, if anything is.
fn fault(block: &Block, tests: &BTreeSet<String>) -> Option<String> {
    let language = block.language.as_str();
    if !COMMANDS.contains(&language) {
        return (!SHOWN.contains(&language)).then(|| format!("the language {language:?} is none of {SHOWN:?}"));
    }
    let mark = block.mark.as_deref().unwrap_or_default();
    match (mark.strip_prefix("run by: "), mark.strip_prefix("not run: ")) {
        (Some(test), _) => (!tests.contains(test)).then(|| format!("there is no test {test}")),
        (_, Some(reason)) => reason.trim().is_empty().then(|| "it does not say why it is not run".to_owned()),
        _ if mark == "run here" && language == "sh" => None,
        _ => Some("it says neither who runs it nor why nobody does".to_owned()),
    }
}

#[test]
fn every_command_is_run_or_says_why_it_is_not() {
    let tests = tests();
    let mut faults = Vec::new();
    for (path, text) in documents() {
        let name = path.strip_prefix(root()).expect("inside").display();
        let found = blocks(&text).into_iter().filter_map(|block| Some((block.line, fault(&block, &tests)?)));
        faults.extend(found.map(|(line, fault)| format!("{name}:{line}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_command_that_nobody_runs_is_a_fault() {
    let tests = BTreeSet::from(["a::b".to_owned()]);
    let fault = |mark: Option<&str>, language: &str| {
        let (language, mark) = (language.to_owned(), mark.map(str::to_owned));
        fault(&Block { line: 1, language, mark, text: String::new() }, &tests)
    };
    for (mark, language) in [(None, "sh"), (Some("run by: a::c"), "sh"), (Some("not run: "), "sql"), (None, "")] {
        assert!(fault(mark, language).is_some(), "{mark:?}");
    }
    assert!(fault(Some("run here"), "sql").is_some());
    for (mark, language) in [(Some("run by: a::b"), "sql"), (Some("not run: x"), "sh"), (Some("run here"), "sh")] {
        assert_eq!(fault(mark, language), None);
    }
    assert_eq!(fault(None, "json"), None);
}

/// Of each document in a folder of its own, in their order.
#[test]
fn commands_that_need_no_server_succeed() {
    let world = World::new("docs_commands", "CREATE TABLE t (id int PRIMARY KEY)");
    let program = Path::new(env!("CARGO_BIN_EXE_ebb")).parent().expect("a folder");
    let mut run = 0;
    for (path, text) in documents() {
        let dir = world.dir().join(path.file_stem().expect("a name"));
        fs::create_dir(&dir).expect("a folder");
        for block in blocks(&text).iter().filter(|block| block.mark.as_deref() == Some("run here")) {
            let mut shell = world.bare("sh");
            let found = format!("{}:/usr/bin:/bin", program.display());
            let output = shell.args(["-ec", &block.text]).current_dir(&dir).env("PATH", found).output();
            let output = output.expect("a shell");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}:{}: {said}", path.display(), block.line);
            run += 1;
        }
    }
    assert!(run > 3, "{run}");
}

/// They differ in the name of the program only, so that whoever runs the one has run the other.
#[test]
fn the_commands_of_the_documents_are_those_of_the_runbooks() {
    let words = |text: &str| shlex::split(text).expect("words");
    for (name, runbook) in [
        ("README.md", runbooks::SEED_POSTGRES),
        ("docs/run.md", runbooks::SEED_POSTGRES),
        ("docs/mysql.md", runbooks::SEED_MYSQL),
    ] {
        let commands = blocks(&document(name)).into_iter().filter(|block| block.text.starts_with("ebb fetch \\\n"));
        let [command] = &commands.collect::<Vec<_>>()[..] else { panic!("{name} has not one command") };
        // The order of flags is not that of the runbook's lines.
        let sorted = |text: &str| words(text)[2..].iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(words(&command.text)[..2], ["ebb", "fetch"], "{name}");
        assert_eq!(sorted(&command.text), sorted(runbook), "{name}");
    }
}

/// A doc test of the sdk compiles it, with lines that the documentation does not show.
#[test]
fn the_dialect_of_the_manual_is_that_of_the_sdk() {
    let page = blocks(&document("docs/dialects.md"));
    let block = page.iter().find(|block| block.language == "rust").expect("a dialect");
    let source = document("sdk/export.rs");
    let test = source.split("/// ```\n").nth(1).expect("a doc test");
    let shown = test.lines().map(|line| line.trim_start_matches("///").trim()).filter(|line| !line.starts_with('#'));
    assert_eq!(block.text.lines().collect::<Vec<_>>(), shown.collect::<Vec<_>>());
}

/// Flags of other programs, and those that every program has.
const OTHER_FLAGS: &[&str] = &["--now", "--open", "--steady", "--transaction", "--version"];

#[test]
fn every_flag_and_variable_that_is_named_exists() {
    let settings = document("docs/settings.md");
    let named = regex::Regex::new(r"--[a-zA-Z][A-Za-z-]*|\bEBB_[A-Z_]+").expect("a regular expression");
    // The one is no flag, and the other no setting of the program.
    let others = [OTHER_FLAGS, &["EBB_PLUGIN_PATH", "EBB_WRITE_DOCS"], &ebb::hooks::variable_names()].concat();
    for (path, text) in documents().into_iter().filter(|(path, _)| !path.ends_with("docs/settings.md")) {
        for name in named.find_iter(&text).map(|found| found.as_str()).filter(|name| !others.contains(name)) {
            let is_there = [" ", "`"].iter().any(|end| settings.contains(&format!("`{name}{end}")));
            assert!(is_there, "{} names {name}, which docs/settings.md does not", path.display());
        }
    }
}

#[test]
fn every_link_leads_somewhere_and_every_page_is_in_the_book() {
    let link = regex::Regex::new(r"\]\(([^)\s]+)\)").expect("a regular expression");
    let mut faults = Vec::new();
    for (path, text) in documents() {
        for target in link.captures_iter(&text).map(|found| found[1].to_owned()) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            if file.contains("://") {
                continue;
            }
            let file = if file.is_empty() { path.clone() } else { path.parent().expect("a folder").join(file) };
            let is_there = fs::read_to_string(&file).is_ok_and(|text| anchor.is_empty() || has_heading(&text, anchor));
            // A page of the book reaches nothing outside of it.
            if !is_there || (is_page(&path) && file.parent() != path.parent()) {
                faults.push(format!("{} has a link to {target}", path.display()));
            }
        }
    }
    let summary = document("docs/SUMMARY.md");
    for (path, _) in documents().iter().filter(|(path, _)| is_page(path)) {
        let name = path.file_name().expect("a name").to_string_lossy();
        if name != "SUMMARY.md" && !summary.contains(&format!("({name})")) {
            faults.push(format!("docs/SUMMARY.md lacks {name}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Whether a heading gets this anchor from GitHub and mdBook.
fn has_heading(text: &str, anchor: &str) -> bool {
    let anchor_of = |heading: &str| -> String {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    text.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' ')).any(|line| anchor_of(line) == anchor)
}

/// `EBB_WRITE_DOCS=1` writes it anew.
#[test]
fn the_page_of_settings_is_what_the_flags_say() {
    let world = World::new("docs_settings", "CREATE TABLE t (id int PRIMARY KEY)");
    let page = format!("{}\n", world.run(&["settings-page"]));
    let path = root().join("docs/settings.md");
    if std::env::var_os("EBB_WRITE_DOCS").is_some() {
        fs::write(&path, &page).expect("the page is written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "docs/settings.md is not what the flags say: EBB_WRITE_DOCS=1 cargo test --test it docs");
}

/// The names in the first column of the tables below a heading.
fn names_below(page: &str, heading: &str) -> BTreeSet<String> {
    let section = page.split(heading).nth(1).expect(heading);
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

/// A histogram is asked for by its parts.
fn without_part(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

/// Tables on the target, and a crate.
const NO_METRICS: &[&str] = &["ebb_progress", "ebb_triggers", "ebb_sdk"];

#[test]
fn the_page_of_monitoring_names_what_a_run_serves() {
    let source = "CREATE TABLE t (id int PRIMARY KEY, v int)";
    let target = "CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v < 100))";
    let world = World::with_target(Dialect::Postgres, "docs_monitoring", source, target);
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = "--stagingSchema _replicator_1 --on-row-error wait";
    let ebb = world.fetch(&["--metrics-listen-addr", &pages, "--replicator-flags", flags]).ready();
    world.source("INSERT INTO t VALUES (1, 100)");
    wait_for("the refused row", || ebb.log(), || status(&pages)["waiting"].is_object());
    let page = document("docs/monitoring.md");
    let served = http_get(&pages, "/metrics");
    let served = served.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let served: BTreeSet<String> = served.map(str::to_owned).collect();
    assert_eq!(names_below(&page, "\n## Metrics\n"), served);
    let metric = regex::Regex::new(r"\bebb_[a-z_]+").expect("a regular expression");
    for (path, text) in documents() {
        for name in metric.find_iter(&text).map(|found| without_part(found.as_str())) {
            assert!(served.contains(name) || NO_METRICS.contains(&name), "{} names {name}", path.display());
        }
    }
    let status = status(&pages);
    let keys = |value: &serde_json::Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let lists = ["tables", "certificates", "threads"].map(|list| keys(&status[list][0]));
    let parts = lists.into_iter().chain([keys(&status["waiting"]), keys(&status["last_error"])]);
    let served = keys(&status).into_iter().chain(parts.flatten());
    assert_eq!(names_below(&page, "\n## Status\n"), served.collect());
    for page in names_below(&page, "# Monitoring\n") {
        assert!(http_get(&pages, &page).starts_with("HTTP/1.1 200"), "{page}");
    }
    ebb.stop();
}

/// Every id that a finding can have stands on the page, and nothing else does.
#[test]
fn the_page_of_check_names_every_finding() {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("host/findings.rs")).expect("a file");
    let names = regex::Regex::new(r#"Self::\w+ => "([a-z-]+)""#).expect("a regular expression");
    let names: BTreeSet<String> = names.captures_iter(&source).map(|found| found[1].to_owned()).collect();
    assert!(names.len() > 30, "{names:?}");
    let page = document("docs/check.md");
    let ids = regex::Regex::new("`([a-z-]+)`").expect("a regular expression");
    let rows = page.lines().filter(|line| line.starts_with("| `")).map(|line| line.split(" | ").next().unwrap_or(""));
    let shown: BTreeSet<String> =
        rows.flat_map(|row| ids.captures_iter(row).map(|found| found[1].to_owned()).collect::<Vec<_>>()).collect();
    assert_eq!(shown, names);
}
