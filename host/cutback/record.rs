//! What was done to cut back: step by step, kept so that a crash leaves no doubt, and every round by itself.
//!
//! Owns: the file beside the staging folder, the text and the JSON. Does not own: the steps (`steps`).

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::criteria::Judged;
use crate::code;
use crate::error::{Error, Result, visible};
use crate::private;

/// [`StepRecord::step`] of the one that moves sequences.
pub(super) const SEQUENCES: &str = "sequences";
/// [`StepRecord::outcome`] of one that did what it is for.
pub(super) const PASSED: &str = "passed";
/// Rounds that are kept.
const ROUNDS_MAX: usize = 20;

/// One round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    pub ebb: String,
    pub staging_schema: String,
    /// RFC 3339, by this machine's clock.
    pub begun: String,
    pub ended: Option<String>,
    pub user: String,
    pub host: String,
    pub decided_by: Option<String>,
    /// Nothing was changed, by wish.
    pub dry_run: bool,
    /// Everything committed on CockroachDB lies at or below this time.
    pub final_time: Option<String>,
    /// Both sides were equal as of this time.
    pub verified_to: Option<String>,
    pub steps: Vec<StepRecord>,
    pub criteria: Vec<Judged>,
    /// `GO` or `NO-GO`; `None` where it was broken off.
    pub verdict: Option<String>,
    /// Why not.
    pub reasons: Vec<String>,
    /// What is left to be done by hand.
    pub to_do: Vec<String>,
}

/// One step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    pub step: String,
    /// When it began, RFC 3339.
    #[serde(default)]
    pub at: String,
    /// `passed`, `failed`, or `would do` of a dry run.
    pub outcome: String,
    /// What was seen or done.
    pub said: String,
    pub seconds: f64,
}

/// Every round of a staging schema, the last one newest.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rounds(pub Vec<Record>);

/// The file of a staging schema.
pub fn path(staging_dir: &Path, schema: &str) -> PathBuf {
    staging_dir.join(format!("{schema}.cutback"))
}

impl Rounds {
    pub fn load(path: &Path) -> Result<Self> {
        match private::open(path, OpenOptions::new().read(true)).and_then(io::read_to_string) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| unusable(path, &error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(unusable(path, &error.to_string())),
        }
    }

    /// In the place of what was kept before, whole or not at all.
    pub(super) fn save(&mut self, path: &Path) -> Result<()> {
        self.0.drain(..self.0.len().saturating_sub(ROUNDS_MAX));
        let kept =
            serde_json::to_vec_pretty(self).map_err(io::Error::from).and_then(|bytes| private::replace(path, &bytes));
        kept.map_err(|error| unusable(path, &error.to_string()))
    }
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::new(
        code::cutback::NOT_KEPT,
        format!("the record of cutting back cannot be kept in {}: {why}", path.display()),
    )
    .hint("choose a folder that this user may write, with --staging-dir; move away a file that holds something else")
}

impl Record {
    /// When sequences began to be looked at and advanced; `None` where that came to no GO.
    pub fn advanced_at(&self) -> Option<&str> {
        let step = self.steps.iter().find(|step| step.step == SEQUENCES && step.outcome == PASSED);
        step.filter(|_| self.is_go() && !self.dry_run).map(|step| step.at.as_str())
    }

    pub fn is_go(&self) -> bool {
        self.verdict.as_deref() == Some("GO")
    }

    pub fn json(&self) -> String {
        // The fields are texts, numbers and lists of them.
        format!("{}\n", serde_json::to_string_pretty(self).unwrap_or_default())
    }

    /// The end of what is shown: the steps were shown as they came.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for judged in &self.criteria {
            let passed = if judged.passed { "PASS" } else { "FAIL" };
            let value = judged.value.as_deref().unwrap_or("it did not come to it");
            // Writing to a String does not fail.
            let _ = writeln!(text, "{passed}  {}: {value} (limit: {})", judged.criterion, judged.limit);
        }
        for to_do in &self.to_do {
            let _ = writeln!(text, "still to be done: {to_do}");
        }
        let by = self.decided_by.as_ref().map(|name| format!(" It is for {name} to decide.")).unwrap_or_default();
        let dry = if self.dry_run { " (a dry run: nothing was changed)" } else { "" };
        match (self.verdict.as_deref(), &self.verified_to) {
            (Some("GO"), Some(at)) => {
                let _ = writeln!(text, "GO{dry}: both sides were equal as of {at}.{by}");
                text += match self.dry_run {
                    true => "This was a rehearsal: the application stays with CockroachDB.\n",
                    false => "Start the application on the target. ebb fetch may be ended with ctrl-c.\n",
                };
            }
            (Some(verdict), _) => {
                let _ = writeln!(text, "{verdict}{dry}:{by}");
                for reason in &self.reasons {
                    let _ = writeln!(text, "  {reason}");
                }
                text += "The application may go on with CockroachDB; replication goes on.\n";
            }
            (None, _) => text += "It was broken off.\n",
        }
        visible(&text, "\n")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn rounds_are_kept_each_by_itself() {
        let folder = private::tempdir();
        let path = path(folder.path(), "s");
        let mut rounds = Rounds::load(&path).expect("none yet");
        for number in 0..=ROUNDS_MAX {
            rounds.0.push(Record { begun: number.to_string(), ..Record::default() });
        }
        rounds.save(&path).expect("it is kept");
        let found = Rounds::load(&path).expect("rounds").0;
        assert_eq!((found.len(), found[0].begun.as_str()), (ROUNDS_MAX, "1"));
        fs::write(&path, "no").expect("a file");
        assert!(Rounds::load(&path).is_err());
    }

    #[test]
    fn a_no_is_never_told_as_a_go() {
        let record = Record { verdict: Some("NO-GO".into()), reasons: vec!["a row".into()], ..Record::default() };
        let text = record.text();
        assert!(text.starts_with("NO-GO:") && text.contains("a row") && !record.is_go(), "{text}");
        assert!(!Record::default().text().contains("GO"));
    }
}
