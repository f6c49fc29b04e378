//! From the text of a changefeed's JSON to the text that PostgreSQL's types take.
//!
//! Owns: the types whose texts differ, and what a cast would cut. Does not own: JSON and arrays (`json`), times (`time`), range
//! checks. Pure.

mod json;
mod time;

use std::borrow::Cow;

use ebb_sdk::{Number, Value, is_number, second_digits};

use crate::digits::{EXPONENT_MAX, decimals, integer, is_float4, is_float8, is_plain, is_special};
use crate::fit::Base;
pub(crate) use json::element;
use json::{JSON_TEXT, array, is_object_or_array, json_string};
use time::{NO_INTERVAL, NO_TIME, day, has_year, is_interval, moment, time, timestamp};

/// How the text of a column is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// As it came.
    Plain,
    /// As it came, if the whole of it fits: PostgreSQL cuts what is too long by spaces only.
    Varchar {
        chars_max: usize,
    },
    /// As it came, if the whole of it fits: PostgreSQL cuts the rest of a longer `name` or `"char"`.
    Name {
        bytes_max: usize,
    },
    /// Digits in hexadecimal behind `\x`; PostgreSQL would read anything else as an older spelling.
    Bytea,
    /// A JSON text: strings get their quotes back. Unless they are known to be of JSON at the source too, one that spells an
    /// object or an array may be meant as that.
    Json {
        is_known: bool,
    },
    /// A whole number in any spelling, without point and exponent. PostgreSQL takes a negative `oid` for a large one.
    Integer {
        is_signed: bool,
    },
    /// A number with so many digits behind the point.
    Decimal {
        scale: i64,
    },
    /// The same, also as the server writes it.
    Money {
        scale: i64,
    },
    /// A number of any length.
    Numeric,
    Float4,
    Float8,
    /// As it came, but no number: PostgreSQL would read its digits as something else.
    NoNumber,
    /// Digits 0 and 1. PostgreSQL would read `x1f` too.
    Bit,
    /// A time of day, without a zone where PostgreSQL would drop it.
    Time {
        digits: usize,
        has_zone: bool,
    },
    /// A day without a time, which PostgreSQL would cut.
    Date,
    /// `T` and `Z` are PostgreSQL's too, negative years are not.
    Timestamp {
        digits: usize,
        has_zone: bool,
    },
    Interval {
        digits: usize,
    },
    /// An interval that has lost some of its fields, or a row: no text is written to it.
    Closed,
    /// A JSON array, elements by their own conversion.
    Array(Box<Conversion>),
}

/// Why a type cannot hold a value, with the SQLSTATE that PostgreSQL has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: &'static str,
    pub(crate) text: &'static str,
}

const TOO_LONG: Reason = Reason { code: "22001", text: "value too long for the type of its column" };
const NO_BYTES: Reason = Reason { code: "22P02", text: "text where bytes of the form \\x6869 were expected" };
const NO_NUMBER: Reason = Reason { code: "22P02", text: "the text is not a number in its plain spelling" };
const A_NUMBER: Reason =
    Reason { code: "22P02", text: "a number, whose digits the column would read as something else" };
const NO_BITS: Reason = Reason { code: "22P02", text: "the value is not a text of the digits 0 and 1" };
const FRACTION: Reason = Reason { code: "22003", text: "an integer cannot hold digits behind the point" };
const CLOSED: Reason =
    Reason { code: "0A000", text: "ebb cannot write to a column of a row type, or of an interval with fields" };
const NUL: Reason = Reason { code: "22021", text: "a text of PostgreSQL cannot hold the character U+0000" };
/// The column would round the value. Whether it may is not said here.
pub(crate) const LOST: Reason = Reason { code: "22003", text: "the value has more digits than its column" };

const NAME_BYTES_MAX: usize = 63;
/// PostgreSQL adds this to the length of a varchar.
const MODIFIER_OFFSET: i32 = 4;
/// Every number of so many digits is a double of its own, or a float of four bytes.
const FLOAT8_DIGITS: usize = 15;
const FLOAT4_DIGITS: usize = 6;

impl Conversion {
    pub(crate) fn of(base: &Base) -> Self {
        if base.is_array {
            return Self::Array(Box::new(Self::of(&Base { is_array: false, ..base.clone() })));
        }
        let digits = base.second_digits();
        match (base.name.as_str(), base.kind) {
            (_, 'c') => Self::Closed,
            ("varchar", _) => match usize::try_from(base.modifier - MODIFIER_OFFSET) {
                Ok(chars_max) => Self::Varchar { chars_max },
                Err(_) => Self::Plain,
            },
            ("name", _) => Self::Name { bytes_max: NAME_BYTES_MAX },
            ("char", _) => Self::Name { bytes_max: 1 },
            ("bytea", _) => Self::Bytea,
            ("json" | "jsonb", _) => Self::Json { is_known: false },
            ("int2" | "int4" | "int8", _) => Self::Integer { is_signed: true },
            ("oid", _) => Self::Integer { is_signed: false },
            ("numeric", _) => base.scale().map_or(Self::Numeric, |scale| Self::Decimal { scale }),
            ("money", _) => Self::Money { scale: i64::from(base.modifier) },
            ("float4", _) => Self::Float4,
            ("float8", _) => Self::Float8,
            ("uuid" | "inet" | "cidr" | "macaddr" | "macaddr8" | "pg_lsn", _) => Self::NoNumber,
            ("bit" | "varbit", _) => Self::Bit,
            ("time", _) => Self::Time { digits, has_zone: false },
            ("timetz", _) => Self::Time { digits, has_zone: true },
            ("date", _) => Self::Date,
            ("timestamp", _) => Self::Timestamp { digits, has_zone: false },
            ("timestamptz", _) => Self::Timestamp { digits, has_zone: true },
            ("interval", _) if base.has_fields() => Self::Closed,
            ("interval", _) => Self::Interval { digits },
            _ => Self::Plain,
        }
    }

