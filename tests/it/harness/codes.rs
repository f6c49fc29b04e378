//! The codes of errors and warnings that ebb has said in the tests.
//!
//! Owns: that each line has one, which `docs/errors.md` explains, and the record of which were provoked. Does not own: what a
//! test expects.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Every code that the page explains.
pub(crate) static EXPLAINED: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let page = include_str!("../../../docs/errors.md");
    page.split("\n## EBB-")
        .skip(1)
        .filter_map(|section| section.split(':').next())
        .map(|code| format!("EBB-{code}"))
        .collect()
});

/// Where the tests note which codes they have provoked, a file each.
pub(crate) fn provoked() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/provoked")
}

/// The lines of warnings and errors that have no code, or one that is not explained.
pub(crate) fn unexplained(log: &str) -> Vec<String> {
    let of_level =
        |line: &&str| ["{\"level\":\"warn\"", "{\"level\":\"error\""].iter().any(|level| line.starts_with(level));
    log.lines().filter(of_level).filter(|line| !note(line)).map(str::to_owned).collect()
}

/// Notes the code of a line; false where it has none that is known.
fn note(line: &str) -> bool {
    let Some(code) = line.split("\"error_code\":\"").nth(1).and_then(|rest| rest.split('"').next()) else {
        return false;
    };
    if !EXPLAINED.contains(code) {
        return false;
    }
    // Only a record for those who look which are missing: nothing depends on it.
    let _ = fs::create_dir_all(provoked()).and_then(|()| fs::write(provoked().join(code), line));
    true
}
