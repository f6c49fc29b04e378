//! The codes of errors and warnings that ebb has said in the tests.
//!
//! Owns: that each line has one, which `docs/errors.md` explains, and the record of which were provoked, which
//! `scripts/provoked.sh` reads once all tests have ended. Does not own: what a test expects.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::LazyLock;

/// What an error begins with where there is no log yet.
const USAGE: &str = "error[";

/// Every code that the page explains.
pub(crate) static EXPLAINED: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let page = include_str!("../../../docs/errors.md");
    page.split("\n## EBB-")
        .skip(1)
        .filter_map(|section| section.split(':').next())
        .map(|code| format!("EBB-{code}"))
        .collect()
});

/// Runs a command of ebb that ends by itself, and looks at its lines as at those of a run.
pub(crate) fn output(command: &mut Command) -> Output {
    let output = command.output().expect("ebb starts");
    let unknown = unexplained(&String::from_utf8_lossy(&output.stderr));
    assert!(unknown.is_empty(), "without a code of docs/errors.md:\n{}", unknown.join("\n"));
    output
}

/// The lines of warnings and errors that have no code, or one that is not explained. The codes of the others are noted.
pub(crate) fn unexplained(log: &str) -> Vec<String> {
    let of_level = |line: &&str| {
        ["{\"level\":\"warn\"", "{\"level\":\"error\"", "error"].iter().any(|level| line.starts_with(level))
    };
    log.lines().filter(of_level).filter(|line| !note(line)).map(str::to_owned).collect()
}

/// Notes the code of a line; false where it has none that is explained.
fn note(line: &str) -> bool {
    let in_log = line.split("\"error_code\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let code = in_log.or_else(|| line.strip_prefix(USAGE)?.split(']').next());
    code.is_some_and(|code| note_code(code, line))
}

/// Notes a code that `what` told of; false where it is not explained.
pub(crate) fn note_code(code: &str, what: &str) -> bool {
    if !EXPLAINED.contains(code) {
        return false;
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/provoked");
    fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(code), what)).expect("target/provoked");
    true
}
