//! The codes of errors and warnings that ebb has said in the tests.
//!
//! Owns: that each line has one, which `docs/errors.md` explains. Does not own: what a test expects.

use std::collections::BTreeSet;
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

/// The lines of warnings and errors that have no code, or one that is not explained.
pub(crate) fn unexplained(log: &str) -> Vec<String> {
    let of_level =
        |line: &&str| ["{\"level\":\"warn\"", "{\"level\":\"error\""].iter().any(|level| line.starts_with(level));
    log.lines().filter(of_level).filter(|line| !is_explained(line)).map(str::to_owned).collect()
}

fn is_explained(line: &str) -> bool {
    let code = line.split("\"error_code\":\"").nth(1).and_then(|rest| rest.split('"').next());
    code.is_some_and(|code| EXPLAINED.contains(code))
}