    /// The same for values whose type at the source was found to fit ([`Base::fit`]).
    pub(crate) fn of_known_source(self) -> Self {
        match self {
            Self::Json { .. } => Self::Json { is_known: true },
            Self::Array(element) => Self::Array(Box::new(element.of_known_source())),
            other => other,
        }
    }

    /// The text to send, `None` for NULL. The error is the reason why the type cannot hold the value. Where the column
    /// would round it, `is_lost` is set.
    pub(crate) fn text<'a>(&self, value: Value<'a>, is_lost: &mut bool) -> Result<Option<Cow<'a, str>>, Reason> {
        let Some(text) = value.text() else { return Ok(None) };
        *is_lost |= self.loses(value);
        let text = match (self, value) {
            (Self::Varchar { chars_max }, _) if text.len() > *chars_max && text.chars().count() > *chars_max => {
                return Err(TOO_LONG);
            }
            (Self::Name { bytes_max }, _) if text.len() > *bytes_max => return Err(TOO_LONG),
            (Self::Bytea, _) if !text.starts_with("\\x") => return Err(NO_BYTES),
            (Self::Json { is_known: false }, Value::String(text)) if is_object_or_array(text) => return Err(JSON_TEXT),
            (Self::Json { .. }, Value::String(text)) => json_string(text).into(),
            (Self::Closed, _) => return Err(CLOSED),
            (Self::Integer { is_signed }, _) => whole(value, text, *is_signed)?,
            (Self::Numeric | Self::Decimal { .. } | Self::Float4 | Self::Float8, Value::String(text))
                if !is_special(text) && !is_number(text) =>
            {
                return Err(NO_NUMBER);
            }
            (Self::Bit, _)
                if matches!(value, Value::Number(_)) || !text.bytes().all(|bit| matches!(bit, b'0' | b'1')) =>
            {
                return Err(NO_BITS);
            }
            (
                Self::NoNumber | Self::Time { .. } | Self::Date | Self::Timestamp { .. } | Self::Interval { .. },
                Value::Number(_),
            ) => return Err(A_NUMBER),
            (Self::Time { has_zone, .. }, Value::String(text)) => time(text, *has_zone)?,
            (Self::Date | Self::Timestamp { .. }, Value::String(text)) if !has_year(text) => return Err(NO_TIME),
            (Self::Date, Value::String(text)) => day(text)?,
            (Self::Timestamp { has_zone, .. }, Value::String(text)) => moment(text, *has_zone)?,
            (Self::Interval { .. }, Value::String(text)) if !is_interval(text) => return Err(NO_INTERVAL),
            (Self::Array(element), Value::Json(text)) => array(element, text, is_lost)?.into(),
            _ => Cow::Borrowed(text),
        };
        match text.contains('\0') {
            true => Err(NUL),
            false => Ok(Some(text)),
        }
    }

    /// Whether the column rounds the value. Zeros at the end are not lost, and what is beyond the range of a float the
    /// server refuses.
    fn loses(&self, value: Value<'_>) -> bool {
        let (Value::Number(text) | Value::String(text)) = value else { return false };
        match self {
            Self::Decimal { scale } | Self::Money { scale } => decimals(text).is_some_and(|digits| digits > *scale),
            Self::Float4 => is_rounded(text, FLOAT4_DIGITS, is_float4) && text.parse().is_ok_and(f32::is_finite),
            Self::Float8 => is_rounded(text, FLOAT8_DIGITS, is_float8) && text.parse().is_ok_and(f64::is_finite),
            Self::Time { digits, .. } | Self::Interval { digits } => second_digits(text) > *digits,
            // An infinite one has its digits at the source only.
            Self::Timestamp { digits, .. } => second_digits(&timestamp(text)) > *digits,
            _ => false,
        }
    }
}

fn is_rounded(text: &str, digits_max: usize, is_kept: fn(&str, &Number) -> bool) -> bool {
    if text.len() <= digits_max && !text.contains(['e', 'E']) {
        return false;
    }
    Number::parse(text, EXPONENT_MAX).is_some_and(|number| !is_kept(text, &number))
}

