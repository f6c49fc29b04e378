//! Which types of the source a column can hold, so that a start can say what would be refused later.
//!
//! Owns: the rules. Does not own: the values themselves (`values`), which are refused one by one all the same. Pure.

use ebb_sdk::Family::{
    Array, Bit, Bool, Bytes, Date, Decimal, Enum, Float, Geometry, Inet, Int, Interval, Json, Other, String as Text,
    Time, TimeTz, Timestamp, TimestampTz, Uuid, Vector,
};
use ebb_sdk::{Fit, SourceType};

use crate::keys::KeyForm;

/// A column's type without its domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// As `pg_type` names it; of an array the type of its elements.
    pub(crate) name: String,
    /// Length or precision as `pg_attribute` has it, -1 for none; of a money the digits behind the point.
    pub(crate) modifier: i32,
    pub(crate) is_array: bool,
    /// What `pg_type` calls the type of the type: `b` for base, `c` composite, `e` enum, `r` range and so on.
    pub(crate) kind: char,
}

/// PostgreSQL adds this to most modifiers.
const OFFSET: i32 = 4;
const MICROSECONDS: usize = 6;
/// In the upper half of the modifier of an interval.
const EVERY_FIELD: i32 = 0x7fff;

impl Base {
    /// The digits of seconds behind the point that a type of time keeps.
    pub(crate) fn second_digits(&self) -> usize {
        let given = if self.name == "interval" { self.modifier & 0xffff } else { self.modifier };
        usize::try_from(given).unwrap_or(MICROSECONDS).min(MICROSECONDS)
    }

    /// An interval that keeps only some of its fields, as `interval year to month`.
    pub(crate) fn has_fields(&self) -> bool {
        self.name == "interval" && self.modifier >= 0 && self.modifier >> 16 != EVERY_FIELD
    }

    /// The digits of a `numeric` behind the point, negative where even some before it are lost.
    pub(crate) fn scale(&self) -> Option<i64> {
        let modifier = i64::from(self.modifier - OFFSET);
        (modifier >= 0).then_some(((modifier & 0x7ff) ^ 1024) - 1024)
    }

    /// Of a key not even digits behind the point may be lost: two rows could become one.
    pub(crate) fn fit(&self, source: &SourceType, is_key: bool) -> Fit {
        if self.is_array {
            return match (&source.element, source.family) {
                (Some(element), _) => Self { is_array: false, ..self.clone() }.fit(element, is_key),
                (None, Array) => Fit::Full,
                (None, Text | Json | Other) => only("texts in PostgreSQL's spelling of an array"),
                _ => never("the column is an array"),
            };
        }
        if self.kind == 'c' || self.has_fields() {
            return never("ebb cannot write to a row type, or to an interval with fields");
        }
        match self.value(source) {
            fit if !is_key => fit,
            fit => self.key(source, fit),
        }
    }

    fn value(&self, source: &SourceType) -> Fit {
        let limit = u64::try_from(self.modifier - OFFSET).ok();
        match self.name.as_str() {
            "text" | "citext" => Fit::Full,
            "varchar" | "bpchar" => chars(source, limit),
            "name" => chars(source, Some(63)),
            "char" => chars(source, Some(1)),
            "json" | "jsonb" if matches!(source.family, Text | Vector | Other) => never(
                "a text that spells JSON may be meant as that or as a string; convert the source's column to JSONB (ALTER TABLE … \
                 ALTER COLUMN … TYPE JSONB), or the target's to text",
            ),
            "json" | "jsonb" => Fit::Full,
            "int2" | "int4" | "int8" | "oid" => self.integer(source),
            "numeric" => self.numeric(source),
            "money" => money(source, i64::from(self.modifier)),
            "float4" => self.float(source, 4, 2),
            "float8" => self.float(source, 8, 4),
            _ => self.rounding_seconds(source, self.plain(source)),
        }
    }

