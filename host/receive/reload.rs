//! Certificates, keys and revocations that change while ebb runs.
//!
//! Owns: when they are read again (on SIGHUP, and when their files have changed), and that what cannot be used leaves the old ones in force. Does not own: reading them
//! (`identity`, `tls`, `access`), and ending connections that were judged by what is not in force any more (`connection`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use ring::digest::{Context, SHA256};
use rustls::pki_types::UnixTime;
use tokio::sync::watch;

use super::certificates;
use super::tls::Current;
use crate::access::Gate;
use crate::code;
use crate::config::{self, ClientCa, Identity};
use crate::error::Result;
use crate::identity::{self, Identified};
use crate::status::Status;

/// Between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Reads the files again, when told to or when they have changed.
#[derive(Clone)]
pub struct Reloader {
    settings: config::Receiver,
    gate: Arc<Gate>,
    tls: watch::Sender<Arc<Current>>,
    /// A certificate made at start is made once: clients may have learnt to trust it.
    made: Option<Arc<Identified>>,
    /// What the files held when they were last read.
    seen: Arc<Mutex<Vec<u8>>>,
    status: Arc<Status>,
}

impl Reloader {
    pub(super) fn new(
        settings: &config::Receiver,
        gate: Arc<Gate>,
        status: Arc<Status>,
    ) -> Result<(Self, watch::Receiver<Arc<Current>>)> {
        let identified = Arc::new(identity::identified(&settings.identity)?);
        certificates::check(settings, &identified, UnixTime::now())?;
        let (tls, current) = watch::channel(Arc::new(Current::read(&identified, &settings.access)?));
        status.certificates(ends(settings, &identified));
        let made = matches!(settings.identity, Identity::SelfSigned).then_some(identified);
        let seen = Arc::new(Mutex::new(fingerprint(settings)));
        Ok((Self { settings: settings.clone(), gate, tls, made, seen, status }, current))
    }

    /// Reads again for ever: at every change of `hangups`, which counts SIGHUPs, and when the files have changed. `on_read` is
    /// called where all of it could be used.
    pub async fn run(self, mut hangups: watch::Receiver<u64>, on_read: impl Fn()) {
        loop {
            let is_read = tokio::select! {
                Ok(()) = hangups.changed() => tokio::task::block_in_place(|| self.reload()),
                () = tokio::time::sleep(LOOK_INTERVAL) => tokio::task::block_in_place(|| self.look()),
            };
            if is_read {
                on_read();
            }
        }
    }

    /// Reads again where the files have changed.
    fn look(&self) -> bool {
        let now = fingerprint(&self.settings);
        now != *self.seen.lock() && self.reload()
    }

    /// Reads everything now, and says so where all of it could be used.
    pub(super) fn reload(&self) -> bool {
        *self.seen.lock() = fingerprint(&self.settings);
        let kept = "those read before stay in use";
        let certificates = self.certificates();
        if let Err(error) = &certificates {
            let (error_code, hint) = (error.code.text(), error.hint.as_deref());
            tracing::warn!(error_code, hint, "certificates cannot be read again, {kept}: {error}");
        }
        let keys = self.gate.reload();
        if let Err(error) = &keys {
            let (error_code, hint) = (error.code.text(), error.hint.as_deref());
            tracing::warn!(error_code, hint, "keys of tokens cannot be read again, {kept}: {error}");
        }
        let is_read = certificates.is_ok() && keys.is_ok();
        if is_read {
            tracing::info!("read certificates and keys again");
        }
        is_read
    }

    fn certificates(&self) -> Result<()> {
        let identified = match &self.made {
            Some(made) => Arc::clone(made),
            None => Arc::new(identity::identified(&self.settings.identity)?),
        };
        let current = Current::read(&identified, &self.settings.access)?;
        self.status.certificates(ends(&self.settings, &identified));
        let before = self.tls.send_replace(Arc::new(current));
        if before.trust != self.tls.borrow().trust {
            tracing::info!("client certificates are verified anew; open connections end after the requests in hand");
            if matches!(self.settings.access.client_ca, Some(ClientCa::Changefeed(_))) {
                tracing::warn!(
                    error_code = code::changefeed::OLD_CERTIFICATE.text(),
                    hint = "start ebb fetch again, if the changefeed's own certificate was replaced, too",
                    "the changefeed still shows the client certificate that it was created or altered with"
                );
            }
        }
        Ok(())
    }
}

/// When certificates end, for whoever watches them.
fn ends(settings: &config::Receiver, identified: &Identified) -> Vec<(&'static str, SystemTime)> {
    let ends = certificates::ends(settings, identified).into_iter();
    ends.map(|(name, end)| (name, UNIX_EPOCH + Duration::from_secs(end.as_secs()))).collect()
}

/// Changes when one of the files does. A file that cannot be read counts as empty.
fn fingerprint(settings: &config::Receiver) -> Vec<u8> {
    let mut files: Vec<PathBuf> = Vec::new();
    if let Identity::Files { certificate, private_key } = &settings.identity {
        files.extend([certificate.clone(), private_key.clone()]);
    }
    match &settings.access.client_ca {
        Some(ClientCa::File(path)) => files.push(path.clone()),
        Some(ClientCa::Changefeed(settings)) => files.push(settings.path().to_owned()),
        None => {}
    }
    files.extend(settings.access.client_crl.clone());
    if let Some(tokens) = &settings.access.tokens {
        files.extend(tokens.revoked_ids.clone());
        files.extend(inside(&tokens.public_keys));
    }
    let mut context = Context::new(&SHA256);
    for file in files {
        let text = std::fs::read(&file).unwrap_or_default();
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(&text);
    }
    context.finish().as_ref().to_vec()
}

fn inside(path: &Path) -> Vec<PathBuf> {
    match std::fs::read_dir(path) {
        Err(_) => vec![path.to_owned()],
        Ok(entries) => {
            let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            files.sort();
            files
        }
    }
}
