//! From the text of a changefeed's JSON to what MySQL's types take.
//!
//! Owns: the types whose texts differ (bytes, bits, times, JSON, shapes), and what the server would alter without a word.
//! Does not own: digits that a column has no room for (`digits`), what a key must be beside (`key`), other range checks,
//! which the server does in strict mode. Pure.

use std::borrow::Cow;

use ebb_sdk::{Value, is_number};
use mysql_async::Value as Parameter;

use crate::connect::Flavour;

mod bytes;
mod digits;
mod exact;
mod document;
mod key;
mod members;
mod stored;
mod text;
mod time;

use bytes::{binary, bits, is_uuid};
use exact::integer;
use members::{check_member, check_set, members};
pub(crate) use stored::NO_MEMBER;
pub(crate) use text::{ANOTHER_LETTER, is_another_letter};
use text::{fitting, has_room, json_string};

/// How the value of a column is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// As it came: the server reads it.
    Plain,
    Integer,
    Year,
    /// Digits behind the point.
    Decimal {
        scale: u64,
    },
    /// Digits behind the point where the type was declared with them, as in `FLOAT(7,2)`.
    Float {
        scale: Option<u64>,
    },
    Double {
        scale: Option<u64>,
    },
    /// `chars_max` of the type, since blanks beyond it are cut without a word; a `char` loses all at its end.
    Text {
        chars_max: u64,
        is_char: bool,
    },
    /// Texts whose limit is in bytes.
    LongText {
        bytes_max: u64,
        /// The most that a letter takes, where the column does not hold UTF-8.
        letter_bytes_max: Option<u64>,
    },
    /// `\x…` or a UUID. A `binary` pads what is shorter than its length.
    Bytes {
        padded_to: Option<usize>,
    },
    /// A number of so many binary digits.
    Bit {
        digits: usize,
    },
    Date,
    Timestamp {
        digits: u64,
    },
    Time {
        digits: u64,
    },
    /// Members as they are declared.
    Enum(Vec<String>),
    Set(Vec<String>),
    /// A JSON text. MySQL keeps its numbers as integers of 64 bits and doubles, MariaDB the text.
    Json {
        keeps_text: bool,
    },
    /// GeoJSON, with the column's reference system where it is known.
    Shape {
        srid: Option<u64>,
        flavour: Flavour,
    },
    Vector(Flavour),
    Uuid,
    Inet4,
    Inet6,
}

/// Why a type cannot hold a value, with the number that MySQL has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: u16,
    pub(crate) text: Cow<'static, str>,
    pub(crate) mend: Mend,
}

/// What mends a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mend {
    /// What is said for the number.
    ByCode,
    /// The column has too few digits.
    Digits,
    /// The target would take other keys for the same.
    Key,
    /// The column may be a text at the source, and is JSON here.
    Document,
}

const fn reason(code: u16, text: &'static str) -> Reason {
    Reason { code, text: Cow::Borrowed(text), mend: Mend::ByCode }
}

const NO_NULL: Reason = reason(1048, "the column does not take NULL");
const TOO_LONG: Reason = reason(1406, "value too long for the type of its column");
const NO_BYTES: Reason = reason(1366, "text where bytes of the form \\x6869 or a UUID were expected");
const NO_BITS: Reason = reason(1366, "text where digits 0 and 1 were expected");
const NO_NUMBER: Reason = reason(1264, "the type has no NaN and no infinity");
const NO_NUMBER_TEXT: Reason = reason(1366, "the value is not a number in its plain spelling");
const NO_YEAR: Reason = reason(1264, "a year is 0 or has four digits, 1901 to 2155");
const NO_BIT_NUMBER: Reason = reason(1264, "the number is no integer in the range of the bits");
const NO_INET6: Reason = reason(1366, "an inet6 column would read an IPv4 address as an IPv6 one");

