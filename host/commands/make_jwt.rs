//! `ebb make-jwt`: a token that lets its bearer write to schemas of the target.
//!
//! Owns: signing one. Does not own: its form (`jwt`). Prints the token, and says where files went.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::files::{self, Mode};
use crate::access::crypto;
use crate::access::jwt::{Claims, Grant};
use crate::code;
use crate::error::{Error, Result};

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// What is wanted.
#[derive(Debug)]
pub struct Options {
    /// `None` for the claim alone.
    pub key: Option<Key>,
    /// `database.schema`, or `database`.
    pub allow: Vec<String>,
    pub days: u32,
    pub out: Option<PathBuf>,
}

/// The private key.
#[derive(Debug)]
pub enum Key {
    Given(PathBuf),
    /// Made, with its public half beside it.
    New(PathBuf),
}

/// Returns what is to be printed.
pub fn make(options: &Options) -> Result<String> {
    let schemas = options.allow.iter().map(|schema| schema.split('.').map(str::to_owned).collect());
    let grant = Grant { schemas: schemas.collect() };
    if grant.schemas.iter().flatten().any(String::is_empty) {
        return Err(Error::new(code::UNNAMED, "--allow is no schema")
            .hint("write it as database.schema, or database for a target without schemas"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let claims = Claims {
        jti: random_id()?,
        iat: Some(now),
        exp: Some(now + u64::from(options.days) * SECONDS_PER_DAY),
        nbf: None,
        replicator: Some(grant),
        cdc_sink: None,
    };
    let Some(key) = &options.key else {
        return serde_json::to_string_pretty(&claims)
            .map(|text| format!("{text}\n"))
            .map_err(|error| Error::new(code::UNNAMED, format!("the claim cannot be written: {error}")));
    };
    let (key, algorithm, mut summary) = signing_key(key)?;
    crypto::install();
    let token = encode(&Header::new(algorithm), &claims, &key).map_err(|error| {
        Error::new(code::UNNAMED, format!("the token cannot be signed: {error}")).hint("give an EC (P-256) or RSA key")
    })?;
    match &options.out {
        Some(path) => {
            files::replace(path, &format!("{token}\n"), Mode::Private)?;
            summary.push_str(&format!(
                "token {} (id {}, valid {} days) written to {}\n",
                options.allow.join(", "),
                claims.jti,
                options.days,
                path.display()
            ));
            Ok(summary)
        }
        None => Ok(format!("{token}\n")),
    }
}

/// What is to be known beside a token that is printed alone.
pub fn note(options: &Options) -> String {
    format!("valid {} days (--days); the changefeed needs another before then\n", options.days)
}

fn random_id() -> Result<String> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::new(code::UNNAMED, "the system gives no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn signing_key(key: &Key) -> Result<(EncodingKey, Algorithm, String)> {
    match key {
        Key::Given(path) => read_key(path).map(|(key, algorithm)| (key, algorithm, String::new())),
        Key::New(path) => {
            let mut public = path.clone().into_os_string();
            public.push(".pub");
            let public = PathBuf::from(public);
            files::refuse_existing(&[path, &public], "sign with it: --key FILE, or give another name")?;
            let made = rcgen::KeyPair::generate()
                .map_err(|error| Error::new(code::UNNAMED, format!("a key cannot be made: {error}")))?;
            files::replace(path, &made.serialize_pem(), Mode::Private)?;
            files::replace(&public, &made.public_key_pem(), Mode::Public)?;
            let summary = format!("private key {}, public key {}\n", path.display(), public.display());
            Ok((EncodingKey::from_ec_der(made.serialized_der()), Algorithm::ES256, summary))
        }
    }
}

fn read_key(path: &Path) -> Result<(EncodingKey, Algorithm)> {
    let unusable = |why: String| {
        Error::new(code::UNNAMED, format!("--key {} cannot be used: {why}", path.display()))
            .hint("give a PEM file with an EC (P-256, P-384) or RSA private key that is not encrypted")
    };
    let found = PrivateKeyDer::from_pem_file(path).map_err(|error| unusable(error.to_string()))?;
    let ec = |der: &[u8]| match curve_of(der) {
        Some(algorithm) => Ok((EncodingKey::from_ec_der(der), algorithm)),
        None => Ok((EncodingKey::from_rsa_der(der), Algorithm::RS256)),
    };
    match &found {
        PrivateKeyDer::Pkcs8(key) => ec(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => Ok((EncodingKey::from_rsa_der(key.secret_pkcs1_der()), Algorithm::RS256)),
        PrivateKeyDer::Sec1(key) => {
            let der = key.secret_sec1_der();
            let algorithm = curve_of(der).ok_or_else(|| unusable("its curve is neither P-256 nor P-384".into()))?;
            Ok((EncodingKey::from_ec_der(&in_pkcs8(der, algorithm)), algorithm))
        }
        _ => Err(unusable("its form is not known".into())),
    }
}

/// Object identifiers of the curves, as DER has them (RFC 5480, section 2.1.1.1).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

fn curve_of(der: &[u8]) -> Option<Algorithm> {
    let has = |curve: &[u8]| der.windows(curve.len()).any(|window| window == curve);
    if has(P256) { Some(Algorithm::ES256) } else { has(P384).then_some(Algorithm::ES384) }
}

/// `openssl ecparam -genkey` writes the older form (RFC 5915); what signs takes the newer one around it (RFC 5208).
fn in_pkcs8(sec1: &[u8], algorithm: Algorithm) -> Vec<u8> {
    let curve = if algorithm == Algorithm::ES256 { P256 } else { P384 };
    let version = [0x02, 0x01, 0x00];
    let identifier = der(0x30, &[EC_PUBLIC_KEY, curve].concat());
    der(0x30, &[&version[..], &identifier, &der(0x04, sec1)].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut made = vec![tag];
    match content.len() {
        short @ 0..=0x7f => made.push(u8::try_from(short).unwrap_or(0)),
        _ => {
            made.push(0x80 | u8::try_from(length.len()).unwrap_or(0));
            made.extend_from_slice(length);
        }
    }
    made.extend_from_slice(content);
    made
}
