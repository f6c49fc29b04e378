//! JSON numbers of any length, taken apart without losing a digit.
//!
//! Owns: sign, digits and exponent, the same for every spelling of a number, and digits of seconds. Does not own: what is made
//! of them. Pure.

/// A number as `digits` × 10^`exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// Below zero.
    pub is_negative: bool,
    /// Without zeros at either end; `0` for zero, which is never negative.
    pub digits: String,
    /// The power of ten of the last digit.
    pub exponent: i64,
}

impl Number {
    /// Takes a JSON number apart; `None` for a text that is none, or whose written exponent is beyond `exponent_max`.
    ///
    /// ```
    /// use ebb_sdk::Number;
    /// let number = Number::parse("-26.30", 400).unwrap();
    /// assert_eq!((number.is_negative, number.digits.as_str(), number.exponent), (true, "263", -1));
    /// assert_eq!(Number::parse("2630E-2", 400), Number::parse("26.3", 400));
    /// assert_eq!(Number::parse("1E+401", 400), None);
    /// ```
    pub fn parse(text: &str, exponent_max: u32) -> Option<Self> {
        let (is_negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let exponent = exponent.parse::<i32>().ok().filter(|exponent| exponent.unsigned_abs() <= exponent_max)?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let kept = all.trim_end_matches('0');
        let exponent = i64::from(exponent) - fraction.len() as i64 + (all.len() - kept.len()) as i64;
        match kept.trim_start_matches('0') {
            "" => Some(Self { is_negative: false, digits: "0".into(), exponent: 0 }),
            digits => Some(Self { is_negative, digits: digits.to_owned(), exponent }),
        }
    }

    /// `-`, or nothing.
    pub fn sign(&self) -> &'static str {
        if self.is_negative { "-" } else { "" }
    }
}

/// A number as JSON spells one: no plus, no zeros before it, no blanks.
pub fn is_number(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    are_digits(whole) && (whole == "0" || !whole.starts_with('0')) && are_digits(fraction) && are_digits(exponent)
}

/// Digits of a second's fraction, zeros at the end left out: of `10:10:10.5`, `2016-01-25T10:10:10.5Z`,
/// `3 days 04:05:06.789`.
pub fn second_digits(text: &str) -> usize {
    let Some((_, fraction)) = text.split_once('.') else { return 0 };
    let end = fraction.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(fraction.len());
    fraction[..end].trim_end_matches('0').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_json_spells_them() {
        for (text, expected) in [
            ("0", true),
            ("-1.50E+10", true),
            ("1e5", true),
            ("01", false),
            ("+1", false),
            (" 1", false),
            ("1.", false),
            (".5", false),
            ("1e", false),
            ("", false),
            ("NaN", false),
        ] {
            assert_eq!(is_number(text), expected, "{text}");
        }
    }
    #[test]
    fn digits_of_seconds() {
        for (text, expected) in [("10:10:10", 0), ("10:10:10.1200Z", 2), ("1 day 00:00:00.000001", 6)] {
            assert_eq!(second_digits(text), expected, "{text}");
        }
    }
}
