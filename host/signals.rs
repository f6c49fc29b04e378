//! What the outside may ask of a running process: to end, and to read certificates and keys again.
//!
//! Owns: SIGTERM, ctrl-c and SIGHUP, and how many files may be open. Does not own: what an orderly end is (`daemon`).

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::ReceiverLimits;
use crate::error::{Error, Result};
use crate::receive::Reloader;

/// Files that are open beside connections: staging, logs, libraries, databases.
const OTHER_FILES: u64 = 512;

/// SIGTERM and ctrl-c. The first one ends the run in an orderly way, a second one at once.
pub struct Signals {
    asked: watch::Receiver<bool>,
    /// Taken by whoever answers it. Until then a SIGHUP changes nothing, and does not end the process either.
    hangup: Option<Signal>,
    hangups: watch::Receiver<u64>,
}

impl Signals {
    pub fn listen() -> Result<Self> {
        let no_signals = |error| Error::new(format!("cannot listen for signals: {error}"));
        let mut term = signal(SignalKind::terminate()).map_err(no_signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
        let (ask, asked) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if ask.send_replace(true) {
                    // Whatever was in hand is repeated at the next start.
                    std::process::exit(1);
                }
            }
        });
        let mut again = signal(SignalKind::hangup()).map_err(no_signals)?;
        let (count, hangups) = watch::channel(0);
        tokio::spawn(async move {
            while again.recv().await.is_some() {
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self { asked, hangup: Some(hangup), hangups })
    }

    /// Comes with the first wish to end.
    pub async fn first(&self) {
        // The sender lives in a task that never ends.
        let _ = self.asked.clone().wait_for(|&asked| asked).await;
    }

    /// Changes with every SIGHUP.
    pub fn hangups(&self) -> watch::Receiver<u64> {
        self.hangups.clone()
    }

    /// Reads certificates and keys again at every SIGHUP, and when their files have changed.
    pub fn reload(&mut self, reloader: Reloader) -> JoinHandle<()> {
        let hangup = self.hangup.take();
        tokio::spawn(async move {
            let Some(mut hangup) = hangup else { return };
            let looking = reloader.clone().run();
            tokio::pin!(looking);
            loop {
                tokio::select! {
                    _ = hangup.recv() => tokio::task::block_in_place(|| reloader.reload()),
                    () = &mut looking => return,
                }
            }
        })
    }
}

/// Raises the process's own limit of open files to what the limits of connections need; staging must never lack one.
pub fn admit_files(limits: &ReceiverLimits) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let connections = limits.connections_max.saturating_add(limits.untrusted_connections_max);
    let needed = OTHER_FILES.saturating_add(connections as u64);
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= needed) {
        return;
    }
    let wanted = now.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum });
    if raised.is_err() || wanted < needed {
        tracing::warn!(
            hint = "raise it with ulimit -n, or lower --connections-max and --untrusted-connections-max",
            "{needed} open files may be needed, and {} are allowed",
            now.maximum.unwrap_or(wanted)
        );
    }
}
