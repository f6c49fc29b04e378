//! Client certificates that expire, are replaced or revoked, by handshakes in memory.

#[path = "../../tests/handshake.rs"]
mod handshake;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ebb_sdk::tls::{SslMode, TlsSettings};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use tokio::sync::watch;

use super::reload::Reloader;
use super::tls::Current;
use crate::access::Gate;
use crate::cli::overrides::Origin;
use crate::commands::{certs, revoke};
use crate::config::{Access, ChangefeedSettings, ClientCa, Identity, Receiver, ReceiverLimits};

/// What `ebb certs` makes, in a folder of this name.
fn made(root: &Path, name: &str) -> PathBuf {
    certs::make(&options(root, name, false)).unwrap();
    root.join(name)
}

fn options(root: &Path, name: &str, renew: bool) -> certs::Options {
    certs::Options {
        dir: root.join(name),
        changefeeds_path: root.join(format!("{name}.json")),
        hosts: Vec::new(),
        port: 1,
        client_name: name.into(),
        days: 1,
        authority_days: 1,
        renew,
    }
}

fn receiver(identity: Identity, access: Access) -> Receiver {
    let second = std::time::Duration::from_secs(1);
    let limits = ReceiverLimits {
        body_bytes_max: 1,
        in_flight_bytes_max: 1,
        connections_max: 1,
        untrusted_connections_max: 1,
        header_bytes_max: 1,
        handshake_timeout: second,
        idle_timeout: second,
        body_idle_timeout: second,
        body_timeout: second,
        response_timeout: second,
    };
    Receiver { bind_addr: ([127, 0, 0, 1], 0).into(), identity, access, sink: None, limits }
}

fn reloader(identity: Identity, access: Access) -> (Reloader, watch::Receiver<Arc<Current>>) {
    let gate = Arc::new(Gate::open(&access, &[]).unwrap());
    Reloader::new(&receiver(identity, access), gate, Arc::default()).unwrap()
}

/// A client with the certificate in a folder, which keeps sessions and takes any server.
fn client(dir: &Path) -> Arc<ClientConfig> {
    let settings = TlsSettings {
        cert: Some(dir.join("client.crt")),
        key: Some(dir.join("client.key")),
        ..TlsSettings::new(SslMode::Require)
    };
    Arc::new(settings.client_config().unwrap())
}

/// The same, of one version of TLS.
fn client_of(dir: &Path, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let read = |name: &str| CertificateDer::from_pem_file(dir.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(read("ca.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("client.key")).unwrap();
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_client_auth_cert(vec![read("client.crt")], key).unwrap())
}

/// How a handshake came to its end; `None` where the server refused.
fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Option<HandshakeKind> {
    let mut client = ClientConnection::new(Arc::clone(client), "localhost".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    if !handshake::shake(&mut client, &mut server) {
        return None;
    }
    server.handshake_kind()
}

fn files(dir: &Path) -> Identity {
    Identity::Files { certificate: dir.join("server.crt"), private_key: dir.join("server.key") }
}

fn access(authority: &Path, crl: Option<PathBuf>) -> Access {
    Access { client_ca: Some(ClientCa::File(authority.to_owned())), client_crl: crl, ..Access::default() }
}

fn now(current: &watch::Receiver<Arc<Current>>) -> Arc<ServerConfig> {
    Arc::clone(&current.borrow().config)
}

/// A session that is resumed shows no certificate: its client would write for ever.
#[test]
fn every_connection_shows_its_certificate() {
    let root = tempfile::tempdir().unwrap();
    let dir = made(root.path(), "one");
    let (_reloader, current) = reloader(files(&dir), access(&dir.join("ca.crt"), None));
    // Without client certificates sessions are resumed, so that the test can see it.
    let (_open, open) = reloader(files(&dir), Access::default());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = client_of(&dir, version);
        let kinds = [&current, &current, &open, &open].map(|current| shake(&client, &now(current)).unwrap());
        assert!(!kinds[..2].contains(&HandshakeKind::Resumed), "{version:?}: {kinds:?}");
        assert_eq!(kinds[3], HandshakeKind::Resumed, "{version:?}");
    }
}

/// Also where the receiver's own certificate was made at start, and stays.
#[test]
fn a_replaced_authority_is_taken_up() {
    let root = tempfile::tempdir().unwrap();
    let (old, new) = (made(root.path(), "old"), made(root.path(), "new"));
    let ca = root.path().join("ca.crt");
    let settings = |dir: &Path| std::fs::copy(dir.with_extension("json"), root.path().join("used.json")).unwrap();
    for is_self_signed in [true, false] {
        for of_changefeed in [true, false] {
            settings(&old);
            std::fs::copy(old.join("ca.crt"), &ca).unwrap();
            let origin = Origin::File(root.path().join("used.json"));
            let authority = match of_changefeed {
                true => ClientCa::Changefeed(ChangefeedSettings::new(origin.path().into(), move || origin.ca_cert())),
                false => ClientCa::File(ca.clone()),
            };
            let identity = if is_self_signed { Identity::SelfSigned } else { files(&old) };
            let (reloader, current) = reloader(identity, Access { client_ca: Some(authority), ..Access::default() });
            let admits = |dir: &Path| shake(&client(dir), &now(&current)).is_some();
            assert_eq!((admits(&old), admits(&new)), (true, false));
            settings(&new);
            std::fs::copy(new.join("ca.crt"), &ca).unwrap();
            let trust = current.borrow().trust.clone();
            reloader.reload();
            assert_eq!((admits(&old), admits(&new)), (false, true), "{is_self_signed} {of_changefeed}");
            assert_ne!(current.borrow().trust, trust, "open connections have to end");
            // What cannot be read changes nothing.
            std::fs::write(&ca, "nonsense").unwrap();
            std::fs::write(root.path().join("used.json"), "{}").unwrap();
            reloader.reload();
            assert_eq!((admits(&old), admits(&new)), (false, true), "{is_self_signed} {of_changefeed}");
        }
    }
}

#[test]
fn a_certificate_that_is_revoked_is_refused_and_its_successor_is_not() {
    let root = tempfile::tempdir().unwrap();
    let dir = made(root.path(), "one");
    let kept = root.path().join("kept");
    std::fs::create_dir(&kept).unwrap();
    let keep = |name: &str| std::fs::copy(dir.join(name), kept.join(name)).unwrap();
    let _ = (keep("client.crt"), keep("client.key"));
    let (reloader, current) = reloader(files(&dir), access(&dir.join("ca.crt"), Some(dir.join(revoke::LIST))));
    let admits = |dir: &Path| shake(&client(dir), &now(&current)).is_some();
    assert!(admits(&dir), "the list that ebb certs makes is empty");
    certs::make(&options(root.path(), "one", true)).unwrap();
    let options = revoke::Options { dir: dir.clone(), certificate: kept.join("client.crt") };
    for summary in ["has 1 certificates", "has 1 certificates"] {
        assert!(revoke::revoke(&options).unwrap().contains(summary));
    }
    reloader.reload();
    assert_eq!((admits(&dir), admits(&kept)), (true, false));
    let also = revoke::Options { certificate: dir.join("client.crt"), ..options };
    assert!(revoke::revoke(&also).unwrap().contains("has 2 certificates"));
    reloader.reload();
    assert_eq!((admits(&dir), admits(&kept)), (false, false));
    let other = made(root.path(), "other");
    let wrong = revoke::Options { certificate: other.join("client.key"), ..also };
    assert!(revoke::revoke(&wrong).is_err());
}
