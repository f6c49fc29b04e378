//! The pages over HTTPS.
//!
//! Owns: the settings of new connections, read again when the files of the certificate have changed, and the note of the
//! certificate for `ebb status`. Does not own: reading a certificate (`identity`).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::code;
use crate::config::Identity;
use crate::error::{Error, Result};
use crate::identity::{self, Identified};
use crate::stage::{MetadataFile, PagesOfRun, RunState};

/// Between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Tls {
    identity: Identity,
    note: PagesOfRun,
    run_state: RunState,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    looked: Instant,
    /// When the files were last written, as far as that is known.
    written: [Option<SystemTime>; 2],
}

impl Tls {
    pub(super) fn read(identity: Identity, note: PagesOfRun, run_state: RunState) -> Result<Self> {
        let written = written(&identity);
        let config = read(&identity, &note, &run_state)?;
        let current = Mutex::new(Current { config, looked: Instant::now(), written });
        Ok(Self { identity, note, run_state, current })
    }

    /// For a new connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock();
        if current.looked.elapsed() >= LOOK_INTERVAL {
            current.looked = Instant::now();
            let written = written(&self.identity);
            if written != current.written {
                current.written = written;
                self.read_again(&mut current);
            }
        }
        TlsAcceptor::from(Arc::clone(&current.config))
    }

    fn read_again(&self, current: &mut Current) {
        match read(&self.identity, &self.note, &self.run_state) {
            Ok(config) => current.config = config,
            Err(error) => tracing::warn!(
                error_code = error.code.text(),
                hint = error.hint,
                "the certificate of the pages cannot be read again, the one read before stays in use: {error}"
            ),
        }
    }
}

fn read(identity: &Identity, note: &PagesOfRun, run_state: &RunState) -> Result<Arc<ServerConfig>> {
    let Identified { chain, key } = identity::identified(identity)?;
    let fingerprint = chain.first().map(|leaf| hexadecimal(digest(&SHA256, leaf).as_ref()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(code::defect::SYSTEM, format!("no usable TLS version: {error}")))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| identity::unfit(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    run_state.save(MetadataFile::Pages, &Some(PagesOfRun { certificate: fingerprint, ..note.clone() }))?;
    Ok(Arc::new(config))
}

fn written(identity: &Identity) -> [Option<SystemTime>; 2] {
    let of = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    match identity {
        Identity::Files { certificate, private_key } => [of(certificate), of(private_key)],
        Identity::SelfSigned => [None, None],
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::stage::{self, Stage, StagingLimits};

    #[test]
    fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, private_key) = (dir.path().join("server.crt"), dir.path().join("server.key"));
        let renew = |day: u64| {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            fs::write(&certificate, made.cert.pem()).unwrap();
            fs::write(&private_key, made.signing_key.serialize_pem()).unwrap();
            File::options().append(true).open(&certificate).unwrap().set_modified(at(day)).unwrap();
            hexadecimal(digest(&SHA256, made.cert.der()).as_ref())
        };
        let first = renew(1);
        let folder = dir.path().join("staging");
        let stage = Stage::open(&folder, StagingLimits::default()).unwrap();
        let noted = || stage::pages_of(&folder).unwrap().unwrap().certificate.unwrap();
        let identity = Identity::Files { certificate: certificate.clone(), private_key: private_key.clone() };
        let note = PagesOfRun { addr: ([127, 0, 0, 1], 1).into(), token: None, certificate: None };
        let tls = Tls::read(identity, note, stage.run_state.clone()).unwrap();
        assert_eq!(noted(), first);
        let connect_later = || {
            tls.current.lock().looked = Instant::now().checked_sub(LOOK_INTERVAL).unwrap();
            let _ = tls.acceptor();
        };
        let second = renew(2);
        let _ = tls.acceptor();
        assert_eq!(noted(), first, "it is not looked at for every connection");
        connect_later();
        assert_eq!(noted(), second);
        renew(3);
        fs::write(&private_key, "no key").unwrap();
        let before = Arc::clone(&tls.current.lock().config);
        connect_later();
        assert_eq!(noted(), second);
        assert!(Arc::ptr_eq(&before, &tls.current.lock().config));
    }

    fn at(day: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(day * 24 * 60 * 60)
    }
}
