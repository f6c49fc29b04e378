//! A file that is one line of JSON, and behind it a line with its CRC-32.
//!
//! Owns: the form. Does not own: what the JSON says (`segments`, `metadata`).

use super::DAMAGED_HINT;
use crate::code;
use crate::error::{Error, Result};

/// The file of a line of JSON.
pub(super) fn seal(json: &str) -> String {
    format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes()))
}

/// The line of JSON; `name` is that of the file.
pub(super) fn unseal<'t>(name: &str, file: &'t [u8]) -> Result<&'t str> {
    let parts = std::str::from_utf8(file).ok().and_then(|text| text.trim_end_matches('\n').split_once('\n'));
    let json = parts.filter(|(json, sum)| *sum == format!("{:08x}", crc32fast::hash(json.as_bytes())));
    json.map(|(json, _)| json).ok_or_else(|| {
        Error::new(
            code::staging::DAMAGED,
            format!("the file \"{name}\" of the staging folder is damaged: its checksum does not fit"),
        )
        .hint(DAMAGED_HINT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_found() {
        let file = seal(r#"{"a":[1,"ü"]}"#).into_bytes();
        assert_eq!(unseal("state", &file).unwrap(), r#"{"a":[1,"ü"]}"#);
        for bit in 0..file.len() * 8 - 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = unseal("state", &flipped).unwrap_err();
            assert!(error.message.contains("\"state\"") && error.message.contains("damaged"), "bit {bit}: {error}");
        }
    }
}
