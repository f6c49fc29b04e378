//! `ebb escape-password`: a password as it has to stand in a connection string.
//!
//! Owns: the answer. Does not own: reading connection strings (`sdk::url`).

use std::io::Read;

use ebb_sdk::Secret;

use crate::code;
use crate::error::{Error, Result};

/// Encodes the password, or what is on standard input. The answer has the words that users of MOLT know.
pub fn escape(password: Option<Secret>) -> Result<String> {
    let password = match password {
        Some(password) => password,
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| {
                Error::new(code::settings::NOT_GIVEN, format!("no password could be read: {error}"))
                    .hint("give --password")
            })?;
            Secret::new(text.trim_end_matches(['\r', '\n']))
        }
    };
    let encoded = percent_encoding::utf8_percent_encode(password.reveal(), percent_encoding::NON_ALPHANUMERIC);
    Ok(format!("Substitute the following encoded password in your original connection url string:\n{encoded}\n"))
}
