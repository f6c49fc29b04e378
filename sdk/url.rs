//! Connection strings: `scheme://user:password@host:port/database?key=value`, percent-encoded.
//!
//! Owns: taking one apart without losing a character of a password, and never showing the password.
//! Does not own: what the parameters mean.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::mask::{MASK, is_name};
use crate::{Error, ErrorKind, Result, Topic};

/// A text that is never shown: its `Debug` and `Display` print a mask.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A text that is not to be shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// A connection string taken apart, everything decoded.
///
/// ```
/// use ebb_sdk::DatabaseUrl;
/// let url = DatabaseUrl::parse("postgres://app:a%2F%40b@db.example.com:5433/shop?sslmode=verify-full").unwrap();
/// assert_eq!(url.password.as_ref().unwrap().reveal(), "a/@b");
/// assert_eq!((url.host.as_str(), url.port), ("db.example.com", Some(5433)));
/// assert_eq!(url.parameter("sslmode"), Some("verify-full"));
/// assert_eq!(url.to_string(), "postgres://app:***@db.example.com:5433/shop");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseUrl {
    /// In lower case.
    pub scheme: String,
    /// Without its escapes.
    pub user: Option<String>,
    /// Without its escapes.
    pub password: Option<Secret>,
    /// A name or an address; an IPv6 address without its brackets. Empty when the URL has none.
    pub host: String,
    /// `None` when the URL has none: the dialect's own then.
    pub port: Option<u16>,
    /// Empty when the URL has none.
    pub database: String,
    /// In the order given.
    pub parameters: Vec<(String, String)>,
}

impl DatabaseUrl {
    /// Takes a URL apart. Both `host:port` and the older form `tcp(host:port)` are understood.
    ///
    /// # Errors
    /// `Config`; the message never repeats the URL, which may hold a password.
    pub fn parse(text: &str) -> Result<Self> {
        let found = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme));
        let (scheme, rest) = found.ok_or_else(|| invalid("it has no scheme such as postgres://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // Behind an @ stands the host: what looks like parameters before it is the end of a password.
        if query.contains('@') {
            return Err(invalid("a ? stands before the last @; in a password write %3F, in a parameter %40"));
        }
        let (authority, database) = split_authority(rest);
        // A password may hold an unescaped @, a host may not.
        let (userinfo, address) = match authority.rsplit_once('@') {
            Some((userinfo, address)) => (Some(userinfo), address),
            None => (None, authority),
        };
        let (user, password) = match userinfo.map(|info| info.split_once(':').unwrap_or((info, "\0"))) {
            Some((user, "\0")) => (Some(decode(user)?), None),
            Some((user, password)) => (Some(decode(user)?), Some(Secret::new(decode(password)?))),
            None => (None, None),
        };
        // It would be shown, and may be the password with it.
        if user.as_ref().is_some_and(|user| user.contains(':')) {
            return Err(invalid(
                "the name of the user holds a colon: between user and password it is written as it is, not as %3A",
            ));
        }
        let (host, port) = host_and_port(address)?;
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            user: user.filter(|user| !user.is_empty()),
            password,
            host: decode(host)?,
            port,
            database: decode(database)?,
            parameters: parameters(query)?,
        })
    }

    /// The last value given for a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// For messages: without password and parameters, which may name secrets.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if let Some(user) = &self.user {
            write!(f, "{user}{}@", if self.password.is_some() { ":***" } else { "" })?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.database)
    }
}

/// RFC 3986, section 3.1. What is no scheme may be a password, and must not be shown as one.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|other| other.is_ascii_alphanumeric() || "+-.".contains(other))
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the connection string cannot be read: {why}"))
        .topic(Topic::Url)
        .hint("write it as scheme://user:password@host:port/database, with special characters percent-encoded")
}

/// The path starts at the first slash behind the last `@`, so that an unescaped slash in a password does no harm.
fn split_authority(rest: &str) -> (&str, &str) {
    let host_starts = rest.rfind('@').map_or(0, |at| at + 1);
    match rest[host_starts..].find('/') {
        Some(slash) => (&rest[..host_starts + slash], &rest[host_starts + slash + 1..]),
        None => (rest, ""),
    }
}

fn host_and_port(address: &str) -> Result<(&str, Option<u16>)> {
    let address = match address.strip_prefix("tcp(").map(|inner| inner.strip_suffix(')')) {
        Some(Some(inner)) => inner,
        Some(None) => return Err(invalid("tcp( has no closing bracket")),
        None => address,
    };
    let (host, port) = match address.strip_prefix('[').map(|inner| inner.split_once(']')) {
        Some(Some((host, rest))) => (host, rest.strip_prefix(':')),
        Some(None) => return Err(invalid("the host has no closing bracket")),
        None => address.rsplit_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    let port = port.filter(|port| !port.is_empty()).map(str::parse).transpose();
    Ok((host, port.map_err(|_| invalid("the port is not a number from 0 to 65535"))?))
}

fn parameters(query: &str) -> Result<Vec<(String, String)>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            // A name is repeated in messages, so that it must be one.
            let (key, value) = pair.split_once('=').filter(|(key, _)| is_name(key)).ok_or_else(nameless)?;
            Ok((key.to_owned(), decode(value)?))
        })
        .collect()
}

fn nameless() -> Error {
    invalid("behind the ? stands something else than name=value")
}

fn decode(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_| invalid("a percent-encoded part is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_any_character() {
        let password = |url: &str| DatabaseUrl::parse(url).unwrap().password.unwrap().reveal().to_owned();
        assert_eq!(password("mysql://u:p%40%3A%2F%3F%23@h/db"), "p@:/?#");
        assert_eq!(password("mysql://u:p@ss/word@h/db"), "p@ss/word");
        assert_eq!(password("mysql://u:@h/db"), "");
        assert_eq!(password("mysql://u:a:b@h/db"), "a:b");
    }

    #[test]
    fn hosts_and_ports() {
        let parts = |url: &str| {
            let url = DatabaseUrl::parse(url).unwrap();
            (url.host, url.port, url.database)
        };
        assert_eq!(parts("mysql://u:p@tcp(db:3306)/molt"), ("db".into(), Some(3306), "molt".into()));
        assert_eq!(parts("postgres://u@[::1]:5432/db"), ("::1".into(), Some(5432), "db".into()));
        assert_eq!(parts("postgres://localhost"), ("localhost".into(), None, String::new()));
        assert!(DatabaseUrl::parse("postgres://h:99999/db").is_err());
        let refused = DatabaseUrl::parse("postgres://u%3Ageheim@h/db").unwrap_err();
        assert!(refused.message.contains("holds a colon") && !refused.message.contains("geheim"), "{refused}");
    }

    #[test]
    fn parameters_are_decoded_and_passwords_never_shown() {
        let url = DatabaseUrl::parse("mysql://u:geheim@h/db?sslcert=.%2fcerts%2fa.crt&sslmode=require").unwrap();
        assert_eq!(url.parameter("sslcert"), Some("./certs/a.crt"));
        assert!(!format!("{url} {url:?}").contains("geheim"));
        for broken in [
            "postgres://u:1?geheim@h",
            "postgres://u:1?a=geheim@h",
            "postgres://u:1?geheim",
            "u:geheim@h",
            "u:geheim@h://x",
            ":geheim@h://x",
            "geheim@://x",
        ] {
            let error = DatabaseUrl::parse(broken).unwrap_err();
            assert!(!format!("{error:?}").contains("geheim"));
        }
    }
}
