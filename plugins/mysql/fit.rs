//! Which types of the source a column can hold, so that a start can say what would be refused later.
//!
//! Owns: the rules. Does not own: the values themselves (`values`), which are refused one by one all the same. Pure.

use ebb_sdk::Family::{
    Array, Bit, Bool, Bytes, Date, Decimal, Enum, Float, Geometry, Inet, Int, Interval, Json, Other, String as Text,
    Time, TimeTz, Timestamp, TimestampTz, Uuid, Vector,
};
use ebb_sdk::{Fit, SourceType};

use crate::describe::ColumnType;
use crate::values::Conversion;

/// A double has all numbers of so many digits.
const DOUBLE_DIGITS: u64 = 15;
/// A float of four bytes has all numbers of so many digits whose point is at one place.
const SCALED_FLOAT_DIGITS: u64 = 7;

impl ColumnType {
    /// In a key not even digits may be lost, and one value has one spelling: two rows could become one.
    pub(crate) fn fit(&self, source: &SourceType, is_key: bool) -> Fit {
        let fit = self.value_fit(source);
        if is_key { self.key_fit(source, fit) } else { fit }
    }

    fn value_fit(&self, source: &SourceType) -> Fit {
        let is_text = matches!(source.family, Text | Enum | Json | Other);
        match &self.conversion {
            Conversion::Text { chars_max, is_char } => match self.letters(source, *chars_max) {
                Fit::Full if *is_char && is_text => only("texts without blanks at the end"),
                fit => fit,
            },
            Conversion::LongText { bytes_max, .. } => self.letters(source, *bytes_max),
            Conversion::Json { keeps_text } => json(source, *keeps_text),
            Conversion::Integer => self.integer(source),
            Conversion::Year => match source.family {
                Int | Decimal | Float => only("the years 0 and 1901 to 2155"),
                _ if is_text => only("texts of the four digits of the years 0000 and 1901 to 2155"),
                _ => never("the column is a year"),
            },
            Conversion::Decimal { scale } => self.decimal(source, *scale),
            Conversion::Float { scale: Some(scale) } => self.scaled_float(source, *scale, SCALED_FLOAT_DIGITS),
            Conversion::Double { scale: Some(scale) } => self.scaled_float(source, *scale, DOUBLE_DIGITS),
            Conversion::Float { .. } => self.float(source, 4),
            Conversion::Double { .. } => self.float(source, 8),
            Conversion::Bytes { .. } => self.bytes(source),
            Conversion::Bit { .. } => self.bits(source),
            Conversion::Date => match source.family {
                Date => only("the years 1 to 9999"),
                Timestamp | TimestampTz => only("times of midnight in the years 1 to 9999"),
                _ if is_text => only("texts that are dates"),
                _ => never("the column is a date"),
            },
            Conversion::Timestamp { digits } => {
                let years = if self.name == "timestamp" { "the years 1970 to 2038" } else { "the years 1 to 9999" };
                match source.family {
                    Timestamp | TimestampTz => seconds(source, *digits, years),
                    Date => only(years),
                    _ if is_text => seconds(source, *digits, "texts that are times"),
                    _ => never("the column is a date with a time"),
                }
            }
            Conversion::Time { digits } => match source.family {
                Time if keeps_seconds(source, *digits) => Fit::Full,
                Time => seconds(source, *digits, "times of day"),
                Interval => seconds(source, *digits, "intervals of up to 838 hours, without months and years"),
                TimeTz => never("a time without a zone would lose the zone"),
                _ if is_text => seconds(source, *digits, "texts that are times of day"),
                _ => never("the column is a time"),
            },
            Conversion::Set(_) if is_text => {
                only("members of the column's type, once each, which the server puts into the order of the type")
            }
            Conversion::Enum(_) | Conversion::Set(_) => match source.family {
                _ if is_text => only("members of the column's type"),
                Bool | Int | Decimal | Float | Date | Uuid => only("members of the column's type"),
                _ => never("the column has members of its own"),
            },
            Conversion::Shape { .. } => match source.family {
                Geometry => only("shapes of the column's kind"),
                Json => only("GeoJSON"),
                _ if is_text => only("GeoJSON"),
                _ => never("the column is a shape"),
            },
            Conversion::Vector(_) => match source.family {
                Vector => only("vectors of the column's length"),
                Array | Json => rounds("it takes only arrays of numbers, of which digits after about the 7th are lost"),
                _ if is_text => {
                    rounds("it takes only texts that are vectors, of which digits after about the 7th are lost")
                }
                _ => never("the column is a vector"),
            },
            Conversion::Plain | Conversion::Uuid | Conversion::Inet4 | Conversion::Inet6 => self.plain(source),
        }
    }

