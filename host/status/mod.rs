//! What a running ebb knows about itself, and the pages that show it.
//!
//! Owns: counters, the snapshot of them at one moment, and its renderings, each in a file of its own. Does not own: any decision;
//! nothing reads a number back. What is logged is said where it happens.

mod exposition;
mod headline;
mod hour;
mod json;
mod liveness;
mod measures;
mod molt_metrics;
mod page;
mod pages;
mod prometheus;
mod snapshot;
mod standing;
mod table_counts;
mod trend;
#[cfg(test)]
mod tests;
mod verdict;
mod verification;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ebb_sdk::{Rounded, Timestamp};
use parking_lot::Mutex;
use tokio::sync::watch;

pub use measures::Measures;
pub use pages::Pages;
pub use snapshot::{ChangefeedState, Snapshot};
pub use verdict::Reason;
pub use verification::{Proof, Verification};

use crate::code::{self, Code};
use crate::config::Access;
use crate::error::Error;
use crate::history::History;
use crate::logged;
use crate::stage::{Forecast, StageMeasures};
use hour::Hour;
use table_counts::TableCounters;
use trend::Trend;

/// Counts what happens. Shared by all parts of a run.
#[derive(Debug, Default)]
pub struct Status {
    began: Began,
    rows_received: AtomicU64,
    /// When the last request was accepted.
    arrived: Mutex<Option<Instant>>,
    /// By status code.
    requests_refused: Mutex<BTreeMap<u16, u64>>,
    /// How clients show that they may write.
    authentication: Vec<&'static str>,
    handshakes_failed: AtomicU64,
    rows_applied: AtomicU64,
    transactions_applied: AtomicU64,
    retries: AtomicU64,
    /// By table and column: values that lost digits, as `--allow-rounding` lets them.
    values_rounded: Mutex<BTreeMap<(String, String), u64>>,
    applied: watch::Sender<Timestamp>,
    waiting: Mutex<Option<Waiting>>,
    changefeed: Mutex<(Option<i64>, ChangefeedState)>,
    /// Since when the target takes no rows, and why.
    target_down: Mutex<Option<(Instant, Code)>>,
    trend: Mutex<Trend>,
    /// How old what the changefeed has not delivered may become before it fails.
    protected_for: Mutex<Option<Duration>>,
    /// When the sequences of the target were advanced last.
    sequences_advanced: Mutex<Option<SystemTime>>,
    /// The last comparison of both sides.
    verification: Mutex<Option<Verification>>,
    history: History,
    hour: Mutex<Hour>,
    pub tables: TableCounters,
    pub measures: Measures,
    /// Those of staging.
    staging: Arc<StageMeasures>,
    /// When certificates end, by what they are for.
    certificates: Mutex<Vec<(&'static str, SystemTime)>>,
}

/// Events that `/_/status` shows.
const EVENTS_SHOWN: usize = 20;

/// When the run began.
#[derive(Debug)]
struct Began(Instant);

impl Default for Began {
    fn default() -> Self {
        Self(Instant::now())
    }
}

/// A row that applying waits for.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub since: SystemTime,
    /// Of its source transaction.
    pub at: Timestamp,
    pub error: Error,
    pub tries: u32,
    pub next_try: SystemTime,
}

impl Status {
    pub fn new(access: &Access) -> Self {
        let ways = [
            (access.client_ca.is_some(), "client certificate"),
            (access.tokens.is_some(), "token"),
            (access.header.is_some() && access.tokens.is_none(), "header"),
        ];
        let authentication = ways.into_iter().filter(|(is_chosen, _)| *is_chosen).map(|(_, way)| way).collect();
        Self { authentication, ..Self::default() }
    }

    /// The same, with what has happened.
    #[must_use]
    pub fn with_history(self, history: History) -> Self {
        Self { history, ..self }
    }

    /// The same, with what staging measures of itself.
    pub fn with_staging(self, staging: Arc<StageMeasures>) -> Self {
        Self { staging, ..self }
    }

    /// How clients show that they may write, for a person.
    pub fn authentication(&self) -> String {
        if self.authentication.is_empty() { "disabled".into() } else { self.authentication.join(", ") }
    }

    /// A request was accepted: rows, or a resolved timestamp.
    pub fn arrived(&self) {
        *self.arrived.lock() = Some(Instant::now());
    }

    pub fn arrived_last(&self) -> Option<Instant> {
        *self.arrived.lock()
    }

    pub fn received(&self, rows: u64) {
        self.rows_received.fetch_add(rows, Ordering::Relaxed);
    }

