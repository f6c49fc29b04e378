//! How a run proves to `ebb status` that it is the one of a staging folder: both know the token of this start, which neither says.
//!
//! Owns: the names of the headers, and how the proof is made and checked. Does not own: the token (`status/pages/guard`), and who
//! asks (`commands/pages`).

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::code;
use crate::error::{Error, Result};

/// Of a request for `/_/livez`.
pub(crate) const NONCE: &str = "ebb-nonce";
/// Of its answer.
pub(crate) const PROOF: &str = "ebb-proof";
pub(crate) const NONCE_BYTES: usize = 32;

pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::new(code::defect::SYSTEM, "the system gives no random numbers"))?;
    Ok(bytes)
}

/// What is given, where it is a nonce: nothing else is signed.
pub(crate) fn nonce_of(given: &[u8]) -> Option<&[u8]> {
    (given.len() == 2 * NONCE_BYTES && given.iter().all(u8::is_ascii_hexdigit)).then_some(given)
}

/// HMAC-SHA256 of a nonce, in hexadecimal digits.
pub(crate) fn sign(token: &str, nonce: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    hexadecimal(hmac::sign(&key, nonce).as_ref())
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
