//! Dates, times and intervals in the spelling that MySQL reads.
//!
//! Owns: rewriting, and refusing what has no place in MySQL's calendar. Pure.

use super::key::is_like;
use super::{Reason, reason};

/// What is larger the server refuses.
const HOUR_DIGITS_MAX: usize = 9;

const NO_DATE: Reason = reason(1292, "a date cannot hold a time of day");
const NO_DAY: Reason = reason(1292, "a date is spelled YYYY-MM-DD here, and a time of day behind it HH:MM:SS");
const OUT_OF_CALENDAR: Reason = reason(1292, "MySQL has no years before 1 or after 9999, and no infinity");
const NO_ZONE: Reason = reason(1292, "a time cannot hold a time zone");
const NO_CLOCK: Reason =
    reason(1292, "a time of day is spelled HH:MM:SS here, with digits of a second's fraction behind it");
const NO_DURATION: Reason = reason(1292, "a time holds days and hours, and neither months nor years");

/// `2016-01-25`, also with a midnight behind it.
pub(super) fn date(text: &str) -> Result<String, Reason> {
    let (day, clock) = split(text)?;
    match clock {
        Some(clock) if clock.bytes().any(|letter| !matches!(letter, b'0' | b':' | b'.')) => Err(NO_DATE),
        _ => Ok(day.to_owned()),
    }
}

/// `2016-01-25T10:10:10.5Z`; the session's time zone is UTC.
pub(super) fn timestamp(text: &str) -> Result<String, Reason> {
    Ok(match split(text)? {
        (day, Some(clock)) => format!("{day} {clock}"),
        (day, None) => day.to_owned(),
    })
}

/// A day and its time. The server leaves out what it cannot read at the end of a text, and reads other spellings in a
/// sense of its own: only what CockroachDB writes is let through.
fn split(text: &str) -> Result<(&str, Option<&str>), Reason> {
    in_calendar(text)?;
    let (day, clock) = text.split_once(['T', ' ']).map_or((text, None), |(day, clock)| (day, Some(clock)));
    // The server would take a day or a month of zero for a part that is not known.
    if !is_like(day, "0000-00-00") || day[5..].split('-').any(|part| part == "00") {
        return Err(NO_DAY);
    }
    let Some(clock) = clock else { return Ok((day, None)) };
    let bare = clock.strip_suffix('Z').unwrap_or(clock);
    match is_clock(bare, 2) {
        true => Ok((day, Some(bare))),
        false if bare.contains(['+', '-']) => Err(NO_ZONE),
        false => Err(NO_DAY),
    }
}

/// The spellings that CockroachDB has for days that MySQL lacks.
fn in_calendar(text: &str) -> Result<(), Reason> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let is_beyond = text.starts_with('-') || text.starts_with("0000-") || digits > 4 && text[digits..].starts_with('-');
    let is_out = is_beyond || text.ends_with("BC") || text.trim_start_matches('-') == "infinity";
    if is_out { Err(OUT_OF_CALENDAR) } else { Ok(()) }
}

/// `10:10:10.5`, with at most so many digits of hours.
fn is_clock(text: &str, hour_digits_max: usize) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let Some((hours, rest)) = clock.split_once(':') else { return false };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    is_digits(hours) && (2..=hour_digits_max).contains(&hours.len()) && is_like(rest, "00:00") && is_digits(fraction)
}

/// `01:23:45.123456`, or an interval: `-1 days +02:00:00`.
pub(super) fn duration(text: &str) -> Result<String, Reason> {
    let words: Vec<&str> = text.split(' ').collect();
    let (days, clock) = match words.as_slice() {
        [clock] => (None, *clock),
        [count, "day" | "days"] => (Some(*count), "00:00:00"),
        [count, "day" | "days", clock] => (Some(*count), *clock),
        _ => return Err(NO_DURATION),
    };
    let days = days.map_or(Ok(0), |count| count.parse::<i64>().map_err(|_| NO_DURATION))?;
    let (is_negative, digits) = match clock.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, clock.strip_prefix('+').unwrap_or(clock)),
    };
    if !is_clock(digits, HOUR_DIGITS_MAX) {
        return Err(if digits.contains(['+', '-', 'Z']) { NO_ZONE } else { NO_CLOCK });
    }
    if days == 0 {
        return Ok(clock.strip_prefix('+').unwrap_or(clock).to_owned());
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

    /// What the server would leave out, or read in another sense.
    #[test]
    fn nothing_is_left_out_of_a_text() {
        for text in ["2016-01-25 00:00:00", "2016-01-25T00:00:00.000", "2016-01-25 00:00:00Z"] {
            assert_eq!(date(text).as_deref(), Ok("2016-01-25"), "{text}");
        }
        for (text, expected) in [
            ("2016-01-25 10:00:00", NO_DATE),
            ("2016-01-25 00:00:01.5", NO_DATE),
            ("2016-01-25 00:00:00+02:00", NO_ZONE),
            ("2016/01/25", NO_DAY),
            ("16-01-25", NO_DAY),
            ("20160125", NO_DAY),
            ("2016-1-25", NO_DAY),
            ("2016-00-25", NO_DAY),
            ("2016-01-00", NO_DAY),
            ("2016-01-25 ", NO_DAY),
            (" 2016-01-25", NO_DAY),
            ("2016-01-25ZZ", NO_DAY),
            ("2016-01-25T00:00", NO_DAY),
            ("2016-01-25x", NO_DAY),
            ("", NO_DAY),
        ] {
            assert_eq!(date(text), Err(expected), "{text}");
        }
        assert_eq!(timestamp("2016-01-25 10:10:10.50").as_deref(), Ok("2016-01-25 10:10:10.50"));
        assert_eq!(timestamp("2016-01-25").as_deref(), Ok("2016-01-25"));
        for (text, expected) in [
            ("2016-01-25T10:00:00+02:00", NO_ZONE),
            ("2016-01-25T10:00:00-08", NO_ZONE),
            ("2016-01-25T10:00:00ZZ", NO_DAY),
            ("2016-01-25  10:00:00", NO_DAY),
            ("2016-01-25T10:00", NO_DAY),
            ("2016-01-25T10:00:00.", NO_DAY),
            ("2016-01-25T10:00:00.5 PM", NO_DAY),
            ("2016-01-25T10:00:00é", NO_DAY),
            ("2016-01-25é10:00:00", NO_DAY),
        ] {
            assert_eq!(timestamp(text), Err(expected), "{text}");
        }
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
            ("100:00:00.5", Ok("100:00:00.5")),
            ("", Err(NO_CLOCK)),
            ("01:02", Err(NO_CLOCK)),
            ("10", Err(NO_CLOCK)),
            ("1:02:03", Err(NO_CLOCK)),
            ("01:02:03.", Err(NO_CLOCK)),
            ("01:02:03 PM", Err(NO_DURATION)),
            ("01:02:03 04:05:06", Err(NO_DURATION)),
            ("1 day 2 days", Err(NO_DURATION)),
            ("+-01:00:00", Err(NO_ZONE)),
        ] {
            assert_eq!(duration(text).as_deref(), expected.as_ref().copied(), "{text}");
        }
    }
}
