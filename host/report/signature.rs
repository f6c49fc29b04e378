//! Signatures of reports: Ed25519, over the exact bytes of a file, in a file beside it.
//!
//! Owns: the forms of keys and of the file `.sig`, signing, and whether a file is as it was signed. Does not own: what is signed,
//! writing files (`commands/report`).
//!
//! The signature stands in a file of its own, so that a report stays plain JSON or HTML, there is no second form of it whose bytes
//! could differ, and other programs can verify it: `openssl pkeyutl -verify -rawin`.

use std::fs::{File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};

use crate::code;
use crate::error::{Error, Result};
use crate::proof;

/// What stands before the 32 bytes of a private key in PKCS#8 (RFC 8410), and of a public key.
const PRIVATE_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const PUBLIC_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
const ALGORITHM: &str = "Ed25519";
const SIGNATURE_BYTES: usize = 64;
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;
/// The group and others.
const OTHERS: u32 = 0o077;

/// A new pair as two PEM texts: the private key, and the public one.
pub fn new_pair() -> Result<(String, String)> {
    let seed: [u8; 32] = proof::random()?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
        .map_err(|error| Error::new(code::defect::CRYPTOGRAPHY, format!("a key cannot be made: {error}")))?;
    let private = [&PRIVATE_PREFIX[..], &seed].concat();
    let public = [&PUBLIC_PREFIX[..], pair.public_key().as_ref()].concat();
    Ok((pem("PRIVATE KEY", &private), pem("PUBLIC KEY", &public)))
}

/// Both fit into one line of a PEM file.
fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// The key that signs.
#[derive(Debug)]
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Reads the PEM file of `--sign-key`, which nobody else may read.
    pub fn read(path: &Path) -> Result<Self> {
        let unusable = |why: String| {
            Error::new(code::cutback::KEY, format!("--sign-key {} cannot be used: {why}", path.display()))
        };
        const FORM: &str = "give a PEM file with an Ed25519 private key (PKCS#8); ebb report-key --out FILE makes one";
        let file = File::open(path).map_err(|error| unusable(error.to_string()).hint(FORM))?;
        let found = file.metadata().map_err(|error| unusable(error.to_string()).hint(FORM))?;
        let mode = Permissions::mode(&found.permissions()) & 0o7777;
        if mode & OTHERS != 0 {
            return Err(unusable(format!("other users may read or write it (mode {mode:04o})"))
                .hint(format!("see that nobody has copied it, then: chmod 0600 '{}'", path.display())));
        }
        let text = bounded(file, KEY_FILE_BYTES_MAX).map_err(|why| unusable(why).hint(FORM))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|error| unusable(error.to_string()).hint(FORM))?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
            .map(Self)
            .map_err(|error| unusable(format!("it is no Ed25519 key ({error})")).hint(FORM))
    }

    /// The text of the file `.sig` for these bytes.
    pub fn sign(&self, bytes: &[u8]) -> String {
        let signed = Signed {
            algorithm: ALGORITHM.into(),
            public_key: STANDARD.encode(self.0.public_key()),
            signature: STANDARD.encode(self.0.sign(bytes)),
        };
        // Three texts.
        format!("{}\n", serde_json::to_string_pretty(&signed).unwrap_or_default())
    }

    /// Of the public key, as an auditor would note it.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.0.public_key().as_ref())
    }
}

/// The file `.sig`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    algorithm: String,
    public_key: String,
    signature: String,
}

/// The public key that a reader trusts.
#[derive(Debug)]
pub struct TrustedKey(Vec<u8>);

