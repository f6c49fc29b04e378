//! Which values a column of a primary key takes: those that no other value of the source is equal to there, so that every row
//! is found again by the key that it came with.
//!
//! Owns: the one spelling per value that each type admits. Does not own: values of other columns (`values`), and letters
//! that a collation takes for the same (`statement`). Pure.

mod spelling;

use ebb_sdk::{Number, Value};
use serde_json::value::RawValue;

use crate::digits::{EXPONENT_MAX, is_digits, is_float4, is_float8, is_plain, is_special};
use crate::fit::Base;
use crate::values::{Reason, element};
use spelling::{is_address, is_clock, is_day, is_endless, is_hex, is_interval, is_lsn_part, is_moment, is_offset};

/// How the values of a key column must look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyForm {
    /// No simple rule tells values apart as the type does; see `not_writable`.
    None,
    Text,
    /// Blanks at the end do not count.
    Padded,
    Bytes,
    Bool,
    Integer,
    /// Digits behind the point; negative where even some before it are lost.
    Decimal {
        scale: Option<i64>,
    },
    Float4,
    Float8,
    Date,
    Time {
        digits: usize,
    },
    TimeTz {
        digits: usize,
    },
    Timestamp {
        digits: usize,
        has_zone: bool,
    },
    Interval {
        digits: usize,
    },
    Uuid,
    Inet,
    /// As many groups of two hexadecimal digits.
    Macaddr {
        groups: usize,
    },
    Bit {
        length: Option<usize>,
    },
    Lsn,
    Array(Box<KeyForm>),
}

impl KeyForm {
    pub(crate) fn of(base: &Base) -> Self {
        if base.is_array {
            return match Self::of(&Base { is_array: false, ..base.clone() }) {
                Self::None => Self::None,
                element => Self::Array(Box::new(element)),
            };
        }
        let digits = base.second_digits();
        match (base.name.as_str(), base.kind) {
            (_, 'e') | ("text" | "citext" | "varchar" | "name" | "char" | "ltree", _) => Self::Text,
            ("bpchar", _) => Self::Padded,
            ("bytea", _) => Self::Bytes,
            ("bool", _) => Self::Bool,
            ("int2" | "int4" | "int8" | "oid", _) => Self::Integer,
            ("numeric", _) => Self::Decimal { scale: base.scale() },
            ("money", _) => Self::Decimal { scale: Some(i64::from(base.modifier)) },
            ("float4", _) => Self::Float4,
            ("float8", _) => Self::Float8,
            ("date", _) => Self::Date,
            ("time", _) => Self::Time { digits },
            ("timetz", _) => Self::TimeTz { digits },
            ("timestamp", _) => Self::Timestamp { digits, has_zone: false },
            ("timestamptz", _) => Self::Timestamp { digits, has_zone: true },
            ("interval", _) if !base.has_fields() => Self::Interval { digits },
            ("uuid", _) => Self::Uuid,
            ("inet" | "cidr", _) => Self::Inet,
            ("macaddr", _) => Self::Macaddr { groups: 6 },
            ("macaddr8", _) => Self::Macaddr { groups: 8 },
            ("bit", _) => Self::Bit { length: usize::try_from(base.modifier).ok() },
            ("varbit", _) => Self::Bit { length: None },
            ("pg_lsn", _) => Self::Lsn,
            _ => Self::None,
        }
    }

    /// Whether a value is the only one of the source that this key is equal to.
    pub(crate) fn check(&self, value: Value<'_>) -> Result<(), Reason> {
        let takes = match (self, value) {
            // NOT NULL refuses it.
            (_, Value::Null) => true,
            (Self::Array(form), Value::Json(text)) => return form.check_elements(text),
            (Self::Text | Self::Padded, Value::Bool(_)) | (Self::Bool, Value::Bool(_)) => true,
            (Self::Text | Self::Padded, Value::Number(text)) => is_plain(text),
            (Self::Text, Value::String(_)) => true,
            (Self::Padded, Value::String(text)) => !text.ends_with(' '),
            (Self::Bool, Value::Number(text)) => matches!(text, "0" | "1"),
            (Self::Bool, Value::String(text)) => matches!(text, "true" | "false"),
            (_, Value::Number(text)) => self.takes_number(text),
            (_, Value::String(text)) => match self.is_number() {
                true => is_special(text) && self.takes_special() || is_plain(text) && self.takes_number(text),
                false => self.takes_text(text),
            },
            _ => false,
        };
        if takes { Ok(()) } else { Err(AMBIGUOUS) }
    }

