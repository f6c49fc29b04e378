//! From the text of a changefeed's JSON to what MySQL's types take.
//!
//! Owns: the types whose texts differ (bytes, bits, times, JSON, shapes), and what the server would alter without a word.
//! Does not own: other range checks, which the server does in strict mode. Pure.

use ebb_sdk::Value;
use mysql_async::Value as Parameter;

use crate::connect::Flavour;

mod exact;
mod time;

use exact::{integer, is_exact_double};

/// How the value of a column is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it came: the server reads it.
    Plain,
    Integer,
    /// Digits behind the point; more are rounded.
    Decimal {
        scale: u64,
    },
    Float,
    Double,
    /// `chars_max` of the type, since blanks beyond it are cut without a word; a `char` loses all at its end.
    Text {
        chars_max: u64,
        is_char: bool,
    },
    /// Texts whose limit is in bytes.
    LongText {
        bytes_max: u64,
    },
    /// `\x…` or a UUID. A `binary` is padded to its length.
    Bytes {
        padded_to: Option<usize>,
    },
    Bit,
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
}

/// Why a type cannot hold a value, with the number that MySQL has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: u16,
    pub(crate) text: &'static str,
}

const fn reason(code: u16, text: &'static str) -> Reason {
    Reason { code, text }
}

const NO_NULL: Reason = reason(1048, "the column does not take NULL");
const TOO_LONG: Reason = reason(1406, "value too long for the type of its column");
const BLANKS: Reason = reason(1406, "a char column loses the blanks at the end of a value");
const NO_BYTES: Reason = reason(1366, "text where bytes of the form \\x6869 or a UUID were expected");
const NO_BITS: Reason = reason(1366, "text where digits 0 and 1 were expected");
const NO_NUMBER: Reason = reason(1264, "the type has no NaN and no infinity");
const NO_MEMBER: Reason = reason(1265, "the value is not a member of the column's type, letter by letter");
const INEXACT: Reason = reason(3140, "the JSON holds a number that MySQL's JSON would round");

impl Form {
    /// The form of a type by its name and its full spelling. `sizes` are the length in characters and in bytes, the
    /// digits of a decimal and of a time, and the reference system.
    pub(crate) fn of(flavour: Flavour, data_type: &str, column_type: &str, sizes: [Option<u64>; 5]) -> Self {
        let [chars, bytes, scale, digits, srid] = sizes;
        let (chars_max, bytes_max) = (chars.unwrap_or(u64::MAX), bytes.unwrap_or(u64::MAX));
        match data_type {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => Self::Integer,
            "decimal" => Self::Decimal { scale: scale.unwrap_or(0) },
            "float" => Self::Float,
            "double" => Self::Double,
            "char" => Self::Text { chars_max, is_char: true },
            "varchar" => Self::Text { chars_max, is_char: false },
            "tinytext" | "text" | "mediumtext" | "longtext" => Self::LongText { bytes_max },
            "binary" => Self::Bytes { padded_to: bytes.and_then(|bytes| usize::try_from(bytes).ok()) },
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes { padded_to: None },
            "bit" => Self::Bit,
            "date" => Self::Date,
            "datetime" | "timestamp" => Self::Timestamp { digits: digits.unwrap_or(0) },
            "time" => Self::Time { digits: digits.unwrap_or(0) },
            "enum" => Self::Enum(members(column_type)),
            "set" => Self::Set(members(column_type)),
            "json" => Self::Json { keeps_text: flavour == Flavour::MariaDb },
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "geomcollection" => Self::Shape { srid, flavour },
            "vector" => Self::Vector(flavour),
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
            Self::Time { digits } => format!("CAST(? AS TIME({digits}))"),
            _ => "?".into(),
        }
    }

    /// The value to send. The error is the reason why the column cannot hold it.
    pub(crate) fn parameter(&self, value: Value<'_>, nullable: bool) -> Result<Parameter, Reason> {
        let Some(text) = value.text() else {
            // Some servers put the present time into a `timestamp` instead.
            return if nullable { Ok(Parameter::NULL) } else { Err(NO_NULL) };
        };
        let bytes = |text: &str| Ok(Parameter::from(text.as_bytes()));
        match (self, value) {
            (Self::Integer, Value::Bool(truth)) => Ok(Parameter::Int(i64::from(truth))),
            (Self::Integer, _) => Ok(integer(text).unwrap_or_else(|| text.as_bytes().into())),
            (Self::Decimal { .. } | Self::Float | Self::Double, Value::Bool(truth)) => {
                Ok(Parameter::Int(i64::from(truth)))
            }
            (Self::Decimal { .. } | Self::Float | Self::Double, Value::String("NaN" | "Infinity" | "-Infinity")) => {
                Err(NO_NUMBER)
            }
            // A float is compared as the double that it is.
            (Self::Float, Value::Number(_)) => match text.parse::<f32>() {
                Ok(number) if number.is_finite() => Ok(Parameter::Double(f64::from(number))),
                _ => bytes(text),
            },
            (Self::Double, Value::Number(_)) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Parameter::Double(number)),
                _ => bytes(text),
            },
            (Self::Text { chars_max, is_char }, _) => fitting(text, *chars_max, *is_char),
            (Self::LongText { bytes_max }, _) if text.len() as u64 > *bytes_max => Err(TOO_LONG),
            (Self::Bytes { padded_to }, _) => binary(text, *padded_to),
            (Self::Bit, Value::Bool(truth)) => Ok(vec![u8::from(truth)].into()),
            (Self::Bit, _) => bits(text),
            (Self::Date, _) => time::date(text).map(Parameter::from),
            (Self::Timestamp { .. }, _) => time::timestamp(text).map(Parameter::from),
            (Self::Time { .. }, _) => time::duration(text).map(Parameter::from),
            (Self::Enum(members), _) if !members.iter().any(|member| member == text) => Err(NO_MEMBER),
            (Self::Set(members), _)
                if !text.is_empty() && !text.split(',').all(|part| members.iter().any(|member| member == part)) =>
            {
                Err(NO_MEMBER)
            }
            (Self::Json { .. }, Value::String(_)) => bytes(&serde_json::Value::from(text).to_string()),
            (Self::Json { keeps_text: false }, _) if !is_exact_double(text) => Err(INEXACT),
            _ => bytes(text),
        }
    }
}

