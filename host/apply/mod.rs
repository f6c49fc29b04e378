//! The applier: one plain thread that owns the target session and moves the target from one source state to the next.
//!
//! Owns: the loop over windows. Does not own: cutting windows (`order`), reading ahead (`reader`), applying one (`attempt`,
//! `batch`, `transaction`), connecting anew (`reconnect`), waiting for a row that is refused (`wait`).
//!
//! Invariant: `applied` equals the progress row of the target, and moves only after the target has confirmed it.

mod attempt;
mod batch;
mod counts;
mod encode;
mod escalation;
mod outage;
mod pace;
mod plan;
mod reader;
mod reconnect;
mod refusals;
mod refused_row;
mod retry;
mod same_tables;
mod table_plan;
mod transaction;
mod unwritable;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use ebb_sdk::{Advance, Catalog, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::code;
use crate::config::{self, OnRowError};
use crate::error::{Error, Result};
use crate::measure::Heartbeat;
use crate::order::{Interval, WindowLimits};
use crate::stage::Backlog;
use crate::status::Status;
use crate::tables::KeyWatch;
use crate::tables::Tables;
use crate::target::{Holder, Lease, Target};
use attempt::ApplyError;
use escalation::Escalation;
pub use pace::Pace;
use reader::Reader;
use retry::Backoff;
pub use table_plan::TablePlans;
use transaction::Writer;

/// Everything the thread works with.
pub struct Applier {
    pub target: Target,
    pub settings: config::Apply,
    pub case_sensitive: bool,
    pub holder: Holder,
    pub catalog: Arc<Catalog>,
    /// Of this catalog.
    pub plans: TablePlans,
    pub tables: Arc<Tables>,
    pub keys: Arc<KeyWatch>,
    pub backlog: Backlog,
    /// How far staging is complete.
    pub resolved: watch::Receiver<Timestamp>,
    pub status: Arc<Status>,
    pub pace: Arc<Pace>,
    /// Turns true when the process is asked to end.
    pub stop: watch::Receiver<bool>,
    /// Changes with every SIGHUP.
    pub hangups: watch::Receiver<u64>,
    pub runtime: Handle,
}

/// Why a wait came back without an error.
enum Pause {
    Work,
    Stop,
}

impl Applier {
    /// Applies windows until it is asked to stop; the transaction in hand is finished first. Without a session the target
    /// was down at start: it is tried until it is there.
    ///
    /// # Errors
    /// When the target refuses a row and `--on-row-error` says so, another process has taken over, or a promise was broken. Retries do not end.
    pub fn run(mut self, lease: Option<Lease>) -> Result<()> {
        let status = Arc::clone(&self.status);
        let heartbeat = &status.measures.applier;
        let _alive = heartbeat.begin();
        let lease = lease.map_or_else(|| self.take_over(), |lease| Ok(Some(lease)))?;
        let Some(mut lease) = lease else { return Ok(()) };
        let _kept = self.holder.keep(&self.target, lease.progress().epoch)?;
        self.backlog.release(lease.applied());
        self.status.applied(lease.progress().applied, 0, 0);
        self.warn_of_second_effects();
        let mut windows = self.reader(&lease).spawn(self.resolved.clone())?;
        // The reader ends, and with it the channel, once a stop is asked for.
        loop {
            heartbeat.rest();
            let Ok(prepared) = windows.recv() else { break };
            heartbeat.beat();
            if *self.stop.borrow() {
                break;
            }
            match self.apply(&mut lease, prepared?) {
                Ok(true) => {}
                Ok(false) => break,
                Err(ApplyError::Row(refused)) if self.settings.on_row_error == OnRowError::Wait => {
                    if !self.wait_out(&mut lease, refused)? {
                        break;
                    }
                    // What was read ahead may have been applied by now.
                    windows = self.reader(&lease).spawn(self.resolved.clone())?;
                }
                Err(ApplyError::Row(refused)) => return Err(refused.ends_the_run()),
                Err(error) => return Err(error.into()),
            }
        }
        lease.session.close();
        match *self.stop.borrow() {
            true => Ok(()),
            false => Err(Error::new(code::defect::PANIC, "the thread that reads ahead has ended by itself")
                .hint("start again: nothing acknowledged was lost; report this with the lines above")),
        }
    }

    /// Applies what is staged up to a time, in the caller's thread and without reading ahead: every step of it can be
    /// repeated exactly.
    pub fn apply_up_to(&mut self, lease: &mut Lease, to: Timestamp) -> Result<()> {
        self.backlog.release(lease.applied());
        let mut outcome = Ok(true);
        self.reader(lease).read(to, |prepared| {
            outcome = self.apply(lease, prepared);
            matches!(outcome, Ok(true))
        })?;
        outcome.map(drop).map_err(Error::from)
    }

    fn warn_of_second_effects(&self) {
        let acting = self.escalation().acting(self.tables.list().iter().map(|table| table.position));
        if !acting.is_empty() {
            tracing::warn!(
                error_code = code::target::SECOND_EFFECTS.text(),
                hint =
                    self.catalog.suspend_hint.as_deref().unwrap_or("drop the triggers, or start with --triggers fire"),
                "triggers or cascades of the target act on what the source sends by itself, on {}: this session cannot \
                 suspend them",
                acting.join(", ")
            );
        }
    }

    fn reader(&self, lease: &Lease) -> Reader {
        Reader {
            catalog: Arc::clone(&self.catalog),
            tables: Arc::clone(&self.tables),
            keys: Arc::clone(&self.keys),
            runtime: self.runtime.clone(),
            case_sensitive: self.case_sensitive,
            backlog: self.backlog.clone(),
            limits: self.limits(),
            pace: Arc::clone(&self.pace),
            position: lease.progress().applied,
            status: Arc::clone(&self.status),
            stop: self.stop.clone(),
        }
    }

    /// Sleeps, but not through a stop.
    fn pause(&mut self, delay: Duration) -> Pause {
        if delay.is_zero() {
            return if *self.stop.borrow() { Pause::Stop } else { Pause::Work };
        }
        self.heartbeat().rest();
        let stop = &mut self.stop;
        let pause = match self.runtime.block_on(async { timeout(delay, stop.wait_for(|&stop| stop)).await.is_ok() }) {
            true => Pause::Stop,
            false => Pause::Work,
        };
        self.heartbeat().beat();
        pause
    }

    fn heartbeat(&self) -> &Heartbeat {
        &self.status.measures.applier
    }

    fn limits(&self) -> WindowLimits {
        WindowLimits {
            rows_max: self.pace.rows(),
            bytes_max: self.settings.transaction_bytes_max,
            transactions_max: usize::MAX,
        }
    }

    fn escalation(&self) -> Escalation<'_> {
        Escalation { catalog: &self.catalog, tables: &self.plans, triggers: self.settings.triggers }
    }

    fn writer(&self) -> Writer<'_> {
        Writer {
            catalog: &self.catalog,
            plans: &self.plans,
            tables: &self.tables,
            backlog: &self.backlog,
            limits: self.limits(),
            case_sensitive: self.case_sensitive,
            heartbeat: self.heartbeat(),
        }
    }

    fn advance(&self, lease: &Lease, interval: Interval) -> Advance {
        Advance {
            feed: self.holder.feed().to_owned(),
            epoch: lease.progress().epoch,
            from: interval.from,
            to: interval.to,
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(self.settings.retry_delay_min, self.settings.retry_delay_max)
    }
}