    fn check_elements(&self, json: &str) -> Result<(), Reason> {
        let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(json) else { return Err(AMBIGUOUS) };
        parts.iter().try_for_each(|part| element(part.get(), |value| self.check(value))?)
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Integer | Self::Decimal { .. } | Self::Float4 | Self::Float8)
    }

    fn takes_special(&self) -> bool {
        !matches!(self, Self::Integer)
    }

    /// Whether the column holds exactly this number.
    fn takes_number(&self, text: &str) -> bool {
        // The most common key of all need not be taken apart.
        if matches!(self, Self::Integer) && is_digits(text) {
            return true;
        }
        let Some(number) = Number::parse(text, EXPONENT_MAX) else { return false };
        match self {
            Self::Integer => number.exponent >= 0,
            Self::Decimal { scale } => scale.is_none_or(|scale| number.digits == "0" || -number.exponent <= scale),
            Self::Float4 => is_float4(text, &number),
            Self::Float8 => is_float8(text, &number),
            _ => false,
        }
    }

    /// Whether a text is the one spelling of its value.
    fn takes_text(&self, text: &str) -> bool {
        match self {
            Self::Bytes => text.strip_prefix("\\x").is_some_and(|digits| digits.len() % 2 == 0 && is_hex(digits)),
            Self::Date => is_day(text.strip_suffix(" BC").unwrap_or(text), 4..=7) || is_endless(text),
            Self::Time { digits } => is_clock(text, *digits),
            Self::TimeTz { digits } => {
                text.find(['+', '-']).is_some_and(|at| is_clock(&text[..at], *digits) && is_offset(&text[at + 1..]))
            }
            Self::Timestamp { digits, has_zone } => is_moment(text, *digits, *has_zone),
            Self::Interval { digits } => is_interval(text, *digits),
            Self::Uuid => {
                let groups: Vec<_> = text.split('-').map(|group| if is_hex(group) { group.len() } else { 0 }).collect();
                groups == [8, 4, 4, 4, 12]
            }
            Self::Inet => is_address(text),
            Self::Macaddr { groups } => {
                text.split(':').count() == *groups && text.split(':').all(|group| group.len() == 2 && is_hex(group))
            }
            Self::Bit { length } => {
                length.is_none_or(|length| length == text.len()) && text.bytes().all(|bit| matches!(bit, b'0' | b'1'))
            }
            Self::Lsn => text.split_once('/').is_some_and(|(high, low)| is_lsn_part(high) && is_lsn_part(low)),
            _ => false,
        }
    }
}

