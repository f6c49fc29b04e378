//! The target at start: there, or down and known from an earlier run.
//!
//! Owns: telling the two apart, and waiting for a target that nothing is known of. Does not own: what happens when it is
//! lost later (`apply`).

mod feed_state;
mod lease;
mod refusals;
mod starts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ebb_sdk::{Catalog, ConnectOptions, DatabaseUrl, ErrorKind, Progress, Topic};
use tokio::task::spawn_blocking;

use crate::code;
use crate::config;
use crate::error::{Error, Result};
use crate::lasting::Lasting;
use crate::plugin::{self, Applied, Plugin, Session};
use crate::stage::{MetadataFile, RunState};

pub use feed_state::{FeedState, SourceName};
pub use lease::{Holder, Keeper};
pub use refusals::{another_is_alive, refuse_lost_staging, refuse_restored_target};
pub use starts::is_of_folder;

/// Between two attempts to reach a target of which nothing is known yet.
const WAIT_INTERVAL: Duration = Duration::from_secs(1);

/// How to reach the target.
#[derive(Clone)]
pub struct Target {
    pub plugin: Arc<Plugin>,
    pub connect: ConnectOptions,
}

/// A session and what it found.
pub struct Connected {
    pub session: Session,
    pub catalog: Catalog,
}

/// A target that was taken over, and where it stands: moved only once the target has confirmed it.
pub struct Lease {
    pub session: Session,
    progress: Progress,
}

impl Lease {
    pub fn progress(&self) -> Progress {
        self.progress
    }

    pub fn applied(&self) -> Applied {
        Applied::shown(Some(self.progress))
    }

    /// To be called once a commit is proven.
    pub(crate) fn committed(&mut self, applied: Applied) {
        self.progress.applied = applied.up_to();
    }
}

impl Target {
    /// Loads the plugin that the settings name, or else the one of their URL.
    pub fn load(settings: &config::Target) -> Result<Self> {
        let url = DatabaseUrl::parse(settings.url.reveal())?;
        let plugin = plugin::load(settings.plugin.as_deref(), &url.scheme, &settings.plugin_dirs)?;
        Ok(Self { plugin: Arc::new(plugin), connect: Self::options(settings) })
    }

    /// One connection.
    pub fn session(&self) -> Result<Session> {
        Ok(self.plugin.connect(&self.connect)?)
    }

    /// What the plugin is told.
    pub fn options(settings: &config::Target) -> ConnectOptions {
        ConnectOptions {
            url: settings.url.reveal().to_owned(),
            allow_insecure: settings.allow_insecure,
            apply_timeout_ms: u64::try_from(settings.apply_timeout.as_millis()).unwrap_or(u64::MAX),
            allow_rounding: settings.allow_rounding.clone(),
            source_is_known: false,
            hide_values: ebb_sdk::values_are_hidden(),
        }
    }

    /// `None` when the target cannot be reached now; what it would take to reach it is logged.
    ///
    /// # Errors
    /// When trying again would not help: a wrong password, a missing database.
    pub async fn open(&self) -> Result<Option<Connected>> {
        present(self.attempt().await?)
    }

    /// Waits for a target of which nothing is known, but not for ever: its address may be wrong.
    pub async fn wait(&self, longest: Duration) -> Result<Connected> {
        tracing::warn!(
            error_code = code::target::UNREACHABLE.text(),
            "nothing can be received before the target has been seen; waiting for it up to {} s (--target-wait)",
            longest.as_secs()
        );
        let mut state = Lasting::begun();
        // The line above has said it first.
        let _ = state.due();
        let deadline = Instant::now() + longest;
        loop {
            tokio::time::sleep(WAIT_INTERVAL).await;
            match self.attempt().await? {
                Ok(open) => return Ok(open),
                Err(error) if error.kind != ErrorKind::Retry => return Err(error.into()),
                Err(error) if Instant::now() >= deadline => return Err(not_reached(&error, longest)),
                Err(error) => {
                    if let Some(lasted) = state.due() {
                        let error_code = code::topics::of(&error).text();
                        tracing::warn!(error_code, hint = error.hint, "no target for {} s: {error}", lasted.as_secs());
                    }
                }
            }
        }
    }

