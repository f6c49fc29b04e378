//! An error of a statement as its client sees it: SQLSTATE, message and hint.

/// CockroachDB's code for an error that has none.
const UNCATEGORIZED: &str = "XXUUU";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: &'static str,
}

impl Failure {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), hint: "" }
    }

    pub(crate) fn uncategorized(message: impl Into<String>) -> Failure {
        Failure::new(UNCATEGORIZED, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Failure {
        Failure::new("22023", message)
    }

    pub(crate) fn syntax(near: &str) -> Failure {
        Failure::new("42601", format!("at or near \"{near}\": syntax error"))
    }

    /// For what CockroachDB can do and the stand-in cannot, or what is not known of CockroachDB.
    pub(crate) fn unsupported(what: impl std::fmt::Display) -> Failure {
        Failure::new("0A000", format!("stand-in: not supported: {what}"))
    }
}
