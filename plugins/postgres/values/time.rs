//! Texts of days and moments: years before Christ, infinity, and what PostgreSQL would cut or guess.
//!
//! Owns: the text that PostgreSQL takes. Does not own: digits of seconds (`digits`). Pure.

use std::borrow::Cow;

use super::Reason;
use crate::digits::is_digits;

const NO_DATE: Reason = Reason { code: "22008", text: "a date cannot hold a time of day" };
const NO_ZONE: Reason = Reason { code: "22007", text: "a time without a zone cannot hold one" };
pub(super) const NO_TIME: Reason = Reason {
    code: "22007",
    text: "a day needs a year of four digits, as in 2016-01-25, and a time its minutes, as in 10:20:30",
};

pub(super) const NO_INTERVAL: Reason = Reason {
    code: "22007",
    text: "an interval is spelled as in 1 year 2 mons 3 days 04:05:06.789, P1Y2M3DT4H5M6.789S or +1-2 +3 +4:05:06",
};

pub(super) fn time(text: &str, has_zone: bool) -> Result<Cow<'_, str>, Reason> {
    let has_minutes = text.len() >= 5 && text.bytes().take(3).map(|byte| byte.is_ascii_digit()).eq([true, true, false]);
    let is_known = |byte: u8| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'+' | b'-' | b'Z');
    match text.contains(['+', '-', 'Z']) && !has_zone {
        true => Err(NO_ZONE),
        false if !text.bytes().all(is_known) || has_second_60(text) => Err(NO_TIME),
        false if has_minutes && text.as_bytes()[2] == b':' => Ok(text.into()),
        false => Err(NO_TIME),
    }
}

/// A day with a year of four digits or more, and nothing behind it but a time: of two digits PostgreSQL would make its
/// own century, of `today` its own day, and a zone or a word behind the day it would leave out.
pub(super) fn has_year(text: &str) -> bool {
    let plain = text.strip_suffix(" BC").unwrap_or(text);
    let day = plain.split(['T', 't', ' ']).next().unwrap_or(plain).trim_end_matches('Z');
    let mut parts = day.strip_prefix('-').unwrap_or(day).split('-');
    let mut has_digits = |least| parts.next().is_some_and(|part| part.len() >= least && is_digits(part));
    has_digits(4) && has_digits(1) && has_digits(1) && parts.next().is_none() || is_endless(text)
}

/// PostgreSQL would take second 60 for the first of the next minute.
fn has_second_60(clock: &str) -> bool {
    clock.contains(":60")
}

fn is_endless(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity")
}

/// A day alone, or its midnight. PostgreSQL would leave out whatever else stands behind it.
pub(super) fn day(text: &str) -> Result<Cow<'_, str>, Reason> {
    if is_endless(text) {
        return Ok(text.into());
    }
    let (plain, is_christian) = match text.strip_suffix(" BC") {
        Some(plain) => (plain, false),
        None => (text, true),
    };
    match plain.trim_end_matches('Z').split_once(['T', 't', ' ']) {
        None => Ok(text.into()),
        Some((_, "00:00:00")) if is_christian => Ok(timestamp(text)),
        _ => Err(NO_DATE),
    }
}

/// A day and a time of day. PostgreSQL would leave out a zone where the column has none, and reads words behind it.
pub(super) fn moment(text: &str, has_zone: bool) -> Result<Cow<'_, str>, Reason> {
    if is_endless(text) {
        return Ok(text.into());
    }
    let plain = text.strip_suffix(" BC").unwrap_or(text);
    let Some((_, clock)) = plain.split_once(['T', 't', ' ']) else { return Ok(timestamp(text)) };
    let clock = clock.trim_end_matches('Z');
    let is_known = |byte: u8| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'+' | b'-');
    match clock.bytes().all(is_known) && !has_second_60(clock) {
        false => Err(NO_TIME),
        true if clock.contains(['+', '-']) && !has_zone => Err(NO_ZONE),
        true => Ok(timestamp(text)),
    }
}

/// What an interval is made of, in this order, as [`shape`] has it: the three styles of CockroachDB, and units in words.
#[rustfmt::skip]
const INTERVAL: [&str; 32] = [
    "P", "9Y", "9M", "9W", "9D", "T", "9H", "9M", "9S", "9.9S",
    "9-9 ", "9 9:9:9 ", "9 9:9:9.9 ",
    "9 year ", "9 years ", "9 mon ", "9 mons ", "9 month ", "9 months ", "9 week ", "9 weeks ", "9 day ", "9 days ",
    "9 hour ", "9 hours ", "9 minute ", "9 minutes ", "9 second ", "9 seconds ", "9:9:9 ", "9:9:9.9 ", " ",
];

/// Of any other text PostgreSQL would guess a part: the unit of a number without one, or what a letter stands for. A sign in
/// front of the SQL standard's style is meant for every number, and PostgreSQL would give it to the first one.
pub(super) fn is_interval(text: &str) -> bool {
    let whole = shape(text) + " ";
    let rest = INTERVAL.iter().fold(whole.as_str(), |rest, part| rest.strip_prefix(part).unwrap_or(rest));
    let is_signed = |word: &str| word.starts_with(['+', '-']);
    let is_clear = text.contains(char::is_alphabetic) || !text.starts_with('-') || text.split(' ').all(is_signed);
    whole.contains('9') && rest.is_empty() && is_clear && !has_second_60(text)
}

