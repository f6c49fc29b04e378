//! Which errors and warnings were logged: how often each code, and which was the last.
//!
//! Owns: these counts, one for the process, as there is one log. Does not own: lines (`log`). Of a message nothing is kept: it
//! may hold values of rows, which the pages must not show. What the code means says as much.

use std::collections::BTreeMap;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::code::{self, Code};

/// Since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    pub last: Option<LastLogged>,
    /// By code; never more than there are codes.
    pub counts: BTreeMap<&'static str, u64>,
}

/// The last line that had a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastLogged {
    pub code: Code,
    pub severity: Severity,
    pub at: SystemTime,
}

/// How the line was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Warning,
    Error,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

static LOGGED: Mutex<Logged> = Mutex::new(Logged { last: None, counts: BTreeMap::new() });

/// Notes a line with this code; a text that is no code is passed over.
pub fn note(severity: Severity, code: &str) {
    LOGGED.lock().note(severity, code, SystemTime::now());
}

pub fn now() -> Logged {
    LOGGED.lock().clone()
}

impl Logged {
    fn note(&mut self, severity: Severity, code: &str, at: SystemTime) {
        let Some(code) = code::all().find(|known| known.text() == code) else { return };
        self.last = Some(LastLogged { code, severity, at });
        *self.counts.entry(code.text()).or_default() += 1;
    }
}

impl LastLogged {
    /// The same sentence each time, as the heading of the code's section in `docs/errors.md`.
    pub fn sentence(&self) -> &'static str {
        code::title(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_code_and_how_often_each_are_kept_and_no_message() {
        let (mut logged, at) = (Logged::default(), SystemTime::UNIX_EPOCH);
        logged.note(Severity::Warning, code::target::READ_ONLY.text(), at);
        logged.note(Severity::Error, code::target::UNREACHABLE.text(), at);
        logged.note(Severity::Warning, code::target::READ_ONLY.text(), at);
        logged.note(Severity::Error, "a text", at);
        let last = logged.last.expect("the last one");
        assert_eq!((last.code, last.severity), (code::target::READ_ONLY, Severity::Warning));
        assert!(!last.sentence().is_empty() && !last.sentence().starts_with("EBB-"), "{}", last.sentence());
        assert_eq!(logged.counts.values().copied().collect::<Vec<_>>().iter().sum::<u64>(), 3);
        assert_eq!(logged.counts.get(code::target::READ_ONLY.text()), Some(&2));
    }
}
