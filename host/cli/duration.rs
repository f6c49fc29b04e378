//! Durations in Go's spelling, which the flags of `replicator` use: `1m30s`, `250ms`, `24h0m0s`
//! (<https://pkg.go.dev/time#ParseDuration>). Does not own: which durations make sense.

use std::time::Duration;

const UNITS: [(&str, f64); 8] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Parses a duration that is not negative; a bare `0` needs no unit.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let refused = || "it is not a duration such as 250ms, 30s or 1m30s".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refused)?;
        let (number, behind) = rest.split_at(digits);
        let unit_end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
        seconds += number.parse::<f64>().map_err(|_| refused())? * factor;
        rest = behind;
    }
    if text.is_empty() { Err(refused()) } else { Duration::try_from_secs_f64(seconds).map_err(|_| refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        for (text, millis) in [("1m30s", 90_000), ("250ms", 250), ("24h0m0s", 86_400_000), ("1.5s", 1500), ("0", 0)] {
            assert_eq!(parse(text).unwrap().as_millis(), millis, "{text}");
        }
        for bad in ["", "5", "s", "-1s", "1x", "1..2s", "1s5"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
