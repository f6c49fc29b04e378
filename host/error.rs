//! The error that ends a run or a request: what failed, why, and what mends it.
//!
//! Owns: the text that a person reads. Does not own: branching; whoever can go on branches on the kinds of the sdk or
//! on types of its own before it makes one of these.

use std::fmt;

use crate::code::{self, Code};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One failure, logged once, where it is handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of thing is wrong: `ebb explain` says more of it.
    pub code: Code,
    /// What failed and why. Never a secret.
    pub message: String,
    /// The flag, SQL or command that mends it, with the present value where there is one.
    pub hint: Option<String>,
    /// Further facts for the log line: table, column, key, code, …
    pub fields: Vec<(&'static str, String)>,
    /// Of an answer of CockroachDB.
    pub sqlstate: Option<SqlState>,
}

/// The five characters by which CockroachDB tells its errors apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlState([u8; 5]);

impl SqlState {
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    pub const UNDEFINED_TABLE: Self = Self(*b"42P01");
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    pub const INVALID_AUTHORIZATION: Self = Self(*b"28000");
    pub const NO_LICENSE: Self = Self(*b"XXC02");
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");

    /// `None` when the text is none.
    pub fn new(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().map(Self)
    }

    /// The first two characters: what kind of error it is.
    pub fn class(self) -> [u8; 2] {
        [self.0[0], self.0[1]]
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, fields: Vec::new(), sqlstate: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// It is logged as the fact `code`.
    #[must_use]
    pub fn sqlstate(self, state: Option<SqlState>) -> Self {
        let Some(state) = state else { return self };
        Self { sqlstate: Some(state), ..self.field("code", state.to_string()) }
    }

    /// As it is written to standard error where there is no log: what failed, and on a second line what mends it. Further lines
    /// of either are indented, so that no text of a server looks like a line of ebb.
    pub fn told(&self) -> String {
        let indented = |text: &str| visible(text, "\n").replace('\n', "\n  ");
        let hint = self.hint.as_ref().map(|hint| format!("  hint: {}\n", indented(hint))).unwrap_or_default();
        format!("error[{}]: {}\n{hint}", self.code, indented(&self.message))
    }

    /// The value of a fact.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// Names of which a message shows some.
const LISTED_MAX: usize = 10;

/// `a, b, c, …`: the first ten of a list.
pub fn listed(names: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let mut names = names.into_iter();
    let mut shown: Vec<String> = names.by_ref().take(LISTED_MAX).map(|name| name.to_string()).collect();
    shown.extend(names.next().map(|_| "…".to_owned()));
    shown.join(", ")
}

/// A text that strangers may have a part in, with whatever steers a terminal, forges a line or turns the direction of
/// writing spelled out. `but` stays as it is.
pub fn visible(text: &str, but: &str) -> String {
    let spell = |letter: char| match steers(letter) && !but.contains(letter) {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(spell).collect()
}

/// Control characters, the separators of lines and paragraphs, and the marks of direction.
pub fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}')
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<ebb_sdk::Error> for Error {
    fn from(error: ebb_sdk::Error) -> Self {
        let code = code::topics::of(&error);
        let facts = [
            ("table", error.table),
            ("column", error.column),
            ("key", error.key),
            ("constraint", error.constraint),
            ("code", error.code),
        ];
        let fields = facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Self { code, message: error.message, hint: error.hint, fields, sqlstate: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(visible("a\nb\u{1b}[2J\u{9b}1m\u{202e}ö\t", "\t"), "a\\nb\\u{1b}[2J\\u{9b}1m\\u{202e}ö\t");
    }

    #[test]
    fn a_server_s_text_forges_no_line() {
        let error = Error::new(code::settings::VALUE, "it said: \u{1b}[2J\n12:00 info all is well").hint("a\nb\r");
        let told = "error[EBB-F014]: it said: \\u{1b}[2J\n  12:00 info all is well\n  hint: a\n  b\\r\n";
        assert_eq!(error.told(), told);
    }

    #[test]
    fn a_list_has_an_end() {
        assert_eq!(listed([] as [&str; 0]), "");
        assert_eq!(listed(1..=3), "1, 2, 3");
        assert_eq!(listed(1..=10), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10");
        assert_eq!(listed(1..=11), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …");
    }
}