    /// What of the values that the column takes is refused in a key (`keys`). That an endless moment is refused there too is
    /// not worth a word about every such column.
    fn key(&self, source: &SourceType, fit: Fit) -> Fit {
        let is_text = matches!(source.family, Text | Enum | Json | Other);
        let form = KeyForm::of(self);
        match (&form, fit) {
            (KeyForm::None, _) => never("values that differ at the source may be equal to it"),
            (_, Fit::Incompatible(why)) => Fit::Incompatible(why),
            // Of JSON the number 1 and the text "1" would be one.
            (KeyForm::Text | KeyForm::Padded, _) if matches!(source.family, Array | Geometry | Json) => {
                never("keys that differ at the source may be spelled alike, and one key in more than one way")
            }
            (KeyForm::Text | KeyForm::Padded, _) if matches!(source.family, Decimal | Float) => {
                only("numbers without an exponent and without a zero behind their last digit")
            }
            (KeyForm::Padded, _) if is_text => only("texts without a blank at the end"),
            (KeyForm::Text | KeyForm::Padded, fit) => fit,
            (_, _) if is_text => only(&format!("texts that spell a {} as CockroachDB does", self.name)),
            (KeyForm::Date | KeyForm::Timestamp { .. } | KeyForm::TimeTz { .. }, _) if !self.is_own(source) => {
                never(&format!("as a key it takes only what CockroachDB calls a {}", self.name))
            }
            (_, Fit::Rounds(why)) => Fit::Partial(format!("{why}; a key that loses some is refused")),
            (_, fit) => fit,
        }
    }

    /// Of types of time: the source has the same.
    fn is_own(&self, source: &SourceType) -> bool {
        matches!(
            (self.name.as_str(), source.family),
            ("date", Date) | ("timetz", TimeTz) | ("timestamp", Timestamp) | ("timestamptz", TimestampTz)
        )
    }

    fn integer(&self, source: &SourceType) -> Fit {
        let bytes: u64 = match self.name.as_str() {
            "int2" => 2,
            "int8" => 8,
            _ => 4,
        };
        match source.family {
            Int if self.name != "oid" && source.size_max.unwrap_or(8) <= bytes => Fit::Full,
            Int => only(&format!("integers in the range of {}", self.name)),
            Decimal | Float => only("numbers without digits behind the point"),
            Text | Enum | Json | Other => only("texts that are integers"),
            _ => never("the column is an integer"),
        }
    }

    fn numeric(&self, source: &SourceType) -> Fit {
        let modifier = i64::from(self.modifier - OFFSET);
        let scale = self.scale();
        let whole_digits = scale.and_then(|scale| u64::try_from((modifier >> 16) - scale).ok());
        let (needs, digits) = match source.family {
            Int => (Some(if source.size_max.unwrap_or(8) == 8 { 19 } else { 10 }), Some(0)),
            Decimal => (source.size_max.map(|digits| digits - source.scale.unwrap_or(0)), source.scale),
            Float | Text | Enum | Json | Other => (None, None),
            _ => return never("the column is a number"),
        };
        let is_text = matches!(source.family, Text | Enum | Json | Other);
        let fit = match (whole_digits, needs) {
            _ if is_text => only("texts that are numbers"),
            (Some(has), Some(needs)) if needs > has => only(&format!("numbers of up to {has} digits before the point")),
            (Some(has), None) => only(&format!("numbers of up to {has} digits before the point")),
            _ => Fit::Full,
        };
        let is_lost =
            |scale: &i64| digits.and_then(|digits| i64::try_from(digits).ok()).is_none_or(|digits| digits > *scale);
        match scale.filter(is_lost) {
            Some(scale) => rounds(fit, &format!("only {scale} digits behind the point are kept")),
            None => fit,
        }
    }

    /// A float of these bytes takes every integer of up to so many.
    fn float(&self, source: &SourceType, bytes: u64, exact_bytes: u64) -> Fit {
        let is_within = |bytes: u64| source.size_max.is_some_and(|size| size <= bytes);
        let lost = format!("digits that a {} has no room for are lost", self.name);
        match source.family {
            Float if bytes == 8 || is_within(bytes) => Fit::Full,
            Int if is_within(exact_bytes) => Fit::Full,
            Int | Decimal | Float => rounds(only(&format!("numbers in the range of a {}", self.name)), &lost),
            Text | Enum | Json | Other => rounds(only("texts that are numbers"), &lost),
            _ => never("the column is a number"),
        }
    }