impl TrustedKey {
    /// Reads the PEM file of `--key`.
    pub fn read(path: &Path) -> Result<Self> {
        let unusable = |why: String| {
            Error::new(code::cutback::KEY, format!("--key {} cannot be used: {why}", path.display())).hint(
                "give a PEM file with the Ed25519 public key of who has signed; ebb report-key writes it to FILE.pub",
            )
        };
        let file = File::open(path).map_err(|error| unusable(error.to_string()))?;
        let text = bounded(file, KEY_FILE_BYTES_MAX).map_err(unusable)?;
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&text).map_err(|error| unusable(error.to_string()))?;
        match der.strip_prefix(&PUBLIC_PREFIX) {
            Some(key) if key.len() == 32 => Ok(Self(key.to_vec())),
            _ => Err(unusable("it is no Ed25519 key".into())),
        }
    }

    pub fn fingerprint(&self) -> String {
        fingerprint(&self.0)
    }

    /// Whether `bytes` are as they were signed by this key; else in one sentence why not. `signature` is the text of the file
    /// `.sig`.
    pub fn verify(&self, bytes: &[u8], signature: &str) -> Result<(), &'static str> {
        const NO_SIGNATURE: &str = "the file of its signature is damaged or holds something else";
        let signed: Signed = serde_json::from_str(signature).map_err(|_| NO_SIGNATURE)?;
        if signed.algorithm != ALGORITHM {
            return Err("it is signed with an algorithm that ebb does not use");
        }
        let of_file = STANDARD.decode(&signed.public_key).map_err(|_| NO_SIGNATURE)?;
        let signature = STANDARD.decode(&signed.signature).map_err(|_| NO_SIGNATURE)?;
        if signature.len() != SIGNATURE_BYTES {
            return Err(NO_SIGNATURE);
        }
        // The key in the file only tells why: what counts is the one that the reader trusts.
        match UnparsedPublicKey::new(&ED25519, &self.0).verify(bytes, &signature) {
            Ok(()) => Ok(()),
            Err(_) if of_file != self.0 => Err("it was signed with another key"),
            Err(_) => Err("it or its signature was changed or cut off after it was signed"),
        }
    }
}

/// `SHA256:…`.
fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", sha256(key))
}

/// In hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    proof::hexadecimal(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// Where the signature of a file stands.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// A whole file, unless it is larger than anything that belongs there.
pub fn bounded(file: File, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 > bytes_max {
        true => Err(format!("it has more than {bytes_max} bytes")),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::private;

    fn pair(folder: &Path, name: &str) -> (SigningKey, TrustedKey) {
        let (private, public) = new_pair().expect("a pair");
        let (key, trusted) = (folder.join(name), folder.join(format!("{name}.pub")));
        fs::write(&key, private).expect("a file");
        fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("its mode");
        fs::write(&trusted, public).expect("a file");
        (SigningKey::read(&key).expect("a key"), TrustedKey::read(&trusted).expect("a key"))
    }

    #[test]
    fn every_changed_byte_is_found() {
        let folder = private::tempdir();
        let (key, trusted) = pair(folder.path(), "a");
        let report = br#"{"verdict": "GO"}"#;
        let signature = key.sign(report);
        assert_eq!(trusted.verify(report, &signature), Ok(()));
        assert_eq!(key.fingerprint(), trusted.fingerprint());
        let changed = Err("it or its signature was changed or cut off after it was signed");
        for at in 0..report.len() {
            let mut other = report.to_vec();
            other[at] ^= 1;
            assert_eq!(trusted.verify(&other, &signature), changed, "{at}");
            assert_eq!(trusted.verify(&report[..at], &signature), changed, "{at}");
        }
        // Whatever becomes of a letter of the signature, it proves nothing else.
        for at in 0..signature.len() - 1 {
            let mut other = signature.clone().into_bytes();
            other[at] ^= 1;
            let other = String::from_utf8_lossy(&other).into_owned();
            assert!(trusted.verify(b"another report", &other).is_err(), "{at}");
            assert!(trusted.verify(report, &signature[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn only_the_key_that_a_reader_trusts_counts() {
        let folder = private::tempdir();
        let (key, trusted) = pair(folder.path(), "a");
        let (other, _) = pair(folder.path(), "b");
        let report = b"report";
        assert_eq!(trusted.verify(report, &other.sign(report)), Err("it was signed with another key"));
        // Whoever signs with another key cannot say that it is this one.
        let mut forged: Signed = serde_json::from_str(&other.sign(report)).expect("a signature");
        forged.public_key = STANDARD.encode(key.0.public_key());
        let forged = serde_json::to_string(&forged).expect("JSON");
        assert!(trusted.verify(report, &forged).is_err());
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let folder = private::tempdir();
        pair(folder.path(), "a");
        let path = folder.path().join("a");
        let refusal = |path: &Path| SigningKey::read(path).expect_err("refused").to_string();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
            assert!(refusal(&path).contains(&format!("mode 0{mode:o}")), "{}", refusal(&path));
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its mode");
        let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
        for text in ["", "no key", &other, &"x".repeat(70_000)] {
            fs::write(&path, text).expect("a file");
            assert!(!refusal(&path).is_empty());
            assert!(TrustedKey::read(&path).is_err());
        }
        assert!(refusal(&folder.path().join("none")).contains("No such file"));
    }
}
