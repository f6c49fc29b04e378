//! Why a TLS handshake failed.
//!
//! Owns: telling the reasons apart that are mended in different ways. Does not own: how often one is logged (`refusals`).

use std::io;

use chrono::DateTime;
use rustls::CertificateError as Flaw;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription as Alert, Error};

use crate::code::{self, Code};

/// One failed handshake.
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) what: String,
    pub(super) hint: Option<&'static str>,
}

const RENEW: &str = "ebb certs --renew, then start ebb fetch again so that the changefeed gets it";
const ISSUED: &str = "the changefeed's client_cert must be issued by the authority of --tlsClientCA, which is the ca_cert of the \
                      changefeeds file unless it is given: see client_cert and client_key there, then start ebb fetch again";
const TRUST: &str = "the ca_cert in the changefeeds file must have issued the receiver's certificate (--tlsCertificate), which must \
                     be valid for \"host\": ebb certs --renew, then start ebb fetch again";

impl Fault {
    /// It took longer than it may.
    pub(super) fn slow() -> Self {
        Self::new(code::receiver::HANDSHAKE_SLOW, "it took too long (--handshake-timeout)", None)
    }

    pub(super) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => Self::of_tls(error),
            None => Self::new(code::receiver::HANDSHAKE, format!("the client ended the connection: {error}"), None),
        }
    }

    pub(super) fn of_tls(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(flaw) => Self::of_certificate(flaw),
            Error::NoCertificatesPresented => {
                Self::new(code::receiver::CLIENT_CERTIFICATE_MISSING, "the client showed no certificate", Some(ISSUED))
            }
            Error::AlertReceived(
                Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::DecryptError
                | Alert::UnknownCA,
            ) => {
                let what = format!("the client does not trust the receiver's certificate ({error})");
                Self::new(code::receiver::CERTIFICATE_REJECTED, what, Some(TRUST))
            }
            Error::InvalidMessage(_) => Self::new(
                code::receiver::NOT_TLS,
                format!("the client does not speak TLS ({error})"),
                Some("use https:// (in a changefeed: webhook-https://)"),
            ),
            _ => Self::new(code::receiver::HANDSHAKE, error.to_string(), None),
        }
    }

    fn of_certificate(flaw: &Flaw) -> Self {
        match flaw {
            Flaw::Expired | Flaw::ExpiredContext { .. } => {
                let on = match flaw {
                    Flaw::ExpiredContext { not_after, .. } => date(*not_after),
                    _ => String::new(),
                };
                let what = format!("the client's certificate expired{on}");
                Self::new(code::receiver::CLIENT_CERTIFICATE_EXPIRED, what, Some(RENEW))
            }
            Flaw::NotValidYet | Flaw::NotValidYetContext { .. } => {
                let from = match flaw {
                    Flaw::NotValidYetContext { not_before, .. } => date(*not_before),
                    _ => String::new(),
                };
                let what = format!("the client's certificate is not yet valid: it becomes valid{from}");
                let hint = "set the clock of this machine, or of the one that made the certificate";
                Self::new(code::receiver::CLIENT_CERTIFICATE_EARLY, what, Some(hint))
            }
            Flaw::Revoked => {
                let hint = "the client needs another certificate: ebb certs --renew makes one";
                Self::new(code::receiver::CLIENT_CERTIFICATE_REVOKED, "the client's certificate is revoked", Some(hint))
            }
            Flaw::UnknownIssuer | Flaw::BadSignature => {
                let what = "the client's certificate was not issued by the authority of --tlsClientCA";
                Self::new(code::receiver::CLIENT_CERTIFICATE_UNTRUSTED, what, Some(ISSUED))
            }
            other => {
                let what = format!("the client's certificate cannot be used: {other}");
                Self::new(code::receiver::CLIENT_CERTIFICATE_UNTRUSTED, what, Some(ISSUED))
            }
        }
    }

    fn new(code: Code, what: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self { code, what: what.into(), hint }
    }
}

/// ` on 2026-11-15`.
pub(super) fn date(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map(|time| time.format(" on %Y-%m-%d").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_fault_is_told_by_its_kind() {
        let check = |error: Error, code: Code, what: &str| {
            let fault = Fault::of(&io::Error::new(io::ErrorKind::InvalidData, error));
            assert_eq!(fault.code, code, "{}", fault.what);
            assert!(fault.what.contains(what), "{}", fault.what);
        };
        let at = |seconds: u64| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired = Flaw::ExpiredContext { time: at(1_795_620_956), not_after: at(1_794_756_946) };
        let code = code::receiver::CLIENT_CERTIFICATE_EXPIRED;
        check(Error::InvalidCertificate(expired), code, "the client's certificate expired on 2026-11-15");
        let early = Flaw::NotValidYetContext { time: at(0), not_before: at(86_400) };
        check(Error::InvalidCertificate(early), code::receiver::CLIENT_CERTIFICATE_EARLY, "on 1970-01-02");
        check(Error::InvalidCertificate(Flaw::Revoked), code::receiver::CLIENT_CERTIFICATE_REVOKED, "is revoked");
        let untrusted = code::receiver::CLIENT_CERTIFICATE_UNTRUSTED;
        check(Error::InvalidCertificate(Flaw::UnknownIssuer), untrusted, "--tlsClientCA");
        check(Error::NoCertificatesPresented, code::receiver::CLIENT_CERTIFICATE_MISSING, "no certificate");
        let rejected = code::receiver::CERTIFICATE_REJECTED;
        // Of another authority with the same name.
        check(Error::AlertReceived(Alert::DecryptError), rejected, "does not trust the receiver's certificate");
        check(Error::AlertReceived(Alert::UnknownCA), rejected, "does not trust the receiver's certificate");
        check(Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), code::receiver::NOT_TLS, "speak TLS");
        check(Error::General("x".into()), code::receiver::HANDSHAKE, "x");
        assert_eq!(Fault::of(&io::ErrorKind::UnexpectedEof.into()).code, code::receiver::HANDSHAKE);
    }
}