    pub fn applied(&self, to: Timestamp, transactions: u64, rows: u64) {
        self.applied.send_replace(to);
        self.target_answers();
        self.transactions_applied.fetch_add(transactions, Ordering::Relaxed);
        self.rows_applied.fetch_add(rows, Ordering::Relaxed);
    }

    /// How far the target is, as it moves.
    pub fn watch_applied(&self) -> watch::Receiver<Timestamp> {
        self.applied.subscribe()
    }

    pub fn rounded(&self, values: Vec<Rounded>) {
        let mut rounded = self.values_rounded.lock();
        for Rounded { table, column, values } in values {
            let place = (table, column);
            if !rounded.contains_key(&place) {
                let (table, column) = &place;
                tracing::warn!(
                    error_code = code::table::DIGITS_ROUNDED.text(),
                    table,
                    column,
                    "values have lost digits, as --allow-rounding allows"
                );
            }
            *rounded.entry(place).or_default() += values;
        }
    }

    /// Sets what applying waits for.
    pub fn waiting(&self, waiting: Option<Waiting>) {
        *self.waiting.lock() = waiting;
    }

    /// The target takes no rows now, and is tried again.
    pub fn retried(&self, why: Code) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.target_fails(why);
    }

    /// The target takes no rows now.
    pub fn target_fails(&self, why: Code) {
        let mut down = self.target_down.lock();
        *down = Some((down.map_or_else(Instant::now, |(since, _)| since), why));
    }

    /// It takes rows again.
    pub fn target_answers(&self) {
        *self.target_down.lock() = None;
    }

    /// Sets what was seen of the changefeed's job.
    pub fn changefeed(&self, job: Option<i64>, state: ChangefeedState) {
        *self.changefeed.lock() = (job, state);
    }

    /// Sets how old what the changefeed has not delivered may become.
    pub fn protected_for(&self, limit: Option<Duration>) {
        *self.protected_for.lock() = limit;
    }

    /// Sets what the last comparison of both sides has found.
    pub fn verification(&self, found: Option<Verification>) {
        *self.verification.lock() = found;
    }

    /// Sequences of the target were looked at, and advanced where they were behind.
    pub fn sequences_advanced(&self, at: SystemTime) {
        *self.sequences_advanced.lock() = Some(at);
    }

    /// Remembers where the run stands, once a second.
    pub fn sample(&self, snapshot: &Snapshot) {
        self.trend.lock().add(snapshot);
        self.hour.lock().add(snapshot);
    }

    /// The samples of the last hour.
    fn hour(&self) -> Hour {
        self.hour.lock().clone()
    }

    /// Sets when certificates end.
    pub fn certificates(&self, ends: Vec<(&'static str, SystemTime)>) {
        *self.certificates.lock() = ends;
    }

    pub fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that was answered with another status code than 200.
    pub fn refused(&self, code: u16) {
        *self.requests_refused.lock().entry(code).or_default() += 1;
    }

    /// All of it now, beside what staging knows.
    pub fn snapshot(&self, feed: &str, resolved: Timestamp, staging: Forecast) -> Snapshot {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let applied = *self.applied.borrow();
        let (job, changefeed) = *self.changefeed.lock();
        let (rate, caught_up_in) = {
            let trend = self.trend.lock();
            (trend.rate(), trend.caught_up_in())
        };
        Snapshot {
            at: SystemTime::now(),
            running_for: self.began.0.elapsed(),
            arrived_ago: self.arrived.lock().map(|arrived| arrived.elapsed()),
            job,
            changefeed,
            rate,
            caught_up_in,
            target_down: self.target_down.lock().map(|(since, why)| (since.elapsed(), why)),
            feed: feed.to_owned(),
            authentication: self.authentication.clone(),
            rows_received: count(&self.rows_received),
            requests_refused: self.requests_refused.lock().clone(),
            handshakes_failed: count(&self.handshakes_failed),
            resolved,
            resolved_stands: self.measures.stands(resolved),
            staging,
            applied: (applied != Timestamp::ZERO).then_some(applied),
            rows_applied: count(&self.rows_applied),
            transactions_applied: count(&self.transactions_applied),
            retries: count(&self.retries),
            values_rounded: self.values_rounded.lock().clone(),
            waiting: self.waiting.lock().clone(),
            protected_for: *self.protected_for.lock(),
            sequences_advanced: *self.sequences_advanced.lock(),
            verification: self.verification.lock().clone(),
            history: self.history.last(EVENTS_SHOWN),
            build: snapshot::Build::THIS,
            tables: self.tables.counts(),
            other_failures: self.tables.other_failures(),
            distributions: self.measures.distributions(&self.staging),
            threads: self.measures.threads(&self.staging),
            certificates: self.certificates.lock().clone(),
            logged: logged::now(),
        }
    }
}
