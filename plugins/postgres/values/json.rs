//! JSON texts, and arrays, which come as JSON.
//!
//! Owns: strings that get their quotes back, and which of them may be meant as JSON; the text of PostgreSQL's arrays. Does not
//! own: the texts of their elements (`values`). Pure.

use ebb_sdk::Value;
use serde_json::value::RawValue;

use super::{Conversion, Reason};

const NO_ARRAY: Reason = Reason { code: "22P02", text: "the value is not an array" };
pub(super) const JSON_TEXT: Reason = Reason {
    code: "22P02",
    text: "a text that spells a JSON object or array, and may be meant as that: convert the column at the source (ALTER TABLE … \
           ALTER COLUMN … TYPE JSONB) or that of the target to text, or let ebb ask the source for its types (--sourceConn)",
};

pub(super) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a string is itself the text of a JSON object or array.
pub(super) fn is_object_or_array(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<&RawValue>(text).is_ok()
}

/// A JSON array as PostgreSQL writes arrays: `{"a","b",NULL}`.
pub(super) fn array(conversion: &Conversion, json: &str, is_lost: &mut bool) -> Result<String, Reason> {
    let parts: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| NO_ARRAY)?;
    let mut text = String::with_capacity(json.len() + 2);
    text.push('{');
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        element(part.get(), |value| match conversion.text(value, is_lost)? {
            None => {
                text.push_str("NULL");
                Ok(())
            }
            Some(element) => {
                push_quoted(&mut text, &element);
                Ok(())
            }
        })??;
    }
    text.push('}');
    Ok(text)
}

/// What `then` makes of an element of a JSON array.
pub(crate) fn element<T>(json: &str, then: impl FnOnce(Value<'_>) -> T) -> Result<T, Reason> {
    let unescaped;
    let value = match json.as_bytes().first() {
        Some(b'n') | None => Value::Null,
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'"') => {
            unescaped = serde_json::from_str::<String>(json).map_err(|_| NO_ARRAY)?;
            Value::String(&unescaped)
        }
        Some(b'{' | b'[') => Value::Json(json),
        Some(_) => Value::Number(json),
    };
    Ok(then(value))
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
    use super::super::tests::{array_of, check, of, refuses};
    use super::*;

    #[test]
    fn json_gets_its_quotes_back() {
        let json = of("jsonb", -1);
        check(&json, Value::String("he said \"x\""), Some(r#""he said \"x\"""#));
        check(&json, Value::Number("1.10"), Some("1.10"));
        check(&json, Value::Bool(true), Some("true"));
        check(&json, Value::Json("null"), Some("null"));
        check(&json, Value::Json(r#"{"b": 1, "a": [1.10, null]}"#), Some(r#"{"b": 1, "a": [1.10, null]}"#));
        check(&json, Value::Null, None);
    }

    #[test]
    fn texts_of_json_are_taken_where_they_are_known_to_be_texts() {
        for (json, is_open) in [
            (r#"{"a":1}"#, true),
            (" [1, {}]\n", true),
            ("[]", true),
            (r#""x""#, false),
            ("1", false),
            ("null", false),
            ("abc", false),
            ("{a", false),
            ("{} {}", false),
            ("", false),
        ] {
            let (string, quoted) = (Value::String(json), json_string(json));
            for name in ["json", "jsonb"] {
                assert_eq!(refuses(&of(name, -1), string), is_open, "{json}");
                check(&of(name, -1).of_known_source(), string, Some(&quoted));
            }
            let list = format!("[{quoted}]");
            assert_eq!(refuses(&array_of("jsonb"), Value::Json(&list)), is_open, "{json}");
            assert!(!refuses(&array_of("jsonb").of_known_source(), Value::Json(&list)), "{json}");
        }
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
        assert!(refuses(&of("varchar[]", 7), Value::Json(r#"["abcd"]"#)));
        assert!(refuses(&text, Value::Json("{}")));
        // An array that goes into a column of text, or of JSON, stays JSON.
        check(&Conversion::Plain, Value::Json("[1, 2]"), Some("[1, 2]"));
        check(&of("json", -1), Value::Json("[1, 2]"), Some("[1, 2]"));
    }
}