    fn rounding_seconds(&self, source: &SourceType, fit: Fit) -> Fit {
        let is_time = matches!(self.name.as_str(), "time" | "timetz" | "timestamp" | "timestamptz" | "interval");
        let is_lost = |digits: usize| source.second_digits().is_none_or(|most| most > digits as u64);
        match self.second_digits() {
            digits if is_time && digits < MICROSECONDS && is_lost(digits) => {
                rounds(fit, &format!("only {digits} digits of a second behind the point are kept"))
            }
            _ => fit,
        }
    }

    /// Types whose texts PostgreSQL reads as a whole.
    fn plain(&self, source: &SourceType) -> Fit {
        use Fit::Full;
        let is_text = matches!(source.family, Text | Enum | Json | Other);
        match (self.name.as_str(), source.family) {
            ("bool", Bool)
            | ("bytea", Bytes)
            | ("uuid", Uuid)
            | ("date", Date)
            | ("time", Time)
            | ("timetz", Time | TimeTz)
            | ("timestamp" | "timestamptz", Date | Timestamp | TimestampTz)
            | ("interval", Interval | Time)
            | ("inet", Inet)
            | ("varbit", Bit)
            | ("geometry" | "geography", Geometry)
            | ("vector", Vector) => match (self.name.as_str(), u64::try_from(self.modifier).ok(), source.size_max) {
                ("varbit", Some(limit), size) if size.is_none_or(|size| size > limit) => {
                    only(&format!("bit strings of up to {limit} bits"))
                }
                _ => Full,
            },
            ("bool", Int) => only("0 and 1"),
            ("date", Timestamp | TimestampTz) => only("times of midnight"),
            ("cidr", Inet) => only("networks"),
            ("bit", Bit) => match u64::try_from(self.modifier).ok() {
                Some(length) if source.size_max == Some(length) => Full,
                length => only(&format!("bit strings of exactly {} bits", length.unwrap_or(1))),
            },
            ("time", TimeTz) => never("a time without a zone would lose the zone"),
            (_, _) if is_text => only(&format!("texts that are a {}", self.name)),
            (
                "bool" | "bytea" | "uuid" | "date" | "time" | "timetz" | "timestamp" | "timestamptz" | "interval"
                | "inet" | "cidr" | "macaddr" | "bit" | "varbit" | "geometry" | "geography" | "vector",
                _,
            ) => never(&format!("the column is a {}", self.name)),
            // What ebb does not know the server may read.
            _ => only(&format!("values that the server reads as a {}", self.name)),
        }
    }
}

fn money(source: &SourceType, digits: i64) -> Fit {
    let lost = &format!("only {digits} digits behind the point are kept");
    let is_within = |scale: u64| i64::try_from(scale).is_ok_and(|scale| scale <= digits);
    match source.family {
        Int => only("numbers in the range of a money"),
        Decimal if source.scale.is_some_and(is_within) => only("numbers in the range of a money"),
        Decimal | Float => rounds(only("numbers in the range of a money"), lost),
        Text | Enum | Json | Other => rounds(only("texts that are a money"), lost),
        _ => never("the column is a number"),
    }
}

/// Besides, digits are lost.
fn rounds(fit: Fit, lost: &str) -> Fit {
    match fit {
        Fit::Full => Fit::Rounds(lost.to_owned()),
        Fit::Partial(why) | Fit::Rounds(why) => Fit::Rounds(format!("{why}, and {lost}")),
        Fit::Incompatible(why) => Fit::Incompatible(why),
    }
}

fn chars(source: &SourceType, limit: Option<u64>) -> Fit {
    match (source.text_chars_max(), limit) {
        (_, None) => Fit::Full,
        (Some(most), Some(limit)) if most <= limit => Fit::Full,
        (_, Some(limit)) => only(&format!("texts of up to {limit} characters")),
    }
}

fn only(what: &str) -> Fit {
    Fit::Partial(format!("it takes only {what}"))
}

fn never(why: &str) -> Fit {
    Fit::Incompatible(why.to_owned())
}
