//! The text of a SQL value as JSON, the way CockroachDB's changefeeds write it.
//!
//! Owns: numbers, strings, times, arrays, and JSON inside JSON. Does not own: the message around a row (`message`).

use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// How the text of a column is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Integer,
    Float,
    Decimal,
    String,
    Timestamp,
    TimestampTz,
    Json,
    Array(Box<Kind>),
}

/// The two spellings of one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    Spaced,
    /// No spaces, and what HTML might misread is escaped.
    Compact,
}

/// How a row is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoding {
    pub(crate) spelling: Spelling,
    /// JSON null is written as an object, so that it differs from SQL NULL.
    pub(crate) null_objects: bool,
}

impl Kind {
    /// From the names that `crdb_internal.kind` gives.
    pub(crate) fn parse(name: &str) -> Option<Kind> {
        if let Some(element) = name.strip_suffix("[]") {
            return Some(Kind::Array(Box::new(Kind::parse(element)?)));
        }
        Some(match name {
            "bool" => Kind::Bool,
            "integer" => Kind::Integer,
            "float" => Kind::Float,
            "decimal" => Kind::Decimal,
            "string" | "inet" => Kind::String,
            "timestamp" => Kind::Timestamp,
            "timestamptz" => Kind::TimestampTz,
            "json" => Kind::Json,
            _ => return None,
        })
    }
}

impl Spelling {
    pub(crate) fn comma(self) -> &'static str {
        if self == Spelling::Spaced { ", " } else { "," }
    }

    pub(crate) fn colon(self) -> &'static str {
        if self == Spelling::Spaced { ": " } else { ":" }
    }
}

pub(crate) fn value(out: &mut String, kind: &Kind, text: Option<&str>, encoding: Encoding) -> Result<(), String> {
    let Some(text) = text else {
        out.push_str("null");
        return Ok(());
    };
    let spelling = encoding.spelling;
    match kind {
        Kind::Bool => out.push_str(if text.starts_with('t') { "true" } else { "false" }),
        Kind::Integer => out.push_str(text),
        Kind::Float | Kind::Decimal if !text.contains(|c: char| c.is_ascii_digit()) => string(out, text, spelling),
        Kind::Float => out.push_str(&Decimal::parse_shortest(text)?.text()),
        Kind::Decimal => out.push_str(&Decimal::parse(text)?.text()),
        Kind::String => string(out, text, spelling),
        Kind::Timestamp => string(out, &timestamp(text, ""), spelling),
        Kind::TimestampTz => string(out, &timestamp(text, "Z"), spelling),
        Kind::Json if encoding.null_objects && text == "null" => {
            out.push_str(&format!("{{\"__crdb_json_null__\"{}true}}", spelling.colon()));
        }
        Kind::Json => json(out, text, spelling)?,
        Kind::Array(element) => array(out, element, text, encoding)?,
    }
    Ok(())
}

