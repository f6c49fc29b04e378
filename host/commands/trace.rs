//! `ebb trace`: what became of one row, by its table and key.
//!
//! Owns: putting together what the staging folder has of it and what the running ebb says. Does not own: reading the folder
//! (`stage/trace`). No value of the row is shown.

use std::fmt::Write;
use std::path::PathBuf;

use chrono::DateTime;
use ebb_sdk::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::pages::Pages;
use crate::code;
use crate::columns::canonical_value;
use crate::error::{Error, Result, visible};
use crate::stage::{self, Trace, Version};

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    pub staging_dir: PathBuf,
    pub schema: String,
    pub table: String,
    /// As it was given: a JSON array, or the value of a key of one column.
    pub key: String,
    pub json: bool,
}

/// Finds the row and says where each of its versions stands.
pub fn run(options: &Options) -> Result<String> {
    let key = canonical_key(&options.key)?;
    let trace = stage::trace(&stage::folder(&options.staging_dir, &options.schema), &options.table, &key)?;
    let running = Pages::of_run(&options.staging_dir, &options.schema).map(|(_, status)| status);
    let view = View { trace: &trace, key: &key, running: running.as_ref() };
    Ok(if options.json { format!("{:#}\n", view.json()) } else { visible(&view.text(), "\n") })
}

/// The array in the one spelling that a staged key has.
fn canonical_key(given: &str) -> Result<String> {
    let unusable = |why: String| {
        Error::new(code::settings::VALUE, format!("the key {given} cannot be read: {why}")).hint(
            "give it as CockroachDB sends it, a JSON array in the order of the source's primary key: '[7,\"eu\"]'; of one \
             column its value alone will do",
        )
    };
    let is_array = given.trim_start().starts_with('[');
    let is_scalar = serde_json::from_str::<&RawValue>(given).is_ok();
    let array = match (is_array, is_scalar) {
        (true, _) => given.to_owned(),
        (false, true) => format!("[{given}]"),
        (false, false) => json!([given]).to_string(),
    };
    let values: Vec<&RawValue> = serde_json::from_str(&array).map_err(|error| unusable(error.to_string()))?;
    let values = values.into_iter().map(canonical_value).collect::<Result<Vec<_>, _>>();
    values.map(|values| format!("[{}]", values.join(","))).map_err(|error| unusable(error.to_string()))
}

struct View<'a> {
    trace: &'a Trace,
    key: &'a str,
    running: Option<&'a Value>,
}

impl View<'_> {
    fn applied(&self) -> Option<Timestamp> {
        self.running.and_then(|status| status["applied"].as_str()).and_then(|text| text.parse().ok())
    }

    /// The refused row that the running ebb waits for, if it is this one.
    fn refused(&self, at: Timestamp) -> Option<&Value> {
        let waiting = self.running.map(|status| &status["waiting"]).filter(|waiting| waiting.is_object())?;
        (waiting["source_timestamp"] == at.to_string()).then_some(waiting)
    }

    fn state(&self, at: Timestamp, version: Version) -> String {
        let is_applied = version == Version::Remembered
            || at <= self.trace.released
            || self.applied().is_some_and(|applied| at <= applied);
        match (is_applied, self.running.is_some()) {
            (true, _) => "applied".to_owned(),
            _ if at > self.trace.resolved => "staged; its transaction may not be complete yet".to_owned(),
            (false, false) => {
                "staged; no ebb runs, and only the target's ebb_progress says whether it is applied".to_owned()
            }
            (false, true) => match self.refused(at) {
                Some(waiting) => format!(
                    "staged; the target refuses its transaction ({}): {}",
                    waiting["code"].as_str().unwrap_or("no SQLSTATE"),
                    waiting["hint"].as_str().unwrap_or("see the log")
                ),
                None => "staged; not applied yet".to_owned(),
            },
        }
    }

    fn text(&self) -> String {
        let Trace { table, versions, resolved, forgotten, .. } = self.trace;
        let mut text = format!("{table} {}\n", self.key);
        // Writing to a String does not fail.
        for (at, version) in versions {
            let what = name(*version);
            let _ = writeln!(text, "  {}  {at}  {what:<10}  {}", utc(*at), self.state(*at, *version));
        }
        if versions.is_empty() {
            text += "  no version of it is staged or remembered\n";
        }
        let _ = writeln!(text, "every change up to {} has come ({resolved})", utc(*resolved));
        if let Some(applied) = self.applied() {
            let _ = writeln!(text, "the target has every change up to {} ({applied})", utc(applied));
        }
        if *forgotten > Timestamp::ZERO {
            let _ = writeln!(text, "changes up to {} are not remembered any more ({forgotten})", utc(*forgotten));
        }
        text
    }

    fn json(&self) -> Value {
        let version = |(at, version): (&Timestamp, &Version)| json!({ "at": at.to_string(), "change": name(*version), "state": self.state(*at, *version) });
        json!({
            "table": self.trace.table,
            "key": self.key,
            "versions": self.trace.versions.iter().map(version).collect::<Vec<_>>(),
            "resolved": self.trace.resolved.to_string(),
            "applied": self.applied().map(|applied| applied.to_string()),
            "forgotten": self.trace.forgotten.to_string(),
        })
    }
}

fn name(version: Version) -> &'static str {
    match version {
        Version::Upsert => "upsert",
        Version::Delete => "delete",
        Version::Remembered => "change",
    }
}

fn utc(at: Timestamp) -> String {
    DateTime::from_timestamp_nanos(at.wall).format("%Y-%m-%d %H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_every_spelling() {
        let of = |given: &str| canonical_key(given).expect("a key");
        assert_eq!(of("7"), "[7]");
        assert_eq!(of("[7.0, \"e\\u0075\"]"), "[7,\"eu\"]");
        assert_eq!(of("eu-west"), "[\"eu-west\"]");
        assert_eq!(of("\"7\""), "[\"7\"]");
        let refused = canonical_key("[7,").expect_err("no array");
        assert!(refused.hint.is_some_and(|hint| hint.contains("JSON array")));
    }
}
