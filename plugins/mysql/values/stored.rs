//! What a column has once a parameter was written, and what it has been found to have, in one spelling: two values are the same
//! when their spellings are.
//!
//! Owns: that spelling, letter by letter and to the last bit, with what the server rounds. Does not own: which values are
//! written at all (`parameter`, `digits`), documents of JSON (`document`), the questions (`compare`). Pure.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use ebb_sdk::Number;
use mysql_async::Value as Parameter;

use super::exact::EXPONENT_MAX;
use super::{Conversion, document};

/// What a column of an ENUM shows as nothing and is none of its members.
pub(crate) const NO_MEMBER: &str = "(no member)";

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
/// Every double between them is shown without an exponent.
const PLAIN: std::ops::Range<f64> = 1e-5..1e17;

impl Conversion {
    /// Whether a column that was found with one value would have the same if the other were written.
    pub(crate) fn is_same(&self, sent: &Parameter, found: &Parameter) -> bool {
        match (self, sent, found) {
            (_, Parameter::NULL, _) | (_, _, Parameter::NULL) => *sent == Parameter::NULL && *found == Parameter::NULL,
            (_, Parameter::Bytes(sent), Parameter::Bytes(found)) if sent == found => true,
            (_, Parameter::Int(sent), Parameter::Int(found)) => sent == found,
            (Self::Json { keeps_text }, Parameter::Bytes(sent), Parameter::Bytes(found)) => {
                document::is_same(sent, found, *keeps_text)
            }
            (Self::Double { scale: None }, Parameter::Double(sent), Parameter::Double(found)) => {
                sent.to_bits() == found.to_bits()
            }
            _ => self.stored(sent) == self.found(found),
        }
    }

    /// What the column has once this was written. NULL has no spelling.
    pub(crate) fn stored<'a>(&self, sent: &'a Parameter) -> Cow<'a, [u8]> {
        let text = match (self, sent) {
            (Self::Integer, _) => decimal(&plain(sent), 0),
            (Self::Decimal { scale }, _) => decimal(&plain(sent), *scale),
            (Self::Float { scale: None }, Parameter::Double(number)) => Some(shortest(f64::from(*number as f32), true)),
            (Self::Float { scale: Some(scale) }, Parameter::Double(number)) => {
                Some(with_scale(f64::from(rounded(*number, *scale) as f32), *scale))
            }
            (Self::Double { scale: Some(scale) }, Parameter::Double(number)) => {
                Some(with_scale(rounded(*number, *scale), *scale))
            }
            (Self::Date, Parameter::Bytes(text)) => day(text),
            (Self::Timestamp { digits }, Parameter::Bytes(text)) => moment(text, *digits),
            (Self::Time { digits }, Parameter::Bytes(text)) => clock(text, *digits),
            (Self::Json { keeps_text }, Parameter::Bytes(text)) => document::spelled(text, *keeps_text),
            (Self::Set(members), Parameter::Bytes(text)) => Some(in_order(members, &String::from_utf8_lossy(text))),
            _ => return self.found(sent),
        };
        text.map_or_else(|| plain(sent), |text| Cow::Owned(text.into_bytes()))
    }

    /// What the column has, as the server has given it.
    pub(crate) fn found<'a>(&self, found: &'a Parameter) -> Cow<'a, [u8]> {
        let text = match (self, found) {
            (Self::Decimal { scale }, _) => decimal(&plain(found), *scale),
            (Self::Float { scale: Some(scale) } | Self::Double { scale: Some(scale) }, _) => {
                number(found).map(|number| with_scale(number, *scale))
            }
            (Self::Float { .. }, _) => number(found).map(|number| shortest(number, true)),
            (Self::Double { .. }, _) => number(found).map(|number| shortest(number, false)),
            (Self::Bit { digits }, Parameter::UInt(number)) => Some(format!("{number:0digits$b}")),
            (Self::Bit { digits }, Parameter::Bytes(bytes)) => {
                let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
                Some(format!("{number:0digits$b}"))
            }
            (Self::Date, Parameter::Date(year, month, day, ..)) => Some(format!("{year:04}-{month:02}-{day:02}")),
            (Self::Timestamp { digits }, &Parameter::Date(year, month, day, hour, minute, second, micros)) => {
                let clock = format!("{hour:02}:{minute:02}:{second:02}");
                Some(format!("{year:04}-{month:02}-{day:02} {clock}{}", fraction(micros.into(), *digits)))
            }
            (Self::Time { digits }, &Parameter::Time(is_negative, days, hours, minutes, seconds, micros)) => {
                let seconds =
                    i64::from(days) * 86_400 + i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
                let micros = seconds * SECOND_US + i64::from(micros);
                Some(clock_text(if is_negative { -micros } else { micros }, *digits))
            }
            (Self::Json { .. }, Parameter::Bytes(text)) => document::spelled(text, true),
            (Self::Uuid, Parameter::Bytes(text)) => Some(uuid(&String::from_utf8_lossy(text))),
            (Self::Inet4, Parameter::Bytes(text)) => address::<Ipv4Addr>(text),
            (Self::Inet6, Parameter::Bytes(text)) => address::<Ipv6Addr>(text),
            _ => None,
        };
        text.map_or_else(|| plain(found), |text| Cow::Owned(text.into_bytes()))
    }

    /// For people.
    pub(crate) fn shown(&self, spelling: &[u8], chars_max: usize) -> String {
        let text = match self {
            Self::Bytes { .. } => {
                let bytes = spelling.iter().take(chars_max).map(|byte| format!("{byte:02x}"));
                format!("\\x{}", bytes.collect::<String>())
            }
            _ => String::from_utf8_lossy(spelling).into_owned(),
        };
        text.chars().take(chars_max).collect()
    }
}

