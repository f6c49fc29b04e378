//! A value of a key in the one spelling that all equal values have.
//!
//! Owns: strings and numbers. Does not own: keys as arrays (`receive/payload`, `tables/key`). Pure.

use std::borrow::Cow;

use ebb_sdk::Number;
use serde_json::value::RawValue;

/// A value of a key in its one spelling.
///
/// # Errors
/// When a string is not well-formed.
pub fn canonical_value(value: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    match value.get().as_bytes().first() {
        Some(b'"') => {
            let unescaped: String = serde_json::from_str(value.get())?;
            Ok(serde_json::Value::from(unescaped).to_string().into())
        }
        Some(b'-' | b'0'..=b'9') => Ok(canonical_number(value.get())),
        _ => Ok(value.get().into()),
    }
}

/// No number of CockroachDB has an exponent beyond this; such a text stays as it is.
const EXPONENT_MAX: u32 = 1_000_000;
/// Longest number that is written without an exponent.
const PLAIN_DIGITS_MAX: usize = 40;

/// A JSON number in the one spelling that all equal numbers have: plain digits, or of very large and very small ones all
/// digits but zeros at the ends, with an exponent.
fn canonical_number(text: &str) -> Cow<'_, str> {
    let is_plain = text != "-0" && text.len() <= PLAIN_DIGITS_MAX && !text.contains(['.', 'e', 'E']);
    if is_plain {
        return text.into();
    }
    let Some(number) = Number::parse(text, EXPONENT_MAX) else { return text.into() };
    let (sign, digits, exponent) = (number.sign(), &number.digits, number.exponent);
    let zeros = usize::try_from(exponent).unwrap_or_default();
    let behind_point = usize::try_from(-exponent).unwrap_or_default();
    if digits.len() + zeros > PLAIN_DIGITS_MAX || behind_point > PLAIN_DIGITS_MAX {
        return format!("{sign}{digits}E{exponent}").into();
    }
    let padded = format!("{digits:0>width$}{:0<zeros$}", "", width = behind_point + 1);
    let (whole, fraction) = padded.split_at(padded.len() - behind_point);
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}").into()
}
