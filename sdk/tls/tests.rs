//! Every row of libpq's table of modes, by handshakes in memory.

#[path = "../../tests/handshake.rs"]
mod handshake;

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyPair, SerialNumber,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConnection, ServerConfig, ServerConnection};

use super::*;

/// Two authorities, and a server for `db.example.com` with a certificate of the first.
struct Pki {
    folder: tempfile::TempDir,
    server: Arc<ServerConfig>,
}

impl Pki {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
            let certificate = params.self_signed(&key).unwrap();
            std::fs::write(folder.path().join(format!("{name}.crt")), certificate.pem()).unwrap();
            Issuer::new(params, key)
        };
        let (ours, _) = (authority("ours"), authority("others"));
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["db.example.com".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(7_u64));
        let certificate = params.signed_by(&key, &ours).unwrap();
        for (name, revoked) in [("revoked.crl", 7_u64), ("other.crl", 8)] {
            std::fs::write(folder.path().join(name), list(revoked, &ours)).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = server.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        Self { folder, server: Arc::new(server) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether a handshake comes to its end.
    fn admits(&self, settings: &TlsSettings, host: &'static str) -> bool {
        let config = Arc::new(settings.client_config().unwrap());
        let mut client = ClientConnection::new(config, host.try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&self.server)).unwrap();
        handshake::shake(&mut client, &mut server)
    }
}

fn list(revoked: u64, issuer: &Issuer<'_, KeyPair>) -> String {
    let entry = rcgen::RevokedCertParams {
        serial_number: SerialNumber::from(revoked),
        revocation_time: rcgen::date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2024, 1, 1),
        next_update: rcgen::date_time_ymd(4000, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![entry],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().pem().unwrap()
}

#[test]
fn every_mode_verifies_what_libpq_says() {
    let pki = Pki::new();
    let check = |mode: SslMode, root: Option<&str>, expected: [bool; 2]| {
        let root_cert = root.map(|name| pki.path(name));
        let settings = TlsSettings { root_cert, ..TlsSettings::new(mode) };
        let found = ["db.example.com", "elsewhere.example.com"].map(|host| pki.admits(&settings, host));
        assert_eq!(found, expected, "{mode} {root:?}");
    };
    let (ours, others) = (Some("ours.crt"), Some("others.crt"));
    // Where an authority is named it counts in every mode.
    for mode in [SslMode::Allow, SslMode::Prefer, SslMode::Require] {
        check(mode, None, [true, true]);
        check(mode, ours, [true, true]);
        check(mode, others, [false, false]);
    }
    check(SslMode::VerifyCa, ours, [true, true]);
    check(SslMode::VerifyCa, others, [false, false]);
    check(SslMode::VerifyFull, ours, [true, false]);
    check(SslMode::VerifyFull, others, [false, false]);
}

/// A stranger's certificate of an authority that the machine does not trust.
#[test]
fn the_systems_authorities_do_not_admit_a_stranger() {
    let pki = Pki::new();
    for query in ["sslrootcert=system", "sslrootcert=system&sslmode=verify-full", "sslmode=verify-full"] {
        let url = crate::DatabaseUrl::parse(&format!("postgres://u@db.example.com/d?{query}")).unwrap();
        let settings = TlsSettings::from_url(&url, SslMode::Prefer).unwrap();
        // A machine without any authority refuses before.
        if settings.client_config().is_ok() {
            assert!(!pki.admits(&settings, "db.example.com"), "{query}");
        }
    }
}

#[test]
fn a_certificate_that_was_revoked_is_refused() {
    let pki = Pki::new();
    for (crl, expected) in [("other.crl", true), ("revoked.crl", false)] {
        let settings = TlsSettings {
            root_cert: Some(pki.path("ours.crt")),
            crl: Some(pki.path(crl)),
            ..TlsSettings::new(SslMode::VerifyFull)
        };
        assert_eq!(pki.admits(&settings, "db.example.com"), expected, "{crl}");
    }
}
