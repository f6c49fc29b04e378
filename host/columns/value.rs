//! What a JSON value of a staged row is as a value of the sdk.
//!
//! Owns: the kinds of values. Does not own: reading a row (`row`), which column of the target a value belongs to
//! (`apply`, `verify`). Pure.

use ebb_sdk::{RowBuffer, Value};

/// What stands for a JSON null under the option `encode_json_value_null_as_object`.
const JSON_NULL: &str = "{\"__crdb_json_null__\":true}";

/// Appends a JSON value to a row.
pub fn push_value(rows: &mut RowBuffer, raw: &str) {
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