    /// What a key takes of what a value would take. The rules for single keys are in `values`.
    fn key_fit(&self, source: &SourceType, fit: Fit) -> Fit {
        let fit = match fit {
            Fit::Incompatible(_) => return fit,
            Fit::Rounds(why) => Fit::Partial(format!("keys whose digits would be lost are refused: {why}")),
            fit => fit,
        };
        let is_text = matches!(source.family, Text | Enum | Other);
        let is_exact = matches!(source.family, Decimal | Float);
        match &self.conversion {
            _ if matches!(source.family, Json | Array | Geometry | Vector) => {
                never("one value has several spellings, and two rows could become one or one could become two")
            }
            Conversion::Text { .. } | Conversion::LongText { .. } | Conversion::Enum(_) if is_exact => {
                only("numbers without an exponent, and without zeros at the end of digits behind the point")
            }
            Conversion::Set(_) => only("members of the column's type, once each and in its order"),
            Conversion::Float { scale: Some(_) } | Conversion::Double { scale: Some(_) } => {
                never("the server rounds values of the type in binary, and does not find a key again")
            }
            Conversion::Float { .. }
                if !matches!((source.family, source.size_max), (Float, Some(4)) | (Int, Some(2)) | (Bool, _)) =>
            {
                never("a number of four bytes stands for several numbers, and two rows could become one")
            }
            Conversion::Bit { digits } if source.family == Bit => match source.size_max {
                Some(size) if size == *digits as u64 && !is_varying(source) => Fit::Full,
                _ => only(&format!("keys of exactly {digits} binary digits")),
            },
            Conversion::Date if matches!(source.family, Timestamp | TimestampTz) => {
                never("a key must be spelled as a date")
            }
            Conversion::Timestamp { .. } if source.family == Date => {
                never("a key must be spelled as a date with a time")
            }
            Conversion::Time { .. } if source.family == Interval => {
                only("intervals of up to 838 hours that are spelled without days, such as 36:00:00, and lose no digits")
            }
            Conversion::Text { .. } | Conversion::LongText { .. } | Conversion::Enum(_) => fit,
            _ if is_text => only("texts in the one spelling that CockroachDB has for values of the column's type"),
            _ => fit,
        }
    }

    /// Characters, or bytes of which a character has at least one.
    fn letters(&self, source: &SourceType, max: u64) -> Fit {
        let charset = self.charset.as_deref().unwrap_or("utf8mb4");
        let is_plain = !matches!(source.family, Text | Enum | Json | Array | Geometry | Other | Bytes | Vector);
        let most = source.text_chars_max().map(|chars| match self.conversion {
            Conversion::LongText { letter_bytes_max: Some(most), .. } => chars * most,
            Conversion::LongText { .. } if !is_plain => chars * 4,
            _ => chars,
        });
        match (most, charset) {
            (most, _) if max < 1 << 30 && most.is_none_or(|most| most > max) => only(&format!(
                "texts of up to {max} {}",
                if matches!(self.conversion, Conversion::LongText { .. }) { "bytes" } else { "characters" }
            )),
            (_, "utf8mb4") => Fit::Full,
            (_, charset) if !is_plain => only(&format!("letters of {charset}")),
            _ => Fit::Full,
        }
    }

