//! Durations as Go writes and reads them: `1h30m`, `1.5s`, `500ms`.

use std::time::Duration;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    Negative,
    /// Go's own words.
    Text(String),
}

const UNITS: [(&str, f64); 8] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

pub(crate) fn parse(text: &str) -> Result<Duration, Invalid> {
    let invalid = || Invalid::Text(format!("time: invalid duration {text:?}"));
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let amount: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..unit_end];
        if unit.is_empty() {
            return Err(Invalid::Text(format!("time: missing unit in duration {text:?}")));
        }
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(Invalid::Text(format!("time: unknown unit {unit:?} in duration {text:?}")));
        };
        seconds += amount * factor;
        rest = &rest[unit_end..];
    }
    if is_negative {
        return Err(Invalid::Negative);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid())
}

/// `1m30s`, `500ms`, `0s`.
pub(crate) fn format(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds > 0.0 && seconds < 1.0 {
        return format!("{}ms", seconds * 1e3);
    }
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    let rest = seconds - (duration.as_secs() / 60 * 60) as f64;
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_go() {
        assert_eq!(parse("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse("1.5s").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse("0").unwrap(), Duration::ZERO);
        assert_eq!(parse("10"), Err(Invalid::Text("time: missing unit in duration \"10\"".into())));
        assert_eq!(parse("5x"), Err(Invalid::Text("time: unknown unit \"x\" in duration \"5x\"".into())));
        assert_eq!(parse("-1s"), Err(Invalid::Negative));
        assert_eq!(format(Duration::from_secs(90)), "1m30s");
        assert_eq!(format(Duration::from_millis(50)), "50ms");
    }
}
