//! Connection strings: taken apart or refused, and a password is never shown.
#![no_main]

use ebb_sdk::DatabaseUrl;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match DatabaseUrl::parse(text) {
        Ok(url) => {
            let shown = format!("{url}");
            // What stands elsewhere too is no secret.
            let elsewhere = [url.scheme.as_str(), url.user.as_deref().unwrap_or_default(), &url.host, &url.database];
            if let Some(password) = url.password.as_ref().map(|password| password.reveal()) {
                let is_plain = password.len() < 4 || elsewhere.iter().any(|part| part.contains(password));
                let is_in_port = url.port.is_some_and(|port| port.to_string().contains(password));
                assert!(is_plain || is_in_port || "://:***@".contains(password) || !shown.contains(password), "{shown}");
            }
        }
        Err(error) => assert!(text.len() < 12 || !format!("{error:?}").contains(text)),
    }
});
