//! The pages of a running ebb over HTTPS.
//!
//! Owns: how their certificate is judged: by an authority, or as the very one that the run has noted in its staging folder.
//! Does not own: finding and asking them (`pages`).

use std::path::Path;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::code;
use crate::error::{Error, Result};
use crate::identity;

/// What connects.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    pub(super) fn of_authority(path: &Path, host: &str) -> Result<Self> {
        let unusable = |why: &str| {
            Error::new(code::settings::FILE_UNREADABLE, format!("--metricsCA {} cannot be used: {why}", path.display()))
                .hint("give --metricsCA a PEM file of the authority of the pages' certificate; ebb certs makes ca.crt")
        };
        let pem = std::fs::read(path).map_err(|error| unusable(&error.to_string()))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(identity::certificates(&pem).map_err(|why| unusable(&why))?);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Error::new(code::settings::VALUE, "the host of --metricsAddr is not a name that a certificate can be of")
                .hint("give --metricsAddr as host:port")
        })?;
        let config = builder()?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// `fingerprint`: SHA-256, in hexadecimal digits.
    pub(super) fn of_certificate(fingerprint: String) -> Result<Self> {
        let algorithms = provider().signature_verification_algorithms;
        let noted = Arc::new(Noted { fingerprint, algorithms });
        let config = builder()?.dangerous().with_custom_certificate_verifier(noted).with_no_client_auth();
        let name = ServerName::try_from("localhost")
            .map_err(|error| Error::new(code::defect::SYSTEM, format!("localhost is no name: {error}")))?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    pub(super) async fn connect(&self, socket: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), socket).await
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(code::defect::SYSTEM, format!("no usable TLS version: {error}")))
}

/// The one certificate that is expected, whatever it says.
#[derive(Debug)]
struct Noted {
    fingerprint: String,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Noted {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown: String = digest(&SHA256, leaf).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        match shown == self.fingerprint {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
