//! The file of `--changefeeds-path`: one flat JSON object; what it leaves out has MOLT's default.
//!
//! Owns: its keys, their types and defaults, and what CockroachDB would refuse. Does not own: the statement.

mod options;

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ebb_sdk::{Secret, Timestamp};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::layers::Layers;
use super::layers::unreadable;
use super::{duration, flags};
use crate::code;
use crate::config::{InitialScan, SinkTls};
use crate::error::{Error, Result};

/// The settings of a changefeed.
#[derive(Clone, Debug)]
pub struct Overrides {
    pub host: String,
    pub port: u16,
    pub sink_query_parameters: Secret,
    pub initial_scan: InitialScan,
    /// Where a new run begins.
    pub cursor: Option<Timestamp>,
    /// `WITH` options in the order they are written.
    pub options: Vec<(String, Secret)>,
    /// Where they are read again.
    pub origin: Option<Origin>,
}

/// A file with the settings of the changefeed.
#[derive(Clone, Debug)]
pub enum Origin {
    /// `--changefeeds-path`.
    File(PathBuf),
    /// The table `[changefeed]` of `--config`.
    Config(PathBuf),
}

impl Origin {
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Config(path) => path,
        }
    }

    /// The `ca_cert` that the file has now, as PEM.
    pub fn ca_cert(&self) -> Result<Vec<u8>> {
        let overrides = match self {
            Self::File(path) => read(path)?,
            Self::Config(path) => {
                let layers = Layers::read(path.clone(), &mut Vec::new())?;
                let table = layers.changefeed().map(|(_, table)| table.clone()).unwrap_or_default();
                check(table, &format!("[changefeed] of --config {}", path.display()))?
            }
        };
        overrides.client_authority().ok_or_else(|| {
            Error::new(
                code::access::CHANGEFEED_CERTIFICATE,
                format!("{}: client_cert or ca_cert is missing in \"sink_query_parameters\"", self.path().display()),
            )
            .hint("ebb certs makes a file that has both")
        })
    }
}

/// Options by key, in the order of the statement, with the default of those that are always written.
const OPTIONS: &[(&str, Option<&str>)] = &[
    ("resolved", Some("1s")),
    ("min_checkpoint_frequency", Some("1s")),
    ("initial_scan", Some("no")),
    ("webhook_client_timeout", Some("10s")),
    ("webhook_sink_config", Some("{\"Flush\":{\"Bytes\":1048576,\"Frequency\":\"1s\"}}")),
    ("webhook_auth_header", None),
    ("compression", None),
    ("on_error", None),
    ("gc_protect_expires_after", None),
    ("extra_headers", None),
];

const AUTH_HEADER: &str = "webhook_auth_header";

/// Those of them that hold a duration.
const DURATIONS: [&str; 4] =
    ["resolved", "min_checkpoint_frequency", "webhook_client_timeout", "gc_protect_expires_after"];

/// Parameters of the sink that hold a PEM file, base64- and URL-encoded.
const PEM_PARAMETERS: [&str; 3] = ["client_cert", "client_key", "ca_cert"];

const HOST: &str = "localhost";
const PORT: u16 = 30004;
const SINK_QUERY_PARAMETERS: &str = "insecure_tls_skip_verify=true";

/// What holds where nothing is given.
pub fn defaults() -> Result<Overrides> {
    check(Map::new(), "the defaults")
}

/// Every key with its default, in the order in which they are described.
pub(super) fn keys() -> Result<Vec<(&'static str, Option<String>)>> {
    let Overrides { host, port, sink_query_parameters, .. } = defaults()?;
    let mut keys = vec![
        ("host", Some(host)),
        ("port", Some(port.to_string())),
        ("sink_query_parameters", Some(sink_query_parameters.reveal().to_owned())),
        ("cursor", None),
    ];
    keys.extend(OPTIONS.iter().map(|(name, default)| (*name, default.map(str::to_owned))));
    Ok(keys)
}

/// Reads the file.
pub fn read(path: &Path) -> Result<Overrides> {
    let otherwise = "start ebb in the folder of the file, or give its path; `ebb certs` makes one";
    let text =
        std::fs::read_to_string(path).map_err(|error| unreadable("--changefeeds-path", path, &error, otherwise))?;
    let overrides = parse(&text, &format!("--changefeeds-path {}", path.display()))?;
    Ok(Overrides { origin: Some(Origin::File(path.to_owned())), ..overrides })
}

/// Takes the text of the file apart; `place` names it in errors.
pub fn parse(text: &str, place: &str) -> Result<Overrides> {
    // A JSON error tells line and column, not the text, which holds keys.
    let given = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Error::new(
            code::settings::FILE_MALFORMED,
            format!("{place}: it is not a JSON object (line {line}, column {column})"),
        )
        .hint("write an object such as {\"port\": 30004, \"resolved\": \"1s\"}")
    })?;
    check(given, place)
}

