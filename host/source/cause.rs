//! What an error of CockroachDB is about.
//!
//! Owns: telling it, so that nothing else looks at the words of a message. Most of these errors have no SQLSTATE of their own
//! (XXUUU), and a job's error has none at all; each text here stands in CockroachDB's source since 22.2.

use crate::error::{Error, SqlState};

/// Causes that have a remedy of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The history before a time has been collected as garbage.
    HistoryGone,
    /// A time lies in the future.
    Future,
    /// A table does not exist, now or at a time.
    NoTable,
    /// The tables of a changefeed cannot be resolved.
    Targets,
    Truncated,
    Dropped,
    /// A table has several column families.
    Families,
    /// The user lacks the privilege CHANGEFEED.
    Privilege,
    /// kv.rangefeed.enabled is off.
    Rangefeeds,
    License,
    /// One side does not trust the certificate of the other.
    Certificate,
}

/// Looked for in this order, in lower case.
const TEXTS: [(&str, Cause); 14] = [
    ("changefeed privilege", Cause::Privilege),
    ("kv.rangefeed.enabled", Cause::Rangefeeds),
    ("gc threshold", Cause::HistoryGone),
    ("protected timestamp", Cause::HistoryGone),
    ("was truncated", Cause::Truncated),
    ("was dropped", Cause::Dropped),
    ("famil", Cause::Families),
    ("license", Cause::License),
    ("failed to resolve targets", Cause::Targets),
    ("in the future", Cause::Future),
    ("does not exist", Cause::NoTable),
    ("x509", Cause::Certificate),
    ("certificate", Cause::Certificate),
    ("tls:", Cause::Certificate),
];

impl Cause {
    /// Of an answer to a statement.
    pub fn of(error: &Error) -> Option<Self> {
        match error.sqlstate {
            Some(SqlState::UNDEFINED_TABLE) if Self::told(&error.message) != Some(Self::Targets) => Some(Self::NoTable),
            _ => Self::told(&error.message),
        }
    }

    /// What a message says of it in place of CockroachDB's words.
    pub fn name(self) -> &'static str {
        match self {
            Self::HistoryGone => "the history of the source is gone",
            Self::Future => "a time lies in the future",
            Self::NoTable => "a table does not exist",
            Self::Targets => "the tables cannot be resolved",
            Self::Truncated => "a table was truncated",
            Self::Dropped => "a table was dropped",
            Self::Families => "a table has several column families",
            Self::Privilege => "the privilege CHANGEFEED is missing",
            Self::Rangefeeds => "kv.rangefeed.enabled is off",
            Self::License => "a license is missing",
            Self::Certificate => "one side does not trust the certificate of the other",
        }
    }

    /// Of the text of a job.
    pub fn told(text: &str) -> Option<Self> {
        let text = text.to_lowercase();
        TEXTS.iter().find(|(part, _)| text.contains(part)).map(|(_, cause)| *cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code;

    #[test]
    fn a_cause_is_known_by_its_state_or_its_words() {
        let check = |state: Option<&str>, text: &str, expected: Option<Cause>| {
            assert_eq!(
                Cause::of(&Error::new(code::source::REFUSES, text).sqlstate(state.and_then(SqlState::new))),
                expected,
                "{text}"
            );
        };
        check(Some("42P01"), "relation \"licenses\" does not exist", Some(Cause::NoTable));
        check(
            Some("42P01"),
            "failed to resolve targets in the CHANGEFEED stmt: table \"x\" does not exist",
            Some(Cause::Targets),
        );
        check(Some("XXUUU"), "batch timestamp 1,0 must be after replica GC threshold 2,0", Some(Cause::HistoryGone));
        check(None, "\"t\" was truncated", Some(Cause::Truncated));
        check(Some("42P01"), "relation \"certificates\" does not exist", Some(Cause::NoTable));
        check(None, "transient error: remote error: tls: bad record MAC", Some(Cause::Certificate));
        check(Some("42501"), "user a lacks USAGE", None);
    }
}
