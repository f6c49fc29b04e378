//! Certificates, keys and revocations that change while ebb runs.
//!
//! Owns: when they are read again, and that what cannot be used leaves the old ones in force. Does not own: reading them
//! (`tls`, `access`). Connections that are open keep what they have shown.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ring::digest::{Context, SHA256};
use tokio::sync::watch;

use super::tls;
use crate::access::Gate;
use crate::config::{self, ClientCa, Identity};
use crate::error::Result;

/// Between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Reads the files again, when told to or when they have changed.
#[derive(Clone)]
pub struct Reloader {
    settings: config::Receiver,
    gate: Arc<Gate>,
    tls: watch::Sender<Arc<rustls::ServerConfig>>,
    /// What the files held when they were last read.
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Reloader {
    pub(super) fn new(
        settings: &config::Receiver,
        gate: Arc<Gate>,
    ) -> Result<(Self, watch::Receiver<Arc<rustls::ServerConfig>>)> {
        let (tls, current) = watch::channel(tls::server_config(settings)?);
        let seen = Arc::new(Mutex::new(fingerprint(settings)));
        Ok((Self { settings: settings.clone(), gate, tls, seen }, current))
    }

    /// Looks for ever.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = fingerprint(&self.settings);
            if now != *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
                self.reload();
            }
        }
    }

    /// Reads everything now.
    pub fn reload(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = fingerprint(&self.settings);
        let kept = "the ones from before stay in force";
        // A certificate made at start is made once: clients may have learnt to trust it.
        let config = match self.settings.identity {
            Identity::SelfSigned => Ok(None),
            Identity::Files { .. } => tls::server_config(&self.settings).map(Some),
        };
        match config {
            Ok(config) => drop(config.map(|config| self.tls.send_replace(config))),
            Err(error) => tracing::warn!(hint = error.hint, "certificates cannot be read again, {kept}: {error}"),
        }
        match self.gate.reload() {
            Ok(()) => tracing::info!("read certificates and keys again"),
            Err(error) => tracing::warn!(hint = error.hint, "keys of tokens cannot be read again, {kept}: {error}"),
        }
    }
}

/// Changes when one of the files does. A file that cannot be read counts as empty.
fn fingerprint(settings: &config::Receiver) -> Vec<u8> {
    let mut files: Vec<PathBuf> = Vec::new();
    if let Identity::Files { certificate, private_key } = &settings.identity {
        files.extend([certificate.clone(), private_key.clone()]);
    }
    if let Some(ClientCa::File(path)) = &settings.access.client_ca {
        files.push(path.clone());
    }
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
