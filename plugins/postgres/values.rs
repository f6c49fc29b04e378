//! From the text of a changefeed's JSON to the text that PostgreSQL's types take.
//!
//! Owns: the types whose texts differ (JSON, arrays, timestamps before Christ, infinity), and what a cast would cut
//! without a word. Does not own: parsing and range checks, which the server does. Pure.

use std::borrow::Cow;

use ebb_sdk::Value;
use serde_json::value::RawValue;

/// How the text of a column is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it came.
    Plain,
    /// As it came, if the whole of it fits: PostgreSQL cuts what is too long by spaces only.
    Varchar { chars_max: usize },
    /// As it came, if the whole of it fits: PostgreSQL cuts the rest of a longer `name` or `"char"`.
    Name { bytes_max: usize },
    /// Digits in hexadecimal behind `\x`; PostgreSQL would read anything else as an older spelling.
    Bytea,
    /// A JSON text: strings get their quotes back.
    Json,
    /// A time of day without a zone, which PostgreSQL would drop.
    Time,
    /// A day without a time, which PostgreSQL would cut.
    Date,
    /// `T` and `Z` are PostgreSQL's too, negative years are not.
    Timestamp,
    /// A JSON array, elements by their own form.
    Array(Box<Form>),
}

/// Why a type cannot hold a value, with the SQLSTATE that PostgreSQL has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: &'static str,
    pub(crate) text: &'static str,
}

const TOO_LONG: Reason = Reason { code: "22001", text: "value too long for the type of its column" };
const NO_BYTES: Reason = Reason { code: "22P02", text: "text where bytes of the form \\x6869 were expected" };
const NO_DATE: Reason = Reason { code: "22008", text: "a date cannot hold a time of day" };
const NO_ZONE: Reason = Reason { code: "22007", text: "a time without a zone cannot hold one" };
const NO_ARRAY: Reason = Reason { code: "22P02", text: "the value is not an array" };
const NUL: Reason = Reason { code: "22021", text: "a text of PostgreSQL cannot hold the character U+0000" };

/// A server built with another NAMEDATALEN is not known in the wild.
const NAME_BYTES_MAX: usize = 63;
/// PostgreSQL adds this to the length of a varchar.
const MODIFIER_OFFSET: i32 = 4;

impl Form {
    /// The form of a type by its name in `pg_type`. `element` is the name of an array's element type, `modifier` what
    /// the column says of length or precision, -1 for nothing.
    pub(crate) fn of(type_name: &str, element: Option<&str>, modifier: i32) -> Self {
        if let Some(element) = element {
            return Self::Array(Box::new(Self::of(element, None, modifier)));
        }
        match type_name {
            "varchar" => match usize::try_from(modifier - MODIFIER_OFFSET) {
                Ok(chars_max) => Self::Varchar { chars_max },
                Err(_) => Self::Plain,
            },
            "name" => Self::Name { bytes_max: NAME_BYTES_MAX },
            "char" => Self::Name { bytes_max: 1 },
            "bytea" => Self::Bytea,
            "json" | "jsonb" => Self::Json,
            "time" => Self::Time,
            "date" => Self::Date,
            "timestamp" | "timestamptz" => Self::Timestamp,
            _ => Self::Plain,
        }
    }

    /// The text to send, `None` for NULL. The error is the reason why the type cannot hold the value.
    pub(crate) fn text<'a>(&self, value: Value<'a>) -> Result<Option<Cow<'a, str>>, Reason> {
        let Some(text) = value.text() else { return Ok(None) };
        let text = match (self, value) {
            (Self::Varchar { chars_max }, _) if text.len() > *chars_max && text.chars().count() > *chars_max => {
                return Err(TOO_LONG);
            }
            (Self::Name { bytes_max }, _) if text.len() > *bytes_max => return Err(TOO_LONG),
            (Self::Bytea, _) if !text.starts_with("\\x") => return Err(NO_BYTES),
            (Self::Json, Value::String(text)) => json_string(text).into(),
            (Self::Time, Value::String(text)) if text.contains(['+', '-', 'Z']) => return Err(NO_ZONE),
            (Self::Date, Value::String(text)) if text.contains('T') => day(text)?,
            (Self::Timestamp, Value::String(text)) => timestamp(text),
            (Self::Array(element), Value::Json(text)) => array(element, text)?.into(),
            _ => Cow::Borrowed(text),
        };
        match text.contains('\0') {
            true => Err(NUL),
            false => Ok(Some(text)),
        }
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn day(text: &str) -> Result<Cow<'_, str>, Reason> {
    match text.trim_end_matches('Z').split_once('T') {
        Some((_, "00:00:00")) => Ok(timestamp(text)),
        _ => Err(NO_DATE),
    }
}

