//! A run from start to end: every part is made here, in order, and handed what it needs.
//!
//! Owns: the start-up order, and which failure ends the run. Does not own: any step of a change's life.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ebb_sdk::{Catalog, DatabaseUrl};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::apply::Applier;
use crate::changefeed::{self, Feed};
use crate::config::{self, Config, InitialScan, Triggers};
use crate::consent::Consent;
use crate::error::{Error, Result};
use crate::plugin::{self, Session};
use crate::receive::{Receiver, Tables};
use crate::signals::{self, Signals};
use crate::source::{Source, advisories};
use crate::stage::{self, Stage};
use crate::status::{Pages, Status};
use crate::tables::{self, KeyWatch, Watched};
use crate::target::{self, Found, Holder, Open, Taken, Target};
use crate::triggers;

/// How often the state of the changefeed's job is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// Runs until a signal (`Ok`) or a failure.
pub fn run(config: Config) -> Result<()> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(start_and_run(config));
    // Requests and lookups that are still under way must not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn start_and_run(config: Config) -> Result<()> {
    let signals = Signals::listen()?;
    signals::admit_files(&config.receiver.limits);
    let started = tokio::select! {
        biased;
        () = signals.first() => return Ok(()),
        started = start(config) => started?,
    };
    started.run(signals).await
}

/// What is known of the target before anything is received.
struct Known {
    catalog: Catalog,
    /// `None` while the target is down.
    session: Option<Session>,
    found: Found,
}

impl Known {
    /// A target that is down is no reason not to receive, when it was seen before and its changefeed is there.
    async fn settle(
        config: &Config,
        target: &Target,
        open: Option<Open>,
        stage: &Stage,
        source: Option<&Source>,
        holder: &Holder,
    ) -> Result<Self> {
        let mut open = open;
        loop {
            let found = match open.take() {
                Some(open) => open,
                None => {
                    if let Some(catalog) = target::known_catalog(stage)?
                        && changefeed::is_there(config, source, &catalog, stage).await?
                    {
                        tracing::warn!("receiving goes on while the target is down; rows are applied once it is there");
                        return Ok(Self { catalog, session: None, found: Found::default() });
                    }
                    target.wait(config.target.wait).await?
                }
            };
            target::remember_catalog(stage, &found.catalog)?;
            if let Some((session, at)) = target::look(found.session, holder).await? {
                return Ok(Self { catalog: found.catalog, session: Some(session), found: at });
            }
        }
    }

    /// `None` while the target is down.
    async fn take_over(&mut self, holder: &Holder) -> Result<Option<Taken>> {
        let Some(session) = self.session.take() else { return Ok(None) };
        let taken = target::take_over(session, holder).await?;
        taken.map(Some).ok_or_else(|| {
            Error::new("the target has gone away while ebb started").hint("start again with the same command")
        })
    }
}

/// Everything that runs, ready to be supervised.
struct Started {
    config: Config,
    receiver: Receiver,
    pages: Option<Pages>,
    stage: Stage,
    feed: Option<Feed>,
    stop: watch::Sender<bool>,
    applier: oneshot::Receiver<Result<()>>,
}

