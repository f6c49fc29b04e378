//! What the history has events of: a closed list, whose names stay the same in later versions.
//!
//! Owns: the names, and the form of one event. Does not own: when it has happened (whoever notes it).

use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::visible;
use crate::mask;

/// A longer text is cut: the history is bounded in bytes, too.
const CHARS_MAX: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Started,
    Ended,
    TookOver,
    Signal,
    ChangefeedCreated,
    ChangefeedReplaced,
    ChangefeedPaused,
    ChangefeedResumed,
    ChangefeedFails,
    ChangefeedRuns,
    ChangefeedEnded,
    SourceLost,
    SourceBack,
    TargetLost,
    TargetBack,
    RowRefused,
    RowAccepted,
    StagingFull,
    StagingRoom,
    TablesTakenIn,
    TablesLeft,
    TriggersDropped,
    TriggersRestored,
    CertificatesRead,
    CaughtUp,
    Stalled,
    Recovered,
    Verified,
    CuttingBack,
    CutBack,
}

impl Event {
    pub const ALL: [Self; 30] = [
        Self::Started,
        Self::Ended,
        Self::TookOver,
        Self::Signal,
        Self::ChangefeedCreated,
        Self::ChangefeedReplaced,
        Self::ChangefeedPaused,
        Self::ChangefeedResumed,
        Self::ChangefeedFails,
        Self::ChangefeedRuns,
        Self::ChangefeedEnded,
        Self::SourceLost,
        Self::SourceBack,
        Self::TargetLost,
        Self::TargetBack,
        Self::RowRefused,
        Self::RowAccepted,
        Self::StagingFull,
        Self::StagingRoom,
        Self::TablesTakenIn,
        Self::TablesLeft,
        Self::TriggersDropped,
        Self::TriggersRestored,
        Self::CertificatesRead,
        Self::CaughtUp,
        Self::Stalled,
        Self::Recovered,
        Self::Verified,
        Self::CuttingBack,
        Self::CutBack,
    ];

    pub fn id(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ended => "ended",
            Self::TookOver => "took-over",
            Self::Signal => "signal",
            Self::ChangefeedCreated => "changefeed-created",
            Self::ChangefeedReplaced => "changefeed-replaced",
            Self::ChangefeedPaused => "changefeed-paused",
            Self::ChangefeedResumed => "changefeed-resumed",
            Self::ChangefeedFails => "changefeed-fails",
            Self::ChangefeedRuns => "changefeed-runs",
            Self::ChangefeedEnded => "changefeed-ended",
            Self::SourceLost => "source-lost",
            Self::SourceBack => "source-back",
            Self::TargetLost => "target-lost",
            Self::TargetBack => "target-back",
            Self::RowRefused => "row-refused",
            Self::RowAccepted => "row-accepted",
            Self::StagingFull => "staging-full",
            Self::StagingRoom => "staging-room",
            Self::TablesTakenIn => "tables-taken-in",
            Self::TablesLeft => "tables-left",
            Self::TriggersDropped => "triggers-dropped",
            Self::TriggersRestored => "triggers-restored",
            Self::CertificatesRead => "certificates-read",
            Self::CaughtUp => "caught-up",
            Self::Stalled => "stalled",
            Self::Recovered => "recovered",
            Self::Verified => "verified",
            Self::CuttingBack => "cutting-back",
            Self::CutBack => "cut-back",
        }
    }
}

/// One thing that has happened. It holds no secret and no value of a row.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Entry {
    /// RFC 3339, by the clock of this machine.
    pub at: String,
    /// [`Event::id`]; of another version of ebb it may be one that this one does not know.
    pub event: String,
    /// One sentence.
    pub text: String,
    #[serde(flatten)]
    pub facts: Map<String, Value>,
}

impl Entry {
    /// One that has happened now.
    pub fn new(event: Event, text: impl AsRef<str>) -> Self {
        let at = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        Self { at, event: event.id().to_owned(), text: bounded(text.as_ref()), facts: Map::new() }
    }

    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) => bounded(&text).into(),
            other => other,
        };
        self.facts.insert(name.to_owned(), value);
        self
    }

    /// The same where there is a value.
    #[must_use]
    pub fn fact_if(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.fact(name, value),
            None => self,
        }
    }

    pub fn is(&self, event: Event) -> bool {
        self.event == event.id()
    }

    /// A fact as text; empty where there is none.
    pub fn shown(&self, name: &str) -> String {
        match self.facts.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}

/// Without secrets, and in one line.
fn bounded(text: &str) -> String {
    let text = visible(&mask::clean(text), "");
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_event_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Event::ALL.into_iter().map(Event::id).collect();
        assert_eq!(names.len(), Event::ALL.len());
        assert!(names.iter().all(|name| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-')));
    }

    #[test]
    fn facts_stand_beside_the_text() {
        let entry = Entry::new(Event::TargetLost, "a\nb").fact("code", "EBB-T010").fact("seconds", 3);
        let entry = entry.fact_if("job", None::<i64>);
        let json = serde_json::to_value(&entry).unwrap();
        assert_eq!(
            (&json["event"], &json["text"], &json["seconds"]),
            (&"target-lost".into(), &"a\\nb".into(), &3.into())
        );
        assert_eq!(serde_json::from_value::<Entry>(json).unwrap(), entry);
        assert_eq!((entry.shown("seconds"), entry.shown("job")), ("3".to_owned(), String::new()));
        assert_eq!(Entry::new(Event::Ended, "ä".repeat(2 * CHARS_MAX)).text.chars().count(), CHARS_MAX + 1);
    }
}
