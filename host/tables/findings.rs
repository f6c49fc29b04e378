//! What a start finds out about source and target, all of it at once.
//!
//! Owns: the list, and which of it keeps the run from starting. Does not own: finding it out (`mod`, `columns`).

use crate::error::Error;

/// One thing that does not fit, with what mends it.
#[derive(Debug)]
struct Finding {
    is_fatal: bool,
    error: Error,
}

/// In the order of discovery.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// The run cannot work like this.
    pub fn fatal(&mut self, error: Error) {
        self.0.push(Finding { is_fatal: true, error });
    }

    /// Some rows may be refused when they come.
    pub fn warn(&mut self, error: Error) {
        self.0.push(Finding { is_fatal: false, error });
    }

    /// Logs what is no hindrance, and makes one error of all that is.
    pub fn conclude(self) -> Result<(), Error> {
        let (fatal, warnings): (Vec<_>, Vec<_>) = self.0.into_iter().partition(|finding| finding.is_fatal);
        if !warnings.is_empty() {
            let warnings: Vec<Error> = warnings.into_iter().map(|finding| finding.error).collect();
            let mut hints: Vec<&str> = warnings.iter().filter_map(|warning| warning.hint.as_deref()).collect();
            hints.sort_unstable();
            hints.dedup();
            let hint = hints.join("; ");
            tracing::warn!(
                hint,
                "{} findings may stand in the way of rows to come: {}",
                warnings.len(),
                messages(&warnings)
            );
        }
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
    fn all_is_said_at_once() {
        let mut findings = Findings::default();
        findings.warn(Error::new("narrow"));
        assert_eq!(Findings::default().conclude(), Ok(()));
        findings.fatal(Error::new("a is missing").hint("create a"));
        findings.fatal(Error::new("b is missing").hint("create b"));
        let error = findings.conclude().unwrap_err();
        assert_eq!(error.message, "2 findings keep ebb from starting: 1) a is missing; 2) b is missing");
        assert_eq!(error.hint.as_deref(), Some("1) create a; 2) create b"));
    }
}