fn fitting(text: &str, chars_max: u64, is_char: bool) -> Result<Parameter, Reason> {
    if text.len() as u64 > chars_max && text.chars().count() as u64 > chars_max {
        return Err(TOO_LONG);
    }
    if is_char && text.ends_with(' ') { Err(BLANKS) } else { Ok(text.as_bytes().into()) }
}

/// `\x6869`, or a UUID as its 16 bytes.
fn binary(text: &str, padded_to: Option<usize>) -> Result<Parameter, Reason> {
    let digits = match text.strip_prefix("\\x") {
        Some(digits) => digits.to_owned(),
        None if is_uuid(text) => text.replace('-', ""),
        None => return Err(NO_BYTES),
    };
    let digit = |at: usize| digits.as_bytes().get(at).and_then(|digit| char::from(*digit).to_digit(16));
    let byte = |at: usize| Some((digit(at)? << 4 | digit(at + 1)?) as u8);
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    let mut bytes = bytes.ok_or(NO_BYTES)?;
    if let Some(length) = padded_to {
        if bytes.len() > length {
            return Err(TOO_LONG);
        }
        bytes.resize(length, 0);
    }
    Ok(bytes.into())
}

fn is_uuid(text: &str) -> bool {
    let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| if is_dash(at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// Digits 0 and 1 as the bytes of a number, the first one the highest.
fn bits(text: &str) -> Result<Parameter, Reason> {
    if !text.bytes().all(|digit| matches!(digit, b'0' | b'1')) {
        return Err(NO_BITS);
    }
    let value = |bits: &[u8]| bits.iter().fold(0, |value, bit| value << 1 | (bit - b'0'));
    let bytes: Vec<u8> = text.as_bytes().rchunks(8).rev().map(value).collect();
    Ok(bytes.into())
}

/// `enum('a','it''s')`.
fn members(column_type: &str) -> Vec<String> {
    let list = column_type.split_once('(').map_or("", |(_, list)| list.trim_end_matches(')'));
    let mut members = Vec::new();
    let mut letters = list.chars().peekable();
    while letters.next().is_some() {
        let mut member = String::new();
        while let Some(letter) = letters.next() {
            match letter {
                '\'' if letters.peek() == Some(&'\'') => {
                    letters.next();
                    member.push('\'');
                }
                '\'' => break,
                letter => member.push(letter),
            }
        }
        members.push(member);
        // The comma.
        letters.next();
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(column_type: &str) -> Form {
        let name = column_type.split(['(', ' ']).next().unwrap();
        let size = column_type.split(['(', ')', ',']).nth(1).and_then(|size| size.parse().ok());
        Form::of(Flavour::MySql, name, column_type, [size, size, Some(2), Some(6), None])
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
        assert_eq!(Form::Plain.parameter(Value::Null, false), Err(NO_NULL));
        assert_eq!(Form::Plain.parameter(Value::Null, true), Ok(Parameter::NULL));
    }

    #[test]
    fn bytes_and_bits() {
        check("blob", Value::String("\\x6869"), "hi");
        check("blob", Value::String("\\x"), "");
        check("binary(4)", Value::String("\\x6869"), "hi\0\0");
        refuse("binary(1)", Value::String("\\x6869"));
        check(
            "binary(16)",
            Value::String("7f9c24e8-3b12-4fef-91e0-56a2d5a246ec"),
            b"\x7f\x9c\x24\xe8\x3b\x12\x4f\xef\x91\xe0\x56\xa2\xd5\xa2\x46\xec".to_vec(),
        );
        refuse("blob", Value::String("hi"));
        refuse("blob", Value::String("\\x6"));
        check("bit(16)", Value::String("110010101"), vec![1_u8, 0b1001_0101]);
        check("bit(1)", Value::Bool(true), vec![1_u8]);
        refuse("bit(2)", Value::String("12"));
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
        refuse("json", Value::Json(r#"[0.12345678901234567890]"#));
        refuse("json", Value::Number("18446744073709551616"));
        let mariadb = Form::Json { keeps_text: true };
        assert!(mariadb.parameter(Value::Json("[0.12345678901234567890]"), true).is_ok());
    }
}
