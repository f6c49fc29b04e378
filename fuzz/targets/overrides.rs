//! The file of `--changefeeds-path`: checked or refused with an error that repeats nothing secret.
#![no_main]

use ebb::cli::overrides;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// Stands in every value that is secret.
const MARK: &str = "Zq9xK7w2";

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, query, header) = input;
    // What the fuzzer writes elsewhere is no secret.
    let text = text.replace(MARK, "");
    check(&text);
    let mut settings: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    let is_marked = Value::from(settings.clone()).to_string().contains(MARK);
    settings.insert("sink_query_parameters".into(), query.replace('=', &format!("={MARK}")).into());
    settings.insert("webhook_auth_header".into(), format!("Bearer {MARK}{header}").into());
    if !is_marked {
        check(&Value::from(settings).to_string());
    }
});

fn check(text: &str) {
    match overrides::parse(text, "the file") {
        Ok(overrides) => {
            assert!(!overrides.host.is_empty() && overrides.port > 0);
            assert!(overrides.client_authority().is_none_or(|pem| pem.trim_ascii_start().starts_with(b"-----BEGIN ")));
        }
        Err(error) => assert!(!format!("{error:?}").contains(MARK), "{error:?}"),
    }
}
