//! Digits of a value that its column has no room for, and that the server would round away.
//!
//! Owns: finding out, and the words for it. Does not own: whether they may be lost, which is the user's decision. Zeros at
//! the end are no digits. Pure.

use std::borrow::Cow;
use std::str::FromStr;

use ebb_sdk::{Number, Value, second_digits};

use super::exact::{EXPONENT_MAX, is_exact_double, is_same_number, numbers};
use super::{Conversion, Mend, Reason};

/// `Data truncated`, as the server has it for a note.
const LOST: u16 = 1265;
/// A double has all numbers of so many digits, and a float of four bytes of so many.
const DOUBLE_DIGITS: usize = 15;
const FLOAT_DIGITS: usize = 6;
const FOUR_BYTES: &str = "it has four bytes, for about 7 digits";
const EIGHT_BYTES: &str = "it has eight bytes, for about 16 digits";

impl Conversion {
    /// Why this conversion would keep fewer digits than the value has, if it would.
    pub(crate) fn lost_digits(&self, value: Value<'_>) -> Option<Reason> {
        let text = match value {
            Value::Number(text) | Value::String(text) | Value::Json(text) => text,
            Value::Null | Value::Bool(_) => return None,
        };
        let why: Cow<'static, str> = match self {
            Self::Integer if has_fraction(text, 0) => "it holds integers".into(),
            Self::Decimal { scale } if has_fraction(text, *scale) => behind_point(*scale),
            Self::Float { scale: Some(scale) } | Self::Double { scale: Some(scale) } if has_fraction(text, *scale) => {
                behind_point(*scale)
            }
            Self::Float { scale: Some(scale) } if !is_shown::<f32>(text, *scale) => FOUR_BYTES.into(),
            Self::Double { scale: Some(scale) } if !is_shown::<f64>(text, *scale) => EIGHT_BYTES.into(),
            Self::Float { scale: None } if !is_float(text) => FOUR_BYTES.into(),
            Self::Double { scale: None } if !is_double(text) => EIGHT_BYTES.into(),
            Self::Timestamp { digits } | Self::Time { digits } if second_digits(text) as u64 > *digits => {
                format!("it keeps {digits} digits of a second's fraction").into()
            }
            Self::Json { keeps_text: false } if !matches!(value, Value::String(_)) && !is_exact_double(text) => {
                "MySQL's JSON would round a number in it".into()
            }
            Self::Shape { .. } if !is_exact_double(text) => "a shape has numbers of about 16 digits".into(),
            Self::Vector(_) if !numbers(text).all(is_float) => "a vector has numbers of about 7 digits".into(),
            _ => return None,
        };
        let text = format!("the column would lose digits of the value: {why}");
        Some(Reason { code: LOST, text: text.into(), mend: Mend::Digits })
    }
}

fn behind_point(scale: u64) -> Cow<'static, str> {
    format!("it keeps {scale} digits behind the point").into()
}

/// Whether a number has more digits behind the point than `scale`.
fn has_fraction(text: &str, scale: u64) -> bool {
    if !text.contains(['e', 'E']) {
        let Some((_, fraction)) = text.split_once('.') else { return false };
        return fraction.len() as u64 > scale && fraction.trim_end_matches('0').len() as u64 > scale;
    }
    match Number::parse(text, i32::MAX as u32) {
        Some(number) => number.exponent < 0 && number.exponent.unsigned_abs() > scale,
        // An exponent that nothing holds; with a minus it leaves nothing but zero.
        None => text.contains('-'),
    }
}

/// What is out of range is the server's to refuse.
fn is_double(text: &str) -> bool {
    is_short(text, DOUBLE_DIGITS)
        || text.parse::<f64>().is_ok_and(|number| number.is_infinite() || is_same_number(text, &format!("{number:e}")))
}

/// In either reading: what was meant may have been spelled as a number of four bytes or as the double that it is.
fn is_float(text: &str) -> bool {
    is_short(text, FLOAT_DIGITS)
        || text.parse::<f32>().is_ok_and(|number| {
            number.is_infinite()
                || is_same_number(text, &format!("{number:e}"))
                || is_same_number(text, &format!("{:e}", f64::from(number)))
        })
}

