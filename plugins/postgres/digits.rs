//! Numbers as texts: which spelling is plain, and whether a column keeps every digit.
//!
//! Owns: digits. Does not own: what becomes of a value that loses some (`values`, `keys`). Pure.

use ebb_sdk::Number;

/// Beyond this PostgreSQL has no numbers.
pub(crate) const EXPONENT_MAX: u32 = 20_000;

/// `NaN` and the infinities.
pub(crate) fn is_special(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
}

/// A number in its only plain spelling: no plus, no zeros that do not count, no exponent.
pub(crate) fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, fraction)| (whole, Some(fraction)));
    let is_whole = is_count(whole);
    let is_fraction = fraction.is_none_or(|fraction| is_digits(fraction) && !fraction.ends_with('0'));
    is_whole && is_fraction && text != "-0"
}

/// Whether the nearest double is printed as this number again. Fifteen digits always are.
pub(crate) fn is_float8(text: &str, number: &Number) -> bool {
    text.parse::<f64>().is_ok_and(|float| same(&format!("{float:e}"), number))
}

/// The same for four bytes, which CockroachDB prints as a double or as what they are.
pub(crate) fn is_float4(text: &str, number: &Number) -> bool {
    let is_it = |float: f32| same(&format!("{float:e}"), number) || same(&format!("{:e}", f64::from(float)), number);
    text.parse::<f32>().is_ok_and(is_it)
}

fn same(printed: &str, number: &Number) -> bool {
    Number::parse(printed, EXPONENT_MAX).is_some_and(|printed| printed == *number)
}

pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Digits without a zero in front that does not count.
pub(crate) fn is_count(text: &str) -> bool {
    is_digits(text) && (text == "0" || !text.starts_with('0'))
}

/// Digits behind the point, zeros at the end left out; negative for a multiple of a power of ten.
pub(crate) fn decimals(text: &str) -> Option<i64> {
    // Most numbers need not be taken apart.
    if let Some(digits) = plain_decimals(text) {
        return Some(digits);
    }
    Number::parse(text, EXPONENT_MAX).map(|number| match number.digits.as_str() {
        "0" => i64::MIN,
        _ => -number.exponent,
    })
}

/// The same for a number without an exponent whose last digit is none of the zeros that do not count.
fn plain_decimals(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_plain = is_digits(whole.strip_prefix('-').unwrap_or(whole)) && (fraction.is_empty() || is_digits(fraction));
    let digits = fraction.trim_end_matches('0').len();
    let is_known = is_plain && (digits > 0 || !whole.ends_with('0'));
    is_known.then(|| i64::try_from(digits).unwrap_or(i64::MAX))
}

/// An integer without point and exponent; `None` where digits behind the point are left, or there is no end of digits.
pub(crate) fn integer(text: &str) -> Option<String> {
    let number = Number::parse(text, EXPONENT_MAX)?;
    let zeros = usize::try_from(number.exponent).ok().filter(|zeros| *zeros <= INTEGER_DIGITS_MAX)?;
    Some(format!("{}{}{}", number.sign(), number.digits, "0".repeat(zeros)))
}

/// No integer has more.
const INTEGER_DIGITS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_in_every_spelling() {
        for (text, expected) in [
            ("1E+2", Some("100")),
            ("-7.0", Some("-7")),
            ("0.00", Some("0")),
            ("7.5", None),
            ("1E-1", None),
            ("1E+99", None),
        ] {
            assert_eq!(integer(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn digits_behind_the_point() {
        for (text, expected) in [("7", 0), ("70", -1), ("7.10", 1), ("1E-3", 3), ("1.5E+3", -2), ("0.000", i64::MIN)] {
            assert_eq!(decimals(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn numbers_that_floats_keep() {
        let check = |text: &str, in_eight: bool, in_four: bool| {
            let number = Number::parse(text, EXPONENT_MAX).unwrap();
            assert_eq!((is_float8(text, &number), is_float4(text, &number)), (in_eight, in_four), "{text}");
        };
        check("0.1", true, true);
        check("1.100000023841858", true, true);
        check("0.1234567890123", true, false);
        check("9007199254740993", false, false);
        check("5E-324", true, false);
        check("-0", true, true);
    }
}
