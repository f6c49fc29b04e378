//! From the text of a changefeed's JSON to the text that PostgreSQL's types take.
//!
//! Owns: the few types whose texts differ: JSON, arrays, timestamps before Christ, and infinity. Does not own: parsing
//! and range checks, which the server does. Pure.

use std::borrow::Cow;

use ebb_sdk::Value;
use serde_json::value::RawValue;

/// How the text of a column is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it came.
    Plain,
    /// A JSON text: strings get their quotes back.
    Json,
    /// `T` and `Z` are PostgreSQL's too, negative years are not.
    Timestamp,
    /// A JSON array, elements by their own form.
    Array(Box<Form>),
}

impl Form {
    /// The form of a type by its name in `pg_type`; `element` is the name of an array's element type, else empty.
    pub(crate) fn of(type_name: &str, element: &str) -> Self {
        if !element.is_empty() {
            return Self::Array(Box::new(Self::of(element, "")));
        }
        match type_name {
            "json" | "jsonb" => Self::Json,
            "timestamp" | "timestamptz" => Self::Timestamp,
            _ => Self::Plain,
        }
    }

    /// The text to send, `None` for NULL. The error is the reason why the type cannot hold the value.
    pub(crate) fn text<'a>(&self, value: Value<'a>) -> Result<Option<Cow<'a, str>>, &'static str> {
        let Some(text) = value.text() else { return Ok(None) };
        if text.contains('\0') {
            return Err("a text of PostgreSQL cannot hold the character U+0000");
        }
        Ok(Some(match (self, value) {
            (Self::Json, Value::String(text)) => json_string(text).into(),
            (Self::Json, Value::Json(text)) if text.contains("\\u0000") && has_escaped_nul(text) => {
                return Err("PostgreSQL's JSON cannot hold the character U+0000");
            }
            (Self::Timestamp, Value::String(text)) => timestamp(text),
            (Self::Array(element), Value::Json(text)) => array(element, text)?.into(),
            _ => Cow::Borrowed(text),
        }))
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether `\u0000` stands there as an escape and not behind an escaped backslash.
fn has_escaped_nul(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        if rest[at..].starts_with("\\u0000") {
            return true;
        }
        rest = &rest[(at + 2).min(rest.len())..];
    }
    false
}

/// CockroachDB counts years astronomically: year 0 is 1 BC, year -43 is 44 BC. It has no text for the infinities, and
/// prints the ends of its range instead.
fn timestamp(text: &str) -> Cow<'_, str> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let Some((year, rest)) = digits.split_once('-') else { return Cow::Borrowed(text) };
    let Ok(year_number) = year.parse::<i64>() else { return Cow::Borrowed(text) };
    match (negative, year_number) {
        (false, 294_276..) if rest.starts_with("12-31T23:59:59.999999") || year_number > 294_276 => "infinity".into(),
        (true, 4713..) if rest.starts_with("11-24T00:00:00") || year_number > 4713 => "-infinity".into(),
        (false, 1..) => Cow::Borrowed(text),
        (_, years) => {
            let bc = years + 1;
            format!("{bc:04}-{rest} BC").into()
        }
    }
}

/// A JSON array as PostgreSQL writes arrays: `{"a","b",NULL}`.
fn array(element: &Form, json: &str) -> Result<String, &'static str> {
    let parts: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| "the value is not an array")?;
    let mut text = String::with_capacity(json.len() + 2);
    text.push('{');
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        let unescaped;
        let value = match part.get().as_bytes().first() {
            Some(b'n') | None => Value::Null,
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'"') => {
                unescaped = serde_json::from_str::<String>(part.get()).map_err(|_| "the value is not an array")?;
                Value::String(&unescaped)
            }
            Some(b'{' | b'[') => Value::Json(part.get()),
            Some(_) => Value::Number(part.get()),
        };
        match element.text(value)? {
            None => text.push_str("NULL"),
            Some(element) => push_quoted(&mut text, &element),
        }
    }
    text.push('}');
    Ok(text)
}

fn push_quoted(text: &mut String, element: &str) {
    text.push('"');
    for character in element.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: &Form, value: Value<'_>, expected: Option<&str>) {
        assert_eq!(form.text(value).unwrap().as_deref(), expected, "{value:?}");
    }

    #[test]
    fn json_gets_its_quotes_back() {
        check(&Form::Json, Value::String("he said \"x\""), Some(r#""he said \"x\"""#));
        check(&Form::Json, Value::Number("1.10"), Some("1.10"));
        check(&Form::Json, Value::Bool(true), Some("true"));
        check(&Form::Json, Value::Json("null"), Some("null"));
        check(&Form::Json, Value::Json(r#"{"b": 1, "a": [1.10, null]}"#), Some(r#"{"b": 1, "a": [1.10, null]}"#));
        check(&Form::Json, Value::Null, None);
        check(&Form::Json, Value::Json(r#"["\\u0000"]"#), Some(r#"["\\u0000"]"#));
        assert!(Form::Json.text(Value::Json(r#"["\u0000"]"#)).is_err());
        assert!(Form::Plain.text(Value::String("a\0")).is_err());
    }

    #[test]
    fn timestamps_of_every_age() {
        for (text, expected) in [
            ("2016-01-25T10:10:10", "2016-01-25T10:10:10"),
            ("2016-01-25T15:10:10Z", "2016-01-25T15:10:10Z"),
            ("12345-01-01T00:00:00", "12345-01-01T00:00:00"),
            ("-0043-03-15T00:00:00", "0044-03-15T00:00:00 BC"),
            ("-0043-03-15T00:00:00Z", "0044-03-15T00:00:00Z BC"),
            ("0000-01-01T00:00:00", "0001-01-01T00:00:00 BC"),
            ("294276-12-31T23:59:59.999999Z", "infinity"),
            ("294277-01-01T23:59:59.999999Z", "infinity"),
            ("-4713-11-24T00:00:00Z", "-infinity"),
            ("infinity", "infinity"),
        ] {
            check(&Form::Timestamp, Value::String(text), Some(expected));
        }
    }

    #[test]
    fn arrays_keep_elements_and_nulls() {
        let plain = Form::of("_text", "text");
        check(&plain, Value::Json(r#"["sky", null, "a,b\"c{}\\", ""]"#), Some(r#"{"sky",NULL,"a,b\"c{}\\",""}"#));
        check(&plain, Value::Json("[]"), Some("{}"));
        check(&Form::of("_bytea", "bytea"), Value::Json(r#"["\\x6869"]"#), Some(r#"{"\\x6869"}"#));
        check(
            &Form::of("_int8", "int8"),
            Value::Json("[1, 9223372036854775807]"),
            Some(r#"{"1","9223372036854775807"}"#),
        );
        check(&Form::of("_jsonb", "jsonb"), Value::Json(r#"["a", {"b": 1}]"#), Some(r#"{"\"a\"","{\"b\": 1}"}"#));
        check(&Form::of("_bool", "bool"), Value::Json("[true, null]"), Some(r#"{"true",NULL}"#));
        // An array that goes into a column of text, or of JSON, stays JSON.
        check(&Form::Plain, Value::Json("[1, 2]"), Some("[1, 2]"));
        check(&Form::Json, Value::Json("[1, 2]"), Some("[1, 2]"));
    }
}
