//! The body of a request: whatever comes, it is taken whole or refused, and a key has one spelling only.
#![no_main]

use ebb::receive::payload::{Body, canonical_key, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(Body::Rows(messages)) = parse(body) else { return };
    for message in messages {
        let Ok(key) = canonical_key(message.key) else { continue };
        let again: &serde_json::value::RawValue = serde_json::from_str(&key.text).expect("a key is JSON");
        assert_eq!(canonical_key(again).expect("a key stays one"), key, "of {}", message.key.get());
        // Nobody may take a part of a body for the whole.
        let end = body.iter().rposition(|byte| !byte.is_ascii_whitespace()).expect("it is not empty");
        assert!(parse(&body[..end]).is_err());
    }
});