/// Every run of digits as a 9, without its sign.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for letter in text.chars() {
        match letter {
            // A digit behind another one, and a minus that is none between two numbers.
            '+' | '-' | '0'..='9' if letter.is_ascii_digit() == shape.ends_with('9') => {}
            '0'..='9' => shape.push('9'),
            other => shape.push(other),
        }
    }
    shape
}

/// CockroachDB counts years astronomically: year 0 is 1 BC, year -43 is 44 BC. It has no text for the infinities, and
/// prints the ends of its range, or values beyond it, instead.
pub(super) fn timestamp(text: &str) -> Cow<'_, str> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let Some((year, rest)) = digits.split_once('-') else { return Cow::Borrowed(text) };
    let Ok(year_number) = year.parse::<i64>() else { return Cow::Borrowed(text) };
    let moment = rest.trim_end_matches('Z');
    match (negative, year_number) {
        (false, 294_277..) => "infinity".into(),
        (false, 294_276) if moment == "12-31T23:59:59.999999" => "infinity".into(),
        (true, 4714..) => "-infinity".into(),
        (true, 4713) if moment == "11-24T00:00:00" => "-infinity".into(),
        (false, 1..) => Cow::Borrowed(text),
        (_, years) => format!("{:04}-{rest} BC", years + 1).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_every_age() {
        for (text, expected) in [
            ("2016-01-25T10:10:10", "2016-01-25T10:10:10"),
            ("2016-01-25T15:10:10Z", "2016-01-25T15:10:10Z"),
            ("12345-01-01T00:00:00", "12345-01-01T00:00:00"),
            ("-0043-03-15T00:00:00", "0044-03-15T00:00:00 BC"),
            ("-0043-03-15T00:00:00Z", "0044-03-15T00:00:00Z BC"),
            ("0000-01-01T00:00:00", "0001-01-01T00:00:00 BC"),
            ("294276-12-31T23:59:59Z", "294276-12-31T23:59:59Z"),
            ("294276-12-31T23:59:59.999999Z", "infinity"),
            ("294277-01-01T23:59:59.999999Z", "infinity"),
            ("-4713-11-24T00:00:00.5Z", "4714-11-24T00:00:00.5Z BC"),
            ("-4713-11-24T00:00:00Z", "-infinity"),
            ("infinity", "infinity"),
        ] {
            assert_eq!(timestamp(text), expected);
        }
    }

    #[test]
    fn what_would_be_left_out_is_refused() {
        for text in ["2016-01-25 10:00:00+05", "2016-01-25 10:00:00 EST", "2016-01-25T10:00:00 PM"] {
            assert!(moment(text, false).is_err(), "{text}");
        }
        assert!(moment("2016-01-25 10:00:00+05", true).is_ok() && moment("2016-01-25 10:00:00 EST", true).is_err());
        assert!(moment("2016-01-25T10:00:00Z", false).is_ok() && moment("-0043-03-15T00:00:00", false).is_ok());
        assert!(time("10:00:00 EST", false).is_err() && time("10:00:00.5", false).is_ok());
    }

    #[test]
    fn a_day_stands_alone_and_a_minute_has_60_seconds() {
        for text in ["2016-01-25", "2016-1-5T10:00:00Z", "12345-01-01", "-0043-03-15", "0044-03-15 BC", "infinity"] {
            assert!(has_year(text), "{text}");
        }
        for text in
            ["2016-01-25+02", "2016-01-25EST", "2016-01-25,10:00:00", "2016-01-25\t10:00:00", "16-01-25", "today"]
        {
            assert!(!has_year(text), "{text}");
        }
        assert!(time("10:00:60", false).is_err() && moment("2016-01-25T10:00:60", false).is_err());
        assert!(time("24:00:00", false).is_ok() && moment("2016-01-25T10:00:59.999999", false).is_ok());
    }

    #[test]
    fn intervals_are_read_as_they_are_meant() {
        for text in [
            "00:00:00|1 year 2 mons 3 days 04:05:06.789|-1 days +02:00:00|-1 years -2 mons +3 days -00:00:01|1 mon|100:00:00",
            "P1Y2M3DT4H5M6.789S|P-1Y-2M3DT-4H-5M-6.5S|PT0S|P1W|P1D|PT5M",
            "1-2|-1-2|3 4:05:06|4:05:06.5|-4:05:06|+1-2 +3 +4:05:06|-1-2 -3 -4:05:06|1-2 3 4:05:06|-1-2 +3 +4:05:06",
            "5 days|1 week 2 days|2 hours 30 minutes|1 month|10 seconds",
        ] {
            text.split('|').for_each(|text| assert!(is_interval(text), "{text:?}"));
        }
        for text in [
            "|5|5 | 5|5,|@5|0|P|PT|now|infinity|00:00:60|00:00:05 EST",
            "1 day 04|5 days 3|1 mon 2|1-2 3|3 4|1 dec|1 c|5d|2 h 3 m|1 day ago|@ 1 day|1 day, 2 hours|1.5 days|1.5 months",
            "-3 4:05:06|-1-2 3 4:05:06|P0001-02-03T04:05:06|P1.5D|1:2",
        ] {
            text.split('|').for_each(|text| assert!(!is_interval(text), "{text:?}"));
        }
    }

    #[test]
    fn days_have_no_time() {
        assert_eq!(day("2016-01-25T00:00:00Z").unwrap(), "2016-01-25T00:00:00Z");
        for text in ["2016-01-25T00:00:01", "2016-01-25 10:00:00", "2016-01-25t10:00:00", "2016-01-25 00:00:00+02"] {
            assert!(day(text).is_err(), "{text}");
        }
        assert_eq!(day("0044-03-15 BC").unwrap(), "0044-03-15 BC");
    }
}