/// Checks every key, and fills in the defaults.
pub fn check(mut given: Map<String, Value>, place: &str) -> Result<Overrides> {
    let refused = |why: String| Error::new(code::settings::FILE_MALFORMED, format!("{place}: {why}"));
    let host = take_text(&mut given, "host").map_err(refused)?.unwrap_or_else(|| HOST.into());
    let port = match given.remove("port") {
        None => PORT,
        Some(port) => port
            .as_u64()
            .and_then(|port| u16::try_from(port).ok().filter(|port| *port > 0))
            .ok_or_else(|| refused("\"port\" must be a number from 1 to 65535".into()))?,
    };
    let query = take_text(&mut given, "sink_query_parameters").map_err(refused)?;
    let cursor = take_text(&mut given, "cursor").map_err(refused)?;
    let cursor =
        cursor.map(|text| flags::timestamp(&text).map_err(|why| refused(format!("\"cursor\": {why}")))).transpose()?;
    let mut options = Vec::new();
    for (name, default) in OPTIONS {
        let value = take_text(&mut given, name).map_err(refused)?;
        if let Some(value) = value.as_deref().or(*default) {
            options.push(((*name).to_owned(), Secret::new(value)));
        }
    }
    if let Some(unknown) = given.keys().next() {
        let known: Vec<_> = ["host", "port", "sink_query_parameters", "cursor"]
            .into_iter()
            .chain(OPTIONS.iter().map(|(name, _)| *name))
            .collect();
        return Err(
            refused(format!("the key \"{unknown}\" is not known")).hint(format!("known are {}", known.join(", ")))
        );
    }
    let value_of = |wanted: &str| {
        let found = options.iter().find(|(name, _)| name == wanted);
        found.map_or("", |(_, value)| value.reveal())
    };
    if host.is_empty() || host.contains(|c: char| "/?#@'[]".contains(c) || c.is_whitespace()) {
        return Err(
            refused("\"host\" is no host".into()).hint("give a name or an address alone, without scheme or port")
        );
    }
    options::check_flush(value_of("webhook_sink_config"), place)?;
    for name in DURATIONS.into_iter().filter(|name| !value_of(name).is_empty()) {
        duration::parse(value_of(name)).map_err(|why| refused(format!("\"{name}\": {why}")))?;
    }
    options::check_choices(&value_of, place)?;
    let overrides = Overrides {
        host,
        port,
        sink_query_parameters: Secret::new(query.unwrap_or_else(|| SINK_QUERY_PARAMETERS.into())),
        initial_scan: options::initial_scan(value_of("initial_scan"), place)?,
        cursor,
        options,
        origin: None,
    };
    overrides.check_pem_parameters(place)?;
    Ok(overrides)
}

fn take_text(given: &mut Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match given.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        // The value may be a secret, so it is not shown.
        Some(_) => Err(format!("\"{key}\" must be a text")),
    }
}

impl Overrides {
    /// The `Authorization` header that the changefeed sends.
    pub fn auth_header(&self) -> Option<&Secret> {
        self.options.iter().find(|(name, _)| name == AUTH_HEADER).map(|(_, value)| value)
    }

    /// Has the changefeed send this header, which the receiver was told to demand.
    pub fn demand_header(&mut self, header: Option<&Secret>) -> Result<()> {
        match (header, self.auth_header()) {
            (None, _) => {}
            (Some(wanted), Some(given)) if wanted != given => {
                return Err(Error::new(
                    code::settings::FLAGS_CONFLICT,
                    "--webhook-auth-header and the webhook_auth_header of --changefeeds-path differ",
                )
                .hint("leave one of them out: what is given once goes to both sides"));
            }
            (Some(_), Some(_)) => {}
            (Some(wanted), None) => self.options.push((AUTH_HEADER.into(), wanted.clone())),
        }
        Ok(())
    }

    /// Whether the sink's URL has a token.
    pub fn shows_token(&self) -> bool {
        self.parameter("access_token").is_some()
    }

    /// Whether the changefeed shows a certificate of its own.
    pub fn shows_certificate(&self) -> bool {
        self.parameter("client_cert").is_some()
    }

    /// The authority in `ca_cert`, as PEM, when the changefeed shows a certificate of its own.
    pub fn client_authority(&self) -> Option<Vec<u8>> {
        self.parameter("client_cert").and_then(|_| self.parameter("ca_cert")).and_then(decoded)
    }

    pub fn sink_tls(&self) -> SinkTls {
        let pem = |name: &str| self.parameter(name).and_then(decoded);
        // CockroachDB reads it as Go reads a boolean.
        let skips = self.parameter("insecure_tls_skip_verify");
        SinkTls {
            host: self.host.clone(),
            skips_verification: skips.is_some_and(|value| ["1", "t", "T", "true", "TRUE", "True"].contains(&value)),
            ca_cert: pem("ca_cert"),
            client_cert: pem("client_cert"),
        }
    }