    fn integer(&self, source: &SourceType) -> Fit {
        let bytes: u64 = match self.name.as_str() {
            "tinyint" => 1,
            "smallint" => 2,
            "mediumint" => 3,
            "int" => 4,
            "bigint" => 8,
            _ => 0,
        };
        match source.family {
            Bool => Fit::Full,
            Int if !self.is_unsigned && source.size_max.unwrap_or(8) <= bytes => Fit::Full,
            Int => only(&format!("integers in the range of {}", self.name)),
            Decimal if source.scale == Some(0) => only(&format!("integers in the range of {}", self.name)),
            Decimal | Float => rounds("digits behind the point are lost"),
            Text | Enum | Json | Other => {
                rounds("it takes only texts that are numbers, of which digits behind the point are lost")
            }
            Bit => never("binary digits would be read as decimal ones"),
            _ => never("the column is an integer"),
        }
    }

    fn decimal(&self, source: &SourceType, scale: u64) -> Fit {
        let has = self.precision.unwrap_or(10).saturating_sub(scale);
        match source.family {
            Bool | Int | Decimal | Float => {}
            Text | Enum | Json | Other => {
                return rounds(&format!(
                    "it takes only texts that are numbers, of which digits after the {scale} behind the point are lost"
                ));
            }
            Bit => return never("binary digits would be read as decimal ones"),
            _ => return never("the column is a number"),
        }
        if matches!(source.family, Decimal | Float) && source.scale.is_none_or(|digits| digits > scale) {
            return rounds(&format!("digits after the {scale} behind the point are lost"));
        }
        match digits_before_point(source) {
            Some(needs) if needs <= has => Fit::Full,
            _ => only(&format!("numbers of up to {has} digits before the point")),
        }
    }

    fn float(&self, source: &SourceType, bytes: u64) -> Fit {
        let size = source.size_max;
        let digits = if bytes == 8 { DOUBLE_DIGITS } else { 6 };
        match source.family {
            Bool => Fit::Full,
            Float if size.unwrap_or(8) <= bytes => only("numbers, not NaN or infinity"),
            Int if size.unwrap_or(8) < bytes => Fit::Full,
            Decimal if size.is_some_and(|size| size <= digits) => only("numbers, not NaN or infinity"),
            Float | Decimal | Int => rounds(&format!("digits after about the {}th are lost", digits + 1)),
            Text | Enum | Json | Other => rounds(&format!(
                "it takes only texts that are numbers, of which digits after about the {}th are lost",
                digits + 1
            )),
            _ => never("the column is a number"),
        }
    }

    /// `DOUBLE(10,2)` rounds like a decimal, and holds what has room in its bytes.
    fn scaled_float(&self, source: &SourceType, scale: u64, digits: u64) -> Fit {
        let needs = digits_before_point(source).map(|before| before + scale);
        match self.decimal(source, scale) {
            Fit::Full | Fit::Partial(_) if needs.is_none_or(|needs| needs > digits) => {
                rounds(&format!("digits after about the {digits}th are lost"))
            }
            fit => fit,
        }
    }

    fn bytes(&self, source: &SourceType) -> Fit {
        if let Conversion::Bytes { padded_to: Some(length) } = self.conversion {
            return match source.family {
                Uuid if length == 16 => Fit::Full,
                Uuid if length > 16 => never("the column would add zeros to the 16 bytes"),
                Uuid => never("the column has fewer than 16 bytes"),
                Bytes => only(&format!("values of exactly {length} bytes, since it adds zeros to shorter ones")),
                Text | Json | Other => only(&format!("texts of the form \\x6869 for exactly {length} bytes")),
                _ => never("the column holds bytes"),
            };
        }
        match source.family {
            Uuid if self.bytes_max.is_none_or(|max| max >= 16) => Fit::Full,
            Uuid => never("the column has fewer than 16 bytes"),
            Bytes if self.bytes_max.is_none_or(|max| max >= 1 << 24) => Fit::Full,
            Bytes => only(&format!("up to {} bytes", self.bytes_max.unwrap_or_default())),
            Text | Json | Other => only("texts of the form \\x6869"),
            _ => never("the column holds bytes"),
        }
    }

