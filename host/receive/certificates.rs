//! The receiver's certificate as the changefeed will see it, and the changefeed's as the receiver will: what would fail in
//! every handshake is told at the start.
//!
//! Owns: that look, which is made once. Does not own: reading certificates and judging clients (`tls`), and what a handshake
//! has failed with (`handshake`).

use std::path::Path;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error as TlsError, RootCertStore};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::handshake::{Fault, date};
use super::tls::{self, Identified};
use crate::code;
use crate::config::{self, Identity, SinkTls};
use crate::error::{Error, Result};

/// How long before its end a certificate is warned of.
const TOLD_SECONDS: u64 = 14 * 24 * 60 * 60;
const RENEW: &str = "ebb certs --renew, then start again";

/// Fails where no handshake could succeed, and warns where a proxy that ends TLS may yet make it succeed.
pub(super) fn check(settings: &config::Receiver, identified: &Identified, now: UnixTime) -> Result<()> {
    if let Identity::Files { certificate, .. } = &settings.identity {
        check_receiver(certificate, identified.chain(), settings.sink.as_ref(), now)?;
    }
    match settings.sink.as_ref().and_then(|sink| sink.client_cert.as_deref()) {
        Some(client_cert) => check_client(&settings.access, client_cert, now),
        None => Ok(()),
    }
}

fn check_receiver(path: &Path, chain: &[CertificateDer<'static>], sink: Option<&SinkTls>, now: UnixTime) -> Result<()> {
    let Some((leaf, intermediates)) = chain.split_first() else { return Ok(()) };
    let path = path.display();
    let verified = sink.filter(|sink| !sink.skips_verification);
    let left = seconds_left(leaf, now);
    if left == Some(0) {
        let on = end(leaf).map(date).unwrap_or_default();
        let error = Error::new(
            code::access::RECEIVER_EXPIRED,
            format!("the receiver's certificate {path} expired{on}: a changefeed that verifies it sends nothing"),
        );
        settle(error.hint(RENEW), verified.is_some())?;
    } else if let Some(left) = left.filter(|left| *left < TOLD_SECONDS) {
        let (error_code, hours) = (code::access::CERTIFICATE_ENDS.text(), left / 3600);
        tracing::warn!(error_code, hint = RENEW, "the receiver's certificate {path} expires in {hours} hours");
    }
    let Some(sink) = verified else { return Ok(()) };
    // Where the changefeed shows a certificate nothing can stand in between that shows another one than ours.
    let is_direct = sink.client_cert.is_some();
    let Ok(parsed) = ParsedCertificate::try_from(leaf) else { return Ok(()) };
    let host = &sink.host;
    if ServerName::try_from(host.as_str()).is_ok_and(|name| verify_server_name(&parsed, &name).is_err()) {
        let error = Error::new(
            code::access::RECEIVER_NAME,
            format!("the receiver's certificate {path} is not valid for {host}, to which the changefeed connects"),
        );
        let hint = format!(
            "set \"host\" in the changefeeds file to a name of the certificate, or ebb certs --renew --host {host}"
        );
        settle(error.hint(hint), is_direct)?;
    }
    let Some(authority) = sink.ca_cert.as_deref().and_then(|pem| tls::certificates(pem).ok()) else { return Ok(()) };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authority);
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let signed = verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms.all);
    // CockroachDB takes some certificates that this verifier does not know how to judge.
    let foreign = |error: &TlsError| {
        matches!(error, TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature))
    };
    if signed.is_err_and(|error| foreign(&error)) {
        let error = Error::new(
            code::access::RECEIVER_ISSUER,
            format!("the receiver's certificate {path} was not issued by the ca_cert of the changefeeds file"),
        );
        let hint = "give the ca_cert of the authority that issued it, with every certificate in between in \
                    --tlsCertificate; or make both anew: ebb certs";
        settle(error.hint(hint), is_direct)?;
    }
    Ok(())
}

/// The receiver's own judgement of the changefeed's certificate.
fn check_client(access: &config::Access, client_cert: &[u8], now: UnixTime) -> Result<()> {
    let Ok(chain) = tls::certificates(client_cert) else { return Ok(()) };
    let Some((leaf, intermediates)) = chain.split_first() else { return Ok(()) };
    let Some(verifier) = tls::client_verifier(access)? else { return Ok(()) };
    if let Err(error) = verifier.verify_client_cert(leaf, intermediates, now) {
        let fault = Fault::of_tls(&error);
        let error = Error::new(
            code::access::CLIENT_REFUSED,
            format!("the receiver would refuse the client_cert of the changefeeds file: {}", fault.what),
        );
        return Err(
            error.hint("ebb certs --renew makes another, or give its authority with --tlsClientCA; then start again")
        );
    }
    if let Some(left) = seconds_left(leaf, now).filter(|left| *left < TOLD_SECONDS) {
        tracing::warn!(
            error_code = code::access::CERTIFICATE_ENDS.text(),
            hint = RENEW,
            "the client_cert of the changefeeds file expires in {} hours",
            left / 3600
        );
    }
    Ok(())
}

fn settle(error: Error, is_fatal: bool) -> Result<()> {
    if is_fatal {
        return Err(error);
    }
    let (error_code, hint) = (error.code.text(), error.hint.as_deref());
    tracing::warn!(error_code, hint, "{error}");
    Ok(())
}

fn end(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(UnixTime::since_unix_epoch(certificate.tbs_certificate.validity.not_after.to_unix_duration()))
}

fn seconds_left(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<u64> {
    end(certificate).map(|end| end.as_secs().saturating_sub(now.as_secs()))
}