/// As it is, numbers with all of their digits.
fn plain(value: &Parameter) -> Cow<'_, [u8]> {
    match value {
        Parameter::NULL => Cow::Borrowed(&[]),
        Parameter::Bytes(bytes) => Cow::Borrowed(bytes),
        Parameter::Int(number) => Cow::Owned(number.to_string().into_bytes()),
        Parameter::UInt(number) => Cow::Owned(number.to_string().into_bytes()),
        Parameter::Float(number) => Cow::Owned(shortest(f64::from(*number), true).into_bytes()),
        Parameter::Double(number) => Cow::Owned(shortest(*number, false).into_bytes()),
        other => Cow::Owned(other.as_sql(true).into_bytes()),
    }
}

fn number(value: &Parameter) -> Option<f64> {
    match value {
        Parameter::Float(number) => Some(f64::from(*number)),
        Parameter::Double(number) => Some(*number),
        _ => None,
    }
}

/// A number with so many digits behind the point, rounded away from zero in the middle, as the server does it.
fn decimal(text: &[u8], scale: u64) -> Option<String> {
    let number = Number::parse(std::str::from_utf8(text).ok()?, EXPONENT_MAX)?;
    let scale = usize::try_from(scale).ok()?;
    // The digits of the number times ten to the power of the scale.
    let shift = number.exponent + scale as i64;
    let mut digits = number.digits.clone().into_bytes();
    if shift >= 0 {
        digits.resize(digits.len() + usize::try_from(shift).ok()?, b'0');
    } else {
        let lost = usize::try_from(-shift).ok()?;
        let rounds_up = lost <= digits.len() && digits[digits.len() - lost] >= b'5';
        digits.truncate(digits.len().saturating_sub(lost));
        if rounds_up {
            add_one(&mut digits);
        }
    }
    let is_zero = digits.iter().all(|digit| *digit == b'0');
    let digits = String::from_utf8(digits).ok()?;
    let digits = format!("{:0>width$}", digits.trim_start_matches('0'), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if is_zero { "" } else { number.sign() };
    Some(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

fn add_one(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

/// The fewest digits that are this number and no other one.
pub(crate) fn shortest(number: f64, is_float: bool) -> String {
    let is_plain = number == 0.0 || PLAIN.contains(&number.abs());
    match (is_float, is_plain) {
        (true, true) => format!("{}", number as f32),
        (true, false) => format!("{:e}", number as f32),
        (false, true) => format!("{number}"),
        (false, false) => format!("{number:e}"),
    }
}

/// What the server makes of a number for a type with digits behind the point.
fn rounded(number: f64, scale: u64) -> f64 {
    let power = 10_f64.powi(i32::try_from(scale).unwrap_or(i32::MAX));
    let whole = number.floor();
    whole + ((number - whole) * power).round_ties_even() / power
}

fn with_scale(number: f64, scale: u64) -> String {
    let digits = usize::try_from(scale).unwrap_or(usize::MAX).min(usize::from(u8::MAX));
    format!("{number:.digits$}")
}

fn in_order(members: &[String], text: &str) -> String {
    let parts: Vec<&str> = text.split(',').collect();
    let present: Vec<_> = members.iter().filter(|member| parts.contains(&member.as_str())).cloned().collect();
    present.join(",")
}

/// `2016-01-25`, of a text that has nothing else.
fn day(text: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

/// `2016-01-25 10:10:10.5` with as many digits as the column has: half of the last one is rounded up.
fn moment(text: &[u8], digits: u64) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let (day, clock) = text.split_once(' ').unwrap_or((text, "00:00:00"));
    let micros = round_micros(micros(clock, digits)?, digits);
    let day = if micros >= DAY_US { next_day(day)? } else { day.to_owned() };
    Some(format!("{day} {}", clock_text(micros % DAY_US, digits)))
}

fn clock(text: &[u8], digits: u64) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let (is_negative, positive) = text.strip_prefix('-').map_or((false, text), |positive| (true, positive));
    let micros = round_micros(micros(positive, digits)?, digits);
    Some(clock_text(if is_negative { -micros } else { micros }, digits))
}

/// Microseconds of `100:10:10.5`. A source that has more digits than six has them rounded to six first.
fn micros(clock: &str, digits: u64) -> Option<i64> {
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut seconds = 0_i64;
    for part in clock.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    let six: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let rounds_up = digits == 6 && fraction.as_bytes().get(6).is_some_and(|digit| *digit >= b'5');
    seconds.checked_mul(SECOND_US)?.checked_add(six + i64::from(rounds_up))
}

fn round_micros(micros: i64, digits: u64) -> i64 {
    let unit = 10_i64.pow(6 - u32::try_from(digits.min(6)).unwrap_or(6));
    (micros + unit / 2) / unit * unit
}

fn clock_text(micros: i64, digits: u64) -> String {
    let (sign, rest) = if micros < 0 { ("-", -micros) } else { ("", micros) };
    let seconds = rest / SECOND_US;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{sign}{hours:02}:{minutes:02}:{:02}{}", seconds % 60, fraction(rest % SECOND_US, digits))
}

/// `.500` for three digits.
fn fraction(micros: i64, digits: u64) -> String {
    let text = format!(".{micros:06}");
    if digits == 0 { String::new() } else { text.chars().take(1 + digits.min(6) as usize).collect() }
}

fn next_day(day: &str) -> Option<String> {
    let mut parts = day.split('-').map(str::parse::<u32>);
    let (mut year, mut month, mut day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()? + 1);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day > days {
        (month, day) = (month + 1, 1);
    }
    if month > 12 {
        (year, month) = (year + 1, 1);
    }
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// With or without dashes, in any case.
fn uuid(text: &str) -> String {
    let digits: String =
        text.chars().filter(|letter| *letter != '-').map(|letter| letter.to_ascii_lowercase()).collect();
    match digits.len() == 32 && digits.is_ascii() {
        true => {
            format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
        }
        false => text.to_owned(),
    }
}

fn address<T: std::str::FromStr + ToString>(text: &[u8]) -> Option<String> {
    std::str::from_utf8(text).ok()?.parse::<T>().ok().map(|address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Parameter {
        Parameter::Bytes(text.into())
    }

    #[test]
    fn decimals_round_as_the_server_does() {
        for (text, scale, expected) in [
            ("1.5", 2, "1.50"),
            ("1E+2", 4, "100.0000"),
            ("1.005", 2, "1.01"),
            ("-1.005", 2, "-1.01"),
            ("-0.004", 2, "0.00"),
            ("9.995", 2, "10.00"),
            ("0.5", 0, "1"),
            ("0.4", 0, "0"),
            ("0.05", 0, "0"),
            ("-0", 0, "0"),
            ("9007199254740993.5", 0, "9007199254740994"),
            ("0007.10", 1, "7.1"),
        ] {
            assert_eq!(decimal(text.as_bytes(), scale).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(decimal(b"x", 2), None);
    }

    #[test]
    fn times_round_into_the_next_day_and_year() {
        for (text, digits, expected) in [
            ("2016-01-25 10:10:10.5", 6, "2016-01-25 10:10:10.500000"),
            ("2016-01-25", 0, "2016-01-25 00:00:00"),
            ("2016-02-28 23:59:59.9995", 3, "2016-02-29 00:00:00.000"),
            ("2015-12-31 23:59:59.5", 0, "2016-01-01 00:00:00"),
            ("2100-02-28 23:59:59.5", 0, "2100-03-01 00:00:00"),
            ("2016-01-25 10:10:10.4999", 0, "2016-01-25 10:10:10"),
        ] {
            assert_eq!(moment(text.as_bytes(), digits).as_deref(), Some(expected), "{text}");
        }
        for (text, digits, expected) in [
            ("-22:00:00.000000", 0, "-22:00:00"),
            ("100:00:00.55", 1, "100:00:00.6"),
            ("-00:00:00.5", 0, "-00:00:01"),
            ("-00:00:00", 0, "00:00:00"),
        ] {
            assert_eq!(clock(text.as_bytes(), digits).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn zeros_with_a_sign_and_letters_are_told_apart() {
        let double = Conversion::Double { scale: None };
        assert!(!double.is_same(&Parameter::Double(-0.0), &Parameter::Double(0.0)));
        assert!(double.is_same(&Parameter::Double(-0.0), &Parameter::Double(-0.0)));
        let float = Conversion::Float { scale: None };
        assert!(!float.is_same(&Parameter::Double(0.0), &Parameter::Float(-0.0)));
        assert!(float.is_same(&Parameter::Double(f64::from(1.1_f32)), &Parameter::Float(1.1)));
        assert!(!float.is_same(&Parameter::Double(f64::from(1.1_f32)), &Parameter::Float(1.100_000_2)));
        let text = Conversion::Text { chars_max: 9, is_char: false };
        assert!(!text.is_same(&bytes("a"), &bytes("a ")) && !text.is_same(&bytes("a"), &bytes("A")));
        assert!(!text.is_same(&Parameter::NULL, &bytes("")) && !text.is_same(&bytes(""), &Parameter::NULL));
        assert!(text.is_same(&Parameter::NULL, &Parameter::NULL));
        assert!(Conversion::Integer.is_same(&Parameter::Int(7), &Parameter::UInt(7)));
        assert!(Conversion::Bit { digits: 9 }.is_same(&Parameter::UInt(256), &Parameter::Bytes(vec![1, 0])));
        let set = Conversion::Set(["a", "b"].map(String::from).into());
        assert!(set.is_same(&bytes("b,a"), &bytes("a,b")) && !set.is_same(&bytes("a"), &bytes("a,b")));
        assert!(
            Conversion::Uuid
                .is_same(&bytes("7F9C24E83B124FEF91E056A2D5A246EC"), &bytes("7f9c24e8-3b12-4fef-91e0-56a2d5a246ec"))
        );
    }
}
