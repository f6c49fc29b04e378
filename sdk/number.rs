//! JSON numbers of any length, taken apart without losing a digit.
//!
//! Owns: sign, digits and exponent, the same for every spelling of a number. Does not own: what is made of them. Pure.

/// A number as `digits` × 10^`exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
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
