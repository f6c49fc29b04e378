//! Dates, times and intervals in the spelling that MySQL reads.
//!
//! Owns: rewriting, and refusing what has no place in MySQL's calendar. Pure.

use super::{Reason, reason};

const NO_DATE: Reason = reason(1292, "a date cannot hold a time of day");
const OUT_OF_CALENDAR: Reason = reason(1292, "MySQL has no years before 1 or after 9999, and no infinity");
const NO_ZONE: Reason = reason(1292, "a time cannot hold a time zone");
const NO_DURATION: Reason = reason(1292, "a time holds days and hours, and neither months nor years");

/// `2016-01-25`, also with a midnight behind it.
pub(super) fn date(text: &str) -> Result<String, Reason> {
    in_calendar(text)?;
    match text.trim_end_matches('Z').split_once('T') {
        None => Ok(text.to_owned()),
        Some((day, "00:00:00")) => Ok(day.to_owned()),
        Some(_) => Err(NO_DATE),
    }
}

/// `2016-01-25T10:10:10.5Z`; the session's time zone is UTC.
pub(super) fn timestamp(text: &str) -> Result<String, Reason> {
    in_calendar(text)?;
    Ok(text.trim_end_matches('Z').replacen('T', " ", 1))
}

fn in_calendar(text: &str) -> Result<(), Reason> {
    let year = text.split('-').next().unwrap_or_default();
    let is_usual =
        text.len() > 4 && year.len() == 4 && year != "0000" && year.bytes().all(|digit| digit.is_ascii_digit());
    if is_usual && !text.ends_with("BC") { Ok(()) } else { Err(OUT_OF_CALENDAR) }
}

/// `01:23:45.123456`, or an interval: `-1 days +02:00:00`.
pub(super) fn duration(text: &str) -> Result<String, Reason> {
    let (mut days, mut clock) = (0_i64, None);
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        if word.contains(':') {
            clock = Some(word);
            continue;
        }
        match (word.parse::<i64>(), words.next()) {
            (Ok(count), Some("day" | "days")) => days = count,
            _ => return Err(NO_DURATION),
        }
    }
    let clock = clock.unwrap_or("00:00:00");
    let (is_negative, digits) = match clock.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, clock.trim_start_matches('+')),
    };
    if digits.contains(['+', '-', 'Z']) {
        return Err(NO_ZONE);
    }
    if days == 0 {
        return Ok(clock.trim_start_matches('+').to_owned());
    }
    let micros = micros(digits).ok_or(NO_DURATION)?;
    let total =
        days.checked_mul(86_400_000_000).and_then(|days| days.checked_add(if is_negative { -micros } else { micros }));
    Ok(spelled(total.ok_or(NO_DURATION)?))
}

fn micros(clock: &str) -> Option<i64> {
    let mut parts = clock.split(':');
    let (hours, minutes): (i64, i64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (seconds, fraction) = parts.next()?.split_once('.').unwrap_or((clock.rsplit(':').next()?, "0"));
    let fraction: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    Some(((hours * 60 + minutes) * 60 + seconds.parse::<i64>().ok()?) * 1_000_000 + fraction)
}

fn spelled(micros: i64) -> String {
    let (sign, rest) = if micros < 0 { ("-", micros.unsigned_abs()) } else { ("", micros.unsigned_abs()) };
    let seconds = rest / 1_000_000;
    format!("{sign}{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, rest % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_moments() {
        assert_eq!(date("2016-01-25").unwrap(), "2016-01-25");
        assert_eq!(date("2016-01-25T00:00:00Z").unwrap(), "2016-01-25");
        assert_eq!(timestamp("2016-01-25T10:10:10.5Z").unwrap(), "2016-01-25 10:10:10.5");
        for text in ["0044-03-15 BC", "infinity", "12345-01-01", "-0043-03-15T00:00:00", "0000-01-01T00:00:00"] {
            assert_eq!(timestamp(text), Err(OUT_OF_CALENDAR), "{text}");
            assert_eq!(date(text), Err(OUT_OF_CALENDAR), "{text}");
        }
        assert_eq!(date("2016-01-25T00:00:01"), Err(NO_DATE));
    }

    #[test]
    fn times_and_intervals() {
        for (text, expected) in [
            ("01:23:45.123456", Ok("01:23:45.123456")),
            ("24:00:00", Ok("24:00:00")),
            ("-01:00:00", Ok("-01:00:00")),
            ("-1 days +02:00:00", Ok("-22:00:00.000000")),
            ("3 days 04:05:06.789", Ok("76:05:06.789000")),
            ("2 days", Ok("48:00:00.000000")),
            ("1 day -00:00:01", Ok("23:59:59.000000")),
            ("1 mon 00:00:00", Err(NO_DURATION)),
            ("1 year 2 mons 3 days", Err(NO_DURATION)),
            ("03:04:05+05:30", Err(NO_ZONE)),
        ] {
            assert_eq!(duration(text).as_deref(), expected.as_ref().copied(), "{text}");
        }
    }
}