fn whole<'a>(value: Value<'_>, text: &'a str, is_signed: bool) -> Result<Cow<'a, str>, Reason> {
    let is_plain_integer = is_plain(text) && !text.contains('.');
    let text = match value {
        _ if is_plain_integer => Cow::Borrowed(text),
        Value::Number(text) => integer(text).ok_or(FRACTION)?.into(),
        Value::String(_) => return Err(NO_NUMBER),
        _ => Cow::Borrowed(text),
    };
    match !is_signed && text.starts_with('-') {
        true => Err(A_NUMBER),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn check(conversion: &Conversion, value: Value<'_>, expected: Option<&str>) {
        assert_eq!(conversion.text(value, &mut false).unwrap().as_deref(), expected, "{value:?}");
    }

    pub(super) fn of(name: &str, modifier: i32) -> Conversion {
        let (name, is_array) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
        Conversion::of(&Base { name: name.into(), modifier, is_array, kind: 'b' })
    }

    pub(super) fn array_of(element: &str) -> Conversion {
        of(&format!("{element}[]"), -1)
    }

    pub(super) fn refuses(conversion: &Conversion, value: Value<'_>) -> bool {
        conversion.text(value, &mut false).is_err()
    }

    #[test]
    fn what_a_cast_would_cut_is_refused() {
        let three = of("varchar", 7);
        check(&three, Value::String("äöü"), Some("äöü"));
        assert!(refuses(&three, Value::String("abc ")));
        check(&of("varchar", -1), Value::String("abcdef"), Some("abcdef"));
        assert!(refuses(&of("name", -1), Value::String(&"n".repeat(64))));
        assert!(refuses(&of("char", -1), Value::String("ab")));
        assert!(refuses(&Conversion::Bytea, Value::String("hi")));
        check(&Conversion::Bytea, Value::String("\\x"), Some("\\x"));
        assert!(refuses(&Conversion::Plain, Value::String("a\0")));
        assert!(refuses(&array_of("text"), Value::Json(r#"["a\u0000"]"#)));
    }

    #[test]
    fn nothing_is_read_in_another_sense() {
        for (name, json, taken) in [
            ("int4", Value::Number("1E+2"), Some("100")),
            ("int4", Value::Number("7.0"), Some("7")),
            ("int4", Value::Number("7.5"), None),
            ("int4", Value::String("0x10"), None),
            ("int4", Value::String("0101"), None),
            ("oid", Value::Number("-1"), None),
            ("numeric", Value::String("1.50"), Some("1.50")),
            ("numeric", Value::String("0x1F"), None),
            ("bit", Value::Number("10"), None),
            ("varbit", Value::String("x1f"), None),
            ("date", Value::String("70-01-02"), None),
            ("date", Value::String("700102"), None),
            ("date", Value::Number("20160125"), None),
            ("date", Value::String("today"), None),
            ("timestamp", Value::String("now"), None),
            ("time", Value::String("now"), None),
            ("timetz", Value::String("10"), None),
            ("uuid", Value::Number("12345678901234567890123456789012"), None),
            ("interval", Value::Number("5"), None),
        ] {
            let text = of(name, -1).text(json, &mut false);
            assert_eq!(text.ok().flatten().as_deref(), taken, "{name} {json:?}");
        }
        let row = Conversion::of(&Base { name: "pair".into(), modifier: -1, is_array: false, kind: 'c' });
        assert!(refuses(&row, Value::String("(1,2)")));
    }

    #[test]
    fn lost_digits_are_seen() {
        for (name, modifier, json, expected) in [
            ("numeric", (6 << 16) + 6, Value::Number("1.005"), true),
            ("numeric", (6 << 16) + 6, Value::Number("1.500"), false),
            ("numeric", (6 << 16) + 6, Value::String("1.005"), true),
            ("numeric", -1, Value::Number("1.005"), false),
            // Scale -2 of version 15.
            ("numeric", (6 << 16) + 2046 + 4, Value::Number("150"), true),
            ("numeric", (6 << 16) + 2046 + 4, Value::Number("1500"), false),
            ("money", 0, Value::Number("12.5"), true),
            ("money", 2, Value::Number("1.50"), false),
            ("float8", -1, Value::Number("9007199254740993"), true),
            ("float8", -1, Value::Number("0.1"), false),
            ("float4", -1, Value::Number("1.100000023841858"), false),
            ("float4", -1, Value::Number("16777217"), true),
            ("timestamp", 3, Value::String("2016-01-25T15:10:10.1239"), true),
            ("timestamp", 3, Value::String("2016-01-25T15:10:10.120000"), false),
            ("timestamptz", 0, Value::String("2016-01-25T15:10:10.5Z"), true),
            ("timestamptz", 0, Value::String("294277-01-01T23:59:59.999999Z"), false),
            ("time", 0, Value::String("10:00:00.1"), true),
            ("interval", 0x7fff << 16, Value::String("00:00:00.5"), true),
            ("timestamp[]", 0, Value::Json("[\"2016-01-25T15:10:10.5\"]"), true),
            ("numeric[]", (6 << 16) + 6, Value::Json("[1, 1.005]"), true),
        ] {
            let mut is_lost = false;
            of(name, modifier).text(json, &mut is_lost).unwrap();
            assert_eq!(is_lost, expected, "{name} {modifier} {json:?}");
        }
    }
}
