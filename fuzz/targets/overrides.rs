//! The file of `--changefeeds-path`: checked or refused with an error that does not repeat it.
#![no_main]

use ebb::cli::overrides;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match overrides::parse(text, "the file") {
        Ok(overrides) => {
            assert!(!overrides.host.is_empty() && overrides.port > 0);
            assert!(overrides.client_authority().is_none_or(|pem| pem.trim_ascii_start().starts_with(b"-----BEGIN ")));
        }
        Err(error) => assert!(text.len() < 40 || !error.message.contains(text)),
    }
});