    fn bits(&self, source: &SourceType) -> Fit {
        let bits = self.precision.unwrap_or(1);
        match source.family {
            Bool => Fit::Full,
            Bit if source.size_max.is_some_and(|size| size <= bits) && !is_varying(source) => Fit::Full,
            Bit => only(&format!("1 to {bits} binary digits")),
            Int | Decimal | Float => only(&format!("integers of up to {bits} binary digits, none below 0")),
            Text | Json | Other => only("digits 0 and 1"),
            _ => never("the column holds bits"),
        }
    }

    fn plain(&self, source: &SourceType) -> Fit {
        match (self.name.as_str(), source.family) {
            ("uuid", Uuid) => Fit::Full,
            ("inet4", Inet) => only("IPv4 addresses without a network"),
            ("inet6", Inet) => only("IPv6 addresses without a network"),
            ("uuid" | "inet4" | "inet6", Text | Enum | Json | Other) => {
                only(&format!("texts that are a {}", self.name))
            }
            ("uuid" | "inet4" | "inet6", _) => never(&format!("the column is a {}", self.name)),
            _ => only(&format!("values that the server reads as a {}", self.name)),
        }
    }
}

/// A text of the source may be a document or a string, and nothing tells which.
fn json(source: &SourceType, keeps_text: bool) -> Fit {
    const STRINGS: &str = "strings whose text is a JSON object or array are refused";
    const DIGITS: &str = "numbers in JSON of more than about 16 digits lose some";
    let family = source.element.as_ref().map_or(source.family, |element| element.family);
    match source.family {
        Text => never(
            "a JSON document in a text would become a JSON string; give the column its type at the source, ALTER TABLE … ALTER \
             COLUMN … SET DATA TYPE JSONB USING …::JSONB, or make it a text on the target: MODIFY it to LONGTEXT, without a check \
             of json_valid",
        ),
        Vector => never("a vector comes as a text and would become a JSON string"),
        Json if !keeps_text => rounds(&format!("{DIGITS}; {STRINGS}")),
        Json | Enum | Other => Fit::Partial(STRINGS.to_owned()),
        _ if !keeps_text && matches!(family, Json | Decimal | Array) => rounds(DIGITS),
        _ => Fit::Full,
    }
}

/// Whether so many digits are enough for the fraction of every second; a text may have any number of them.
fn keeps_seconds(source: &SourceType, digits: u64) -> bool {
    source.second_digits().is_some_and(|most| most <= digits)
}

/// The most that a number of the type has.
fn digits_before_point(source: &SourceType) -> Option<u64> {
    match source.family {
        Bool => Some(1),
        Int => Some(if source.size_max.unwrap_or(8) == 8 { 19 } else { 10 }),
        Decimal => source.size_max.map(|digits| digits - source.scale.unwrap_or(0)),
        _ => None,
    }
}

/// What a column takes that keeps so many digits of a second's fraction.
fn seconds(source: &SourceType, digits: u64, what: &str) -> Fit {
    match keeps_seconds(source, digits) {
        true => only(what),
        false if digits == 0 => rounds(&format!("it takes only {what}, of which a second's fraction is lost")),
        false => rounds(&format!("it takes only {what}, of which a second's fraction after {digits} digits is lost")),
    }
}

/// Bit strings of any length up to the largest.
fn is_varying(source: &SourceType) -> bool {
    source.name.to_uppercase().contains("VAR")
}

fn rounds(why: &str) -> Fit {
    Fit::Rounds(why.to_owned())
}

fn only(what: &str) -> Fit {
    Fit::Partial(format!("it takes only {what}"))
}

fn never(why: &str) -> Fit {
    Fit::Incompatible(why.to_owned())
}
