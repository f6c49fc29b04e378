//! A certificate authority for one test: signs a server certificate for loopback names and client certificates by
//! user name, and keeps them as PEM files under the names that CockroachDB's own `cert` command gives them.
//!
//! Does not own: which server uses which file, or who may read a copy of it.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair as Key,
    KeyUsagePurpose,
};

use crate::{Error, Result};

/// Paths of a certificate and its private key, both PEM.
#[derive(Debug, Clone)]
pub struct KeyPair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug)]
pub struct Certs {
    dir: PathBuf,
    issuer: CertifiedIssuer<'static, Key>,
    /// Client certificates that are there, or being written.
    issued: Mutex<BTreeSet<String>>,
}

impl Certs {
    /// Writes `ca.crt`, `node.crt` and `node.key` into `dir`, which is created when missing.
    pub fn create(dir: &Path) -> Result<Certs> {
        std::fs::create_dir_all(dir).map_err(Error::because(format!("cannot create {}", dir.display())))?;
        let mut authority = named("ebb test CA")?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(authority, new_key()?).map_err(Error::because("cannot make a CA"))?;
        write(&dir.join("ca.crt"), &issuer.pem(), 0o644)?;
        let certs = Certs { dir: dir.to_owned(), issuer, issued: Mutex::default() };
        certs.issue("node", &["localhost", "127.0.0.1", "::1"], ExtendedKeyUsagePurpose::ServerAuth)?;
        Ok(certs)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The authority's certificate: what a client needs to trust the server, and a server its clients.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// For `localhost`, `127.0.0.1` and `::1`.
    pub fn server(&self) -> KeyPair {
        self.paths("node")
    }

    /// Makes `client.NAME.crt` and `client.NAME.key`, with the common name NAME, which databases take for the user.
    /// Once for each name: tests that ask at the same time get the same pair.
    pub fn client(&self, name: &str) -> Result<KeyPair> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let file = format!("client.{name}");
        if !issued.insert(file.clone()) {
            return Ok(self.paths(&file));
        }
        self.issue(&file, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// The query of a webhook sink that shows the client certificate NAME and trusts this authority: each PEM file in
    /// base64, and that percent-encoded, as CockroachDB wants it.
    pub fn sink_query(&self, name: &str) -> Result<String> {
        let client = self.client(name)?;
        let parameter = |key: &str, path: &Path| -> Result<String> {
            let pem = std::fs::read(path).map_err(Error::because(format!("cannot read {}", path.display())))?;
            Ok(format!("{key}={}", utf8_percent_encode(&STANDARD.encode(pem), NON_ALPHANUMERIC)))
        };
        let parameters = [
            parameter("client_cert", &client.cert)?,
            parameter("client_key", &client.key)?,
            parameter("ca_cert", &self.ca())?,
        ];
        Ok(parameters.join("&"))
    }

    fn issue(&self, file: &str, addresses: &[&str], usage: ExtendedKeyUsagePurpose) -> Result<KeyPair> {
        let failed = || format!("cannot make the certificate {file}");
        let mut params = named(file.strip_prefix("client.").unwrap_or(file))?;
        for address in addresses {
            let name = CertificateParams::new(vec![(*address).to_owned()]).map_err(Error::because(failed()))?;
            params.subject_alt_names.extend(name.subject_alt_names);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::because(failed()))?;
        let paths = self.paths(file);
        write(&paths.cert, &certificate.pem(), 0o644)?;
        write(&paths.key, &key.serialize_pem(), 0o600)?;
        Ok(paths)
    }

    fn paths(&self, file: &str) -> KeyPair {
        KeyPair { cert: self.dir.join(format!("{file}.crt")), key: self.dir.join(format!("{file}.key")) }
    }
}

fn named(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).map_err(Error::because("cannot describe a certificate"))?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn new_key() -> Result<Key> {
    Key::generate().map_err(Error::because("cannot make a private key"))
}

/// The mode is given at creation, so that a private key is at no moment readable by others.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let failed = || Error::because(format!("cannot write {}", path.display()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(path).map_err(failed())?;
    file.write_all(text.as_bytes()).map_err(failed())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn private_keys_are_private_and_certificates_are_pem() {
        let dir = tempfile::tempdir().unwrap();
        let certs = Certs::create(&dir.path().join("certs")).unwrap();
        let client = certs.client("root").unwrap();
        for pair in [certs.server(), client] {
            assert_eq!(std::fs::metadata(&pair.key).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(std::fs::read_to_string(&pair.cert).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
        }
        assert!(certs.dir().join("client.root.crt").exists() && certs.ca().exists());
    }
}
