//! Which types of the source a column can hold, so that a start can say what would be refused later.
//!
//! Owns: the rules. Does not own: the values themselves (`values`), which are refused one by one all the same. Pure.

use ebb_sdk::Family::{
    Array, Bit, Bool, Bytes, Date, Decimal, Enum, Float, Geometry, Inet, Int, Interval, Json, Other, String as Text,
    Time, TimeTz, Timestamp, TimestampTz, Uuid, Vector,
};
use ebb_sdk::{Fit, SourceType};

use crate::describe::ColumnType;
use crate::values::Form;

impl ColumnType {
    /// Of a key not even digits behind the point may be lost: two rows could become one.
    pub(crate) fn fit(&self, source: &SourceType, is_key: bool) -> Fit {
        let is_text = matches!(source.family, Text | Enum | Json | Other);
        match &self.form {
            Form::Text { chars_max, is_char } => match self.letters(source, *chars_max) {
                Fit::Whole if *is_char && is_text => only("texts without blanks at the end"),
                fit => fit,
            },
            Form::LongText { bytes_max } => self.letters(source, *bytes_max),
            Form::Json { keeps_text: true } => Fit::Whole,
            Form::Json { .. } => match source.family {
                Json | Array | Decimal => only("numbers that MySQL's JSON does not round"),
                _ => Fit::Whole,
            },
            Form::Integer => self.integer(source),
            Form::Decimal { scale } => self.decimal(source, *scale, is_key),
            Form::Float | Form::Double => match source.family {
                Float if self.form == Form::Double || source.size_max == Some(4) => {
                    only("numbers, not NaN or infinity")
                }
                Float | Int | Decimal => only("numbers in the range of the type, rounded to it"),
                Bool => Fit::Whole,
                _ if is_text => only("texts that are numbers"),
                _ => never("the column is a number"),
            },
            Form::Bytes { .. } => self.bytes(source),
            Form::Bit => self.bits(source),
            Form::Date => match source.family {
                Date => only("the years 1 to 9999"),
                Timestamp | TimestampTz => only("times of midnight in the years 1 to 9999"),
                _ if is_text => only("texts that are dates"),
                _ => never("the column is a date"),
            },
            Form::Timestamp { .. } => match source.family {
                Date | Timestamp | TimestampTz if self.name == "timestamp" => only("the years 1970 to 2038"),
                Date | Timestamp | TimestampTz => only("the years 1 to 9999"),
                _ if is_text => only("texts that are times"),
                _ => never("the column is a date with a time"),
            },
            Form::Time { .. } => match source.family {
                Time => Fit::Whole,
                Interval => only("intervals of up to 838 hours, without months and years"),
                TimeTz => never("a time without a zone would lose the zone"),
                _ if is_text => only("texts that are times of day"),
                _ => never("the column is a time"),
            },
            Form::Enum(_) | Form::Set(_) => match source.family {
                _ if is_text => only("members of the column's type"),
                Bool | Int | Decimal | Float | Date | Uuid => only("members of the column's type"),
                _ => never("the column has members of its own"),
            },
            Form::Shape { .. } => match source.family {
                Geometry => only("shapes of the column's kind"),
                Json => only("GeoJSON"),
                _ if is_text => only("GeoJSON"),
                _ => never("the column is a shape"),
            },
            Form::Vector(_) => match source.family {
                Vector => only("vectors of the column's length"),
                Array | Json => only("arrays of numbers"),
                _ if is_text => only("texts that are vectors"),
                _ => never("the column is a vector"),
            },
            Form::Plain => self.plain(source),
        }
    }

    /// Characters, or bytes of which a character has at least one.
    fn letters(&self, source: &SourceType, max: u64) -> Fit {
        let charset = self.charset.as_deref().unwrap_or("utf8mb4");
        let is_plain = !matches!(source.family, Text | Enum | Json | Array | Geometry | Other | Bytes | Vector);
        let most = source.text_chars_max().map(|chars| match self.form {
            Form::LongText { .. } if !is_plain => chars * 4,
            _ => chars,
        });
        match (most, charset) {
            (most, _) if max < 1 << 30 && most.is_none_or(|most| most > max) => only(&format!(
                "texts of up to {max} {}",
                if matches!(self.form, Form::LongText { .. }) { "bytes" } else { "characters" }
            )),
            (_, "utf8mb4") => Fit::Whole,
            (_, charset) if !is_plain => only(&format!("letters of {charset}")),
            _ => Fit::Whole,
        }
    }

