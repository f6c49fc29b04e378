//! Values of key columns: each must be something of its own on the target.
//!
//! Owns: refusing every spelling but one of what the column would take for the same, so that no two keys of the source
//! become one row and every delete finds its row. JSON numbers are compared by their value at the source too, and may have any
//! spelling where the column is a number. Does not own: lost digits (`digits`), letters that a collation takes for the same
//! (`statement`). Pure.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use ebb_sdk::{Value, is_number};

use super::{Conversion, Mend, Reason, is_uuid};

const SPELLING: Reason = spelling("a key must come in the one spelling that CockroachDB has for the column's type");
const NUMBER: Reason = spelling("a number whose digits can be spelled in several ways cannot be a key of texts");
const NESTED: Reason = spelling("an object or an array can be spelled in several ways and cannot be a key");
const BITS: Reason = spelling("a key must have as many binary digits as the column: others would be the same number");
const BINARY: Reason = spelling("the server rounds a value of the type in binary, and does not find it again");
const ORDER: Reason = spelling("the members of a set in a key must come once each, in the order of the column's type");

const fn spelling(text: &'static str) -> Reason {
    Reason { code: 1366, text: Cow::Borrowed(text), mend: Mend::Key }
}

impl Conversion {
    /// Refuses a value of a key for which another one could stand here.
    pub(crate) fn check_key(&self, value: Value<'_>) -> Result<(), Reason> {
        let is_one = |is_one: bool, why: Reason| if is_one { Ok(()) } else { Err(why) };
        match (self, value) {
            (_, Value::Null) => Ok(()),
            (_, Value::Json(_)) => Err(NESTED),
            (Self::Float { scale: Some(_) } | Self::Double { scale: Some(_) }, _) => Err(BINARY),
            (Self::Integer | Self::Decimal { .. } | Self::Float { .. } | Self::Double { .. }, Value::String(text)) => {
                is_one(is_canonical(text), SPELLING)
            }
            (Self::Text { .. } | Self::LongText { .. } | Self::Enum(_), Value::Number(text)) => {
                is_one(is_canonical(text), NUMBER)
            }
            (Self::Set(members), _) => is_one(is_in_order(members, value.text().unwrap_or_default()), ORDER),
            (Self::Bytes { .. }, Value::String(text)) => {
                is_one(!text.bytes().any(|letter| letter.is_ascii_uppercase()), SPELLING)
            }
            (Self::Bit { digits }, Value::String(text)) => is_one(text.len() == *digits, BITS),
            (Self::Date, Value::String(text)) => is_one(is_date(text), SPELLING),
            (Self::Timestamp { .. }, Value::String(text)) => is_one(is_moment(text), SPELLING),
            (Self::Time { .. }, Value::String(text)) => is_one(is_clock(text), SPELLING),
            (Self::Uuid, Value::String(text)) => {
                is_one(is_uuid(text) && !text.bytes().any(|letter| letter.is_ascii_uppercase()), SPELLING)
            }
            (Self::Inet4, Value::String(text)) => {
                is_one(text.parse::<Ipv4Addr>().is_ok_and(|found| found.to_string() == text), SPELLING)
            }
            (Self::Inet6, Value::String(text)) => {
                is_one(text.parse::<Ipv6Addr>().is_ok_and(|found| found.to_string() == text), SPELLING)
            }
            _ => Ok(()),
        }
    }
}

/// Digits without zeros at either end that change nothing, without an exponent.
fn is_canonical(number: &str) -> bool {
    let ends_well = !number.contains('.') || !number.ends_with('0');
    is_number(number) && !number.contains(['e', 'E']) && ends_well && !matches!(number, "-0")
}

fn is_in_order(members: &[String], text: &str) -> bool {
    let mut rest = members.iter();
    text.is_empty() || text.split(',').all(|part| rest.any(|member| member == part))
}

/// Whether a text has digits where the pattern has `0`, and is the pattern elsewhere.
pub(super) fn is_like(text: &str, pattern: &str) -> bool {
    let same = |(letter, wanted): (u8, u8)| if wanted == b'0' { letter.is_ascii_digit() } else { letter == wanted };
    text.len() == pattern.len() && text.bytes().zip(pattern.bytes()).all(same)
}

fn is_date(text: &str) -> bool {
    is_like(text, "0000-00-00")
}

/// A fraction has no zeros at its end; a `Z` stands behind all values of a column of the source or behind none.
fn is_moment(text: &str) -> bool {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (moment, fraction) = text.split_once('.').unwrap_or((text, "1"));
    is_like(moment, "0000-00-00T00:00:00") && is_fraction(fraction)
}

