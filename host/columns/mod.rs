//! A row as its columns: names and raw JSON values in the order of the text.
//!
//! Owns: that a row is an object which has each of its columns once, and finding one by its name. Does not own: which column of
//! the target one belongs to. Pure.

mod canonical;
mod value;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::names;
pub use canonical::canonical_value;
pub use value::push_value;

/// Column by column, values untouched.
#[derive(Debug, Default)]
pub struct Columns<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// Columns of one row. The largest table that a target may have has 4,096.
const COLUMNS_MAX: usize = 10_000;

/// Why a text is not a row.
#[derive(Debug)]
pub enum Flawed {
    NotJson(serde_json::Error),
    /// This column is there more than once.
    Twice(String),
}

impl fmt::Display for Flawed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The error's own text may quote the row.
            Self::NotJson(error) if ebb_sdk::values_are_hidden() => {
                write!(f, "it is no JSON object (line {}, column {})", error.line(), error.column())
            }
            Self::NotJson(error) => error.fmt(f),
            Self::Twice(column) => {
                let column = ebb_sdk::shortened(column, ebb_sdk::SHOWN_CHARS_MAX);
                write!(f, "it has the column {column} more than once")
            }
        }
    }
}

/// Reads a row.
pub fn columns(json: &str) -> Result<Columns<'_>, Flawed> {
    let columns: Columns<'_> = serde_json::from_str(json).map_err(Flawed::NotJson)?;
    // CockroachDB sorts the columns, and then one look at each is enough.
    if columns.0.windows(2).any(|two| two[0].0 >= two[1].0) {
        let mut names: Vec<&str> = columns.names().collect();
        names.sort_unstable();
        if let Some(two) = names.windows(2).find(|two| two[0] == two[1]) {
            return Err(Flawed::Twice(two[0].to_owned()));
        }
    }
    Ok(columns)
}

impl<'a> Columns<'a> {
    /// In the order of the text.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// In the order of the names.
    pub fn values(&self) -> impl Iterator<Item = &'a RawValue> {
        self.0.iter().map(|(_, value)| *value)
    }

    /// The value at a place in this order.
    pub fn value(&self, place: usize) -> &'a RawValue {
        self.0[place].1
    }

    /// The value of the column of exactly this name.
    pub fn exactly(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// The value of the column that the other side calls by this name.
    pub fn named(&self, name: &str, case_sensitive: bool) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| names::same(known, name, case_sensitive)).map(|(_, value)| *value)
    }
}

impl<'de> Deserialize<'de> for Columns<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Columns<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    if pairs.len() == COLUMNS_MAX {
                        return Err(A::Error::custom(format_args!("it has more than {COLUMNS_MAX} columns")));
                    }
                    pairs.push((name, value));
                }
                Ok(Columns(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_there_once() {
        let names = |json| columns(json).map(|columns| columns.names().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(names(r#"{"b": 1, "a": {"a": 1, "a": 2}}"#).unwrap(), ["b", "a"]);
        for json in [r#"{"a": 1, "a": 1}"#, r#"{"a": 1, "b": 2, "\u0061": 3}"#, r#"{"b": 1, "a": 2, "c": 3, "a": 2}"#] {
            assert_eq!(names(json).unwrap_err().to_string(), "it has the column a more than once", "{json}");
        }
        let many = vec!["\"v\":1"; COLUMNS_MAX + 1].join(",");
        let error = names(&format!("{{{many}}}")).unwrap_err().to_string();
        assert!(error.contains("more than 10000 columns"), "{error}");
    }
}
