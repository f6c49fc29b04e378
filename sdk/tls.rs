//! TLS to a database, by the names that PostgreSQL's, MySQL's and CockroachDB's connection strings share:
//! `sslmode`, `sslrootcert`, `sslcert`, `sslkey`.
//!
//! Owns: the ladder of modes and what each verifies
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html>, table "SSL Mode Descriptions").
//! Does not own: the socket, nor the fallback between TLS and plain text that `allow` and `prefer` ask for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{DatabaseUrl, Error, ErrorKind, Result};

/// The values of `sslmode`, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// Plain text, and TLS when the server wants it.
    Allow,
    /// TLS, and plain text when the server has none.
    Prefer,
    /// TLS, the server's certificate unverified unless `sslrootcert` is given.
    Require,
    /// TLS, the certificate's chain verified.
    VerifyCa,
    /// TLS, chain and host name verified.
    VerifyFull,
}

impl SslMode {
    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            other => {
                return Err(Error::new(ErrorKind::Config, format!("sslmode={other} is not a mode"))
                    .hint("use sslmode=verify-full, verify-ca, require, prefer, allow or disable"));
            }
        })
    }
}

/// The TLS part of a connection string.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    pub mode: SslMode,
    /// `sslrootcert`: the authorities to trust; the system's own when absent.
    pub root_cert: Option<PathBuf>,
    /// `sslcert`: the client's certificate chain.
    pub cert: Option<PathBuf>,
    /// `sslkey`: its key.
    pub key: Option<PathBuf>,
}

impl TlsSettings {
    /// Reads the parameters of a URL. `default` is the mode of a URL that names none.
    ///
    /// # Errors
    /// `Config` for an unknown `sslmode`.
    pub fn from_url(url: &DatabaseUrl, default: SslMode) -> Result<Self> {
        let path = |name: &str| url.parameter(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Ok(Self {
            mode: url.parameter("sslmode").map_or(Ok(default), SslMode::parse)?,
            root_cert: path("sslrootcert").filter(|path| path.as_os_str() != "system"),
            cert: path("sslcert"),
            key: path("sslkey"),
        })
    }

    /// Fills what the URL left out from libpq's environment variables (`PGSSLROOTCERT`, `PGSSLCERT`, `PGSSLKEY`) and then
    /// its files in `~/.postgresql`, where they exist.
    #[must_use]
    pub fn with_libpq_defaults(mut self) -> Self {
        let folder = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".postgresql"));
        let fill = |slot: &mut Option<PathBuf>, variable: &str, file: &str| {
            let from_variable = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
            let from_folder = || folder.as_ref().map(|folder| folder.join(file)).filter(|path| path.exists());
            *slot = slot.take().or(from_variable).or_else(from_folder);
        };
        fill(&mut self.root_cert, "PGSSLROOTCERT", "root.crt");
        fill(&mut self.cert, "PGSSLCERT", "postgresql.crt");
        fill(&mut self.key, "PGSSLKEY", "postgresql.key");
        self
    }

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

    /// Whether the server must show a certificate of an authority that is trusted: `require` asks for one only where it is
    /// named.
    pub fn is_verified(&self) -> bool {
        self.mode > SslMode::Require || (self.mode == SslMode::Require && self.root_cert.is_some())
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
        if !self.is_verified() {
            return Ok(Arc::new(Lenient { chain: None, provider }));
        }
        let roots = match &self.root_cert {
            Some(path) => roots_from(certificates(path, "sslrootcert")?),
            None => roots_from(rustls_native_certs::load_native_certs().certs),
        };
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let chain = chain.map_err(|error| without_authority(&format!(": {error}")))?;
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

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unusable("sslkey", path, &error.to_string()))
}

/// There is nothing to verify the server's certificate with; `why` goes on behind that.
pub fn without_authority(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("no authority to verify the server's certificate with{why}"))
        .hint("add sslrootcert=PATH of the CA certificate to the connection string")
}

/// A file of a connection string that cannot be read, or does not hold what it should.
pub fn unusable(parameter: &str, path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{parameter} {} cannot be used: {why}", path.display()))
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
