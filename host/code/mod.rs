//! The codes of errors and warnings: one for each thing that can be wrong and is mended in its own way.
//!
//! Owns: the codes, and what `ebb explain` says of each, which is the page `docs/errors.md`. Does not own: the messages,
//! which name what is wrong this time.

pub mod access;
pub mod changefeed;
pub mod cutback;
pub mod defect;
pub mod hooks;
pub mod plugin;
pub mod receiver;
pub mod row;
pub mod settings;
pub mod source;
pub mod staging;
pub mod table;
pub mod target;
pub mod topics;
pub mod verify;

use std::fmt;

/// `EBB-T014`: the letter names what it is about. A code keeps its meaning in every later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(&'static str);

impl Code {
    pub const fn text(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Cause and remedy of every code, in Markdown: a heading of the second level for each, `## EBB-T014: the target is read-only`.
const PAGE: &str = include_str!("../../docs/errors.md");

/// The section of the page about a code, in any case, with or without `EBB-`.
pub fn explanation(code: &str) -> Option<&'static str> {
    let code = code.to_uppercase();
    let code = code.strip_prefix("EBB-").unwrap_or(&code);
    sections().find(|section| section.strip_prefix("EBB-").is_some_and(|rest| rest.split(':').next() == Some(code)))
}

/// What a code stands for, in a few words and without the facts of any case.
pub fn title(code: Code) -> &'static str {
    let heading = explanation(code.text()).and_then(|section| section.lines().next());
    heading.and_then(|line| line.split_once(": ")).map_or(code.text(), |(_, title)| title)
}

/// What stands before the first section.
pub fn preface() -> &'static str {
    PAGE.split("\n## ").next().unwrap_or_default()
}

/// Each begins with its code.
pub fn sections() -> impl Iterator<Item = &'static str> {
    PAGE.split("\n## ").skip(1).map(str::trim_end)
}

/// Every code.
pub fn all() -> impl Iterator<Item = Code> {
    let areas = [
        access::ALL,
        changefeed::ALL,
        cutback::ALL,
        defect::ALL,
        hooks::ALL,
        plugin::ALL,
        receiver::ALL,
        row::ALL,
        settings::ALL,
        source::ALL,
        staging::ALL,
        table::ALL,
        target::ALL,
        verify::ALL,
    ];
    areas.into_iter().flatten().copied()
}
