//! Sizes in bytes: `10GiB` (powers of 1024), `10GB` (powers of 1000), or plain bytes.
//!
//! Owns: their spelling. Does not own: which sizes make sense (`resolve`).

/// What a refused value is told apart by: it is no secret, and is repeated.
const REFUSED: &str = "is not a size; write 10737418240 or 10GiB";
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// A number of bytes that the flag's type can hold.
pub(super) fn parse<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let refused = || format!("{text} {REFUSED}");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
    let number: u64 = number.parse().map_err(|_| refused())?;
    let bytes = number.checked_mul(*factor).and_then(|bytes| T::try_from(bytes).ok());
    bytes.ok_or_else(|| format!("{text} is more than ebb can count"))
}

/// Whether a refused value may be repeated: digits and a few letters are what somebody took for a size, not a secret.
pub(super) fn is_mistyped(value: &str, why: &str) -> bool {
    let unit = value.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    why.ends_with(REFUSED)
        && value.len() <= 12
        && unit.len() <= 4
        && unit.len() < value.len()
        && unit.chars().all(|letter| letter.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_units() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("10GiB", 10 << 30), ("10GB", 10_000_000_000), ("16 MiB", 16 << 20), ("1kib", 1024)]
        {
            assert_eq!(parse::<u64>(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse::<u64>("10GX").unwrap_err(), "10GX is not a size; write 10737418240 or 10GiB");
        for bad in ["", "GiB", "-1", "1.5GiB", "10 G B"] {
            assert!(parse::<u64>(bad).unwrap_err().contains("is not a size"), "{bad}");
        }
        assert!(parse::<u32>("8GiB").is_err() && parse::<u64>("99999999TiB").is_err());
    }

    #[test]
    fn only_what_looks_like_a_size_is_repeated() {
        let is_shown = |value: &str| is_mistyped(value, &parse::<u64>(value).unwrap_err());
        assert!(is_shown("10GX") && is_shown("1.5GiB"));
        assert!(!is_shown("geheim") && !is_shown("10geheim") && !is_shown(""));
    }
}