impl Conversion {
    /// The conversion of a type by its name and its full spelling. `sizes` are the length in characters and in bytes, the
    /// digits of a number behind the point and of a time, the reference system, and the binary digits.
    pub(crate) fn of(flavour: Flavour, data_type: &str, column_type: &str, sizes: [Option<u64>; 6]) -> Self {
        let [chars, bytes, scale, digits, srid, bits] = sizes;
        let (chars_max, bytes_max) = (chars.unwrap_or(u64::MAX), bytes.unwrap_or(u64::MAX));
        match data_type {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Self::Integer,
            "year" => Self::Year,
            "decimal" => Self::Decimal { scale: scale.unwrap_or(0) },
            "float" => Self::Float { scale },
            "double" => Self::Double { scale },
            "char" => Self::Text { chars_max, is_char: true },
            "varchar" => Self::Text { chars_max, is_char: false },
            "tinytext" | "text" | "mediumtext" | "longtext" => Self::LongText { bytes_max, letter_bytes_max: None },
            "binary" => Self::Bytes { padded_to: bytes.and_then(|bytes| usize::try_from(bytes).ok()) },
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes { padded_to: None },
            "bit" => Self::Bit { digits: usize::try_from(bits.unwrap_or(1)).unwrap_or(64) },
            "date" => Self::Date,
            "datetime" | "timestamp" => Self::Timestamp { digits: digits.unwrap_or(0) },
            "time" => Self::Time { digits: digits.unwrap_or(0) },
            "enum" => Self::Enum(members(column_type)),
            "set" => Self::Set(members(column_type)),
            "json" => Self::Json { keeps_text: flavour == Flavour::MariaDb },
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "geomcollection" => Self::Shape { srid, flavour },
            "vector" => Self::Vector(flavour),
            "uuid" => Self::Uuid,
            "inet4" => Self::Inet4,
            "inet6" => Self::Inet6,
            _ => Self::Plain,
        }
    }

    /// What stands for a value in the list of an INSERT.
    pub(crate) fn placeholder(&self) -> String {
        match self {
            Self::Shape { srid: Some(srid), flavour: Flavour::MySql } => format!("ST_GeomFromGeoJSON(?, 1, {srid})"),
            // Without a system of its own a shape is flat: longitude and latitude stay where they are.
            Self::Shape { flavour: Flavour::MySql, .. } => "ST_GeomFromGeoJSON(?, 1, 0)".into(),
            Self::Shape { .. } => "ST_GeomFromGeoJSON(?)".into(),
            Self::Vector(Flavour::MySql) => "STRING_TO_VECTOR(?)".into(),
            Self::Vector(Flavour::MariaDb) => "VEC_FromText(?)".into(),
            _ => "?".into(),
        }
    }

    /// What stands for a value that a column is compared with: of its type, so that an index serves and no digit is lost.
    pub(crate) fn comparable(&self) -> String {
        match self {
            Self::Decimal { scale } => format!("CAST(? AS DECIMAL(65,{scale}))"),
            Self::Date => "CAST(? AS DATE)".into(),
            Self::Timestamp { digits } => format!("CAST(? AS DATETIME({digits}))"),
            // As a time of its own MySQL takes the parameter for a date: `10:00:00.5` is one of the year 10.
            _ => "?".into(),
        }
    }

    /// The same as the server would store it in the column: another way than [`Conversion::comparable`] where there are two.
    pub(crate) fn comparable_as_stored(&self) -> String {
        match self {
            Self::Decimal { .. } => self.comparable(),
            _ => "?".into(),
        }
    }

