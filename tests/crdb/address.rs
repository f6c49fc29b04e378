//! The sink's URL: what CockroachDB takes out of it for itself (TLS material), what it passes on, and how it is shown.
//!
//! Does not own: the TLS configuration made of it (`tls`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::failure::Failure;

/// What Go's `url.QueryEscape` leaves as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const OTHER_SINKS: [&str; 12] = [
    "kafka",
    "confluent-cloud",
    "azure-event-hub",
    "gcpubsub",
    "gs",
    "s3",
    "azure",
    "nodelocal",
    "pulsar",
    "external",
    "https",
    "http",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and remaining query, as they stand in the request line.
    pub(crate) target: String,
    /// From `user:password@`, as a value for the Authorization header.
    pub(crate) basic: Option<String>,
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) skip_verify: bool,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Address, Failure> {
        let rest = check_scheme(url)?;
        let (authority_and_path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match authority_and_path.find('/') {
            Some(at) => authority_and_path.split_at(at),
            None => (authority_and_path, ""),
        };
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (Some(user), server),
            None => (None, authority),
        };
        let (host, port) = host_and_port(server)?;
        let mut parameters = parse_query(query);
        let skip_verify =
            take(&mut parameters, "insecure_tls_skip_verify").map_or(Ok(false), |value| boolean(&value))?;
        let mut secret = |name: &str| take(&mut parameters, name).map(|value| decode(name, &value)).transpose();
        let (ca, cert, key) = (secret("ca_cert")?, secret("client_cert")?, secret("client_key")?);
        let client = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return Err(Failure::uncategorized("client_cert requires client_key to be set")),
            (None, Some(_)) => return Err(Failure::uncategorized("client_key requires client_cert to be set")),
        };
        let path = if path.is_empty() { "/" } else { path };
        let basic =
            user.map(|user| format!("Basic {}", STANDARD.encode(percent_decode_str(user).collect::<Vec<u8>>())));
        Ok(Address { host, port, target: with_query(path, parameters), basic, ca, client, skip_verify })
    }

    /// As in the request line and in errors.
    pub(crate) fn url(&self) -> String {
        format!("https://{}{}", self.authority(), self.target)
    }

    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }
}

/// As `SHOW CHANGEFEED JOBS` shows it.
pub(crate) fn redacted(url: &str) -> String {
    let (rest, query) = url.split_once('?').unwrap_or((url, ""));
    let mut shown = match (rest.find("://"), rest.rsplit_once('@')) {
        (Some(at), Some((user, server))) => {
            let name = user[at + 3..].split(':').next().unwrap_or_default();
            format!("{}{name}:redacted@{server}", &rest[..at + 3])
        }
        _ => rest.to_owned(),
    };
    for (index, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        shown.push_str(if pair.starts_with("client_key=") { "client_key=redacted" } else { pair });
    }
    shown
}

fn check_scheme(url: &str) -> Result<&str, Failure> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(Failure::uncategorized(format!("no scheme found for sink URL {url:?}")));
    };
    match scheme {
        "webhook-https" => Ok(rest),
        "webhook-http" => Err(Failure::uncategorized("this sink requires webhook-https")),
        other if OTHER_SINKS.contains(&other) => Err(Failure::unsupported(format!("sink {other}"))),
        other => Err(Failure::uncategorized(format!("unsupported sink: {other}"))),
    }
}

fn host_and_port(server: &str) -> Result<(String, u16), Failure> {
    let malformed = || Failure::uncategorized(format!("invalid host or port in sink URL: {server:?}"));
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| malformed())?),
        _ => (server, 443),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(malformed()) } else { Ok((host.to_owned(), port)) }
}

/// A plus is a space here, which is why base64 in a URL must have its pluses encoded.
fn parse_query(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}

fn take(parameters: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let value = parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    parameters.retain(|(key, _)| key != name);
    value.filter(|value| !value.is_empty())
}

/// Sorted by key, as Go encodes; the sort is stable, so that repeated keys keep their order.
fn with_query(path: &str, mut parameters: Vec<(String, String)>) -> String {
    parameters.sort_by(|a, b| a.0.cmp(&b.0));
    let escape = |text: &str| utf8_percent_encode(text, QUERY).to_string().replace("%20", "+");
    let pairs: Vec<String> = parameters.iter().map(|(k, v)| format!("{}={}", escape(k), escape(v))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

fn boolean(value: &str) -> Result<bool, Failure> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Failure::uncategorized(format!(
            "param insecure_tls_skip_verify must be a bool: strconv.ParseBool: parsing {value:?}: invalid syntax"
        ))),
    }
}

fn decode(name: &str, value: &str) -> Result<Vec<u8>, Failure> {
    let invalid = |error| Failure::uncategorized(format!("param {name} must be base 64 encoded: {error}"));
    STANDARD.decode(value).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_material_is_taken_and_the_rest_passed_on_sorted() {
        let url = "webhook-https://localhost:3000/db/public?z=a%20b&ca_cert=Y2E%3D&b=%2F&insecure_tls_skip_verify=true";
        let address = Address::parse(url).unwrap();
        assert_eq!(address.target, "/db/public?b=%2F&z=a+b");
        assert_eq!(address.ca.as_deref(), Some(&b"ca"[..]));
        assert!(address.skip_verify && address.client.is_none());
        assert_eq!(address.url(), "https://localhost:3000/db/public?b=%2F&z=a+b");
    }

    #[test]
    fn hosts_ports_and_users() {
        let address = Address::parse("webhook-https://u:p%40@[::1]:9").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.target.as_str()), ("::1", 9, "/"));
        assert_eq!(address.basic.as_deref(), Some("Basic dTpwQA=="));
        assert_eq!(address.authority(), "[::1]:9");
    }

    #[test]
    fn refusals_have_the_words_of_cockroachdb() {
        for (url, expected) in [
            ("webhook-http://h", "this sink requires webhook-https"),
            ("foo://h", "unsupported sink: foo"),
            ("h", "no scheme found for sink URL \"h\""),
            ("webhook-https://h?client_cert=YQ==", "client_cert requires client_key to be set"),
            ("webhook-https://h?client_key=YQ==", "client_key requires client_cert to be set"),
            ("kafka://h", "stand-in: not supported: sink kafka"),
        ] {
            assert_eq!(Address::parse(url).unwrap_err().message, expected);
        }
    }

    #[test]
    fn secrets_are_redacted() {
        assert_eq!(
            redacted("webhook-https://u:p@h/x?client_cert=a&client_key=b&q=1"),
            "webhook-https://u:redacted@h/x?client_cert=a&client_key=redacted&q=1"
        );
    }
}
