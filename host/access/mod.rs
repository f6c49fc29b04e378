//! Who may write to the target: what a request must show.
//!
//! Owns: the judgement of headers, tokens and their keys, reloaded while ebb runs. Does not own: client certificates, which
//! the handshake verifies (`receive/tls`), and the commands that make keys and tokens (`commands`).

// What comes over the network must not end the process.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::unwrap_used)]

pub(crate) mod crypto;
pub mod jwt;

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ebb_sdk::Secret;
use hyper::header::{AUTHORIZATION, HeaderMap};
use parking_lot::RwLock;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use crate::code;
use crate::config;
use crate::error::{Error, Result};
use jwt::Keys;

/// How long before its end a token is warned of: two weeks.
const TOLD_SECONDS: u64 = 14 * 24 * 60 * 60;

/// Schemas that a message lists.
const ALLOWED_SHOWN_MAX: usize = 10;

/// Judges requests.
pub struct Gate {
    /// SHA-256 of the whole header: comparing digests tells nothing of the length.
    header: Option<[u8; 32]>,
    tokens: Option<Tokens>,
}

struct Tokens {
    settings: config::Tokens,
    keys: RwLock<Arc<Keys>>,
}

/// Where a request may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    Everywhere,
    /// Schemas as the segments of a path; `*` stands for any one segment.
    Schemas(Vec<Vec<String>>),
}

impl Reach {
    /// Whether it may write to this schema of the target.
    pub fn covers(&self, schema: &[String]) -> bool {
        let is_it = |granted: &Vec<String>| {
            granted.len() == schema.len()
                && granted.iter().zip(schema).all(|(granted, part)| granted == "*" || granted == part)
        };
        match self {
            Self::Everywhere => true,
            Self::Schemas(granted) => granted.iter().any(is_it),
        }
    }
}

/// Why a request may not write. It says nothing that helps a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No credential, or one that is not valid.
    Unknown,
    /// A valid token, for other schemas.
    Elsewhere,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "missing or invalid access token",
            Self::Elsewhere => "this access token is not for this schema",
        })
    }
}

impl Gate {
    /// Reads the keys. Where the changefeed's own token is known it must pass for each of these schemas: a resolved
    /// timestamp is about all of them.
    pub fn open(access: &config::Access, schemas: &[&[String]]) -> Result<Self> {
        let Some(settings) = access.tokens.clone() else {
            let header = access.header.as_ref().map(|header| sha256(header.reveal().as_bytes()));
            return Ok(Self { header, tokens: None });
        };
        let keys = RwLock::new(Arc::new(Keys::read(&settings)?));
        let gate = Self { header: None, tokens: Some(Tokens { settings, keys }) };
        if let Some(header) = &access.header {
            gate.check_own(header, schemas)?;
            gate.warn_of_end(header);
        }
        Ok(gate)
    }

    /// Whether a request to this path may write, and where its rows may belong.
    pub fn admit(&self, headers: &HeaderMap, query: Option<&str>, path: &[String]) -> Result<Reach, Denied> {
        let authorization = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        if let Some(expected) = &self.header {
            let given = sha256(authorization.unwrap_or_default());
            let is_it = authorization.is_some() & bool::from(expected.ct_eq(&given));
            return if is_it { Ok(Reach::Everywhere) } else { Err(Denied::Unknown) };
        }
        let Some(tokens) = &self.tokens else { return Ok(Reach::Everywhere) };
        let keys = Arc::clone(&tokens.keys.read());
        keys.admit(jwt::token(authorization, query).ok_or(Denied::Unknown)?, path)
    }

    /// Reads keys and revocations again. What cannot be read leaves everything as it was.
    pub fn reload(&self) -> Result<()> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        let keys = Arc::new(Keys::read(&tokens.settings)?);
        *tokens.keys.write() = keys;
        Ok(())
    }

    fn check_own(&self, header: &Secret, schemas: &[&[String]]) -> Result<()> {
        let mut headers = HeaderMap::new();
        headers.extend(header.reveal().parse().ok().map(|value| (AUTHORIZATION, value)));
        for schema in schemas {
            self.admit(&headers, None, schema).map_err(|denied| {
                Error::new(code::access::OWN_HEADER, format!(
                    "the changefeed's own webhook_auth_header would be refused for the schema {}: {denied}",
                    schema.join(".")
                ))
                .hint(format!(
                    "with --jwt-public-keys it must be 'Bearer <token>', signed with one of these keys, for every schema \
                     that rows go to: ebb make-jwt --key …{}",
                    allow_flags(schemas)
                ))
            })?;
        }
        Ok(())
    }

    /// The end of the changefeed's own token comes in the middle of a run, and is told before.
    fn warn_of_end(&self, header: &Secret) {
        let keys = self.tokens.as_ref().map(|tokens| Arc::clone(&tokens.keys.read()));
        let token = jwt::token(Some(header.reveal().as_bytes()), None);
        let end = keys.zip(token).and_then(|(keys, token)| keys.end_of(token));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        if let Some(left) = end.map(|end| end.saturating_sub(now)).filter(|left| *left < TOLD_SECONDS) {
            tracing::warn!(
                error_code = code::access::TOKEN_ENDS.text(),
                hint = "make another with ebb make-jwt --days …, give it as webhook_auth_header, and start ebb fetch again",
                "the changefeed's token expires in {} hours",
                left / 3600
            );
        }
    }
}

/// The flags of `ebb make-jwt` for a token that these schemas may be written with.
pub fn allow_flags(schemas: &[&[String]]) -> String {
    let flags = schemas.iter().take(ALLOWED_SHOWN_MAX).map(|schema| format!(" --allow {}", schema.join(".")));
    flags.chain((schemas.len() > ALLOWED_SHOWN_MAX).then(|| " …".to_owned())).collect()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut text = [0; 32];
    text.copy_from_slice(digest(&SHA256, bytes).as_ref());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_must_be_the_one_that_was_chosen() {
        let access = config::Access { header: Some(Secret::new("Bearer geheim")), ..config::Access::default() };
        let gate = Gate::open(&access, &[]).unwrap();
        let admit = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(value.map(|value| (AUTHORIZATION, value.parse().unwrap())));
            gate.admit(&headers, Some("access_token=geheim"), &[])
        };
        assert_eq!(admit(Some("Bearer geheim")), Ok(Reach::Everywhere));
        for wrong in
            [None, Some(""), Some("Bearer"), Some("Bearer geheim "), Some("bearer geheim"), Some("Bearer geheim2")]
        {
            assert_eq!(admit(wrong), Err(Denied::Unknown), "{wrong:?}");
        }
        assert!(Gate::open(&config::Access::default(), &[]).unwrap().admit(&HeaderMap::new(), None, &[]).is_ok());
    }
}