    /// The value to send. The error is the reason why the column cannot hold it; digits that it has no room for are
    /// rounded by the server ([`Conversion::lost_digits`]).
    pub(crate) fn parameter(&self, value: Value<'_>, nullable: bool) -> Result<Parameter, Reason> {
        let Some(text) = value.text() else {
            // Some servers put the present time into a `timestamp` instead.
            return if nullable { Ok(Parameter::NULL) } else { Err(NO_NULL) };
        };
        let bytes = |text: &str| Ok(Parameter::from(text.as_bytes()));
        match (self, value) {
            (Self::Integer | Self::Decimal { .. } | Self::Float { .. } | Self::Double { .. }, _) => {
                self.number(value, text)
            }
            (Self::Year, _) => year(value, text),
            (Self::Text { chars_max, is_char }, _) => fitting(text, *chars_max, *is_char),
            (Self::LongText { bytes_max, letter_bytes_max }, _) if !has_room(text, *bytes_max, *letter_bytes_max) => {
                Err(TOO_LONG)
            }
            (Self::Bytes { padded_to }, _) => binary(text, *padded_to),
            (Self::Bit { digits }, _) => bits(value, text, *digits),
            (Self::Date, _) => time::date(text).map(Parameter::from),
            (Self::Timestamp { .. }, _) => time::timestamp(text).map(Parameter::from),
            (Self::Time { .. }, _) => time::duration(text).map(Parameter::from),
            (Self::Enum(members), _) => check_member(members, text).and_then(|()| bytes(text)),
            (Self::Set(members), _) => check_set(members, text).and_then(|()| bytes(text)),
            (Self::Json { .. }, Value::String(_)) => json_string(text),
            (Self::Inet6, _) if !text.contains(':') => Err(NO_INET6),
            _ => bytes(text),
        }
    }

    fn number(&self, value: Value<'_>, text: &str) -> Result<Parameter, Reason> {
        match value {
            Value::Bool(truth) => return Ok(Parameter::Int(i64::from(truth))),
            Value::String("NaN" | "Infinity" | "-Infinity") => return Err(NO_NUMBER),
            Value::String(text) if is_number(text) => {}
            Value::String(_) | Value::Json(_) => return Err(NO_NUMBER_TEXT),
            Value::Number(_) | Value::Null => {}
        }
        let found = match self {
            Self::Integer => integer(text),
            // A float is compared as the double that it is.
            Self::Float { .. } => text
                .parse::<f32>()
                .ok()
                .filter(|number| number.is_finite())
                .map(|number| Parameter::Double(f64::from(number))),
            Self::Double { .. } => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Parameter::Double),
            _ => None,
        };
        Ok(found.unwrap_or_else(|| text.as_bytes().into()))
    }
}

