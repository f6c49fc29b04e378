//! Tokens: signed by one of the known keys, not revoked, for the schema of the path.
//!
//! Owns: the claims, which are those of MOLT, so that tokens made for it go on working. Does not own: making tokens
//! (`make_jwt`) and signatures (`crypto`). Only public keys are ever read here.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use percent_encoding::percent_decode_str;
use pkcs8::SubjectPublicKeyInfoRef;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use x509_cert::der::oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION};

use super::{Denied, Reach, crypto};
use crate::code;
use crate::config;
use crate::error::{Error, Result};

/// Longer tokens are not looked at.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// A folder with more keys is not one of keys.
const KEYS_MAX: usize = 100;
/// The clocks of the machine that signs and of this one may differ by so much.
const LEEWAY_SECONDS: u64 = 60;

/// What a token says.
#[derive(Debug, Deserialize, Serialize)]
pub struct Claims {
    /// The token's id, by which it can be revoked.
    pub jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    #[serde(rename = "https://github.com/cockroachdb/replicator", skip_serializing_if = "Option::is_none")]
    pub replicator: Option<Grant>,
    /// The claim's name in older tokens.
    #[serde(rename = "https://github.com/cockroachdb/cdc-sink", skip_serializing_if = "Option::is_none")]
    pub cdc_sink: Option<Grant>,
}

/// Schemas that may be written to, each as the segments of a path; `*` stands for any one segment.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Grant {
    pub schemas: Vec<Vec<String>>,
}

/// The keys that tokens may be signed with, and the ids that are not valid any more.
#[derive(Debug, Default)]
pub struct Keys {
    keys: Vec<DecodingKey>,
    revoked: HashSet<String>,
}

impl Keys {
    pub fn read(settings: &config::Tokens) -> Result<Self> {
        crypto::install();
        let mut keys = Vec::new();
        for path in key_files(&settings.public_keys)? {
            let text = std::fs::read(&path).map_err(|error| unusable(&path, &error.to_string()))?;
            keys.extend(keys_of(&text).map_err(|why| unusable(&path, &why))?);
        }
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(unusable(&settings.public_keys, &format!("{} keys; 1 to {KEYS_MAX} are expected", keys.len())));
        }
        let revoked = settings.revoked_ids.as_deref().map(read_revoked).transpose()?.unwrap_or_default();
        Ok(Self { keys, revoked })
    }

    /// From texts in PEM form, and revoked ids.
    ///
    /// # Errors
    /// What is wrong with the first text that holds no public key.
    pub fn of(texts: &[&[u8]], revoked: &[&str]) -> Result<Self, String> {
        crypto::install();
        let keys: Result<Vec<_>, _> = texts.iter().map(|text| keys_of(text)).collect();
        let revoked = revoked.iter().map(|id| (*id).to_owned()).collect();
        Ok(Self { keys: keys?.into_iter().flatten().collect(), revoked })
    }

    /// Whether the token lets its bearer write to this path, and where else.
    pub fn admit(&self, token: &str, path: &[String]) -> Result<Reach, Denied> {
        let claims = self.verified(token).ok_or(Denied::Unknown)?;
        if claims.jti.is_empty() || self.revoked.contains(&claims.jti) {
            return Err(Denied::Unknown);
        }
        let grants = claims.replicator.into_iter().chain(claims.cdc_sink);
        let reach = Reach::Schemas(grants.flat_map(|grant| grant.schemas).collect());
        if reach.covers(path) { Ok(reach) } else { Err(Denied::Elsewhere) }
    }

    /// Seconds since 1970 at which the token ends.
    pub fn end_of(&self, token: &str) -> Option<u64> {
        self.verified(token)?.exp
    }

    fn verified(&self, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let header = decode_header(token).ok()?;
        // RFC 7515, section 4.1.11: what must be understood, and nothing of it is here.
        if header.crit.is_some() {
            return None;
        }
        let algorithm = header.alg;
        if !matches!(
            algorithm,
            Algorithm::ES256 | Algorithm::ES384 | Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512
        ) {
            return None;
        }
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_nbf = true;
        // Who a token is meant for is said by the claim of schemas.
        validation.validate_aud = false;
        validation.leeway = LEEWAY_SECONDS;
        let keys = self.keys.iter().filter(|key| key.family() == algorithm.family());
        keys.filter_map(|key| decode::<Claims>(token, key, &validation).ok()).map(|found| found.claims).next()
    }
}

