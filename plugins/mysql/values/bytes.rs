//! Bytes and bits.
//!
//! Owns: reading `\x…`, UUIDs and binary digits. Does not own: how many a key must have (`key`). Pure.

use ebb_sdk::Value;
use mysql_async::Value as Parameter;

use super::exact::integer;
use super::{NO_BIT_NUMBER, NO_BITS, NO_BYTES, Reason, TOO_LONG, reason};

const PADDED: Reason =
    reason(1406, "a binary column adds zeros to a shorter value; make it a VARBINARY, which keeps values as they are");

/// `\x6869`, or a UUID as its 16 bytes.
pub(super) fn binary(text: &str, padded_to: Option<usize>) -> Result<Parameter, Reason> {
    let digits = match text.strip_prefix("\\x") {
        Some(digits) => digits.to_owned(),
        None if is_uuid(text) => text.replace('-', ""),
        None => return Err(NO_BYTES),
    };
    let digit = |at: usize| digits.as_bytes().get(at).and_then(|digit| char::from(*digit).to_digit(16));
    let byte = |at: usize| Some((digit(at)? << 4 | digit(at + 1)?) as u8);
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    let bytes = bytes.ok_or(NO_BYTES)?;
    match padded_to {
        Some(length) if bytes.len() > length => Err(TOO_LONG),
        Some(length) if bytes.len() < length => Err(PADDED),
        _ => Ok(bytes.into()),
    }
}

pub(super) fn is_uuid(text: &str) -> bool {
    let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| if is_dash(at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// Digits 0 and 1, the first one the highest, or a number that stays the number that it is.
pub(super) fn bits(value: Value<'_>, text: &str, digits: usize) -> Result<Parameter, Reason> {
    let number = match value {
        Value::Bool(truth) => u64::from(truth),
        Value::Number(_) => match integer(text) {
            Some(Parameter::Int(number)) => u64::try_from(number).map_err(|_| NO_BIT_NUMBER)?,
            Some(Parameter::UInt(number)) => number,
            _ => return Err(NO_BIT_NUMBER),
        },
        _ if text.is_empty() || !text.bytes().all(|digit| matches!(digit, b'0' | b'1')) => return Err(NO_BITS),
        _ if text.len() > digits => return Err(TOO_LONG),
        _ => u64::from_str_radix(text, 2).map_err(|_| TOO_LONG)?,
    };
    let has_room = digits >= 64 || number >> digits == 0;
    if has_room { Ok(Parameter::UInt(number)) } else { Err(NO_BIT_NUMBER) }
}
