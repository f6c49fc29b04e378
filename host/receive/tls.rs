//! What the receiver shows and demands in the TLS handshake.
//!
//! Owns: the authority of its clients, and their certificates that were revoked. Does not own: its own certificate
//! (`identity`), accepting connections, and when all of it is read again (`reload`).

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::code;
use crate::config::{Access, ClientCa};
use crate::error::{Error, Result};
use crate::identity::{self, Identified};

const CRL: &str = "--tlsClientCRL";

/// What new connections get.
pub(super) struct Current {
    pub(super) config: Arc<ServerConfig>,
    /// Changes with what client certificates are judged by.
    pub(super) trust: Vec<u8>,
}

impl Current {
    /// Reads authority and revocations.
    pub(super) fn read(identified: &Identified, access: &Access) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(code::defect::SYSTEM, format!("no usable TLS version: {error}")))?;
        let (builder, trust) = match &access.client_ca {
            None => (builder.with_no_client_auth(), Vec::new()),
            Some(authority) => {
                let judged_by = JudgedBy::read(authority, access.client_crl.as_deref())?;
                (builder.with_client_cert_verifier(judged_by.verifier(provider)?), judged_by.fingerprint())
            }
        };
        let Identified { chain, key } = identified;
        let mut config =
            builder.with_single_cert(chain.clone(), key.clone_key()).map_err(|error| identity::unfit(&error))?;
        if access.client_ca.is_some() {
            // A session that is resumed shows no certificate: it would go on when that has expired.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), trust })
    }
}

/// Anybody may have a certificate of a public authority.
pub(super) fn warn_of_public_authority(authority: &ClientCa) -> Result<()> {
    let public: HashSet<_> = rustls_native_certs::load_native_certs().certs.into_iter().collect();
    if read_authority(authority)?.iter().any(|certificate| public.contains(certificate)) {
        tracing::warn!(
            error_code = code::access::PUBLIC_AUTHORITY.text(),
            hint = "give an authority of your own with --tlsClientCA; ebb certs makes one",
            "the authority of client certificates is in this machine's trust store: if it is a public one, anybody can get a \
             certificate of it, and write to the target"
        );
    }
    Ok(())
}

/// What judges client certificates, where any are asked for.
pub(super) fn client_verifier(access: &Access) -> Result<Option<Arc<dyn ClientCertVerifier>>> {
    let Some(authority) = &access.client_ca else { return Ok(None) };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    JudgedBy::read(authority, access.client_crl.as_deref())?.verifier(provider).map(Some)
}

/// What client certificates are judged by.
struct JudgedBy {
    authority: Vec<CertificateDer<'static>>,
    revocations: Vec<CertificateRevocationListDer<'static>>,
}

impl JudgedBy {
    fn read(authority: &ClientCa, crl: Option<&Path>) -> Result<Self> {
        let revocations = crl.map(revocations).transpose()?.unwrap_or_default();
        Ok(Self { authority: read_authority(authority)?, revocations })
    }

    fn verifier(&self, provider: Arc<rustls::crypto::CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.authority {
            roots.add(certificate.clone()).map_err(|error| unusable_authority(&error.to_string()))?;
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .with_crls(self.revocations.clone())
            .build()
            .map_err(|error| unusable_authority(&error.to_string()))
    }

    fn fingerprint(&self) -> Vec<u8> {
        let mut context = Context::new(&SHA256);
        let lists = self.revocations.iter().map(|list| list.as_ref());
        for part in self.authority.iter().map(|certificate| certificate.as_ref()).chain(lists) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.finish().as_ref().to_vec()
    }
}

fn read_authority(authority: &ClientCa) -> Result<Vec<CertificateDer<'static>>> {
    let pem = match authority {
        ClientCa::File(path) => {
            std::fs::read(path).map_err(|error| unusable_authority(&format!("{}: {error}", path.display())))?
        }
        ClientCa::Changefeed(settings) => settings.ca_cert()?,
    };
    identity::certificates(&pem).map_err(|why| unusable_authority(&why))
}

fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let read = CertificateRevocationListDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        Ok(_) => Err(unusable_list(path, "it holds no revocation list in PEM form")),
        Err(error) => Err(unusable_list(path, error)),
    }
}

fn unusable_authority(why: &str) -> Error {
    Error::new(code::access::CLIENT_CA, format!("the authority of client certificates cannot be used: {why}"))
        .hint("give a PEM file of CA certificates with --tlsClientCA")
}

fn unusable_list(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(code::access::CLIENT_CRL, format!("{CRL} {} cannot be used: {why}", path.display()))
        .hint(format!("give {CRL} the path of a PEM file that this user may read"))
}