/// The token of a request: `Authorization: Bearer …`, or `access_token=…` in the query.
pub fn token<'a>(authorization: Option<&'a [u8]>, query: Option<&'a str>) -> Option<&'a str> {
    if let Some(text) = authorization {
        let (scheme, token) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim());
    }
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, token) = pairs.find(|(name, _)| *name == "access_token")?;
    // Nothing in a token needs encoding.
    (percent_decode_str(token).decode_utf8().ok()? == token).then_some(token)
}

fn key_files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| unusable(path, &error.to_string()))?;
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// Every public key of a text. A private key there is a mistake that is told.
fn keys_of(text: &[u8]) -> Result<Vec<DecodingKey>, String> {
    if String::from_utf8_lossy(text).contains("PRIVATE KEY") {
        return Err("it holds a private key, which the receiver must not have".into());
    }
    let found: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| error.to_string())?;
    if found.is_empty() {
        return Err("it holds no public key in PEM form".into());
    }
    let unknown = || "a key is neither EC (P-256, P-384) nor RSA".to_owned();
    found.iter().map(|key| decoding_key(key).ok_or_else(unknown)).collect()
}

fn decoding_key(key: &SubjectPublicKeyInfoDer<'_>) -> Option<DecodingKey> {
    let info = SubjectPublicKeyInfoRef::try_from(key.as_ref()).ok()?;
    let public_key = info.subject_public_key.raw_bytes();
    match info.algorithm.oid {
        ID_EC_PUBLIC_KEY => Some(DecodingKey::from_ec_der(public_key)),
        RSA_ENCRYPTION => Some(DecodingKey::from_rsa_der(public_key)),
        _ => None,
    }
}

fn read_revoked(path: &Path) -> Result<HashSet<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(code::access::REVOKED_IDS, format!("--jwt-revoked-ids {} cannot be read: {error}", path.display()))
            .hint("give a file with one id (jti) a line; it may be empty")
    })?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::new(code::access::KEYS, format!("--jwt-public-keys {} cannot be used: {why}", path.display()))
        .hint("give a PEM file of public keys, or a folder of such files; ebb make-jwt --new-key makes one")
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};

    use super::*;

    /// A header that must be understood says how else the token is to be judged.
    #[test]
    fn a_token_whose_header_must_be_understood_is_refused() {
        crypto::install();
        let pair = rcgen::KeyPair::generate().unwrap();
        let keys = Keys::of(&[pair.public_key_pem().as_bytes()], &[]).unwrap();
        let grant = Grant { schemas: vec![vec!["molt".into(), "public".into()]] };
        let claims =
            Claims { jti: "1".into(), iat: None, exp: None, nbf: None, replicator: Some(grant), cdc_sink: None };
        let admitted = |header: Header| {
            let token = encode(&header, &claims, &EncodingKey::from_ec_der(pair.serialized_der())).unwrap();
            keys.admit(&token, &["molt".into(), "public".into()])
        };
        assert_eq!(admitted(Header::new(Algorithm::ES256)).map(drop), Ok(()));
        for crit in [vec![], vec!["exp".to_owned()], vec!["b64".into(), "urn:example:bound".into()]] {
            let header = Header { crit: Some(crit), ..Header::new(Algorithm::ES256) };
            assert_eq!(admitted(header), Err(Denied::Unknown));
        }
    }
}
