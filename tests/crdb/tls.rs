//! TLS on both sides: the proxy's server configuration from PEM files, and the sink's client configuration from what
//! stood in its URL. One provider, ring, everywhere.
//!
//! Does not own: the system's certificate authorities. A sink is trusted by its `ca_cert` alone.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use crate::address::Address;
use crate::failure::Failure;
use crate::{Error, Tls};

pub(crate) fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, Error> {
    let failed = |what: &Path| Error::because(format!("cannot read {}", what.display()));
    let certs = CertificateDer::pem_file_iter(&tls.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certs = certs.map_err(failed(&tls.cert))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(failed(&tls.key))?;
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().map_err(Error::because("cannot use TLS"))?;
    let builder = if tls.require_client_cert {
        let mut roots = RootCertStore::empty();
        let authorities = CertificateDer::pem_file_iter(&tls.ca).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        roots.add_parsable_certificates(authorities.map_err(failed(&tls.ca))?);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        builder.with_client_cert_verifier(verifier.map_err(Error::because("cannot verify client certificates"))?)
    } else {
        builder.with_no_client_auth()
    };
    let config = builder.with_single_cert(certs, key).map_err(Error::because("certificate and key do not fit"))?;
    Ok(Arc::new(config))
}

/// Offers HTTP/2 first, as Go's client does.
pub(crate) fn client_config(address: &Address) -> Result<Arc<ClientConfig>, Failure> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Failure::uncategorized(error.to_string()))?;
    let builder = if address.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider())))
    } else {
        builder.with_root_certificates(roots(address.ca.as_deref().unwrap_or_default())?)
    };
    let mut config = match &address.client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let invalid = || Failure::uncategorized("invalid client certificate data provided");
            let certs: Vec<_> =
                CertificateDer::pem_slice_iter(cert).collect::<Result<_, _>>().map_err(|_| invalid())?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| invalid())?;
            builder.with_client_auth_cert(certs, key).map_err(|_| invalid())?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let mut is_empty = true;
    for cert in CertificateDer::pem_slice_iter(pem) {
        let added = cert.map_err(|error| error.to_string()).and_then(|cert| roots.add(cert).map_err(|e| e.to_string()));
        added.map_err(|reason| Failure::uncategorized(format!("failed to parse certificate data:{reason}")))?;
        is_empty = false;
    }
    if is_empty && !pem.is_empty() {
        let text = String::from_utf8_lossy(pem);
        return Err(Failure::uncategorized(format!("failed to parse certificate data:{text}")));
    }
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// `insecure_tls_skip_verify`: any certificate will do, but the server must hold its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
