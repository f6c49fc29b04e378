//! What a start finds out about source and target, all of it at once.
//!
//! Owns: the list, its order and grouping, and which of it keeps the run from starting. Does not own: finding it out (`mod`,
//! `columns`, `problems`).

use std::collections::BTreeMap;

use crate::error::Error;

/// How bad it is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    /// Rows would be lost, merged or altered.
    Harm,
    /// The run cannot work like this.
    Fatal,
    /// Worth knowing.
    Warning,
}

/// One thing that does not fit, with what mends it.
#[derive(Debug)]
struct Finding {
    severity: Severity,
    error: Error,
}

/// In the order of discovery.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Finding>,
    /// By table: what its columns cannot hold of all that the source's may have. A row that has it is refused when it comes.
    narrow: BTreeMap<String, Vec<String>>,
}

impl Findings {
    /// Rows would be lost, merged or altered.
    pub fn harm(&mut self, error: Error) {
        self.list.push(Finding { severity: Severity::Harm, error });
    }

    /// The run cannot work like this.
    pub fn fatal(&mut self, error: Error) {
        self.list.push(Finding { severity: Severity::Fatal, error });
    }

    /// Something to know that may be as it should be.
    pub fn warn(&mut self, error: Error) {
        self.list.push(Finding { severity: Severity::Warning, error });
    }

    /// A column of a table takes a part of the values that its counterpart may have.
    pub fn narrow(&mut self, table: &str, what: String) {
        self.narrow.entry(table.to_owned()).or_default().push(what);
    }

    /// Takes out everything that would keep a run from starting, and returns the worst of it.
    pub fn take_fatal(&mut self) -> Option<Error> {
        let fatal = |finding: &Finding| finding.severity < Severity::Warning;
        let (mut fatal, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.list).into_iter().partition(fatal);
        self.list = rest;
        fatal.sort_by_key(|finding| finding.severity);
        fatal.into_iter().next().map(|finding| finding.error)
    }

    pub fn append(&mut self, other: Self) {
        self.list.extend(other.list);
        for (table, columns) in other.narrow {
            self.narrow.entry(table).or_default().extend(columns);
        }
    }

    /// Logs what is no hindrance, and makes one error of all that is.
    pub fn conclude(mut self) -> Result<(), Error> {
        self.list.sort_by_key(|finding| finding.severity);
        let fatal = |finding: &Finding| finding.severity < Severity::Warning;
        let (fatal, warnings): (Vec<_>, Vec<_>) = self.list.into_iter().partition(fatal);
        for Finding { error, .. } in warnings {
            tracing::warn!(hint = error.hint, "{error}");
        }
        log_narrow(&self.narrow);
        let mut errors: Vec<Error> = fatal.into_iter().map(|finding| finding.error).collect();
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            count => {
                let hints = numbered(errors.iter().map(|error| error.hint.as_deref().unwrap_or("-")));
                Err(Error::new(format!("{count} findings keep ebb from starting: {}", messages(&errors))).hint(hints))
            }
        }
    }
}

/// One line for all tables; each column by itself only for those who want to know.
fn log_narrow(narrow: &BTreeMap<String, Vec<String>>) {
    let columns: usize = narrow.values().map(Vec::len).sum();
    if columns == 0 {
        return;
    }
    let tables: Vec<_> = narrow.iter().map(|(table, columns)| format!("{table} {}", columns.len())).collect();
    tracing::warn!(
        hint = "such a row is refused by name when it comes; --logging debug lists every column",
        "values beyond the range of {columns} columns of the target would be refused: {}",
        tables.join(", ")
    );
    for what in narrow.values().flatten() {
        tracing::debug!("the target's column {what}");
    }
}

fn messages(errors: &[Error]) -> String {
    numbered(errors.iter().map(|error| error.message.as_str()))
}

fn numbered<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts = texts.enumerate().map(|(at, text)| format!("{}) {text}", at + 1));
    texts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_said_at_once_and_the_worst_first() {
        let mut findings = Findings::default();
        findings.warn(Error::new("idle"));
        findings.narrow("public.orders", "total is narrow".into());
        assert_eq!(Findings::default().conclude(), Ok(()));
        findings.fatal(Error::new("a is missing").hint("create a"));
        findings.harm(Error::new("b has a rule").hint("drop it"));
        let error = findings.conclude().unwrap_err();
        assert_eq!(error.message, "2 findings keep ebb from starting: 1) b has a rule; 2) a is missing");
        assert_eq!(error.hint.as_deref(), Some("1) drop it; 2) create a"));
    }
}