    async fn attempt(&self) -> Result<ebb_sdk::Result<Connected>> {
        let target = self.clone();
        blocking(move || {
            let mut session = target.plugin.connect(&target.connect)?;
            let catalog = session.describe()?;
            Ok(Connected { session, catalog })
        })
        .await
    }
}

/// What ends a start that needs the target.
fn not_reached(error: &ebb_sdk::Error, longest: Duration) -> Error {
    let mend = match error.topic {
        Topic::Unreachable => {
            "correct host and port in --target (under ebb start --targetConn; EBB_TARGET), or start the target"
                .to_owned()
        }
        _ => error.hint.clone().unwrap_or_else(|| "see --target (under ebb start --targetConn; EBB_TARGET)".to_owned()),
    };
    let message =
        format!("the target was not reached within {} s, and this start needs it: {error}", longest.as_secs());
    Error::new(code::topics::of(error), message)
        .hint(format!("{mend}; a longer --target-wait (now {longest:?}) waits longer"))
}

/// What the target says of the feed, once nobody else is alive. `None` when the target has gone away meanwhile.
///
/// # Errors
/// When another process is alive, or the folder and the target do not belong together.
pub async fn look(mut session: Session, holder: &Holder) -> Result<Option<(Session, FeedState)>> {
    let mut last: Option<Duration> = None;
    loop {
        let feed = holder.feed().to_owned();
        let looked = blocking(move || {
            let found = FeedState::of(&mut session, &feed)?;
            Ok((session, found))
        });
        let Some((back, found)) = present(looked.await?)? else { return Ok(None) };
        let is_first = last.is_none();
        let alive = holder.still_alive(&found, &mut last)?;
        if alive.is_zero() {
            return holder.admit(&found).map(|()| Some((back, found)));
        }
        if is_first {
            tracing::info!(
                "another ebb was alive less than a minute ago: waiting up to {} s to see whether it still is",
                alive.as_secs() + 1
            );
        }
        session = back;
        tokio::time::sleep(WAIT_INTERVAL).await;
    }
}

/// Makes this process the only writer of the feed. `None` when the target has gone away meanwhile: whether it was taken
/// over is not known then, but the progress row will tell.
pub async fn take_over(session: Session, holder: &Holder) -> Result<Option<Lease>> {
    // Somebody may have come since it was looked at first.
    let Some((session, found)) = look(session, holder).await? else { return Ok(None) };
    let writer = holder.begin(&found)?;
    let taking = holder.clone();
    let lease = present(blocking(move || taking.take(session, writer)).await?)?;
    lease.as_ref().map_or(Ok(()), |lease| holder.confirm(lease.progress()))?;
    Ok(lease)
}

/// What there is of a target that may be down.
fn present<T>(answer: ebb_sdk::Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == ErrorKind::Retry => {
            let state = if error.topic == Topic::ReadOnly { "read-only" } else { "down" };
            let error_code = code::topics::of(&error).text();
            tracing::warn!(error_code, hint = error.hint, "the target is {state}; waiting for it: {error}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// What the target looked like when it was seen last.
pub fn known_catalog(run_state: &RunState) -> Result<Option<Catalog>> {
    run_state.load(MetadataFile::Catalog)
}

/// Keeps what the target looks like, for a start while it is down.
pub fn remember_catalog(run_state: &RunState, catalog: &Catalog) -> Result<()> {
    run_state.save(MetadataFile::Catalog, catalog)
}

/// Plugin calls block; they get a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> ebb_sdk::Result<T> + Send + 'static,
) -> Result<ebb_sdk::Result<T>> {
    spawn_blocking(work)
        .await
        .map_err(|error| Error::new(code::defect::PANIC, format!("a part of the start broke off: {error}")))
}
