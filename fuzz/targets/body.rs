//! The body of a request: whatever comes, it is taken whole or refused, each row is an object with each column once, and a
//! key has one spelling only.
#![no_main]

use std::collections::BTreeSet;

use ebb::columns::columns;
use ebb::receive::payload::{Body, Message, Stopped, canonical_key, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let mut messages = Vec::new();
    let taken = read(body, |message| {
        messages.push(message);
        Ok::<(), ()>(())
    });
    messages.iter().for_each(check);
    // Who refuses the first row has seen no other.
    let mut seen = 0;
    let refused = read(body, |_| {
        seen += 1;
        Err(())
    });
    assert_eq!(seen, messages.len().min(1));
    assert_eq!(refused == Err(Stopped::Refused(())), seen == 1);
    if taken == Ok(Body::Rows) {
        // Nobody may take a part of a body for the whole.
        let end = body.iter().rposition(|byte| !byte.is_ascii_whitespace()).expect("it is not empty");
        assert!(read(&body[..end], |_| Ok::<(), ()>(())).is_err());
    }
});

fn check(message: &Message<'_>) {
    for row in message.after.iter().chain(message.before.iter().flatten()) {
        assert!(row.get().starts_with('{'));
        if let Ok(columns) = columns(row.get()) {
            let names: BTreeSet<_> = columns.names().collect();
            assert_eq!(names.len(), columns.names().count(), "{}", row.get());
        }
    }
    let Ok(key) = canonical_key(message.key) else { return };
    let again: &serde_json::value::RawValue = serde_json::from_str(&key.text).expect("a key is JSON");
    assert_eq!(canonical_key(again).expect("a key stays one"), key, "of {}", message.key.get());
}