pub(crate) const AMBIGUOUS: Reason = Reason {
    code: "22000",
    text: "as a key the column cannot tell this value from others, or would hold another one: a key must convert one to one",
};

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str, modifier: i32) -> KeyForm {
        let (name, is_array) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
        KeyForm::of(&Base { name: name.into(), modifier, is_array, kind: 'b' })
    }

    fn value(json: &str) -> Value<'_> {
        match json.as_bytes()[0] {
            b'"' => Value::String(&json[1..json.len() - 1]),
            b't' => Value::Bool(true),
            b'[' | b'{' => Value::Json(json),
            _ => Value::Number(json),
        }
    }

    /// Type, modifier, values that are the only ones of their kind, values that are not; none of them has a blank at an end.
    const CASES: &[(&str, i32, &str, &str)] = &[
        ("text", -1, r#" "007" | true | 12 | -1.5 "#, r#" 1.50 | 1E+2 | -0 | [1] | {"a":1} "#),
        ("bpchar", 9, r#" "ab" | "" | 7 "#, r#" "ab " "#),
        ("bool", -1, r#" true | 0 | 1 | "true" | "false" "#, r#" 2 | "t" | "TRUE" | "1" "#),
        (
            "int8",
            -1,
            r#" 7 | 1E+2 | 7.0 | -7 | "7" | "-7" | "0" "#,
            r#" 7.5 | "+1" | "007" | " 1" | "1.0" | "-0" | "1E+2" "#,
        ),
        ("oid", -1, r#" 7 | "7" "#, r#" "0x7" "#),
        (
            "numeric",
            (6 << 16) + 2 + 4,
            r#" 1.5 | 1.50 | 1.5000 | 1E+2 | 0.000 | "1.5" | "NaN" "#,
            r#" 1.005 | 1E-3 | "1.50" | "1E+2" | ".5" | "0x1F" | "nan" "#,
        ),
        ("numeric", -1, r#" 1.005 | 1E-3 | 123456789012345678901234567890.5 "#, r#" "1_000" "#),
        ("money", 2, r#" 12.50 | 12 | "12.5" "#, r#" 12.505 | "$12.50" | "1,000" "#),
        (
            "float8",
            -1,
            r#" 0.1 | 5E-324 | 1E+300 | -0 | "NaN" | "0.1" "#,
            r#" 0.10000000000000001 | 9007199254740993 | "1e2" | 1E+400 "#,
        ),
        ("float4", -1, r#" 0.1 | 1.100000023841858 | 16777216 "#, r#" 0.1234567890123 | 16777217 "#),
        ("bytea", -1, r#" "\x" | "\x6a" "#, r#" "\x6A" | "\x6" | "6a" | 1 "#),
        (
            "date",
            -1,
            r#" "2016-01-25" | "0044-03-15 BC" | "12345-01-01" | "infinity" "#,
            r#" "16-01-25" | "2016-1-25" | "02016-01-25" | "now" | "2016-01-25T00:00:00" | "20160125" | 20160125 "#,
        ),
        (
            "time",
            0,
            r#" "10:00:00" | "24:00:00" "#,
            r#" "10:00:00.1" | "10:00" | "10:00:60" | "1:00:00" | "10:00:00.0" "#,
        ),
        ("time", -1, r#" "10:00:00.123456" "#, r#" "10:00:00.1234567" | "10:00:00+00" "#),
        (
            "timetz",
            -1,
            r#" "03:04:05+00" | "03:04:05.5-15:59:59" "#,
            r#" "03:04:05" | "03:04:05+00:00" | "03:04:05Z" "#,
        ),
        (
            "timestamp",
            3,
            r#" "2016-01-25T10:10:10.5" | "-0043-03-15T00:00:00" | "0000-01-01T00:00:00" "#,
            r#" "2016-01-25T10:10:10.1239" | "2016-01-25 10:10:10" | "2016-01-25T10:10:10Z" | "2016-01-25T10:10:10.50"
             | "294277-01-01T23:59:59.999999" | "-4713-11-24T00:00:00" | "-0000-01-01T00:00:00" | "2016-01-25T24:00:00" "#,
        ),
        ("timestamptz", -1, r#" "2016-01-25T10:10:10Z" "#, r#" "2016-01-25T10:10:10" | "2016-01-25T10:10:10+00" "#),
        (
            "interval",
            -1,
            r#" "00:00:00" | "1 mon" | "-1 days +02:00:00" | "-01:00:00" | "1 year 2 mons 3 days 04:05:06.789" | "100:00:00"
             | "-1 years +2 mons" "#,
            r#" "" | "1 mons" | "13 mons" | "1 days" | "1 day 00:00:00" | "0 days" | "-1 days 02:00:00" | "+01:00:00" | "1:00:00"
             | "00:60:00" | "1 day 1 mon" | "P1D" | "-00:00:00" "#,
        ),
        ("interval", 0x7fff << 16, r#" "00:00:01" "#, r#" "00:00:01.5" "#),
        (
            "uuid",
            -1,
            r#" "7f9c24e8-3b12-4fef-91e0-56a2d5a246ec" "#,
            r#" "7F9C24E8-3b12-4fef-91e0-56a2d5a246ec" | "7f9c24e83b124fef91e056a2d5a246ec" | 7 "#,
        ),
        (
            "inet",
            -1,
            r#" "10.1.2.3" | "10.1.2.3/8" | "::1" | "::ffff:1.2.3.4" "#,
            r#" "10.1.2.3/32" | "::0" | "::A" | "10.1/16" "#,
        ),
        ("macaddr", -1, r#" "08:00:2b:01:02:03" "#, r#" "08-00-2b-01-02-03" | "08:00:2B:01:02:03" | "08002b010203" "#),
        ("bit", 4, r#" "0101" "#, r#" "101" | "00101" | 1010 | "x5" "#),
        ("varbit", -1, r#" "0101" | "101" | "" "#, r#" 101 | "b101" "#),
        ("pg_lsn", -1, r#" "16/B374D848" | "0/0" "#, r#" "16/b374d848" | "016/0" "#),
        ("int8[]", -1, "[1, 2] | [] | [null]", r#" [1, "007"] | "{1}" "#),
    ];

    #[test]
    fn one_spelling_per_value() {
        let list = |text: &'static str| text.split('|').map(str::trim).filter(|json| !json.is_empty());
        for &(name, modifier, taken, refused) in CASES {
            for json in list(taken) {
                assert_eq!(form(name, modifier).check(value(json)), Ok(()), "{name} {json}");
            }
            for json in list(refused) {
                assert_eq!(form(name, modifier).check(value(json)), Err(AMBIGUOUS), "{name} {json}");
            }
        }
    }

    #[test]
    fn types_of_many_spellings_are_no_keys() {
        for name in ["jsonb", "int4range", "tsvector", "xml", "point", "hstore", "jsonb[]"] {
            assert_eq!(form(name, -1), KeyForm::None, "{name}");
        }
        let fields = Base { name: "interval".into(), modifier: 0x0004_ffff, is_array: false, kind: 'b' };
        assert_eq!(KeyForm::of(&fields), KeyForm::None);
    }
}
