//! `ebb make-jwt`: a token that lets its bearer write to schemas of the target.
//!
//! Owns: signing one. Does not own: its form (`jwt`). Prints the token, and says where files went.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use pkcs8::der::{self, Decode, Encode};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{ObjectIdentifier, PrivateKeyInfo};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use sec1::EcPrivateKey;
use x509_cert::der::oid::db::rfc5912::{ID_EC_PUBLIC_KEY, SECP_256_R_1, SECP_384_R_1};

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
    if let Some(slashed) = options.allow.iter().find(|schema| schema.contains('/')) {
        return Err(Error::new(
            code::settings::VALUE,
            format!("--allow {slashed} would never match: database and schema stand with a dot"),
        )
        .hint(format!("write --allow {}", slashed.trim_matches('/').replace('/', "."))));
    }
    if grant.schemas.iter().flatten().any(String::is_empty) {
        return Err(Error::new(code::settings::VALUE, "--allow is no schema")
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
            .map_err(|error| Error::new(code::defect::CRYPTOGRAPHY, format!("the claim cannot be written: {error}")));
    };
    let (key, algorithm, mut summary) = signing_key(key)?;
    crypto::install();
    let token = encode(&Header::new(algorithm), &claims, &key).map_err(|error| {
        Error::new(code::access::SIGNING_KEY, format!("the token cannot be signed: {error}"))
            .hint("give an EC (P-256, P-384) or RSA key")
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
        .map_err(|_| Error::new(code::defect::NO_RANDOM, "the system gives no random numbers"))?;
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
                .map_err(|error| Error::new(code::defect::CRYPTOGRAPHY, format!("a key cannot be made: {error}")))?;
            files::replace(path, &made.serialize_pem(), Mode::Private)?;
            files::replace(&public, &made.public_key_pem(), Mode::Public)?;
            let summary = format!("private key {}, public key {}\n", path.display(), public.display());
            Ok((EncodingKey::from_ec_der(made.serialized_der()), Algorithm::ES256, summary))
        }
    }
}

fn read_key(path: &Path) -> Result<(EncodingKey, Algorithm)> {
    let unusable = |why: String| {
        Error::new(code::access::SIGNING_KEY, format!("--key {} cannot be used: {why}", path.display()))
            .hint("give a PEM file with an EC (P-256, P-384) or RSA private key that is not encrypted")
    };
    let unknown_curve = || unusable("its curve is neither P-256 nor P-384".into());
    let found = PrivateKeyDer::from_pem_file(path).map_err(|error| unusable(error.to_string()))?;
    match &found {
        PrivateKeyDer::Pkcs8(key) => {
            let der = key.secret_pkcs8_der();
            let info = PrivateKeyInfo::try_from(der).map_err(|error| unusable(error.to_string()))?;
            if info.algorithm.oid != ID_EC_PUBLIC_KEY {
                return Ok((EncodingKey::from_rsa_der(der), Algorithm::RS256));
            }
            let algorithm = algorithm_of(info.algorithm.parameters_oid().ok()).ok_or_else(unknown_curve)?;
            Ok((EncodingKey::from_ec_der(der), algorithm))
        }
        PrivateKeyDer::Pkcs1(key) => Ok((EncodingKey::from_rsa_der(key.secret_pkcs1_der()), Algorithm::RS256)),
        PrivateKeyDer::Sec1(key) => {
            let der = key.secret_sec1_der();
            let key = EcPrivateKey::from_der(der).map_err(|error| unusable(error.to_string()))?;
            let curve = key.parameters.and_then(|parameters| parameters.named_curve());
            let algorithm = algorithm_of(curve).ok_or_else(unknown_curve)?;
            let in_pkcs8 = in_pkcs8(der, curve.as_ref()).map_err(|error| unusable(error.to_string()))?;
            Ok((EncodingKey::from_ec_der(&in_pkcs8), algorithm))
        }
        _ => Err(unusable("its form is not known".into())),
    }
}

fn algorithm_of(curve: Option<ObjectIdentifier>) -> Option<Algorithm> {
    match curve {
        Some(SECP_256_R_1) => Some(Algorithm::ES256),
        Some(SECP_384_R_1) => Some(Algorithm::ES384),
        _ => None,
    }
}

/// `openssl ecparam -genkey` writes the older form (RFC 5915); what signs takes the newer one around it (RFC 5208).
fn in_pkcs8(sec1: &[u8], curve: Option<&ObjectIdentifier>) -> der::Result<Vec<u8>> {
    let algorithm = AlgorithmIdentifierRef { oid: ID_EC_PUBLIC_KEY, parameters: curve.map(Into::into) };
    PrivateKeyInfo::new(algorithm, sec1).to_der()
}
