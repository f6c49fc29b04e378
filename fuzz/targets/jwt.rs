//! Tokens: without the private key, which was thrown away, none can be made that opens anything.
#![no_main]

use std::sync::LazyLock;

use ebb::access::jwt::{Keys, token};
use libfuzzer_sys::fuzz_target;

const PUBLIC: &[u8] = b"-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEine51/1A6JRuWs8z/L10En6ziGoz
p66vHk04E3qbQO8JYNBQn1uIPCTSunZ1TJHvhKIxPZifoehb8S60x4A5NA==
-----END PUBLIC KEY-----
";

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::of(&[PUBLIC], &["revoked"]).expect("a key"));

fuzz_target!(|input: (&[u8], &str)| {
    let path = ["molt".to_owned(), "public".to_owned()];
    for found in [token(Some(input.0), None), token(None, Some(input.1)), Some(input.1)].into_iter().flatten() {
        assert!(KEYS.admit(found, &path).is_err(), "{found}");
    }
});