/// CockroachDB counts years astronomically: year 0 is 1 BC, year -43 is 44 BC. It has no text for the infinities, and
/// prints the ends of its range, or values beyond it, instead.
fn timestamp(text: &str) -> Cow<'_, str> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let Some((year, rest)) = digits.split_once('-') else { return Cow::Borrowed(text) };
    let Ok(year_number) = year.parse::<i64>() else { return Cow::Borrowed(text) };
    let moment = rest.trim_end_matches('Z');
    match (negative, year_number) {
        (false, 294_277..) => "infinity".into(),
        (false, 294_276) if moment == "12-31T23:59:59.999999" => "infinity".into(),
        (true, 4714..) => "-infinity".into(),
        (true, 4713) if moment == "11-24T00:00:00" => "-infinity".into(),
        (false, 1..) => Cow::Borrowed(text),
        (_, years) => format!("{:04}-{rest} BC", years + 1).into(),
    }
}

/// A JSON array as PostgreSQL writes arrays: `{"a","b",NULL}`.
fn array(element: &Form, json: &str) -> Result<String, Reason> {
    let parts: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| NO_ARRAY)?;
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
                unescaped = serde_json::from_str::<String>(part.get()).map_err(|_| NO_ARRAY)?;
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

    fn array_of(element: &str) -> Form {
        Form::of(&format!("_{element}"), Some(element), -1)
    }

    #[test]
    fn json_gets_its_quotes_back() {
        check(&Form::Json, Value::String("he said \"x\""), Some(r#""he said \"x\"""#));
        check(&Form::Json, Value::Number("1.10"), Some("1.10"));
        check(&Form::Json, Value::Bool(true), Some("true"));
        check(&Form::Json, Value::Json("null"), Some("null"));
        check(&Form::Json, Value::Json(r#"{"b": 1, "a": [1.10, null]}"#), Some(r#"{"b": 1, "a": [1.10, null]}"#));
        check(&Form::Json, Value::Null, None);
    }

    #[test]
    fn what_a_cast_would_cut_is_refused() {
        let three = Form::of("varchar", None, 7);
        check(&three, Value::String("äöü"), Some("äöü"));
        assert!(three.text(Value::String("abc ")).is_err());
        check(&Form::of("varchar", None, -1), Value::String("abcdef"), Some("abcdef"));
        assert!(Form::of("name", None, -1).text(Value::String(&"n".repeat(64))).is_err());
        assert!(Form::of("char", None, -1).text(Value::String("ab")).is_err());
        assert!(Form::Bytea.text(Value::String("hi")).is_err());
        check(&Form::Bytea, Value::String("\\x"), Some("\\x"));
        assert!(Form::Plain.text(Value::String("a\0")).is_err());
        assert!(array_of("text").text(Value::Json(r#"["a\u0000"]"#)).is_err());
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
            ("294276-12-31T23:59:59Z", "294276-12-31T23:59:59Z"),
            ("294276-12-31T23:59:59.999999Z", "infinity"),
            ("294277-01-01T23:59:59.999999Z", "infinity"),
            ("-4713-11-24T00:00:00.5Z", "4714-11-24T00:00:00.5Z BC"),
            ("-4713-11-24T00:00:00Z", "-infinity"),
            ("infinity", "infinity"),
        ] {
            check(&Form::Timestamp, Value::String(text), Some(expected));
        }
    }

    #[test]
    fn days_have_no_time() {
        check(&Form::Date, Value::String("0044-03-15 BC"), Some("0044-03-15 BC"));
        check(&Form::Date, Value::String("2016-01-25T00:00:00Z"), Some("2016-01-25T00:00:00Z"));
        assert!(Form::Date.text(Value::String("2016-01-25T00:00:01")).is_err());
    }

    #[test]
    fn arrays_keep_elements_and_nulls() {
        let text = array_of("text");
        check(&text, Value::Json(r#"["sky", null, "a,b\"c{}\\", ""]"#), Some(r#"{"sky",NULL,"a,b\"c{}\\",""}"#));
        check(&text, Value::Json("[]"), Some("{}"));
        check(&array_of("bytea"), Value::Json(r#"["\\x6869"]"#), Some(r#"{"\\x6869"}"#));
        check(&array_of("int8"), Value::Json("[1, 9223372036854775807]"), Some(r#"{"1","9223372036854775807"}"#));
        check(&array_of("jsonb"), Value::Json(r#"["a", {"b": 1}]"#), Some(r#"{"\"a\"","{\"b\": 1}"}"#));
        check(&array_of("bool"), Value::Json("[true, null]"), Some(r#"{"true",NULL}"#));
        check(
            &array_of("timestamp"),
            Value::Json(r#"["-0043-03-15T00:00:00"]"#),
            Some(r#"{"0044-03-15T00:00:00 BC"}"#),
        );
        assert!(Form::of("_varchar", Some("varchar"), 7).text(Value::Json(r#"["abcd"]"#)).is_err());
        assert!(text.text(Value::Json("{}")).is_err());
        // An array that goes into a column of text, or of JSON, stays JSON.
        check(&Form::Plain, Value::Json("[1, 2]"), Some("[1, 2]"));
        check(&Form::Json, Value::Json("[1, 2]"), Some("[1, 2]"));
    }
}
