//! `ebb trace`: what became of one row, by its table and key.
//!
//! Owns: putting together what the staging folder has of it and what the running ebb says. Does not own: reading the folder
//! (`stage/trace`). No value of the row is shown.

use std::fmt::Write;
use std::path::PathBuf;

use chrono::DateTime;
use ebb_sdk::{Family, Timestamp};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::pages::Pages;
use crate::code;
use crate::columns::canonical_value;
use crate::error::{Error, Result, listed, visible};
use crate::stage::{self, Trace, Version};
use crate::tables::{self, KeyShape};

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
    let folder = stage::folder(&options.staging_dir, &options.schema);
    let trace = stage::trace(&folder, &options.table, &key)?;
    if trace.versions.is_empty() {
        refuse_other_shape(&key, &trace.table, &tables::keys_of(&folder, &trace.table)?)?;
    }
    let running = Pages::of_run(&options.staging_dir, &options.schema).map(|(_, status)| status);
    let silent = running.as_ref().err().filter(|_| stage::is_in_use(&folder));
    let view = View { trace: &trace, key: &key, running: running.as_ref().ok(), silent };
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

/// A key that no row of the table can have is a mistake, and no row that is missing.
fn refuse_other_shape(key: &str, table: &str, shapes: &[KeyShape]) -> Result<()> {
    let values: Vec<Value> = serde_json::from_str(key).unwrap_or_default();
    let (Some(newest), false) = (shapes.last(), shapes.iter().any(|shape| fits(&values, shape))) else { return Ok(()) };
    let columns: Vec<String> = newest.columns.iter().enumerate().map(|(at, name)| column(name, newest, at)).collect();
    let message = format!("no row of {table} can have the key {key}: its columns are {}", listed(&columns));
    let hint = "give a JSON array with a value for each column, in this order, texts in quotation marks: '[7,\"eu\"]'";
    Err(Error::new(code::settings::VALUE, message).hint(hint))
}

fn fits(values: &[Value], shape: &KeyShape) -> bool {
    let is_kind = |(at, value): (usize, &Value)| match shape.families.get(at).and_then(kind) {
        Some("text") => value.is_string(),
        Some("true or false") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        _ => true,
    };
    values.len() == shape.columns.len() && values.iter().enumerate().all(is_kind)
}

/// In which JSON the values of a column come, where that is one kind.
fn kind(family: &Family) -> Option<&'static str> {
    match family {
        Family::Bool => Some("true or false"),
        Family::Int => Some("integer"),
        Family::String
        | Family::Enum
        | Family::Bytes
        | Family::Uuid
        | Family::Date
        | Family::Time
        | Family::TimeTz
        | Family::Timestamp
        | Family::TimestampTz
        | Family::Interval
        | Family::Inet => Some("text"),
        _ => None,
    }
}

fn column(name: &str, shape: &KeyShape, at: usize) -> String {
    shape.families.get(at).and_then(kind).map_or_else(|| name.to_owned(), |kind| format!("{name} ({kind})"))
}

struct View<'a> {
    trace: &'a Trace,
    key: &'a str,
    running: Option<&'a Value>,
    /// Why an ebb that runs was not asked.
    silent: Option<&'a Error>,
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
            (false, false) if self.silent.is_some() => {
                "staged; only the target's ebb_progress says whether it is applied".to_owned()
            }
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
            if *forgotten == Timestamp::ZERO {
                text += "  every change is remembered since this staging folder was begun\n";
            }
        }
        let _ = writeln!(text, "every change up to {} has come ({resolved})", utc(*resolved));
        if let Some(applied) = self.applied() {
            let _ = writeln!(text, "the target has every change up to {} ({applied})", utc(applied));
        }
        if let Some(error) = self.silent {
            let _ = writeln!(text, "the ebb that runs was not asked how far the target is: {error}");
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
            "runs": self.running.is_some() || self.silent.is_some(),
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
    fn a_key_that_no_row_can_have_is_refused_with_the_columns() {
        let shape = |columns: &[&str], families: &[Family]| KeyShape {
            since: Timestamp::ZERO,
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            families: families.to_vec(),
        };
        let shapes = [shape(&["id"], &[Family::Int]), shape(&["region", "id"], &[Family::Enum, Family::Decimal])];
        let refused = |key: &str| refuse_other_shape(key, "public.t", &shapes).err().map(|error| error.message);
        for fine in ["[7]", "[\"eu\",7]", "[\"eu\",\"NaN\"]"] {
            assert_eq!(refused(fine), None, "{fine}");
        }
        for odd in ["[]", "[\"7\"]", "[7,7]", "[\"eu\",7,8]", "[7.5]"] {
            assert!(refused(odd).is_some_and(|said| said.contains("region (text), id")), "{odd}");
        }
        assert!(refuse_other_shape("[1,2]", "public.t", &[]).is_ok(), "what is not known refuses nothing");
    }

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
