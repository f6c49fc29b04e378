//! A run from start to end: every part is made here, in order, and handed what it needs.
//!
//! Owns: which event ends the run, and the orderly end. Does not own: the start (`start`), any step of a change's life.

mod changes;
pub mod check;
mod establish;
pub mod probe;
mod progress;
mod record;
mod running;
mod standing;
mod start;
mod survey;
mod tasks;
mod verified;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ebb_sdk::Timestamp;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

use crate::changefeed::Feed;
use crate::code;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::history::{Entry, Event};
use crate::log;
use crate::measure::awake;
use crate::receive::{self, Receiver};
use crate::signals::Signals;
use crate::stage::{Backlog, Stage};
use crate::status::{ChangefeedState, Pages, Status};
use crate::tables::KeyWatch;
use crate::threads;
use changes::Changes;
use record::Record;
use start::{Search, start};
use tasks::Tasks;
use verified::Verified;
use words::Fate;

/// How often the state of the changefeed's job is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// Runs until a signal (`Ok`) or a failure.
pub fn run(config: Config) -> Result<()> {
    // Whatever the run writes holds rows or what is run on the target.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    awake::watch()?;
    let runtime = threads::runtime(&mut Builder::new_multi_thread())?;
    let outcome = runtime.block_on(start_and_run(config));
    // Requests and lookups that are still under way must not hold up the end; threads that use it end with the process.
    std::mem::forget(runtime);
    outcome
}

async fn start_and_run(config: Config) -> Result<()> {
    let record = Record::open(&config)?;
    let signals = Signals::listen()?;
    receive::raise_open_files(&config.receiver.limits);
    let started = tokio::select! {
        biased;
        signal = signals.first() => {
            record.signalled(signal);
            Ok(None)
        }
        running = start(config, signals.hangups(), &record) => running.map(Some),
    };
    let (outcome, left) = match started {
        Ok(Some(running)) => running.run(signals, &record).await,
        Ok(None) => (Ok(()), None),
        Err(error) => (Err(error), None),
    };
    record.ended(&outcome, left).await;
    outcome
}

/// Everything that runs, ready to be supervised.
struct Running {
    config: Config,
    /// `None` where nothing is received: `--apply-only`.
    receiver: Option<Receiver>,
    pages: Option<Pages>,
    stage: Stage,
    status: Arc<Status>,
    feed: Option<Feed>,
    /// Looks for a source that was down at start.
    search: Option<Search>,
    keys: Arc<KeyWatch>,
    /// The tables as the target described them.
    described: BTreeMap<String, String>,
    /// How far the target is.
    applied: watch::Receiver<Timestamp>,
    lease_lost: watch::Receiver<Option<Error>>,
    stop: watch::Sender<bool>,
    applier: oneshot::Receiver<Result<()>>,
}

impl Running {
    /// Returns what has ended it, and what became of its changefeed.
    async fn run(mut self, signals: Signals, record: &Record) -> (Result<()>, Option<String>) {
        let mut tasks = self.tasks(&signals);
        // What has happened until the end still has its hooks.
        let mut hooks = Tasks::default();
        hooks.spawn("hooks", record.queue().serve());
        let mut failed = self.stage.inbox.failed();
        let outcome = tokio::select! {
            biased;
            // 1. Nothing may be acknowledged after the disk has failed.
            error = failed.wait_for(Option::is_some) => Err(disk_error(error.ok().and_then(|error| error.clone()))),
            // 2. What comes is another process's now.
            error = lost(&mut self.lease_lost) => Err(error),
            // 3. The applier ends by itself only when it cannot go on.
            ended = &mut self.applier => ended.unwrap_or_else(|_| Err(Error::new(code::defect::TASK_ENDED, "the applier ended without an outcome").hint(tasks::AGAIN))),
            // 4. Somebody wants it to end.
            signal = signals.first() => {
                record.signalled(signal);
                refuse_half(&self.config, &self.stage, *self.applied.borrow())
            }
            // 5. The changefeed is gone, and nothing more will come.
            error = watch_feed(&mut self.feed, self.search.as_ref(), &self.status, &self.stage.backlog) => Err(error),
            // 6. A part that goes on as long as the run has ended.
            error = tasks.ended() => Err(error),
            error = hooks.ended() => Err(error),
            // 7. Nothing more is to be applied.
            () = drained(&self.config, &self.stage, self.applied.clone()) => report_rest(&self.stage),
        };
        log::status("");
        match &outcome {
            Ok(()) => tracing::info!("ending"),
            Err(error) => record.changefeed_ended(error, self.feed.as_ref().map(Feed::job)),
        }
        tasks.close().await;
        self.stop.send_replace(true);
        if !self.applier.is_terminated() {
            let ended = tokio::time::timeout(self.config.grace_period, &mut self.applier).await;
            if ended.is_err() {
                tracing::warn!(
                    error_code = code::target::GRACE_PERIOD.text(),
                    hint = "give it more time with --gracePeriod, if the target is slow",
                    "the transaction in hand did not end within {} s (--gracePeriod): the target rolls it back, and the next \
                     start repeats it",
                    self.config.grace_period.as_secs()
                );
            }
        }
        let fate = record::fate(&outcome, self.feed.as_ref());
        let ended = match (&self.feed, &self.config.changefeed) {
            (Some(feed), Some(settings)) if fate != Fate::Ended => feed.end(settings.on_exit).await,
            _ => Ok(()),
        };
        if outcome.is_ok() && ended.is_ok() {
            words::say_end(&self.config, &self.stage, *self.applied.borrow(), self.feed.as_ref(), fate);
        }
        record.drain().await;
        hooks.close().await;
        let left = ended.is_ok().then(|| record::left(&self.config, self.feed.as_ref(), fate)).flatten();
        // What ended the run comes first; a job that could not be paused as well is the lesser trouble.
        (outcome.and(ended), left)
    }

