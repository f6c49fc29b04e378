//! What is found out about source and target, all of it at once.
//!
//! Owns: the list, its order and grouping, and which of it keeps the run from starting. Does not own: finding it out (`tables`).

use std::collections::BTreeMap;
use std::fmt;

use crate::code::{self, Code};
use crate::error::{Error, listed, visible};

/// How bad it is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Rows would be lost, merged or altered.
    Harm,
    /// The run cannot work like this.
    Fatal,
    /// Worth knowing.
    Warning,
}

/// What kind of finding it is. The names are stable: scripts may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingId {
    CertificateEnds,
    CertificateExpired,
    CertificateIssuer,
    CertificateName,
    CertificateRefused,
    ClockDiffers,
    ColumnAmbiguous,
    ColumnMissing,
    ColumnNotFilled,
    DigitsLost,
    HistoryRetained,
    HistoryShort,
    JsonNull,
    KeyAmbiguous,
    KeysDiffer,
    OtherWriter,
    RightsMissing,
    SequenceBehind,
    SequenceNarrow,
    SourceKeyFolds,
    SourceKeyMissing,
    StagingSmall,
    Statistics,
    TableAmbiguous,
    TableMissing,
    TableNotWritable,
    TableShared,
    TablesIdle,
    TablesRefused,
    TargetConcern,
    TargetKeyMissing,
    TargetReadOnly,
    TopicAmbiguous,
    TriggersAct,
    TriggersHidden,
    TypeIncompatible,
    UniqueRules,
    ValuesRefused,
}

impl FindingId {
    pub fn name(self) -> &'static str {
        match self {
            Self::CertificateEnds => "certificate-ends",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateIssuer => "certificate-issuer",
            Self::CertificateName => "certificate-name",
            Self::CertificateRefused => "certificate-refused",
            Self::ClockDiffers => "clock-differs",
            Self::ColumnAmbiguous => "column-ambiguous",
            Self::ColumnMissing => "column-missing",
            Self::ColumnNotFilled => "column-not-filled",
            Self::DigitsLost => "digits-lost",
            Self::HistoryRetained => "history-retained",
            Self::HistoryShort => "history-short",
            Self::JsonNull => "json-null",
            Self::KeyAmbiguous => "key-ambiguous",
            Self::KeysDiffer => "keys-differ",
            Self::OtherWriter => "other-writer",
            Self::RightsMissing => "rights-missing",
            Self::SequenceBehind => "sequence-behind",
            Self::SequenceNarrow => "sequence-narrow",
            Self::SourceKeyFolds => "source-key-folds",
            Self::SourceKeyMissing => "source-key-missing",
            Self::StagingSmall => "staging-small",
            Self::Statistics => "statistics",
            Self::TableAmbiguous => "table-ambiguous",
            Self::TableMissing => "table-missing",
            Self::TableNotWritable => "table-not-writable",
            Self::TableShared => "table-shared",
            Self::TablesIdle => "tables-idle",
            Self::TablesRefused => "tables-refused",
            Self::TargetConcern => "target-concern",
            Self::TargetKeyMissing => "target-key-missing",
            Self::TargetReadOnly => "target-read-only",
            Self::TopicAmbiguous => "topic-ambiguous",
            Self::TriggersAct => "triggers-act",
            Self::TriggersHidden => "triggers-hidden",
            Self::TypeIncompatible => "type-incompatible",
            Self::UniqueRules => "unique-rules",
            Self::ValuesRefused => "values-refused",
        }
    }
}