async fn start(config: Config) -> Result<Started> {
    let url = DatabaseUrl::parse(config.target.url.reveal())?;
    let plugin = Arc::new(plugin::load(config.target.plugin.as_deref(), &url.scheme, &config.target.plugin_dirs)?);
    let source = match &config.source {
        Some(settings) => Some(Source::connect(settings).await?),
        None => None,
    };
    let target = Target::new(plugin, &config.target);
    let open = target.open().await?;
    tracing::info!("starting replicator");
    let stage = open_stage(&config.staging).await?;
    tracing::info!("staging database name: {}", config.staging.schema);
    let mut holder = holder(&config.staging, &stage);
    let mut known = Known::settle(&config, &target, open, &stage, source.as_ref(), &holder).await?;
    tracing::info!(
        plugin = %target.plugin.path.display(),
        source = source.as_ref().map(Source::version),
        target = known.catalog.server_version,
        "connected"
    );
    warn_of_advisories(source.as_ref(), config.changefeed.as_ref());
    let Settled { watched, tables, keys } =
        settle_tables(&config, &target, source.as_ref(), &stage, &mut known).await?;
    if let (Some(source), Some(settings)) = (&source, &config.changefeed) {
        let plan = changefeed::Plan::new(settings, &watched, &known.catalog, &stage, source);
        changefeed::refuse_new_tables(&plan, &known.found)?;
        holder.keep_tables(watched.iter().filter_map(|watched| watched.source.clone()).collect());
    }

    let status = Arc::new(Status::new(&config.receiver.access));
    let pages = bind_pages(&config, &status, &stage).await?;
    let receiver = {
        let (stage, tables, keys) = (stage.clone(), Arc::clone(&tables), Arc::clone(&keys));
        Receiver::bind(&config.receiver, stage, tables, keys, Arc::clone(&status)).await?
    };
    tracing::info!(address = %receiver.addr()?, authentication = status.authentication(), "receiver listening");
    if let Some(addr) = pages.as_ref().and_then(Pages::addr) {
        tracing::info!(address = %addr, "pages listening");
    }

    // A repeat of what the target has must be known as one from the first request on. Connections are accepted only once
    // the changefeed is settled: a changefeed that is being replaced must not deliver another resolved timestamp, and
    // without a finished handshake it cannot have sent one.
    stage.release(known.found.applied());
    // Taking over ends a process that runs: whatever could fail without it has not.
    let mut taken = known.take_over(&holder).await?;
    let feed = settle_feed(&config, source, &watched, &stage, &known.catalog, taken.as_mut()).await?;
    // The last step: whatever has failed before has left the target as it was.
    if config.apply.triggers == Triggers::Drop {
        tokio::task::block_in_place(|| {
            let feed = &config.staging.schema;
            triggers::drop_all(&stage, feed, &watched, &mut known.catalog, taken.as_mut())
        })?;
    }
    // Nothing was acknowledged before this line, so that a start that is cut off here is simply made again.
    stage.settle()?;
    let (stop, stopped) = watch::channel(false);
    let applier = spawn_applier(
        Applier {
            target,
            settings: config.apply.clone(),
            case_sensitive: config.target.case_sensitive,
            holder,
            catalog: Arc::new(known.catalog),
            tables,
            keys,
            store: stage.store(),
            resolved: stage.resolved(),
            status,
            stop: stopped,
            runtime: Handle::current(),
        },
        taken,
    );
    Ok(Started { config, receiver, pages, stage, feed, stop, applier })
}

/// What is known of the tables before anything is received.
struct Settled {
    watched: Vec<Watched>,
    tables: Arc<Tables>,
    keys: Arc<KeyWatch>,
}

async fn settle_tables(
    config: &Config,
    target: &Target,
    source: Option<&Source>,
    stage: &Stage,
    known: &mut Known,
) -> Result<Settled> {
    let matched = tables::matched(config, source, &known.catalog).await?;
    // The plugin answers without asking the server.
    let watched = tokio::task::block_in_place(|| {
        let session = known.session.as_mut().map(|session| (session, &target.connect));
        matched.settle(&known.catalog, session)
    })?;
    let database = source.map(Source::database);
    let tables = Arc::new(tables::register(stage, &known.catalog, &watched, database, config)?);
    let catalog = Arc::new(known.catalog.clone());
    let keys = Arc::new(KeyWatch::new(config, catalog, Arc::clone(&tables), stage.store(), known.found.applied())?);
    // A key that was changed while no ebb ran is followed before anything is read by it.
    keys.refresh().await?;
    Ok(Settled { watched, tables, keys })
}

/// The changefeed of a run that has one of its own.
async fn settle_feed(
    config: &Config,
    source: Option<Source>,
    watched: &[Watched],
    stage: &Stage,
    catalog: &Catalog,
    taken: Option<&mut Taken>,
) -> Result<Option<Feed>> {
    let (Some(source), Some(settings)) = (source, &config.changefeed) else {
        taken.map_or(Ok(()), |taken| changefeed::refuse_lost_staging(stage, taken.progress))?;
        return Ok(None);
    };
    let plan = changefeed::Plan::new(settings, watched, catalog, stage, &source);
    let consent = Consent::of(config.staging.non_interactive);
    let feed = changefeed::settle(source, &plan, taken, &config.staging.schema, consent).await?;
    Ok(Some(feed))
}