/// `24:00:00` and `1 day` would be one.
fn is_clock(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (clock, fraction) = digits.split_once('.').unwrap_or((digits, "1"));
    let (hours, rest) = clock.split_once(':').unwrap_or(("", ""));
    let has_hours = match hours.len() {
        2 => true,
        3 => !hours.starts_with('0'),
        _ => false,
    };
    let is_zero = digits.bytes().all(|letter| matches!(letter, b'0' | b':'));
    has_hours
        && hours.bytes().all(|digit| digit.is_ascii_digit())
        && is_like(rest, "00:00")
        && is_fraction(fraction)
        && !(is_zero && text.starts_with('-'))
}

fn is_fraction(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) && !digits.ends_with('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_is_a_key_and_others_are_not() {
        let numbers =
            (vec!["0", "7", "-7", "0.5", "1.25"], vec!["+1", "007", " 1", "1.0", "-0", "1E+2", "t", "", "1.", "1.50"]);
        let text = |is_char| Conversion::Text { chars_max: 9, is_char };
        let set = || Conversion::Set(["a", "b", "c"].map(String::from).into());
        let strings = [
            (Conversion::Integer, numbers.0.clone(), numbers.1.clone()),
            (Conversion::Decimal { scale: 2 }, numbers.0.clone(), numbers.1.clone()),
            (Conversion::Float { scale: None }, numbers.0.clone(), numbers.1.clone()),
            (Conversion::Double { scale: None }, numbers.0.clone(), numbers.1.clone()),
            (text(false), vec!["1.0", "+1", "a ", ""], vec![]),
            (set(), vec!["", "a", "a,c", "b,c"], vec!["b,a", "a,a", "c,b"]),
            (Conversion::Bytes { padded_to: Some(2) }, vec!["\\x6869"], vec!["\\x68AF"]),
            (
                Conversion::Bytes { padded_to: Some(16) },
                vec!["7f9c24e8-3b12-4fef-91e0-56a2d5a246ec", "\\x7f9c24e83b124fef91e056a2d5a246ec"],
                vec!["7F9C24E8-3B12-4FEF-91E0-56A2D5A246EC"],
            ),
            (Conversion::Bytes { padded_to: None }, vec!["\\x", "\\x6a"], vec!["\\x6A"]),
            (Conversion::Bit { digits: 4 }, vec!["0101"], vec!["101", "00101"]),
            (Conversion::Date, vec!["2016-01-25"], vec!["2016-1-25", "16-01-25", "2016-01-25T00:00:00", "20160125"]),
            (
                Conversion::Timestamp { digits: 6 },
                vec!["2016-01-25T10:10:10", "2016-01-25T10:10:10.5Z"],
                vec![
                    "2016-01-25",
                    "2016-01-25 10:10:10",
                    "2016-01-25T10:10:10.50",
                    "2016-01-25T10:10:10+00",
                    "16-01-25T10:10:10",
                ],
            ),
            (
                Conversion::Time { digits: 6 },
                vec!["01:02:03", "24:00:00", "-01:00:00.5", "100:00:00"],
                vec![
                    "1:02:03",
                    "1 day",
                    "1 day 00:00:01",
                    "+01:00:00",
                    "-00:00:00",
                    "01:02",
                    "01:02:03.50",
                    "0100:00:00",
                ],
            ),
            (
                Conversion::Uuid,
                vec!["7f9c24e8-3b12-4fef-91e0-56a2d5a246ec"],
                vec!["7F9C24E8-3B12-4FEF-91E0-56A2D5A246EC", "7f9c24e83b124fef91e056a2d5a246ec"],
            ),
            (Conversion::Inet4, vec!["10.1.2.3"], vec!["10.01.2.3", "10.1.2.3/32", "::1"]),
            (Conversion::Inet6, vec!["::1", "::ffff:1.2.3.4", "2001:db8::1"], vec!["1.2.3.4", "::0001", "2001:DB8::1"]),
        ];
        for (conversion, kept, refused) in strings {
            let check = |text: &str| conversion.check_key(Value::String(text));
            kept.iter().for_each(|text| assert_eq!(check(text), Ok(()), "{conversion:?} {text:?}"));
            refused.iter().for_each(|text| assert!(check(text).is_err(), "{conversion:?} {text:?}"));
        }
        for number in ["1.0", "1E+2", "100", "0.50"] {
            assert_eq!(Conversion::Decimal { scale: 2 }.check_key(Value::Number(number)), Ok(()), "{number}");
            assert_eq!(text(true).check_key(Value::Number(number)).is_ok(), number == "100", "{number}");
        }
        assert_eq!(Conversion::Double { scale: Some(2) }.check_key(Value::Number("2.97")), Err(BINARY));
        assert_eq!(text(false).check_key(Value::Json("[1]")), Err(NESTED));
        assert_eq!(text(false).check_key(Value::Null), Ok(()));
        assert_eq!(set().check_key(Value::String("x")), Err(ORDER));
    }
}
