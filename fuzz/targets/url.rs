//! Connection strings: taken apart or refused, and what is shown does not depend on the password.
#![no_main]

use ebb_sdk::DatabaseUrl;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, password, rest) = input;
    // Whatever it is, it must not panic.
    let _ = DatabaseUrl::parse(text);
    let encoded: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let plain = DatabaseUrl::parse(&format!("postgres://user:{encoded}@host/database")).expect("a connection string");
    assert_eq!(plain.password.expect("a password").reveal(), password);
    let with = |password: &str| DatabaseUrl::parse(&format!("{text}:{password}@{rest}"));
    match (with(&encoded), with("x")) {
        (Ok(url), Ok(other)) => assert_eq!(url.to_string(), other.to_string()),
        (Err(error), Err(other)) => assert_eq!(format!("{error:?}"), format!("{other:?}")),
        (one, other) => panic!("{one:?} and {other:?}"),
    }
});