impl FindingId {
    pub fn code(self) -> Code {
        match self {
            Self::CertificateEnds => code::access::CERTIFICATE_ENDS,
            Self::CertificateExpired => code::access::RECEIVER_EXPIRED,
            Self::CertificateIssuer => code::access::RECEIVER_ISSUER,
            Self::CertificateName => code::access::RECEIVER_NAME,
            Self::CertificateRefused => code::access::CLIENT_REFUSED,
            Self::ClockDiffers => code::source::CLOCK,
            Self::ColumnAmbiguous => code::table::COLUMN_AMBIGUOUS,
            Self::ColumnMissing => code::table::COLUMN_MISSING,
            Self::ColumnNotFilled => code::table::COLUMN_NOT_FILLED,
            Self::DigitsLost => code::table::DIGITS_LOST,
            Self::HistoryRetained => code::source::HISTORY_RETAINED,
            Self::HistoryShort => code::source::HISTORY_SHORT,
            Self::JsonNull => code::table::JSON_NULL,
            Self::KeyAmbiguous => code::table::KEY_AMBIGUOUS,
            Self::KeysDiffer => code::table::KEYS_DIFFER,
            Self::OtherWriter => code::target::OTHER_WRITER,
            Self::RightsMissing => code::target::PRIVILEGE,
            Self::SequenceBehind => code::target::SEQUENCE_BEHIND,
            Self::SequenceNarrow => code::target::SEQUENCE_NARROW,
            Self::SourceKeyFolds => code::table::SOURCE_KEY_FOLDS,
            Self::SourceKeyMissing => code::table::SOURCE_KEY_MISSING,
            Self::StagingSmall => code::staging::SMALL,
            Self::Statistics => code::target::STATISTICS,
            Self::TableAmbiguous => code::table::TABLE_AMBIGUOUS,
            Self::TableMissing => code::table::TABLE_MISSING,
            Self::TableNotWritable => code::table::TABLE_NOT_WRITABLE,
            Self::TableShared => code::table::TABLE_SHARED,
            Self::TablesIdle => code::table::TABLES_IDLE,
            Self::TablesRefused => code::table::TABLES_REFUSED,
            Self::TargetConcern => code::target::CONCERN,
            Self::TargetKeyMissing => code::table::TARGET_KEY_MISSING,
            Self::TargetReadOnly => code::target::READ_ONLY,
            Self::TopicAmbiguous => code::table::TOPIC_AMBIGUOUS,
            Self::TriggersAct => code::table::TRIGGERS_ACT,
            Self::TriggersHidden => code::table::TRIGGERS_HIDDEN,
            Self::TypeIncompatible => code::table::TYPE_INCOMPATIBLE,
            Self::UniqueRules => code::table::UNIQUE_RULES,
            Self::ValuesRefused => code::table::VALUES_REFUSED,
        }
    }
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that does not fit, with what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub id: FindingId,
    pub severity: Severity,
    /// The table or column, or the side, that it is about.
    pub subject: String,
    pub reason: String,
    /// The flag, SQL or command that mends it.
    pub fix: Option<String>,
}

impl Finding {
    /// Rows would be lost, merged or altered.
    pub fn harm(id: FindingId, subject: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::new(Severity::Harm, id, subject, reason)
    }

    /// The run cannot work like this.
    pub fn fatal(id: FindingId, subject: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::new(Severity::Fatal, id, subject, reason)
    }

    /// Something to know that may be as it should be.
    pub fn warning(id: FindingId, subject: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::new(Severity::Warning, id, subject, reason)
    }

    fn new(severity: Severity, id: FindingId, subject: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { id, severity, subject: subject.to_string(), reason: reason.into(), fix: None }
    }

    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    fn is_fatal(&self) -> bool {
        self.severity < Severity::Warning
    }
}

impl From<Finding> for Error {
    fn from(finding: Finding) -> Self {
        let error = Self::new(finding.id.code(), finding.reason);
        match finding.fix {
            Some(fix) => error.hint(fix),
            None => error,
        }
    }
}

