//! The certificate and key that a server of ebb shows in TLS: read from files, or made for this machine.
//!
//! Owns: reading them, and what is said of files that cannot be used. Does not own: whom they are shown to (`receive`,
//! `status`), and when they are read again.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::code;
use crate::config::Identity;
use crate::error::{Error, Result};

/// A certificate chain and its key.
pub struct Identified {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// One that is made is another at every call.
///
/// # Errors
/// When a file cannot be read, or does not hold what it should.
pub fn identified(identity: &Identity) -> Result<Identified> {
    let Identity::Files { certificate, private_key } = identity else { return self_signed() };
    let pem = std::fs::read(certificate).map_err(|error| unusable("--tlsCertificate", certificate, error))?;
    let chain = certificates(&pem).map_err(|why| unusable("--tlsCertificate", certificate, why))?;
    let key = PrivateKeyDer::from_pem_file(private_key);
    Ok(Identified { chain, key: key.map_err(|error| unusable("--tlsPrivateKey", private_key, error))? })
}

/// A certificate and a key that do not belong together, or that TLS has no use for.
pub fn unfit(error: &rustls::Error) -> Error {
    Error::new(code::access::CERTIFICATE_FILES, format!("the receiver's certificate and key cannot be used: {error}"))
        .hint("--tlsCertificate must hold the chain and --tlsPrivateKey the key of its first certificate, both PEM")
}

/// All certificates of a PEM file; the error says why there are none.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem).map(|found| found.map(CertificateDer::into_owned)).collect();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        Ok(_) => Err("it holds no certificate in PEM form".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn self_signed() -> Result<Identified> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|error| Error::new(code::defect::SYSTEM, format!("cannot make a self-signed certificate: {error}")))?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|error| Error::new(code::defect::SYSTEM, format!("cannot make a self-signed certificate: {error}")))?;
    Ok(Identified { chain: vec![made.cert.der().clone()], key })
}

fn unusable(flag: &str, path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(code::access::CERTIFICATE_FILES, format!("{flag} {} cannot be used: {why}", path.display()))
        .hint(format!("give {flag} the path of a PEM file that this user may read"))
}