/// Control characters but the three with a short form are `\u00xx`.
pub(crate) fn string(out: &mut String, text: &str, spelling: Spelling) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&escape(c)),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if spelling == Spelling::Compact => {
                out.push_str(&escape(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn escape(c: char) -> String {
    format!("\\u{:04x}", c as u32)
}

/// Digits and a power of ten.
struct Decimal {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn parse(text: &str) -> Result<Decimal, String> {
        let (is_negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0').to_owned();
        let exponent: i64 = exponent.parse().map_err(|_| format!("{text:?} is no number"))?;
        Ok(Decimal { is_negative, digits, exponent: exponent - fraction.len() as i64 })
    }

    /// Of a float only the digits that tell it from its neighbours are known: no zero at the end counts.
    fn parse_shortest(text: &str) -> Result<Decimal, String> {
        let mut number = Decimal::parse(text)?;
        let significant = number.digits.trim_end_matches('0').len();
        number.exponent =
            if significant == 0 { 0 } else { number.exponent + (number.digits.len() - significant) as i64 };
        number.digits.truncate(significant);
        Ok(number)
    }

    /// Plain digits unless the number is an integer with an exponent or very small.
    fn text(&self) -> String {
        let digits = if self.digits.is_empty() { "0" } else { &self.digits };
        let sign = if self.is_negative { "-" } else { "" };
        let leading = self.exponent + digits.len() as i64 - 1;
        if self.exponent <= 0 && (leading >= -6 || self.digits.is_empty()) {
            let scale = self.exponent.unsigned_abs() as usize;
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            let point = if fraction.is_empty() { "" } else { "." };
            return format!("{sign}{whole}{point}{fraction}");
        }
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{point}{rest}E{leading:+}")
    }
}

/// PostgreSQL's `2024-01-31 10:00:00.5 BC` or `…+00`; years before Christ become negative.
fn timestamp(text: &str, zone: &str) -> String {
    match text {
        "infinity" => return format!("294277-01-01T23:59:59.999999{zone}"),
        "-infinity" => return format!("-4713-11-24T00:00:00{zone}"),
        _ => {}
    }
    let (text, is_bc) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let text = text.strip_suffix("+00").unwrap_or(text).replacen(' ', "T", 1);
    match text.split_once('-') {
        Some((year, rest)) if is_bc => {
            // The year before the year 1 is the year 0.
            let year = year.parse::<i64>().unwrap_or(1) - 1;
            format!("{}{year:04}-{rest}{zone}", if year > 0 { "-" } else { "" })
        }
        _ => text + zone,
    }
}

/// Keys sorted by bytes at every depth, numbers with their own digits.
fn json(out: &mut String, text: &str, spelling: Spelling) -> Result<(), String> {
    let failed = |error: serde_json::Error| format!("{text:?} is no JSON: {error}");
    match text.trim_start().as_bytes().first() {
        Some(b'{') => {
            let object: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(failed)?;
            out.push('{');
            for (index, (key, value)) in object.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { spelling.comma() });
                string(out, key, spelling);
                out.push_str(spelling.colon());
                json(out, value.get(), spelling)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let array: Vec<&RawValue> = serde_json::from_str(text).map_err(failed)?;
            out.push('[');
            for (index, value) in array.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { spelling.comma() });
                json(out, value.get(), spelling)?;
            }
            out.push(']');
        }
        Some(b'"') => string(out, &serde_json::from_str::<String>(text).map_err(failed)?, spelling),
        Some(b'-' | b'0'..=b'9') => out.push_str(&Decimal::parse(text.trim())?.text()),
        _ => out.push_str(text.trim()),
    }
    Ok(())
}

/// PostgreSQL's `{1,NULL,"a \"b\""}`.
fn array(out: &mut String, element: &Kind, text: &str, encoding: Encoding) -> Result<(), String> {
    let body = text.strip_prefix('{').and_then(|body| body.strip_suffix('}'));
    let body = body.ok_or_else(|| format!("stand-in: not supported: array {text:?}"))?;
    out.push('[');
    let mut characters = body.chars().peekable();
    let mut is_first = true;
    while characters.peek().is_some() {
        out.push_str(if is_first { "" } else { encoding.spelling.comma() });
        is_first = false;
        let (mut item, mut is_quoted) = (String::new(), false);
        while let Some(c) = characters.next().filter(|c| *c != ',') {
            match c {
                '{' => return Err(format!("stand-in: not supported: nested array {text:?}")),
                '"' => {
                    is_quoted = true;
                    while let Some(c) = characters.next().filter(|c| *c != '"') {
                        item.extend(if c == '\\' { characters.next() } else { Some(c) });
                    }
                }
                c => item.push(c),
            }
        }
        let is_null = !is_quoted && item.eq_ignore_ascii_case("null");
        value(out, element, (!is_null).then_some(item.as_str()), encoding)?;
    }
    out.push(']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACED: Encoding = Encoding { spelling: Spelling::Spaced, null_objects: false };

    fn check(kind: &str, text: &str, expected: &str) {
        let mut out = String::new();
        value(&mut out, &Kind::parse(kind).unwrap(), Some(text), SPACED).unwrap();
        assert_eq!(out, expected, "{kind} {text}");
    }

    #[test]
    fn floats_lose_zeros_to_an_exponent() {
        for (text, expected) in [
            ("1.5", "1.5"),
            ("1", "1"),
            ("123456", "123456"),
            ("100", "1E+2"),
            ("120", "1.2E+2"),
            ("1e+06", "1E+6"),
            ("1e+21", "1E+21"),
            ("1e-05", "0.00001"),
            ("1e-06", "0.000001"),
            ("1e-07", "1E-7"),
            ("-0", "-0"),
            ("0", "0"),
            ("5e-324", "5E-324"),
            ("1.7976931348623157e+308", "1.7976931348623157E+308"),
            ("NaN", "\"NaN\""),
            ("Infinity", "\"Infinity\""),
            ("-Infinity", "\"-Infinity\""),
        ] {
            check("float", text, expected);
        }
    }

    #[test]
    fn decimals_keep_their_scale() {
        for (text, expected) in [
            ("26.30", "26.30"),
            ("100.00", "100.00"),
            ("100", "100"),
            ("12345678901234567890.123456789", "12345678901234567890.123456789"),
            ("0.0000001", "1E-7"),
            ("0.000000000", "0.000000000"),
            ("-0.05", "-0.05"),
            ("NaN", "\"NaN\""),
        ] {
            check("decimal", text, expected);
        }
    }

    #[test]
    fn strings_are_escaped_as_little_as_needed() {
        check("string", "a\"b\\c\né", "\"a\\\"b\\\\c\\né\"");
        check("string", "\u{1}\u{7f}<>&😀", "\"\\u0001\u{7f}<>&😀\"");
        check("string", "\\x6869", "\"\\\\x6869\"");
        let mut out = String::new();
        string(&mut out, "<a>&\u{2028}", Spelling::Compact);
        assert_eq!(out, r#""\u003ca\u003e\u0026\u2028""#);
    }

    #[test]
    fn times() {
        check("timestamp", "2019-01-02 03:04:05", "\"2019-01-02T03:04:05\"");
        check("timestamptz", "2025-05-09 21:20:29.203923+00", "\"2025-05-09T21:20:29.203923Z\"");
        check("timestamp", "0044-03-15 00:00:00 BC", "\"-0043-03-15T00:00:00\"");
        check("timestamptz", "0001-01-01 00:00:00+00 BC", "\"0000-01-01T00:00:00Z\"");
    }

    #[test]
    fn json_is_nested_sorted_and_keeps_digits() {
        check("json", r#"{"b": 1, "a": [1.10, null], "A": "x/y"}"#, r#"{"A": "x/y", "a": [1.10, null], "b": 1}"#);
        check("json", r#"{"b":{},"a":[]}"#, r#"{"a": [], "b": {}}"#);
        check("json", "null", "null");
        let mut out = String::new();
        let objects = Encoding { spelling: Spelling::Spaced, null_objects: true };
        value(&mut out, &Kind::Json, Some("null"), objects).unwrap();
        assert_eq!(out, "{\"__crdb_json_null__\": true}");
    }

    #[test]
    fn arrays_encode_their_elements() {
        check("integer[]", "{1,NULL,3}", "[1, null, 3]");
        check("integer[]", "{}", "[]");
        check("string[]", r#"{sky,NULL,"NULL","a,b\"c{}",""}"#, r#"["sky", null, "NULL", "a,b\"c{}", ""]"#);
        check("bool[]", "{t,f}", "[true, false]");
        check("timestamptz[]", "{\"2025-05-09 21:20:29+00\"}", "[\"2025-05-09T21:20:29Z\"]");
        assert!(value(&mut String::new(), &Kind::parse("integer[]").unwrap(), Some("{{1},{2}}"), SPACED).is_err());
    }
}
