//! The wish to end a command that goes on for long.
//!
//! Owns: one flag of the process that SIGTERM and ctrl-c set. Does not own: listening (`signals`), what a command makes of it.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Builder;

use crate::error::Result;
use crate::signals::Signals;
use crate::threads;

static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// To be called once. The first signal sets the flag, a second one ends the process at once.
pub(super) fn listen() -> Result<&'static AtomicBool> {
    let runtime = threads::runtime(&mut Builder::new_current_thread())?;
    let signals = runtime.block_on(async { Signals::listen() })?;
    threads::spawn(
        "signals",
        |_| {},
        move || {
            runtime.block_on(async {
                signals.first().await;
                IS_ENDING.store(true, Ordering::Relaxed);
                pending::<()>().await;
            });
            Ok(())
        },
    )?;
    Ok(&IS_ENDING)
}