    /// What CockroachDB would refuse, or what its requests would fail with. The values are never shown.
    fn check_pem_parameters(&self, place: &str) -> Result<()> {
        let refused = |why: String| {
            Error::new(code::settings::FILE_MALFORMED, format!("{place}: {why} in \"sink_query_parameters\""))
        };
        for name in PEM_PARAMETERS {
            if self.parameter(name).is_some_and(|encoded| decoded(encoded).is_none()) {
                return Err(refused(format!("{name} is not a PEM file that is base64- and URL-encoded"))
                    .hint(format!("encode it so: base64 -w 0 {name}.pem | jq -R -r '@uri'")));
            }
        }
        match (self.parameter("client_cert"), self.parameter("client_key")) {
            (Some(_), None) => Err(refused("client_cert stands without client_key".into()).hint("add client_key=…")),
            (None, Some(_)) => Err(refused("client_key stands without client_cert".into()).hint("add client_cert=…")),
            _ => Ok(()),
        }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.sink_query_parameters.reveal().split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// PEM that is base64- and URL-encoded. A plus sign that is not URL-encoded reaches CockroachDB as a space.
fn decoded(encoded: &str) -> Option<Vec<u8>> {
    if encoded.contains(|c: char| c == '+' || c.is_whitespace()) {
        return None;
    }
    let text = percent_decode_str(encoded).decode_utf8().ok()?;
    let pem = STANDARD.decode(text.replace(['\r', '\n'], "")).ok()?;
    pem.trim_ascii_start().starts_with(b"-----BEGIN ").then_some(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_keys_take_their_default() {
        let overrides = parse(r#"{"port": 30005, "resolved": "250ms", "compression": "gzip"}"#, "f").unwrap();
        assert_eq!((overrides.host.as_str(), overrides.port), ("localhost", 30005));
        let options: Vec<_> =
            overrides.options.iter().map(|(name, value)| format!("{name}={}", value.reveal())).collect();
        assert_eq!(
            options.join(" "),
            "resolved=250ms min_checkpoint_frequency=1s initial_scan=no webhook_client_timeout=10s \
             webhook_sink_config={\"Flush\":{\"Bytes\":1048576,\"Frequency\":\"1s\"}} compression=gzip"
        );
        assert!(overrides.client_authority().is_none());
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let check = |text: &str, expected: &str| {
            let error = parse(text, "f").unwrap_err();
            let text = format!("{error} {}", error.hint.clone().unwrap_or_default());
            assert!(text.contains(expected), "{text}");
        };
        check("[]", "not a JSON object");
        check("{", "line 1");
        check(
            r#"{"hots": "x"}"#,
            "\"hots\" is not known known are host, port, sink_query_parameters, cursor, resolved",
        );
        check(r#"{"cursor": "yesterday"}"#, "\"cursor\": a time is nanoseconds");
        check(r#"{"port": 70000}"#, "\"port\" must be a number");
        check(r#"{"port": 0}"#, "\"port\" must be a number");
        check(r#"{"host": "https://ebb:1"}"#, "without scheme or port");
        check(r#"{"resolved": "1 second"}"#, "\"resolved\": it is not a duration");
        check(r#"{"resolved": 1}"#, "\"resolved\" must be a text");
        check(r#"{"initial_scan": "only"}"#, "sends no later changes");
        check(r#"{"webhook_sink_config": "{\"Flush\":{\"Bytes\":1048576}}"}"#, "Frequency");
        check(r#"{"webhook_sink_config": "x"}"#, "must be a text that holds a JSON object");
    }

    #[test]
    fn the_authority_of_clients_is_taken_from_the_file() {
        // "-----BEGIN X>>" in base64, which has a plus sign.
        let (good, raw) = ("LS0tLS1CRUdJTiBYPj4%2B", "LS0tLS1CRUdJTiBYPj4+");
        let check = |parameters: &str, expected: Result<Option<&[u8]>, &str>| {
            let text = serde_json::json!({ "sink_query_parameters": parameters }).to_string();
            match (parse(&text, "f"), expected) {
                (Ok(overrides), Ok(expected)) => assert_eq!(overrides.client_authority().as_deref(), expected),
                (Err(error), Err(expected)) => {
                    assert!(error.message.contains(expected), "{error}");
                    assert!(!error.message.contains("LS0t"), "{error}");
                }
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            }
        };
        let pem: &[u8] = b"-----BEGIN X>>>";
        check(&format!("client_cert={good}&client_key={good}&ca_cert={good}"), Ok(Some(pem)));
        check(&format!("client_cert={good}&client_key={good}&insecure_tls_skip_verify=true"), Ok(None));
        check(&format!("ca_cert={good}"), Ok(None));
        check(&format!("client_cert={good}&client_key={good}&ca_cert={raw}"), Err("ca_cert is not a PEM file"));
        check("client_cert={base64 cert}&client_key={base64 key}", Err("client_cert is not a PEM file"));
        check("ca_cert=LS0t", Err("ca_cert is not a PEM file"));
        check(&format!("client_cert={good}"), Err("client_cert stands without client_key"));
        check(&format!("client_key={good}"), Err("client_key stands without client_cert"));
    }
}