/// Whether the server shows the number that was meant: of a type with digits behind the point it shows so many, also those
/// that the bytes had no room for, and zeros for some behind the 15th. What is out of range is the server's to refuse.
fn is_shown<T: FromStr + Into<f64>>(text: &str, scale: u64) -> bool {
    let Ok(number) = text.parse::<T>().map(Into::into) else { return false };
    let digits = usize::try_from(scale).unwrap_or(usize::MAX).min(usize::from(u8::MAX));
    let is_short = || Number::parse(text, EXPONENT_MAX).is_some_and(|number| number.digits.len() <= DOUBLE_DIGITS);
    number.is_infinite() || is_short() && is_same_number(text, &format!("{number:.digits$}"))
}

/// Few digits, and no exponent.
fn is_short(text: &str, digits: usize) -> bool {
    text.len() <= digits && !text.contains(['e', 'E'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::Flavour;

    #[test]
    fn digits_are_lost_or_not() {
        let decimal = Conversion::Decimal { scale: 2 };
        let (float, double) = (Conversion::Float { scale: None }, Conversion::Double { scale: None });
        let (second, milli) = (Conversion::Timestamp { digits: 0 }, Conversion::Time { digits: 3 });
        let json = Conversion::Json { keeps_text: false };
        for (conversion, kept, lost) in [
            (
                Conversion::Integer,
                vec!["1", "-9223372036854775808", "1E+2", "1.5E+1", "100.00"],
                vec!["1.5", "1E-2", "0.1"],
            ),
            (
                decimal,
                vec!["1.50", "1.500000", "1E+50", "12E-2", "-0.01"],
                vec!["1.005", "1E-3", "0.001", "1E-9999999999"],
            ),
            (Conversion::Decimal { scale: 0 }, vec!["1", "1.0"], vec!["0.5"]),
            (
                float.clone(),
                vec!["1.5", "0.1", "3.4028235E+38", "1.100000023841858", "16777216", "1E+300"],
                vec!["0.1234567891", "16777217", "1E-60", "123456789"],
            ),
            (Conversion::Float { scale: Some(2) }, vec!["1.25", "-99999.99", "0", "1E+39"], vec!["1.125", "131072.32"]),
            (Conversion::Float { scale: Some(4) }, vec!["999.9999"], vec!["-5495.8830"]),
            (
                Conversion::Double { scale: Some(2) },
                vec!["8054932196820.01", "1E+3"],
                vec!["80549321968204.01", "1E-3"],
            ),
            (Conversion::Double { scale: Some(20) }, vec!["0.5"], vec!["0.3"]),
            (
                double,
                vec!["0.1", "5E-324", "9007199254740992", "1E+400", "0.30000000000000004", "1.7976931348623157E+308"],
                vec!["9007199254740993", "0.10000000000000001", "1E-400", "12345678901234567890.5"],
            ),
            (second, vec!["2016-01-25T10:10:10", "2016-01-25T10:10:10.000Z"], vec!["2016-01-25T10:10:10.5Z"]),
            (milli, vec!["10:10:10.125", "1 day 10:10:10.12"], vec!["10:10:10.1255", "-1 days +00:00:00.0001"]),
            (json, vec!["[1.10, 2]", "9007199254740993"], vec!["[0.12345678901234567890]", "18446744073709551616"]),
            (Conversion::Json { keeps_text: true }, vec!["[0.12345678901234567890]"], vec![]),
            (Conversion::Vector(Flavour::MySql), vec!["[1,2.5,0.1]"], vec!["[1,0.123456789]"]),
            (Conversion::LongText { bytes_max: 9, letter_bytes_max: None }, vec!["0.123456789"], vec![]),
        ] {
            let found = |text: &str| conversion.lost_digits(Value::Number(text)).is_some();
            kept.iter().for_each(|text| assert!(!found(text), "{conversion:?} {text}"));
            lost.iter().for_each(|text| assert!(found(text), "{conversion:?} {text}"));
        }
        assert_eq!(Conversion::Integer.lost_digits(Value::Null), None);
        let why = float.lost_digits(Value::Number("16777217")).unwrap();
        assert!(why.text.contains("7 digits"), "{why:?}");
    }
}
