//! What the receiver shows and demands in the TLS handshake.
//!
//! Owns: its certificate, read or self-signed, and the authority of its clients. Does not own: accepting connections.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::{ClientCa, Identity, Receiver};
use crate::error::{Error, Result};

/// The server's configuration.
pub(super) fn server_config(receiver: &Receiver) -> Result<Arc<ServerConfig>> {
    let (chain, key) = match &receiver.identity {
        Identity::SelfSigned => self_signed()?,
        Identity::Files { certificate, private_key } => (
            certificates(
                &std::fs::read(certificate).map_err(|error| unusable("--tlsCertificate", certificate, error))?,
            )
            .map_err(|why| unusable("--tlsCertificate", certificate, why))?,
            PrivateKeyDer::from_pem_file(private_key)
                .map_err(|error| unusable("--tlsPrivateKey", private_key, error))?,
        ),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(format!("no usable TLS version: {error}")))?;
    let builder = match &receiver.access.client_ca {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority)?), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unusable_authority(&error.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        Error::new(format!("the receiver's certificate and key cannot be used: {error}"))
            .hint("--tlsCertificate must hold the chain and --tlsPrivateKey the key of its first certificate, both PEM")
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Anybody may have a certificate of a public authority.
pub(super) fn warn_of_public_authority(authority: &ClientCa) -> Result<()> {
    let public: HashSet<_> = rustls_native_certs::load_native_certs().certs.into_iter().collect();
    if read_authority(authority)?.iter().any(|certificate| public.contains(certificate)) {
        tracing::warn!(
            hint = "give an authority of your own with --tlsClientCA; ebb certs makes one",
            "this machine trusts the authority of client certificates by itself: if it is a public one, anybody can have a \
             certificate that may write to the target database"
        );
    }
    Ok(())
}

type Identified = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn self_signed() -> Result<Identified> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|error| Error::new(format!("cannot make a self-signed certificate: {error}")))?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|error| Error::new(format!("cannot make a self-signed certificate: {error}")))?;
    Ok((vec![made.cert.der().clone()], key))
}

fn roots(authority: &ClientCa) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in read_authority(authority)? {
        roots.add(certificate).map_err(|error| unusable_authority(&error.to_string()))?;
    }
    Ok(roots)
}

fn read_authority(authority: &ClientCa) -> Result<Vec<CertificateDer<'static>>> {
    let pem = match authority {
        ClientCa::File(path) => {
            std::fs::read(path).map_err(|error| unusable_authority(&format!("{}: {error}", path.display())))?
        }
        ClientCa::Pem(pem) => pem.clone(),
    };
    certificates(&pem).map_err(|why| unusable_authority(&why))
}

fn unusable_authority(why: &str) -> Error {
    Error::new(format!("the authority of client certificates cannot be used: {why}"))
        .hint("give a PEM file of CA certificates with --tlsClientCA")
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem).map(|found| found.map(CertificateDer::into_owned)).collect();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        Ok(_) => Err("it holds no certificate in PEM form".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn unusable(flag: &str, path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(format!("{flag} {} cannot be used: {why}", path.display()))
        .hint(format!("give {flag} the path of a PEM file that this user may read"))
}
