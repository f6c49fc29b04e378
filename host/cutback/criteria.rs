//! What must hold for GO, as it was agreed before the night.
//!
//! Owns: the file of `--criteria`, its defaults, and judging each. Does not own: measuring (`steps`).

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::code;
use crate::error::{Error, Result};

/// The file: every line may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Criteria {
    /// Who decides.
    pub decided_by: Option<String>,
    /// How far the target may be behind when it begins.
    pub max_lag_seconds: u64,
    /// For how long nothing may change on CockroachDB.
    pub quiet_seconds: u64,
    /// How long all of it may take.
    pub time_limit_seconds: u64,
}

impl Default for Criteria {
    fn default() -> Self {
        Self { decided_by: None, max_lag_seconds: 60, quiet_seconds: 10, time_limit_seconds: 3600 }
    }
}

impl Criteria {
    pub fn read(path: &Path) -> Result<Self> {
        let refused = |why: String| {
            Error::new(code::cutback::CRITERIA, format!("--criteria {} cannot be used: {why}", path.display())).hint(
                "write lines such as max_lag_seconds = 60, quiet_seconds = 10, time_limit_seconds = 3600, decided_by = \"Ada\"",
            )
        };
        let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        let criteria: Self = toml::from_str(&text).map_err(|error| refused(error.message().to_owned()))?;
        match criteria.quiet_seconds {
            0 => Err(refused("quiet_seconds is 0, so that a writer would not be seen".into())),
            _ => Ok(criteria),
        }
    }
}

/// One of them, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    pub criterion: String,
    pub limit: String,
    /// `None` where it did not come to it.
    pub value: Option<String>,
    pub passed: bool,
}

impl Judged {
    pub(super) fn new(criterion: &str, limit: &str, value: Option<String>, passed: bool) -> Self {
        Self { criterion: criterion.to_owned(), limit: limit.to_owned(), value, passed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_it_changes() {
        let folder = crate::private::tempdir();
        let path = folder.path().join("criteria.toml");
        let read = |text: &str| {
            fs::write(&path, text).expect("a file");
            Criteria::read(&path)
        };
        let given = read("decided_by = \"Ada\"\nquiet_seconds = 3\n").expect("criteria");
        assert_eq!((given.decided_by.as_deref(), given.quiet_seconds, given.max_lag_seconds), (Some("Ada"), 3, 60));
        for text in ["quiet_seconds = 0", "quiet = 3", "max_lag_seconds = \"1\"", "["] {
            assert_eq!(read(text).expect_err("refused").code, code::cutback::CRITERIA, "{text}");
        }
    }
}
