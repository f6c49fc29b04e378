//! ctrl-c and its like: the story is left, so that all that was started is ended on the way out.
//!
//! Does not own: the ending, which is in the destructors; and, when even they do not come to their end, in the watchers
//! of the servers, which act once this process is gone.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::Result;
use crate::screen::Screen;

/// How long destructors may take before the process ends without them.
const LEAVE_MAX: Duration = Duration::from_secs(20);

/// A signal that has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interrupted {
    pub name: &'static str,
    number: u8,
}

impl Interrupted {
    /// As a shell has it.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(128 + self.number)
    }
}

/// Listens from now on. What comes back is done at the first signal.
pub(crate) fn listen(screen: &Arc<Screen>) -> Result<impl Future<Output = Interrupted> + use<>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (sender, receiver) = oneshot::channel();
    let screen = Arc::clone(screen);
    // A task of its own: the story may be in the middle of something that blocks.
    tokio::spawn(async move {
        let (name, number) = tokio::select! {
            _ = interrupt.recv() => ("SIGINT", 2),
            _ = terminate.recv() => ("SIGTERM", 15),
            _ = hangup.recv() => ("SIGHUP", 1),
        };
        screen.line(&format!("\n{name} has come: ending what was started …"));
        let _ = sender.send(Interrupted { name, number });
        tokio::time::sleep(LEAVE_MAX).await;
        std::process::exit(128 + i32::from(number));
    });
    Ok(async {
        match receiver.await {
            Ok(interrupted) => interrupted,
            Err(_) => std::future::pending().await,
        }
    })
}
