//! The receiver's certificate as the changefeed will see it, and the changefeed's as the receiver will: what would fail in
//! every handshake is told at the start.
//!
//! Owns: that look, which is made once. Does not own: reading certificates (`identity`), judging clients (`tls`), and what a
//! handshake has failed with (`handshake`).

use std::path::Path;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error as TlsError, RootCertStore};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::handshake::{Fault, date};
use super::tls;
use crate::config::{self, Identity, SinkTls};
use crate::error::Result;
use crate::findings::{Finding, FindingId, Findings};
use crate::identity::{self, Identified};

/// How long before its end a certificate is warned of.
const TOLD_SECONDS: u64 = 14 * 24 * 60 * 60;
/// What these findings are about.
const RECEIVER: &str = "receiver";
/// It shows certificates of its own to both sides.
const PROXY: &str = "a proxy that ends TLS in between makes this right";
const RENEW: &str = "ebb certs --renew, then start again";

/// Logs what is found: a proxy that ends TLS in between may make it succeed all the same.
pub(super) fn check(settings: &config::Receiver, identified: &Identified, now: UnixTime) -> Result<()> {
    let mut findings = Findings::default();
    findings.extend(look(settings, identified, now)?);
    findings.conclude()
}

/// # Errors
/// When a file cannot be used.
pub(super) fn look(settings: &config::Receiver, identified: &Identified, now: UnixTime) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let sink = settings.sink.as_ref();
    if let (Identity::Files { certificate, .. }, Some((leaf, intermediates))) =
        (&settings.identity, identified.chain.split_first())
    {
        let shown = Shown { path: certificate, leaf, intermediates };
        let verified = sink.filter(|sink| !sink.skips_verification);
        found.extend(shown.ends(now));
        found.extend(verified.and_then(|sink| shown.is_of_host(sink)));
        found.extend(verified.and_then(|sink| shown.is_issued(sink, now)));
    }
    if let Some(client_cert) = sink.and_then(|sink| sink.client_cert.as_deref()) {
        found.extend(look_at_client(&settings.access, client_cert, now)?);
    }
    Ok(found)
}

/// When the receiver's certificate and the changefeed's end, where there are any.
pub(super) fn ends(settings: &config::Receiver, identified: &Identified) -> Vec<(&'static str, UnixTime)> {
    let receiver = identified.chain.first().and_then(end);
    let client_cert = settings.sink.as_ref().and_then(|sink| sink.client_cert.as_deref());
    let changefeed = client_cert.and_then(|pem| end(identity::certificates(pem).ok()?.first()?));
    [(RECEIVER, receiver), ("changefeed", changefeed)]
        .into_iter()
        .filter_map(|(name, end)| end.map(|end| (name, end)))
        .collect()
}

/// The receiver's certificate.
struct Shown<'c> {
    path: &'c Path,
    leaf: &'c CertificateDer<'static>,
    intermediates: &'c [CertificateDer<'static>],
}

impl Shown<'_> {
    fn ends(&self, now: UnixTime) -> Option<Finding> {
        let path = self.path.display();
        let left = seconds_left(self.leaf, now).filter(|left| *left < TOLD_SECONDS)?;
        if left > 0 {
            let reason = format!("the receiver's certificate {path} expires in {} hours", left / 3600);
            return Some(Finding::warning(FindingId::CertificateEnds, RECEIVER, reason).fix(RENEW));
        }
        let on = end(self.leaf).map(date).unwrap_or_default();
        let reason =
            format!("the receiver's certificate {path} expired{on}: a changefeed that verifies it sends nothing");
        Some(Finding::warning(FindingId::CertificateExpired, RECEIVER, reason).fix(RENEW))
    }

    fn is_of_host(&self, sink: &SinkTls) -> Option<Finding> {
        let (path, host) = (self.path.display(), &sink.host);
        let (parsed, name) = (ParsedCertificate::try_from(self.leaf).ok()?, ServerName::try_from(host.as_str()).ok()?);
        verify_server_name(&parsed, &name).err()?;
        let reason =
            format!("the receiver's certificate {path} is not valid for {host}, to which the changefeed connects");
        Some(Finding::warning(FindingId::CertificateName, RECEIVER, reason).fix(format!(
            "set \"host\" in the changefeeds file to a name of the certificate, or ebb certs --renew --host {host}; {PROXY}"
        )))
    }

    fn is_issued(&self, sink: &SinkTls, now: UnixTime) -> Option<Finding> {
        let parsed = ParsedCertificate::try_from(self.leaf).ok()?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(identity::certificates(sink.ca_cert.as_deref()?).ok()?);
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        let signed =
            verify_server_cert_signed_by_trust_anchor(&parsed, &roots, self.intermediates, now, algorithms.all);
        // CockroachDB takes some certificates that this verifier does not know how to judge.
        let TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) =
            signed.err()?
        else {
            return None;
        };
        let path = self.path.display();
        let reason = format!("the receiver's certificate {path} was not issued by the ca_cert of the changefeeds file");
        Some(Finding::warning(FindingId::CertificateIssuer, RECEIVER, reason).fix(format!(
            "give the ca_cert of the authority that issued it, with every certificate in between in --tlsCertificate; or \
             make both anew: ebb certs; {PROXY}"
        )))
    }
}

/// The receiver's own judgement of the changefeed's certificate.
fn look_at_client(access: &config::Access, client_cert: &[u8], now: UnixTime) -> Result<Option<Finding>> {
    let Ok(chain) = identity::certificates(client_cert) else { return Ok(None) };
    let Some((leaf, intermediates)) = chain.split_first() else { return Ok(None) };
    let Some(verifier) = tls::client_verifier(access)? else { return Ok(None) };
    if let Err(error) = verifier.verify_client_cert(leaf, intermediates, now) {
        let what = Fault::of_tls(&error).what;
        let reason = format!("the receiver would refuse the client_cert of the changefeeds file: {what}");
        return Ok(Some(Finding::warning(FindingId::CertificateRefused, RECEIVER, reason).fix(format!(
            "ebb certs --renew makes another, or give its authority with --tlsClientCA; then start again; {PROXY}"
        ))));
    }
    let left = seconds_left(leaf, now).filter(|left| *left < TOLD_SECONDS);
    Ok(left.map(|left| {
        let reason = format!("the client_cert of the changefeeds file expires in {} hours", left / 3600);
        Finding::warning(FindingId::CertificateEnds, RECEIVER, reason).fix(RENEW)
    }))
}

fn end(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(UnixTime::since_unix_epoch(certificate.tbs_certificate.validity.not_after.to_unix_duration()))
}

fn seconds_left(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<u64> {
    end(certificate).map(|end| end.as_secs().saturating_sub(now.as_secs()))
}