/// The server would read 70 as 1970, 5 as 2005 and the text `0` as 2000.
fn year(value: Value<'_>, text: &str) -> Result<Parameter, Reason> {
    let year = match value {
        Value::Number(_) => integer(text),
        Value::String(_) if text.len() == 4 && text.bytes().all(|digit| digit.is_ascii_digit()) => integer(text),
        _ => None,
    };
    match year {
        Some(Parameter::Int(year)) if year == 0 || (1901..=2155).contains(&year) => Ok(Parameter::Int(year)),
        _ => Err(NO_YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(column_type: &str) -> Conversion {
        let name = column_type.split(['(', ' ']).next().unwrap();
        let size = column_type.split(['(', ')', ',']).nth(1).and_then(|size| size.parse().ok());
        let scale = (name == "decimal").then_some(2);
        Conversion::of(Flavour::MySql, name, column_type, [size, size, scale, Some(6), None, size])
    }

    fn check(column_type: &str, value: Value<'_>, expected: impl Into<Parameter>) {
        assert_eq!(of(column_type).parameter(value, true), Ok(expected.into()), "{column_type} {value:?}");
    }

    fn refuse(column_type: &str, value: Value<'_>) {
        assert!(of(column_type).parameter(value, true).is_err(), "{column_type} {value:?}");
    }

    #[test]
    fn numbers_keep_every_digit() {
        check("bigint", Value::Number("9223372036854775807"), i64::MAX);
        check("bigint unsigned", Value::Number("18446744073709551615"), u64::MAX);
        check("int", Value::Number("1E+2"), 100_i64);
        check("int", Value::Bool(true), 1_i64);
        check("decimal", Value::Number("12345678901234567890.123456789"), "12345678901234567890.123456789");
        check("float", Value::Number("1.2345"), f64::from(1.2345_f32));
        check("double", Value::Number("1E+300"), 1e300);
        for value in ["NaN", "Infinity", "-Infinity"] {
            refuse("double", Value::String(value));
            refuse("decimal", Value::String(value));
        }
    }

    #[test]
    fn what_the_server_would_cut_or_guess_is_refused() {
        check("varchar(3)", Value::String("äö "), "äö ");
        refuse("varchar(3)", Value::String("abc "));
        refuse("char(3)", Value::String("a "));
        refuse("text(3)", Value::String("abcd"));
        check("enum('a','it''s','1')", Value::String("it's"), "it's");
        refuse("enum('a','b')", Value::String("A"));
        refuse("enum('a','b')", Value::String("1"));
        check("set('a','b')", Value::String("b,a"), "b,a");
        check("set('a','b')", Value::String(""), "");
        refuse("set('a','b')", Value::String("a,c"));
        refuse("set('a','b')", Value::String("a,b,a"));
        refuse("set('a','b')", Value::Json(r#"["a","b"]"#));
        assert_eq!(Conversion::Plain.parameter(Value::Null, false), Err(NO_NULL));
        assert_eq!(Conversion::Plain.parameter(Value::Null, true), Ok(Parameter::NULL));
    }

    #[test]
    fn bytes_and_bits() {
        check("blob", Value::String("\\x6869"), "hi");
        check("blob", Value::String("\\x"), "");
        check("binary(2)", Value::String("\\x6869"), "hi");
        refuse("binary(1)", Value::String("\\x6869"));
        refuse("binary(4)", Value::String("\\x6869"));
        check(
            "binary(16)",
            Value::String("7f9c24e8-3b12-4fef-91e0-56a2d5a246ec"),
            b"\x7f\x9c\x24\xe8\x3b\x12\x4f\xef\x91\xe0\x56\xa2\xd5\xa2\x46\xec".to_vec(),
        );
        refuse("blob", Value::String("hi"));
        refuse("blob", Value::String("\\x6"));
        check("bit(16)", Value::String("110010101"), 0b1_1001_0101_u64);
        check("bit(1)", Value::Bool(true), 1_u64);
        refuse("bit(2)", Value::String("12"));
        refuse("bit(2)", Value::String("001"));
    }

    #[test]
    fn json_gets_its_quotes_back_and_keeps_its_numbers() {
        check("json", Value::String("he said \"x\""), r#""he said \"x\"""#);
        check(
            "json",
            Value::Json(r#"{"a": [1.10, null, 18446744073709551615]}"#),
            r#"{"a": [1.10, null, 18446744073709551615]}"#,
        );
        check("json", Value::Json("null"), "null");
        for text in ["[note]", "{x", "123", "null", "", "{} and more"] {
            check("json", Value::String(text), serde_json::Value::from(text).to_string());
        }
        let deep = format!("{}{}", "[".repeat(999), "]".repeat(999));
        for text in ["{}", " [1]", "{\"a\": 1E+999}", deep.as_str()] {
            refuse("json", Value::String(text));
        }
    }

    /// 70 would be 1970, the digits of ten would be binary ones, and binary digits a number of decimal ones.
    #[test]
    fn nothing_is_read_in_another_sense() {
        for year in ["0", "1901", "2016", "2155", "2.016E+3"] {
            assert!(of("year").parameter(Value::Number(year), true).is_ok(), "{year}");
        }
        for year in ["1", "70", "99", "1900", "2156", "-1", "2016.5"] {
            refuse("year", Value::Number(year));
        }
        check("year", Value::String("0000"), 0_i64);
        check("year", Value::String("2016"), 2016_i64);
        for year in ["70", "0", "00", "5", " 2016", "2016 ", "+2016", "x"] {
            refuse("year", Value::String(year));
        }
        refuse("year", Value::Bool(true));
        check("bit(8)", Value::Number("10"), 10_u64);
        check("bit(64)", Value::Number("18446744073709551615"), u64::MAX);
        for number in ["256", "-1", "1.5"] {
            refuse("bit(8)", Value::Number(number));
        }
        for text in ["007", "+1", " 1", "1 ", "0101", "t", "", "1e", ".5", "0x10"] {
            ["int", "decimal", "float", "double"].iter().for_each(|column| refuse(column, Value::String(text)));
        }
        refuse("int", Value::Json("[1]"));
        assert_eq!(Conversion::Inet6.parameter(Value::String("10.1.2.3"), true), Err(NO_INET6));
    }
}
