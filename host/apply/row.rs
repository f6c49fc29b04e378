//! A staged row as its columns: names and raw JSON values in the order of the text.
//!
//! Owns: reading the text, and what a JSON value is as a value of the sdk. Does not own: which column of the target one
//! belongs to (`encode`). Pure.

use std::borrow::Cow;
use std::fmt;

use ebb_sdk::{RowBuffer, Value};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Column by column, values untouched.
pub(crate) type Pairs<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// Reads a row.
pub(crate) fn pairs(json: &str) -> Result<Pairs<'_>, serde_json::Error> {
    serde_json::from_str::<Object<'_>>(json).map(|Object(pairs)| pairs)
}

/// What stands for a JSON null under the option `encode_json_value_null_as_object`.
const JSON_NULL: &str = "{\"__crdb_json_null__\":true}";

/// Appends a JSON value to a row.
pub(crate) fn push_value(rows: &mut RowBuffer, raw: &str) {
    match raw.as_bytes().first() {
        Some(b'n') | None => rows.push(Value::Null),
        Some(b't') => rows.push(Value::Bool(true)),
        Some(b'f') => rows.push(Value::Bool(false)),
        Some(b'"') => match raw.contains('\\') {
            false => rows.push(Value::String(&raw[1..raw.len() - 1])),
            true => rows.push(Value::String(&unescaped(raw))),
        },
        Some(b'{') if is_json_null(raw) => rows.push(Value::Json("null")),
        Some(b'{' | b'[') => rows.push(Value::Json(raw)),
        Some(_) => rows.push(Value::Number(raw)),
    }
}

fn unescaped(raw: &str) -> String {
    serde_json::from_str(raw).expect("the text was parsed as JSON when its row was")
}

fn is_json_null(raw: &str) -> bool {
    raw.len() < 2 * JSON_NULL.len() && raw.bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(JSON_NULL.bytes())
}

/// An object as its pairs, in the order of the text, values untouched.
struct Object<'a>(Pairs<'a>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(Object(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
