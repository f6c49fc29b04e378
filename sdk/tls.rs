//! TLS to a database, by the names that PostgreSQL's, MySQL's and CockroachDB's connection strings share:
//! `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `sslcrl`.
//!
//! Owns: what each mode verifies (<https://www.postgresql.org/docs/current/libpq-ssl.html>, table "SSL Mode
//! Descriptions"). Does not own: where the settings come from (`settings`), and the socket.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{Error, ErrorKind, Result, Topic, masked_value};

mod settings;

pub use settings::{Encryption, SslMode, TlsSettings};

impl TlsSettings {
    /// The client configuration that verifies what the mode promises.
    ///
    /// # Errors
    /// `Config` when a file cannot be read or holds no certificate or key.
    pub fn client_config(&self) -> Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Broken, format!("no usable TLS version: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider)?);
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => builder
                .with_client_auth_cert(certificates(cert, "sslcert")?, private_key(key)?)
                .map_err(|error| unusable("sslcert", cert, &error.to_string())),
            _ => Ok(builder.with_no_client_auth()),
        }
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
        if !self.is_verified() {
            return Ok(Arc::new(Lenient { chain: None, provider }));
        }
        let roots = match &self.root_cert {
            Some(path) => roots_from(certificates(path, "sslrootcert")?),
            None => roots_from(rustls_native_certs::load_native_certs().certs),
        };
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let chain = match &self.crl {
            Some(path) => chain.with_crls(revocations(path)?).enforce_revocation_expiration(),
            None => chain,
        };
        let chain = chain.build().map_err(|error| without_authority(&format!(": {error}")))?;
        Ok(match self.mode {
            SslMode::VerifyFull => chain,
            _ => Arc::new(Lenient { chain: Some(chain), provider }),
        })
    }
}

fn roots_from(certificates: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    roots
}

fn certificates(path: &Path, parameter: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| unusable(parameter, path, &error.to_string()))?;
    if read.is_empty() {
        return Err(unusable(parameter, path, "it holds no certificate"));
    }
    Ok(read)
}

fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let read = CertificateRevocationListDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| unusable("sslcrl", path, &error.to_string()))?;
    if read.is_empty() {
        return Err(unusable("sslcrl", path, "it holds no revocation list"));
    }
    Ok(read)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unusable("sslkey", path, &error.to_string()))
}

/// There is nothing to verify the server's certificate with; `why` goes on behind that.
pub fn without_authority(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("no authority to verify the server's certificate with{why}"))
        .topic(Topic::Tls)
        .hint("add sslrootcert=PATH of the CA certificate to the connection string")
}

/// A file of a connection string that cannot be read, or does not hold what it should. The file itself may have been given in
/// the place of its path.
pub fn unusable(parameter: &str, path: &Path, why: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("{parameter} {} cannot be used: {why}", masked_value(&path.display().to_string())),
    )
    .topic(Topic::Tls)
    .hint(format!("give {parameter} the path of a PEM file that this user may read"))
}

/// Verifies the chain but not the host name, or nothing at all; signatures of the handshake always.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        // The chain is verified before the name, so an error about the name means that the chain was good.
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