impl Started {
    async fn run(mut self, mut signals: Signals) -> Result<()> {
        let reloading = signals.reload(self.receiver.reloader());
        let receiver = tokio::spawn(self.receiver.run());
        let pages = self.pages.take().map(|pages| tokio::spawn(pages.run()));
        let mut failed = self.stage.failed();
        let outcome = tokio::select! {
            biased;
            // 1. Nothing may be acknowledged after the disk has failed.
            error = failed.wait_for(Option::is_some) => Err(disk_error(error.ok().and_then(|error| error.clone()))),
            // 2. The applier ends by itself only when it cannot go on.
            ended = &mut self.applier => ended.unwrap_or_else(|_| Err(Error::new("the applier ended unexpectedly"))),
            // 3. Somebody wants it to end.
            () = signals.first() => Ok(()),
            // 4. The changefeed is gone, and nothing more will come.
            error = watch_feed(self.feed.as_ref()) => Err(error),
        };
        if outcome.is_ok() {
            tracing::info!("ending");
        }
        close(receiver).await;
        close(reloading).await;
        if let Some(pages) = pages {
            close(pages).await;
        }
        self.stop.send_replace(true);
        if !self.applier.is_terminated() {
            let ended = tokio::time::timeout(self.config.grace_period, &mut self.applier).await;
            if ended.is_err() {
                tracing::warn!("the transaction in hand did not end within --gracePeriod; it is left to be repeated");
            }
        }
        let ended = match (&self.feed, &self.config.changefeed) {
            (Some(feed), Some(settings)) => feed.end(settings.on_exit).await,
            _ => Ok(()),
        };
        // What ended the run comes first; a job that could not be paused as well is the lesser trouble.
        outcome.and(ended)
    }
}

/// Faults of the source that no receiver can make good.
fn warn_of_advisories(source: Option<&Source>, changefeed: Option<&config::Changefeed>) {
    let scans = changefeed.is_none_or(|settings| settings.initial_scan != InitialScan::No);
    let version = source.map_or("", Source::version);
    advisories::warnings(version, scans).iter().for_each(|warning| tracing::warn!("{warning}"));
}

fn holder(settings: &config::Staging, stage: &Stage) -> Holder {
    let folder = stage::folder(&settings.dir, &settings.schema);
    Holder::new(stage.store(), &settings.schema, &folder, settings.take_over)
}

async fn open_stage(settings: &config::Staging) -> Result<Stage> {
    let folder: PathBuf = stage::folder(&settings.dir, &settings.schema);
    let limits = stage::Limits {
        disk_bytes_max: settings.disk_bytes_max,
        remember: settings.remember,
        ..stage::Limits::default()
    };
    blocking(move || Stage::open(&folder, limits)).await
}

async fn bind_pages(config: &Config, status: &Arc<Status>, stage: &Stage) -> Result<Option<Pages>> {
    let Some(pages) = config.pages else { return Ok(None) };
    match Pages::bind(pages.addr, Arc::clone(status), stage.clone(), config.staging.schema.clone()).await {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if pages.required => Err(error),
        Err(error) => {
            tracing::warn!("no pages for health and metrics: {error}");
            Ok(None)
        }
    }
}

/// Disk work blocks; it gets a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(|error| Error::new(format!("a part of the start broke off: {error}")))?
}

fn spawn_applier(applier: Applier, taken: Option<Taken>) -> oneshot::Receiver<Result<()>> {
    let (done, ended) = oneshot::channel();
    thread::spawn(move || {
        // Nobody listens once the run has ended for another reason.
        let _ = done.send(applier.run(taken));
    });
    ended
}

fn disk_error(error: Option<Error>) -> Error {
    error.unwrap_or_else(|| Error::new("staging ended unexpectedly"))
}

/// Comes back only when the changefeed has ended for good.
async fn watch_feed(feed: Option<&Feed>) -> Error {
    let Some(feed) = feed else { return std::future::pending().await };
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        if let Err(error) = feed.look().await {
            return error;
        }
    }
}

async fn close(task: JoinHandle<()>) {
    task.abort();
    let _ = task.await;
}
