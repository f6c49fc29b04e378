//! What the outside may ask of a running process: to end, and to look again at what has changed.
//!
//! Owns: SIGTERM, ctrl-c and SIGHUP. Does not own: what an orderly end is (`daemon`), and what is done on SIGHUP
//! (`receive/reload`, `apply/wait`).

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::code;
use crate::error::{Error, Result};

/// SIGTERM and ctrl-c. The first one ends the run in an orderly way, a second one at once.
pub struct Signals {
    asked: watch::Receiver<Option<&'static str>>,
    /// A SIGHUP does not end the process, also before anything waits for one.
    hangups: watch::Receiver<u64>,
}

impl Signals {
    pub fn listen() -> Result<Self> {
        let no_signals = |error| Error::new(code::defect::SYSTEM, format!("cannot listen for signals: {error}"));
        let mut term = signal(SignalKind::terminate()).map_err(no_signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
        let (ask, asked) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let signal = tokio::select! {
                    _ = term.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if ask.send_replace(Some(signal)).is_some() {
                    // Whatever was in hand is repeated at the next start.
                    std::process::exit(1);
                }
            }
        });
        let (count, hangups) = watch::channel(0);
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self { asked, hangups })
    }

    /// Comes with the first wish to end, which it names.
    pub async fn first(&self) -> &'static str {
        // The sender lives in a task that never ends.
        self.asked.clone().wait_for(Option::is_some).await.ok().and_then(|asked| *asked).unwrap_or_default()
    }

    /// Changes with every SIGHUP.
    pub fn hangups(&self) -> watch::Receiver<u64> {
        self.hangups.clone()
    }
}