    /// Starts everything that goes on as long as the run and is no thread.
    fn tasks(&mut self, signals: &Signals) -> Tasks {
        let mut tasks = Tasks::default();
        let receives = self.receiver.is_some();
        let history = self.stage.run_state.history();
        if let Some(receiver) = self.receiver.take() {
            let noted = history.clone();
            let on_read =
                move || noted.note(Entry::new(Event::CertificatesRead, "certificates and keys were read again"));
            tasks.spawn("reload", receiver.reloader().run(signals.hangups(), on_read));
            tasks.spawn("receiver", receiver.run());
        }
        if let Some(pages) = self.pages.take() {
            tasks.spawn("pages", pages.run());
        }
        let (status, backlog) = (Arc::clone(&self.status), self.stage.backlog.clone());
        let changes = Changes::new(self.config.stalled_after, receives);
        let watch = changes::watch(Arc::clone(&status), backlog.clone(), changes, history.clone(), signals.hangups());
        tasks.spawn("history", watch);
        let keys = Arc::clone(&self.keys);
        tasks.spawn("keys", async move { keys.keep_up().await });
        let verified = Verified::of(&self.config, std::mem::take(&mut self.described));
        tasks.spawn("verified", verified.watch(Arc::clone(&status), history.clone()));
        tasks.spawn("progress", progress::report(status, backlog, self.config.staging.schema.clone()));
        tasks
    }
}

/// Comes back only when the lease is lost.
async fn lost(lease: &mut watch::Receiver<Option<Error>>) -> Error {
    match lease.wait_for(Option::is_some).await.map(|error| error.clone()) {
        Ok(Some(error)) => error,
        _ => std::future::pending().await,
    }
}

fn disk_error(error: Option<Error>) -> Error {
    error.unwrap_or_else(|| Error::new(code::defect::TASK_ENDED, "staging ended without an error").hint(tasks::AGAIN))
}

/// Comes back only when the changefeed has ended for good.
async fn watch_feed(feed: &mut Option<Feed>, search: Option<&Search>, status: &Status, backlog: &Backlog) -> Error {
    if let (None, Some(search)) = (&feed, search) {
        status.changefeed(None, ChangefeedState::Unseen);
        match search.run().await {
            Ok(found) => *feed = Some(found),
            Err(error) => return error,
        }
    }
    let Some(feed) = feed else { return std::future::pending().await };
    status.changefeed(Some(feed.job()), ChangefeedState::NotLooked);
    status.protected_for(feed.protection_max().await);
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        if let Err(error) = feed.look(status.arrived_last(), backlog.holds_requests()).await {
            return error;
        }
        status.changefeed(Some(feed.job()), feed.state());
    }
}

/// With `--apply-only`, comes back when everything that is complete was applied.
async fn drained(config: &Config, stage: &Stage, mut applied: watch::Receiver<Timestamp>) {
    let resolved = stage.backlog.resolved();
    if !config.apply_only || applied.wait_for(|&applied| applied >= resolved).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Whoever waits for `--apply-only` must not take an early end for the good one.
fn refuse_half(config: &Config, stage: &Stage, applied: Timestamp) -> Result<()> {
    let resolved = stage.backlog.resolved();
    if !config.apply_only || applied >= resolved {
        return Ok(());
    }
    Err(Error::new(
        code::staging::ENDED_EARLY,
        format!("a signal ended ebb at {applied}, before it had applied everything that is staged up to {resolved}"),
    )
    .hint("start again with the same command: it goes on where it stopped"))
}

fn report_rest(stage: &Stage) -> Result<()> {
    let resolved = stage.backlog.resolved();
    if resolved == Timestamp::ZERO {
        return Err(Error::new(code::staging::NOT_COMPLETE,
            "nothing that is staged can be applied: no resolved timestamp has come yet, so that no source transaction is known to \
             be complete",
        )
        .hint("the staged rows are a part of an initial scan, and the target equals the source at no time: load the target anew"));
    }
    let rest = stage.backlog.rest(resolved);
    let rows = rest.map(|row| row.map(drop)).collect::<Result<Vec<()>>>()?.len();
    tracing::info!(rows_left = rows, "everything staged was applied: the target equals the source at {resolved}");
    if rows > 0 {
        tracing::warn!(
            error_code = code::staging::NOT_COMPLETE.text(),
            "{rows} later rows stay staged: no resolved timestamp has said that their transactions are complete"
        );
    }
    Ok(())
}
