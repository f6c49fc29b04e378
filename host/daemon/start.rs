//! The start-up: what must hold before anything is received, and every part of a run, in order.
//!
//! Owns: the order, and what a start does without while the source or the target is down. Does not own: any check itself
//! (`tables`, `changefeed`, `target`).

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ebb_sdk::{Catalog, DatabaseUrl};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;

use super::Started;
use crate::apply::{Applier, Pace};
use crate::changefeed::{self, Feed};
use crate::config::{self, Config, InitialScan, Triggers};
use crate::consent::Consent;
use crate::error::{Error, Result};
use crate::plugin::{self, Session};
use crate::receive::{Receiver, Tables};
use crate::source::{Source, advisories};
use crate::stage::{self, Stage};
use crate::status::{Pages, Status};
use crate::tables::{self, KeyWatch, Watched};
use crate::target::{self, Found, Holder, Open, Taken, Target};
use crate::triggers;

/// How often a source that was down at start is looked for.
const SEARCH_INTERVAL: Duration = Duration::from_secs(10);

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

    /// `None` while the target is down, and nothing needs it.
    async fn take_over(
        &mut self,
        config: &Config,
        target: &Target,
        stage: &Stage,
        source: Option<&Source>,
        holder: &Holder,
    ) -> Result<Option<Taken>> {
        let Some(mut session) = self.session.take() else { return Ok(None) };
        loop {
            if let Some(taken) = target::take_over(session, holder).await? {
                return Ok(Some(taken));
            }
            if changefeed::is_there(config, source, &self.catalog, stage).await? {
                return Ok(None);
            }
            let open = target.wait(config.target.wait).await?;
            if open.catalog != self.catalog {
                return Err(Error::new("the target's tables have changed while ebb started")
                    .hint("start again with the same command"));
            }
            session = open.session;
        }
    }
}

pub(super) async fn start(config: Config, hangups: watch::Receiver<u64>) -> Result<Started> {
    let url = DatabaseUrl::parse(config.target.url.reveal())?;
    let plugin = Arc::new(plugin::load(config.target.plugin.as_deref(), &url.scheme, &config.target.plugin_dirs)?);
    let reached = reach(&config).await?;
    let mut target = Target::new(plugin, &config.target);
    target.connect.source_is_known = matches!(reached, Reached::Source(_));
    let open = target.open().await?;
    tracing::info!("starting replicator");
    let stage = open_stage(&config.staging).await?;
    tracing::info!("staging database name: {}", config.staging.schema);
    let source = settle_source(&config, reached, &stage)?;
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
    // Nobody has looked at the types while the target is down.
    target.connect.source_is_known &= known.session.is_some();
    if let (Some(source), Some(settings)) = (&source, &config.changefeed) {
        let plan = changefeed::Plan::new(settings, &watched, &known.catalog, &stage, source);
        changefeed::refuse_new_tables(&plan, &known.found)?;
    }
    if config.changefeed.is_some() {
        holder.keep_tables(watched.iter().filter_map(|watched| watched.source.clone()).collect());
    }

    let status = Arc::new(Status::new(&config.receiver.access));
    let pages = bind_pages(&config, &status, &stage).await?;
    let receiver = bind_receiver(&config, &stage, &tables, &keys, &status).await?;
    if let Some(addr) = pages.as_ref().and_then(Pages::addr) {
        tracing::info!(address = %addr, "pages listening");
    }

    // A repeat of what the target has must be known as one from the first request on. Connections are accepted only once
    // the changefeed is settled: a changefeed that is being replaced must not deliver another resolved timestamp, and
    // without a finished handshake it cannot have sent one.
    stage.release(known.found.applied());
    // Taking over ends a process that runs: whatever could fail without it has not.
    let mut taken = known.take_over(&config, &target, &stage, source.as_ref(), &holder).await?;
    let search = Search::of(&config, source.is_none(), &watched, &known.catalog, &stage);
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
    let applied = status.watch_applied();
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
            pace: Arc::new(Pace::new(config.apply.transaction_rows_max)),
            stop: stopped,
            hangups,
            runtime: Handle::current(),
        },
        taken,
    );
    Ok(Started { config, receiver, pages, stage, feed, search, applied, stop, applier })
}