    fn integer(&self, source: &SourceType) -> Fit {
        let bytes: u64 = match self.name.as_str() {
            "tinyint" => 1,
            "smallint" => 2,
            "mediumint" => 3,
            "int" => 4,
            "bigint" => 8,
            // A year, of one byte.
            _ => 0,
        };
        match source.family {
            Bool if bytes > 0 => Fit::Whole,
            Int if !self.is_unsigned && source.size_max.unwrap_or(8) <= bytes => Fit::Whole,
            Bool | Int => only(&format!("integers in the range of {}", self.name)),
            Decimal | Float => only("numbers in the range of the type, rounded to integers"),
            Text | Enum | Bit | Json | Other => only("texts that are integers"),
            _ => never("the column is an integer"),
        }
    }

    fn decimal(&self, source: &SourceType, scale: u64, is_key: bool) -> Fit {
        let has = self.precision.unwrap_or(10).saturating_sub(scale);
        let needs = match source.family {
            Bool => Some(1),
            Int => Some(if source.size_max.unwrap_or(8) == 8 { 19 } else { 10 }),
            Decimal => source.size_max.map(|digits| digits - source.scale.unwrap_or(0)),
            Float => None,
            Text | Enum | Bit | Json | Other => return only("texts that are numbers"),
            _ => return never("the column is a number"),
        };
        let is_rounded = matches!(source.family, Decimal | Float) && source.scale.is_none_or(|digits| digits > scale);
        if is_key && is_rounded {
            return only(&format!(
                "keys of up to {scale} digits behind the point; others would be rounded to one of them"
            ));
        }
        match needs {
            Some(needs) if needs <= has => Fit::Whole,
            _ => only(&format!("numbers of up to {has} digits before the point")),
        }
    }

    fn bytes(&self, source: &SourceType) -> Fit {
        match source.family {
            Uuid if self.bytes_max.is_none_or(|max| max >= 16) => Fit::Whole,
            Uuid => never("the column has fewer than 16 bytes"),
            Bytes if self.bytes_max.is_none_or(|max| max >= 1 << 24) => Fit::Whole,
            Bytes => only(&format!("up to {} bytes", self.bytes_max.unwrap_or_default())),
            Text | Json | Other => only("texts of the form \\x6869"),
            _ => never("the column holds bytes"),
        }
    }

    fn bits(&self, source: &SourceType) -> Fit {
        let bits = self.precision.unwrap_or(1);
        match source.family {
            Bool => Fit::Whole,
            Bit if source.size_max.is_some_and(|size| size <= bits) => Fit::Whole,
            Bit => only(&format!("up to {bits} bits")),
            Text | Json | Int | Decimal | Float | Other => only("digits 0 and 1"),
            _ => never("the column holds bits"),
        }
    }

    fn plain(&self, source: &SourceType) -> Fit {
        match (self.name.as_str(), source.family) {
            ("uuid", Uuid) | ("inet6", Inet) if self.name == "uuid" => Fit::Whole,
            ("inet4" | "inet6", Inet) => only("addresses of its kind, without a network"),
            ("uuid" | "inet4" | "inet6", Text | Enum | Json | Other) => {
                only(&format!("texts that are a {}", self.name))
            }
            ("uuid" | "inet4" | "inet6", _) => never(&format!("the column is a {}", self.name)),
            _ => only(&format!("values that the server reads as a {}", self.name)),
        }
    }
}

fn only(what: &str) -> Fit {
    Fit::Part(format!("it takes only {what}"))
}

fn never(why: &str) -> Fit {
    Fit::Never(why.to_owned())
}
