//! The one spelling that CockroachDB has for a value of each type.
//!
//! Owns: looking at texts. Does not own: which column demands it (`keys`). Pure.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::digits::{is_count, is_digits};

/// From here on CockroachDB's timestamps mean infinity, in one of several spellings.
const YEARS: RangeInclusive<i64> = -4712..=294_275;

pub(crate) fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(crate) fn is_two(text: &str, below: u8) -> bool {
    text.len() == 2 && is_digits(text) && text.parse::<u8>().is_ok_and(|number| number < below)
}

pub(crate) fn is_lsn_part(text: &str) -> bool {
    let is_part = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    is_part && (text == "0" || !text.starts_with('0'))
}

pub(crate) fn is_endless(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity")
}

/// `2016-01-25`; a year has four digits, or more without a zero in front.
pub(crate) fn is_day(text: &str, year_digits: RangeInclusive<usize>) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let is_year = is_digits(year) && year_digits.contains(&year.len()) && (year.len() == 4 || !year.starts_with('0'));
    is_year && is_two(month, 13) && is_two(day, 32)
}

/// `01:23:45.678`, without zeros at the end and with no more digits than these.
pub(crate) fn is_clock(text: &str, digits: usize) -> bool {
    let (clock, fraction) = text.split_once('.').map_or((text, None), |(clock, fraction)| (clock, Some(fraction)));
    let parts: Vec<_> = clock.split(':').collect();
    let [hours, minutes, seconds] = parts.as_slice() else { return false };
    is_two(hours, 25) && is_two(minutes, 60) && is_two(seconds, 60) && is_fraction(fraction, digits)
}

pub(crate) fn is_fraction(fraction: Option<&str>, digits: usize) -> bool {
    fraction.is_none_or(|fraction| is_digits(fraction) && !fraction.ends_with('0') && fraction.len() <= digits)
}

/// `05`, `05:30`, `05:30:15`, without parts at the end that are zero.
pub(crate) fn is_offset(text: &str) -> bool {
    let parts: Vec<_> = text.split(':').collect();
    let is_short = parts.len() == 1 || parts.last().is_some_and(|last| *last != "00");
    parts.len() <= 3 && is_short && parts.iter().all(|part| is_two(part, 60))
}

pub(crate) fn is_moment(text: &str, digits: usize, has_zone: bool) -> bool {
    let Some((day, clock)) = text.split_once('T') else { return false };
    let clock = match has_zone {
        true => clock.strip_suffix('Z'),
        false => Some(clock),
    };
    let is_past = day.starts_with('-');
    let unsigned = day.strip_prefix('-').unwrap_or(day);
    let year = unsigned.split('-').next().and_then(|year| year.parse::<i64>().ok());
    let is_within =
        year.is_some_and(|year| YEARS.contains(&if is_past { -year } else { year }) && !(is_past && year == 0));
    is_within
        && is_day(unsigned, 4..=6)
        && clock.is_some_and(|clock| is_clock(clock, digits) && !clock.starts_with("24"))
}

/// `1 year 2 mons 3 days 04:05:06.789`, as CockroachDB and PostgreSQL both write it.
pub(crate) fn is_interval(text: &str, digits: usize) -> bool {
    let parts: Vec<_> = text.split(' ').collect();
    let (pairs, clock) = match parts.len() % 2 {
        0 => (parts.as_slice(), None),
        _ => (&parts[..parts.len() - 1], parts.last()),
    };
    let (mut rank, mut was_negative) = (0, false);
    for pair in pairs.chunks(2) {
        let (count, unit) = (pair[0], pair[1]);
        let place = ["year", "mon", "day"].iter().position(|name| unit.strip_suffix('s').unwrap_or(unit) == *name);
        let Some(place) = place.filter(|place| *place >= rank) else { return false };
        let Some(number) = signed(count, was_negative).filter(|number| *number != 0) else { return false };
        if (unit.ends_with('s')) == (number == 1) || place == 1 && number.abs() > 11 {
            return false;
        }
        (rank, was_negative) = (place + 1, number < 0);
    }
    let Some(clock) = clock else { return !pairs.is_empty() };
    let unsigned = clock.strip_prefix('-').or_else(|| was_negative.then(|| clock.strip_prefix('+')).flatten());
    let is_signed_well = unsigned.is_some() || !was_negative;
    let unsigned = unsigned.unwrap_or(clock);
    let (hours, rest) = unsigned.split_once(':').unwrap_or(("", ""));
    let is_hours = is_digits(hours) && (hours.len() == 2 || hours.len() > 2 && !hours.starts_with('0'));
    let is_zero = unsigned == "00:00:00";
    let is_alone = !is_zero || pairs.is_empty() && !clock.starts_with('-');
    is_signed_well && is_hours && is_alone && is_clock(&format!("00:{rest}"), digits)
}

/// A number with a plus only behind a negative one.
pub(crate) fn signed(text: &str, needs_plus: bool) -> Option<i64> {
    let unsigned = match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(rest), _) => rest,
        (None, Some(rest)) if needs_plus => rest,
        (None, None) if !needs_plus => text,
        _ => return None,
    };
    let number = Some(unsigned).filter(|unsigned| is_count(unsigned))?.parse::<i64>().ok()?;
    Some(if text.starts_with('-') { -number } else { number })
}

/// `10.1.2.3`, `10.0.0.0/8`, `::1`; a network of a single address is written as the address.
pub(crate) fn is_address(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(parsed) = address.parse::<IpAddr>() else { return false };
    let most = if parsed.is_ipv4() { 32 } else { 128 };
    let is_network = bits.is_none_or(|bits| is_count(bits) && bits.parse::<u32>().is_ok_and(|bits| bits < most));
    is_network && parsed.to_string() == address
}
