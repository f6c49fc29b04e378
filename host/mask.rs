//! The secrets of this process, and the last mask before anything is shown: on a log line, in an error, on a page.
//!
//! Owns: which texts are secret letter by letter, whoever repeats them: a plugin, a server, a library. Does not own: secrets
//! that can be told by their place (the sdk).

use ebb_sdk::{DatabaseUrl, MASK, Secret};
use parking_lot::RwLock;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::config::{Config, PagesLogin};

/// A shorter text cannot be told from an ordinary one.
const CHARS_MIN: usize = 4;
/// Up to here a text of letters and digits alone counts only as a whole word.
const WORD_CHARS_MAX: usize = 12;
/// Passwords that are none, and words that stand in any message.
const WORDS: &[&str] = &["password", "root", "user", "test"];

/// Longest first, so that none is cut by another.
static KNOWN: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Has every secret of a run masked from now on.
pub fn remember(config: &Config) {
    remember_url(&config.target.url);
    config.source.iter().for_each(|source| remember_url(&source.url));
    config.receiver.access.header.iter().for_each(|header| remember_header(header.reveal()));
    config.pages.iter().filter_map(|pages| pages.login.as_ref()).for_each(remember_login);
    if let Some(changefeed) = &config.changefeed {
        let values = changefeed.sink_query_parameters.reveal().split('&').filter_map(|pair| pair.split_once('='));
        values.filter(|(name, _)| is_secret(name)).for_each(|(_, value)| add(value, &[]));
        for (name, value) in &changefeed.options {
            match name.as_str() {
                "webhook_auth_header" => remember_header(value.reveal()),
                "extra_headers" => headers(value.reveal()).iter().for_each(|value| remember_header(value)),
                _ => {}
            }
        }
    }
}

/// Has the password of a connection string masked, and parameters that may be one.
pub fn remember_url(url: &Secret) {
    let Ok(parsed) = DatabaseUrl::parse(url.reveal()) else { return };
    // A password that is also a name in the same message cannot be masked there.
    let open = [&parsed.scheme, &parsed.host, &parsed.database, parsed.user.as_ref().unwrap_or(&parsed.host)];
    let open = open.map(String::as_str);
    let login = url.reveal().split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
    let raw = login.and_then(|(login, _)| login.split_once(':')).map(|(_, password)| password);
    raw.into_iter().for_each(|raw| add(raw, &open));
    parsed.password.iter().for_each(|password| add(password.reveal(), &open));
    parsed.parameters.iter().filter(|(name, _)| is_secret(name)).for_each(|(_, value)| add(value, &open));
}

/// Has what a reader of the pages shows masked.
pub fn remember_login(login: &PagesLogin) {
    remember_header(login.header.reveal());
    add(login.secret.reveal(), &[]);
}

/// `text`, without a secret that is known, or that its place betrays.
pub fn clean(text: &str) -> String {
    let known = KNOWN.read();
    let text = known.iter().fold(text.to_owned(), |text, secret| without(&text, secret));
    ebb_sdk::masked(&text)
}

/// The same with every text masked: what is masked in a text is not always the end of it in JSON.
pub fn clean_json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text)),
        Value::Array(list) => Value::Array(list.into_iter().map(clean_json).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, clean_json(value))).collect())
        }
        other => other,
    }
}

/// Parameters by whose name a secret is known.
fn is_secret(name: &str) -> bool {
    ["pass", "token", "secret", "client_key"].iter().any(|part| name.contains(part))
}

fn remember_header(header: &str) {
    add(header, &[]);
    header.split_once(' ').into_iter().for_each(|(_, token)| add(token.trim(), &[]));
}

fn headers(text: &str) -> Vec<String> {
    let map: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    map.into_iter().filter_map(|(_, value)| value.as_str().map(str::to_owned)).collect()
}

/// As it is, and as it is written inside quotes of several kinds.
fn add(secret: &str, open: &[&str]) {
    let decoded = percent_decode_str(secret).decode_utf8_lossy().into_owned();
    let escaped = |text: &str| text.escape_debug().to_string();
    let forms = [secret.into(), escaped(secret), escaped(&decoded), secret.replace('\'', "''"), decoded];
    let mut known = KNOWN.write();
    for form in forms {
        let is_open = open.contains(&form.as_str()) || WORDS.contains(&form.as_str());
        if form.chars().count() >= CHARS_MIN && !is_open && !known.contains(&form) {
            known.push(form);
        }
    }
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
}

fn without(text: &str, secret: &str) -> String {
    let is_word = secret.len() <= WORD_CHARS_MAX && secret.chars().all(char::is_alphanumeric);
    let mut shown = String::new();
    let mut done = 0;
    for (at, _) in text.match_indices(secret) {
        let end = at + secret.len();
        let touches = text[..at].chars().next_back().is_some_and(char::is_alphanumeric)
            || text[end..].chars().next().is_some_and(char::is_alphanumeric);
        if !(is_word && touches) {
            shown.push_str(&text[done..at]);
            shown.push_str(MASK);
            done = end;
        }
    }
    shown + &text[done..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_repeats_is_masked() {
        remember_url(&Secret::new("db://app:Mask7%27ing%20%22@db:5432/x?sslpassword=mask8parameter"));
        remember_url(&Secret::new("db://maskuser:maskuser@db/x"));
        remember_url(&Secret::new("db://app:m4sk@db/x"));
        for (text, expected) in [
            ("login failed with Mask7'ing \"", "login failed with ***"),
            ("login failed with Mask7%27ing%20%22.", "login failed with ***."),
            ("login failed with \"Mask7\\'ing \\\"\"", "login failed with \"***\""),
            ("ALTER ROLE app PASSWORD 'Mask7''ing \"'", "ALTER ROLE app PASSWORD '***'"),
            ("mask8parameter", "***"),
            ("'m4sk' of m4sks", "'***' of m4sks"),
            ("user maskuser of database x", "user maskuser of database x"),
            ("password authentication failed", "password authentication failed"),
        ] {
            assert_eq!(clean(text), expected);
        }
    }
}
