//! Which types of the source a column can hold, so that a start can say what would be refused later.
//!
//! Owns: the rules. Does not own: the values themselves (`values`), which are refused one by one all the same. Pure.

use ebb_sdk::Family::{
    Array, Bit, Bool, Bytes, Date, Decimal, Enum, Float, Geometry, Inet, Int, Interval, Json, Other, String as Text,
    Time, TimeTz, Timestamp, TimestampTz, Uuid, Vector,
};
use ebb_sdk::{Fit, SourceType};

/// A column's type without its domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// As `pg_type` names it; of an array the type of its elements.
    pub(crate) name: String,
    /// Length or precision as `pg_attribute` has it, -1 for none.
    pub(crate) modifier: i32,
    pub(crate) is_array: bool,
}

/// PostgreSQL adds this to most modifiers.
const OFFSET: i32 = 4;

impl Base {
    /// Of a key not even digits behind the point may be lost: two rows could become one.
    pub(crate) fn fit(&self, source: &SourceType, is_key: bool) -> Fit {
        if self.is_array {
            return match (&source.element, source.family) {
                (Some(element), _) => Self { is_array: false, ..self.clone() }.fit(element, is_key),
                (None, Array) => Fit::Whole,
                (None, Text | Json | Other) => only("texts in PostgreSQL's spelling of an array"),
                _ => never("the column is an array"),
            };
        }
        let limit = u64::try_from(self.modifier - OFFSET).ok();
        match self.name.as_str() {
            "text" | "citext" => Fit::Whole,
            "varchar" | "bpchar" => chars(source, limit),
            "name" => chars(source, Some(63)),
            "char" => chars(source, Some(1)),
            "json" | "jsonb" => Fit::Whole,
            "int2" | "int4" | "int8" | "oid" => self.integer(source),
            "numeric" => self.numeric(source, is_key),
            "float4" => match source.family {
                Float if source.size_max == Some(4) => Fit::Whole,
                Float | Int | Decimal => only("numbers in the range of a float4, rounded to it"),
                Text | Enum | Json | Other => only("texts that are numbers"),
                _ => never("the column is a number"),
            },
            "float8" => match source.family {
                Float => Fit::Whole,
                Int | Decimal => only("numbers in the range of a float8, rounded to it"),
                Text | Enum | Json | Other => only("texts that are numbers"),
                _ => never("the column is a number"),
            },
            _ => self.plain(source),
        }
    }

    fn integer(&self, source: &SourceType) -> Fit {
        let bytes: u64 = match self.name.as_str() {
            "int2" => 2,
            "int8" => 8,
            _ => 4,
        };
        match source.family {
            Int if self.name != "oid" && source.size_max.unwrap_or(8) <= bytes => Fit::Whole,
            Int => only(&format!("integers in the range of {}", self.name)),
            Decimal | Float => only("numbers without digits behind the point"),
            Text | Enum | Bit | Json | Other => only("texts that are integers"),
            _ => never("the column is an integer"),
        }
    }

    fn numeric(&self, source: &SourceType, is_key: bool) -> Fit {
        let modifier = u64::try_from(self.modifier - OFFSET).ok();
        let whole_digits = modifier.map(|modifier| ((modifier >> 16) & 0xffff).saturating_sub(modifier & 0x7ff));
        let needs = match source.family {
            Int => Some(if source.size_max.unwrap_or(8) == 8 { 19 } else { 10 }),
            Decimal => source.size_max.map(|digits| digits - source.scale.unwrap_or(0)),
            Float => None,
            Text | Enum | Bit | Json | Other => return only("texts that are numbers"),
            _ => return never("the column is a number"),
        };
        let scale = modifier.map(|modifier| modifier & 0x7ff).filter(|_| is_key && source.family != Int);
        if let Some(scale) = scale.filter(|scale| source.scale.is_none_or(|digits| digits > *scale)) {
            return only(&format!(
                "keys of up to {scale} digits behind the point; others would be rounded to one of them"
            ));
        }
        match (whole_digits, needs) {
            (None, _) => Fit::Whole,
            (Some(has), Some(needs)) if needs <= has => Fit::Whole,
            (Some(has), _) => only(&format!("numbers of up to {has} digits before the point")),
        }
    }

    /// Types whose texts PostgreSQL reads as a whole.
    fn plain(&self, source: &SourceType) -> Fit {
        use Fit::Whole;
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
                _ => Whole,
            },
            ("bool", Int) => only("0 and 1"),
            ("date", Timestamp | TimestampTz) => only("times of midnight"),
            ("cidr", Inet) => only("networks"),
            ("bit", Bit) => match u64::try_from(self.modifier).ok() {
                Some(length) if source.size_max == Some(length) => Whole,
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

fn chars(source: &SourceType, limit: Option<u64>) -> Fit {
    match (source.text_chars_max(), limit) {
        (_, None) => Fit::Whole,
        (Some(most), Some(limit)) if most <= limit => Fit::Whole,
        (_, Some(limit)) => only(&format!("texts of up to {limit} characters")),
    }
}

fn only(what: &str) -> Fit {
    Fit::Part(format!("it takes only {what}"))
}

fn never(why: &str) -> Fit {
    Fit::Never(why.to_owned())
}