/// In the order of discovery.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    pub fn add(&mut self, finding: Finding) {
        self.list.push(finding);
    }

    /// A column of a table takes a part of the values that its counterpart may have: a row that has another is refused when it
    /// comes.
    pub fn narrow(&mut self, table: &str, reason: String) {
        self.add(Finding::warning(FindingId::ValuesRefused, table, reason));
    }

    /// Takes out everything that would keep a run from starting, and returns the worst of it.
    pub fn take_fatal(&mut self) -> Option<Finding> {
        let (mut fatal, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.list).into_iter().partition(Finding::is_fatal);
        self.list = rest;
        fatal.sort_by_key(|finding| finding.severity);
        fatal.into_iter().next()
    }

    /// What must come before the fixes of some.
    pub fn fix_first(&mut self, ids: &[FindingId], first: &str) {
        for finding in self.list.iter_mut().filter(|finding| ids.contains(&finding.id)) {
            let then = finding.fix.take().map(|fix| format!("; then {fix}"));
            finding.fix = Some(format!("{first}{}", then.unwrap_or_default()));
        }
    }

    pub fn extend(&mut self, more: impl IntoIterator<Item = Finding>) {
        self.list.extend(more);
    }

    /// All of them, in the order of discovery.
    pub fn into_list(self) -> Vec<Finding> {
        self.list
    }

    pub fn append(&mut self, other: Self) {
        self.list.extend(other.list);
    }

    /// Logs what is no hindrance, and makes one error of all that is.
    pub fn conclude(mut self) -> Result<(), Error> {
        self.list.sort_by_key(|finding| finding.severity);
        let (mut fatal, warnings): (Vec<_>, Vec<_>) = self.list.into_iter().partition(Finding::is_fatal);
        let (narrow, warnings): (Vec<_>, Vec<_>) =
            warnings.into_iter().partition(|finding| finding.id == FindingId::ValuesRefused);
        for finding in warnings {
            tracing::warn!(error_code = finding.id.code().text(), hint = finding.fix, "{}", finding.reason);
        }
        log_narrow(&narrow);
        match fatal.len() {
            0 => Ok(()),
            1 => Err(fatal.remove(0).into()),
            count => {
                let reasons = numbered(fatal.iter().map(|finding| finding.reason.as_str()));
                let fixes = numbered(fatal.iter().map(|finding| finding.fix.as_deref().unwrap_or("-")));
                Err(Error::new(
                    code::table::SEVERAL_FINDINGS,
                    format!("{count} findings keep ebb from starting:\n{reasons}"),
                )
                .hint(fixes))
            }
        }
    }
}

/// Tables that are named each in a line of its own.
const TABLES_SHOWN_MAX: usize = 10;

/// One line for each table, the first ten; each column by itself only for those who want to know.
fn log_narrow(narrow: &[Finding]) {
    let mut columns: BTreeMap<&str, usize> = BTreeMap::new();
    narrow.iter().for_each(|finding| *columns.entry(&finding.subject).or_default() += 1);
    let error_code = code::table::VALUES_REFUSED.text();
    let hint = "ebb refuses such a row by name when it comes; --logging debug lists every column";
    for (table, count) in columns.iter().take(TABLES_SHOWN_MAX) {
        tracing::warn!(
            error_code,
            hint,
            "values beyond the range of {count} columns of the target's table {table} would be refused"
        );
    }
    let others: Vec<_> = columns.keys().skip(TABLES_SHOWN_MAX).collect();
    if !others.is_empty() {
        tracing::warn!(
            error_code,
            hint,
            "the same holds for columns of {} further tables of the target: {}",
            others.len(),
            listed(&others)
        );
    }
    for finding in narrow {
        tracing::debug!("the target's column {}", finding.reason);
    }
}

/// One a line. Nothing in them makes a line of its own: see `log`.
fn numbered<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts = texts.enumerate().map(|(at, text)| format!("{}) {}", at + 1, visible(text, "")));
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_said_at_once_and_the_worst_first() {
        let mut findings = Findings::default();
        findings.add(Finding::warning(FindingId::TablesIdle, "target", "idle"));
        findings.narrow("public.orders", "total is narrow".into());
        assert_eq!(Findings::default().conclude(), Ok(()));
        findings.add(Finding::fatal(FindingId::TableMissing, "a", "a is missing").fix("create a"));
        findings.add(Finding::harm(FindingId::TableNotWritable, "b", "b has a rule").fix("drop it"));
        let error = findings.conclude().unwrap_err();
        assert_eq!(error.message, "2 findings keep ebb from starting:\n1) b has a rule\n2) a is missing");
        assert_eq!(error.hint.as_deref(), Some("1) drop it\n2) create a"));
    }
}