/// What is known of the tables before anything is received.
struct Settled {
    /// Those that are replicated.
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
    let (watched, database) = match source {
        None if config.source.is_some() => tables::remembered(stage, &known.catalog)?,
        source => {
            let matched = tables::matched(config, source, &known.catalog).await?;
            // The plugin answers without asking the server.
            let watched = tokio::task::block_in_place(|| {
                let session = known.session.as_mut().map(|session| (session, &target.connect));
                matched.settle(&known.catalog, session)
            })?;
            let mut watched = watched;
            if let Some(source) = source {
                watched.extend(tables::left(stage, &known.catalog, &watched, known.found.applied())?);
                tables::remember(stage, &known.catalog, &watched, source.database())?;
            }
            (watched, source.map(|source| source.database().to_owned()))
        }
    };
    let tables = Arc::new(tables::register(stage, &known.catalog, &watched, database.as_deref(), config)?);
    let catalog = Arc::new(known.catalog.clone());
    let keys = Arc::new(KeyWatch::new(config, catalog, Arc::clone(&tables), stage.store(), known.found.applied())?);
    // A key that was changed while no ebb ran is followed before anything is read by it.
    if source.is_some() {
        keys.refresh().await?;
    }
    let watched = watched.into_iter().filter(|watched| !watched.is_left).collect();
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

/// The source, where it is wanted and can be reached.
enum Reached {
    Unwanted,
    Source(Box<Source>),
    Down(Error),
}

async fn reach(config: &Config) -> Result<Reached> {
    match &config.source {
        Some(settings) if !config.apply_only => Ok(match Source::reach(settings).await? {
            Ok(source) => Reached::Source(Box::new(source)),
            Err(error) => Reached::Down(error),
        }),
        _ => Ok(Reached::Unwanted),
    }
}

/// A run that has been settled before goes on without the source: what is staged is applied, and what comes is taken.
fn settle_source(config: &Config, reached: Reached, stage: &Stage) -> Result<Option<Source>> {
    if config.apply_only && stage.is_fresh() {
        return Err(Error::new(format!(
            "nothing is staged for {} in {}",
            config.staging.schema,
            config.staging.dir.display()
        ))
        .hint("give --stagingSchema and --staging-dir of the run whose rows are to be applied"));
    }
    match reached {
        Reached::Source(source) => Ok(Some(*source)),
        Reached::Unwanted => Ok(None),
        Reached::Down(error) if stage.is_fresh() || !tables::are_remembered(stage)? => Err(error),
        Reached::Down(error) => {
            tracing::warn!(
                hint = error.hint,
                "{error}; what is staged is applied meanwhile, with tables and keys as they were at the last start"
            );
            Ok(None)
        }
    }
}

/// A source that was down at start is looked for until it is there, and with it the changefeed.
pub(super) struct Search {
    source: config::Source,
    settings: config::Changefeed,
    watched: Vec<Watched>,
    catalog: Catalog,
    stage: Stage,
}

impl Search {
    fn of(config: &Config, is_down: bool, watched: &[Watched], catalog: &Catalog, stage: &Stage) -> Option<Self> {
        match (&config.source, &config.changefeed) {
            (Some(source), Some(settings)) if is_down && !config.apply_only => Some(Self {
                source: source.clone(),
                settings: settings.clone(),
                watched: watched.to_vec(),
                catalog: catalog.clone(),
                stage: stage.clone(),
            }),
            _ => None,
        }
    }

    pub(super) async fn run(&self) -> Result<Feed> {
        loop {
            tokio::time::sleep(SEARCH_INTERVAL).await;
            let source = match Source::reach(&self.source).await? {
                Ok(source) => source,
                Err(error) => {
                    tracing::debug!("the source is still down: {error}");
                    continue;
                }
            };
            tracing::info!(source = source.version(), "the source is there again");
            let plan = changefeed::Plan::new(&self.settings, &self.watched, &self.catalog, &self.stage, &source);
            return changefeed::resume(&source, &plan).await.map(|job| Feed::new(source, job, &self.settings));
        }
    }
}

async fn bind_receiver(
    config: &Config,
    stage: &Stage,
    tables: &Arc<Tables>,
    keys: &Arc<KeyWatch>,
    status: &Arc<Status>,
) -> Result<Option<Receiver>> {
    if config.apply_only {
        return Ok(None);
    }
    let (stage, tables, keys) = (stage.clone(), Arc::clone(tables), Arc::clone(keys));
    let receiver = Receiver::bind(&config.receiver, stage, tables, keys, Arc::clone(status)).await?;
    tracing::info!(address = %receiver.addr()?, authentication = status.authentication(), "receiver listening");
    Ok(Some(receiver))
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
    let unsafe_filesystem = settings.unsafe_filesystem;
    blocking(move || {
        stage::place::check(&folder, unsafe_filesystem)?;
        Stage::open(&folder, limits)
    })
    .await
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
