//! Numbers: whether a type of MySQL holds all digits of one.
//!
//! Owns: reading a JSON number as an integer, and finding the numbers of a JSON text. Pure.

use ebb_sdk::Number;
use mysql_async::Value as Parameter;

/// No double needs more, and no integer of 64 bits.
pub(super) const EXPONENT_MAX: u32 = 400;

/// An integer of 64 bits, `1E+2` too; `None` where it is none, or has digits behind the point.
pub(super) fn integer(text: &str) -> Option<Parameter> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(Parameter::Int(number));
    }
    let number = Number::parse(text, EXPONENT_MAX)?;
    let zeros = usize::try_from(number.exponent).ok().filter(|zeros| *zeros < 20)?;
    let plain = format!("{}{}{:0<zeros$}", number.sign(), number.digits, "");
    plain.parse().map(Parameter::Int).or_else(|_| plain.parse().map(Parameter::UInt)).ok()
}

/// Whether two texts are the same number.
pub(super) fn is_same_number(a: &str, b: &str) -> bool {
    let a = Number::parse(a, EXPONENT_MAX);
    a.is_some() && a == Number::parse(b, EXPONENT_MAX)
}

/// Whether every number of a JSON text is an integer of 64 bits, or is what a double shows.
pub(super) fn is_exact_double(json: &str) -> bool {
    numbers(json).all(|number| {
        integer(number).is_some()
            || number
                .parse::<f64>()
                .is_ok_and(|double| double.is_finite() && is_same_number(&format!("{double:e}"), number))
    })
}

/// The numbers of a JSON text, wherever they stand outside of strings.
pub(super) fn numbers(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find(|letter: char| letter == '"' || letter == '-' || letter.is_ascii_digit())?;
            rest = &rest[start..];
            if let Some(string) = rest.strip_prefix('"') {
                rest = behind_string(string);
                continue;
            }
            let end = rest.find(|letter: char| !matches!(letter, '0'..='9' | '.' | 'e' | 'E' | '+' | '-'));
            let (number, behind) = rest.split_at(end.unwrap_or(rest.len()));
            rest = behind;
            return Some(number);
        }
    })
}

fn behind_string(text: &str) -> &str {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return &text[at + 1..],
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_in_every_spelling() {
        for (text, expected) in [
            ("0", Some(Parameter::Int(0))),
            ("-0", Some(Parameter::Int(0))),
            ("0.000", Some(Parameter::Int(0))),
            ("-9223372036854775808", Some(Parameter::Int(i64::MIN))),
            ("1.8446744073709551615E+19", Some(Parameter::UInt(u64::MAX))),
            ("100.00", Some(Parameter::Int(100))),
            ("1.5", None),
            ("1E+30", None),
            ("x", None),
        ] {
            assert_eq!(integer(text), expected, "{text}");
        }
    }

    #[test]
    fn doubles_that_show_what_was_meant() {
        for (json, expected) in [
            (
                r#"{"a": [1.10, -0.5, 1E+2, 5E-324, 1.7976931348623157e308], "b 1.23456789012345678901": "\" 0.1234567890123456789"}"#,
                true,
            ),
            ("0.1", true),
            ("0.12345678901234567", false),
            ("[1, 0.30000000000000004]", true),
            ("1e400", false),
            ("9007199254740993", true),
            ("9007199254740993.5", false),
            ("null", true),
        ] {
            assert_eq!(is_exact_double(json), expected, "{json}");
        }
    }
}
