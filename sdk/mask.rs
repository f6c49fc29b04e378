//! What may be shown of a text that may hold secrets: a connection string, a path that is none, somebody else's words.
//!
//! Owns: the one mask for all of them. It knows secrets by their place: in a URL, behind `Bearer`, in PEM. Does not own:
//! secrets of a run, which the host knows letter by letter.

use crate::DatabaseUrl;

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// Parameters of connection strings whose values are shown.
const SHOWN: &[&str] =
    &["sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "connect_timeout", "application_name", "host", "port"];
/// The shortest text of base64 that is taken for a key, or a certificate.
const DER_CHARS_MIN: usize = 100;
/// How base64 of DER, and of PEM, begins.
const DER_STARTS: [&str; 3] = ["MI", "MH", "LS0t"];
const PEM_START: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";

/// A text with every secret in it masked that can be told by its place.
///
/// ```
/// let text = ebb_sdk::masked("cannot reach postgres://app:p'w@db:5432/x?sslmode=require&password=q: refused");
/// assert_eq!(text, "cannot reach postgres://app:***@db:5432/x?sslmode=require&password=*** refused");
/// assert_eq!(ebb_sdk::masked("it wants Bearer eyJh.bGc"), "it wants Bearer ***");
/// assert_eq!(ebb_sdk::masked("no file -----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----"), "no file ***");
/// ```
pub fn masked(text: &str) -> String {
    let text = without_pem(text);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let is_scheme = ["Bearer", "Basic"].iter().any(|scheme| word.ends_with(scheme));
        shown.push_str(&without_keys(&url_in(word)));
        let gap = behind.len() - behind.trim_start().len();
        shown.push_str(&behind[..gap]);
        rest = &behind[gap..];
        if is_scheme && gap > 0 {
            let end = rest.find(|letter: char| !is_of_token(letter)).unwrap_or(rest.len());
            if end > 0 {
                shown.push_str(MASK);
                rest = &rest[end..];
            }
        }
    }
    shown
}

/// A connection string with its password masked, and the parameters that cannot hold a secret; all of it is masked where it
/// cannot be taken apart.
pub fn masked_url(text: &str) -> String {
    let Ok(url) = DatabaseUrl::parse(text) else { return MASK.into() };
    let query = text.split_once('?').map_or("", |(_, query)| query);
    match query.is_empty() {
        true => url.to_string(),
        false => format!("{url}?{}", masked_query(query)),
    }
}

/// A value of a setting that is not known to be a secret. What only looks like a connection string is not shown at all.
pub fn masked_value(text: &str) -> String {
    if text.contains("://") { masked_url(text) } else { masked(text) }
}

fn masked_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
        Some((key, value)) if SHOWN.contains(&key) && without_keys(value) == value && !value.contains("-----") => {
            pair.to_owned()
        }
        Some((key, _)) if is_name(key) => format!("{key}={MASK}"),
        _ => MASK.into(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Names of parameters, which a message may repeat. None has digits, which passwords often have.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphabetic() || "_-.".contains(letter))
}

fn is_user(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-.%".contains(letter))
}

/// A word that holds a URL: between `://` and the last `@` stands who logs in. It may be longer than the URL, not shorter.
fn url_in(word: &str) -> String {
    let Some(at) = word.find("://").map(|at| at + 3) else { return word.to_owned() };
    let (start, rest) = word.split_at(at);
    let (login, rest) = match rest.rfind('@') {
        Some(at) => (Some(&rest[..at]), &rest[at..]),
        None => (None, rest),
    };
    let login = login.map_or_else(String::new, |login| match login.split_once(':') {
        None if is_user(login) => login.to_owned(),
        Some((user, _)) if is_user(user) => format!("{user}:{MASK}"),
        _ => MASK.into(),
    });
    let rest = match rest.split_once('?') {
        Some((address, query)) => format!("{address}?{}", masked_query(query)),
        None => rest.to_owned(),
    };
    format!("{start}{login}{rest}")
}

/// Base64 of a key, and tokens (JWT).
fn without_keys(word: &str) -> String {
    let is_key = |part: &str| {
        let is_token = part.starts_with("eyJ") && part.matches('.').count() == 2;
        let is_der = part.len() >= DER_CHARS_MIN && DER_STARTS.iter().any(|start| part.starts_with(start));
        is_token || is_der
    };
    let mut shown = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(start) = rest.find(is_of_token) {
        shown.push_str(&rest[..start]);
        rest = &rest[start..];
        let (part, behind) = rest.split_at(rest.find(|letter| !is_of_token(letter)).unwrap_or(rest.len()));
        shown.push_str(if is_key(part) { MASK } else { part });
        rest = behind;
    }
    shown + rest
}

/// Base64, plain or for URLs, or percent-encoded.
fn is_of_token(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "+/-_.~%".contains(letter)
}

fn without_pem(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(PEM_START) {
        shown.push_str(&rest[..start]);
        shown.push_str(MASK);
        let behind = &rest[start + PEM_START.len()..];
        // Where it has no end, nothing of what follows is known not to belong to it.
        let end = behind.find(PEM_END).and_then(|end| {
            let label = end + PEM_END.len();
            Some(label + behind[label..].find("-----")? + 5)
        });
        rest = end.map_or("", |end| &behind[end..]);
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_place() {
        let key = format!("MIG{}", "a".repeat(180));
        for (text, expected) in [
            ("postgres://u:a@b@h/d and mysql://v:c@h2", "postgres://u:***@h/d and mysql://v:***@h2"),
            ("'postgres://u:a'b\"c@h/d'", "'postgres://u:***@h/d'"),
            ("postgres://u:1?geheim@h/d", "postgres://u:***@h/d"),
            ("postgres://:geheim@h", "postgres://***@h"),
            ("postgres://u:1?geheim", "postgres://u:1?***"),
            ("https://h:1/d?access_token=geheim", "https://h:1/d?access_token=***"),
            ("mysql://u:***@h/d: Access denied for user 'x'@'h'", "mysql://u:***@h/d: Access denied for user 'x'@'h'"),
            ("Authorization: Basic Z2VoZWlt, no", "Authorization: Basic ***, no"),
            ("give 'Bearer …' or 'Basic …'", "give 'Bearer …' or 'Basic …'"),
            ("token eyJhbGci.eyJqdGki.c2ln!", "token ***!"),
            (&format!("sslkey {key} cannot be used"), "sslkey *** cannot be used"),
            ("a -----BEGIN X----- geheim", "a ***"),
            ("/etc/ebb/server.key: not found", "/etc/ebb/server.key: not found"),
        ] {
            assert_eq!(masked(text), expected);
            assert_eq!(masked(expected), expected, "twice is once");
        }
    }

    #[test]
    fn urls_keep_what_is_no_secret() {
        for (text, expected) in [
            (
                "postgres://u:geheim@h:1/d?sslmode=require&password=geheim",
                "postgres://u:***@h:1/d?sslmode=require&password=***",
            ),
            ("postgres://u:geheim@h/d?sslkey=-----BEGIN%20KEY-----", "postgres://u:***@h/d?sslkey=***"),
            ("postgres://u:1?geheim@h/d", "***"),
            ("u:geheim@h", "***"),
        ] {
            assert_eq!(masked_url(text), expected);
        }
    }
}
