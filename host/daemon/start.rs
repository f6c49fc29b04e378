//! The start-up: what must hold before anything is received, and every part of a run, in order.
//!
//! Owns: the order, and what a start does without while the source or the target is down. Does not own: any check itself
//! (`tables`, `changefeed`, `target`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ebb_sdk::Catalog;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;

use super::establish::{TablesAtStart, TargetAtStart, establish, match_tables};
use super::record::Record;
use super::tasks::AGAIN;
use super::{Running, words};
use crate::apply::{Applier, Pace, TablePlans};
use crate::changefeed::{self, Feed};
use crate::code;
use crate::config::{self, Config, InitialScan};
use crate::consent::Consent;
use crate::error::{Error, Result};
use crate::lasting::{Lasting, for_so_long};
use crate::receive::Receiver;
use crate::source::{Source, advisories};
use crate::stage::{self, MetadataFile, PagesOfRun, RunState, Stage};
use crate::status::{Pages, Status};
use crate::tables::Tables;
use crate::tables::{self, KeyWatch, TableRoute};
use crate::target::{Holder, Lease, Target};
use crate::threads;
use crate::verify;

/// How often a source that was down at start is looked for.
const SEARCH_INTERVAL: Duration = Duration::from_secs(10);

#[expect(clippy::too_many_lines, reason = "a start reads from top to bottom")]
pub(super) async fn start(config: Config, hangups: watch::Receiver<u64>, record: &Record) -> Result<Running> {
    let mut target = Target::load(&config.target)?;
    let reached = reach(&config).await?;
    target.connect.source_is_known = matches!(reached, Reached::Source(_));
    let connected = target.open().await?;
    tracing::info!("starting replicator");
    let stage = open_stage(&config.staging).await?;
    record.begin(stage.run_state.history());
    tracing::info!("staging database name: {}", config.staging.schema);
    let mut holder = holder(&config.staging, &stage.run_state);
    let source = source_at_start(&config, reached, &stage.run_state, &holder)?;
    let mut target_at_start =
        TargetAtStart::acquire(&config, &target, connected, &stage.run_state, source.as_ref(), &holder).await?;
    tracing::info!(
        plugin = %target.plugin.path.display(),
        source = source.as_ref().map(Source::version),
        target = target_at_start.catalog.server_version,
        "connected"
    );
    words::say_resume(&stage.run_state, target_at_start.found.applied());
    warn_of_advisories(source.as_ref(), config.changefeed.as_ref());
    let matched = match_tables(&config, &target, source.as_ref(), &stage, &mut target_at_start).await?;
    if matched.are_types_known != target.connect.source_is_known {
        target.connect.source_is_known = matched.are_types_known;
        target_at_start.reopen(&target).await?;
    }
    let TablesAtStart { routes, tables, keys, .. } = &matched;
    let is_continued = holder.is_continued()?;
    let mut agreed = None;
    if let (Some(source), Some(settings)) = (&source, &config.changefeed) {
        let desired = changefeed::Desired::new(
            settings,
            routes,
            &target_at_start.catalog,
            &stage.run_state,
            source,
            is_continued,
        );
        // While the target is down nothing is created.
        if target_at_start.session.is_some() {
            let consent = Consent::of(config.staging.non_interactive);
            let (progress, feed) = (target_at_start.found.progress, &config.staging.schema);
            agreed = changefeed::refuse_early(source, &desired, progress, feed, consent).await?;
        }
    }
    if config.changefeed.is_some() {
        holder.keep_tables(routes.iter().filter_map(|route| route.source.clone()).collect(), &matched.taken_in);
    }

    let status = Status::new(&config.receiver.access).with_staging(stage.backlog.measures());
    let status = Arc::new(status.with_history(stage.run_state.history().clone()));
    status.tables.set(&target_at_start.catalog, tables.list().iter().map(|table| table.position));
    status.measures.limit_apply(config.target.apply_timeout);
    record.counts(&status);
    let pages = bind_pages(&config, &status, &stage).await?;
    let receiver = bind_receiver(&config, &stage, tables, keys, &status).await?;
    if let Some(addr) = pages.as_ref().and_then(Pages::addr) {
        tracing::info!(address = %addr, "pages listening");
    }

    words::say_sink(&config, &target_at_start.catalog, &stage.run_state);
    record.started(stage.run_state.is_fresh(), target_at_start.found.applied()).await?;

    // A repeat of what the target has must be known as one from the first request on. Connections are accepted only once
    // the changefeed is established: a changefeed that is being replaced must not deliver another resolved timestamp, and
    // without a finished handshake it cannot have sent one.
    stage.backlog.release(target_at_start.found.confirmed());
    // Taking over ends a process that runs: whatever could fail without it has not.
    let mut lease = target_at_start.take_over(&config, &target, &stage.run_state, source.as_ref(), &holder).await?;
    let is_down = source.is_none();
    let ended = establish(
        &config,
        source,
        &matched,
        &stage,
        &mut target_at_start.catalog,
        (&holder, is_continued, agreed),
        lease.as_mut(),
    )
    .await;
    let (feed, is_held) = ended.inspect_err(|_| {
        if let Some(lease) = &mut lease {
            let progress = lease.progress();
            tokio::task::block_in_place(|| holder.give_free(&mut lease.session, progress));
        }
    })?;
    let lease = lease.filter(|_| is_held);
    let TablesAtStart { routes, tables, keys, .. } = matched;
    let described = verify::described(&target_at_start.catalog, &routes);
    let search = Search::of(&config, is_down, &routes, (&target_at_start.catalog, is_continued), &stage.run_state);
    let (stop, stopped) = watch::channel(false);
    let applied = status.watch_applied();
    let lease_lost = holder.lost();
    let watched = Arc::clone(&keys);
    let applier = spawn_applier(
        Applier {
            target,
            settings: config.apply.clone(),
            case_sensitive: config.target.case_sensitive,
            holder,
            plans: TablePlans::of(&target_at_start.catalog),
            catalog: Arc::new(target_at_start.catalog),
            tables,
            keys,
            backlog: stage.backlog.clone(),
            resolved: stage.backlog.watch_resolved(),
            status: Arc::clone(&status),
            pace: Arc::new(Pace::new(config.apply.transaction_rows_max)),
            stop: stopped,
            hangups,
            runtime: Handle::current(),
        },
        lease,
    )?;
    Ok(Running {
        config,
        receiver,
        pages,
        stage,
        status,
        feed,
        search,
        keys: watched,
        described,
        applied,
        lease_lost,
        stop,
        applier,
    })
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

/// A run that was established before goes on without the source: what is staged is applied, and what comes is taken.
fn source_at_start(config: &Config, reached: Reached, run_state: &RunState, holder: &Holder) -> Result<Option<Source>> {
    if config.apply_only && run_state.is_fresh() {
        return Err(Error::new(
            code::staging::NOTHING_STAGED,
            format!("nothing is staged for {} in {}", config.staging.schema, config.staging.dir.display()),
        )
        .hint("give --stagingSchema and --staging-dir of the run whose rows are to be applied"));
    }
    match reached {
        Reached::Source(source) => Ok(Some(*source)),
        Reached::Unwanted => Ok(None),
        Reached::Down(error) if run_state.is_fresh() || !tables::are_remembered(run_state)? => Err(error),
        // Only CockroachDB knows what it was acknowledged: what it sends now may come behind rows that are missing.
        Reached::Down(error) if !holder.is_continued()? => Err(Error::new(code::changefeed::STAGING_PUT_BACK, format!(
            "{error}; the staging folder was moved or put back, or the machine was started anew, and only CockroachDB can say \
             whether the folder holds every row that was acknowledged"
        ))
        .hint("start again once CockroachDB can be reached; or give --apply-only, which applies what is complete here and ends")),
        Reached::Down(error) => {
            tracing::warn!(
                error_code = error.code.text(),
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
    routes: Vec<TableRoute>,
    catalog: Catalog,
    is_continued: bool,
    run_state: RunState,
}

impl Search {
    fn of(
        config: &Config,
        is_down: bool,
        routes: &[TableRoute],
        (catalog, is_continued): (&Catalog, bool),
        run_state: &RunState,
    ) -> Option<Self> {
        match (&config.source, &config.changefeed) {
            (Some(source), Some(settings)) if is_down && !config.apply_only => Some(Self {
                source: source.clone(),
                settings: settings.clone(),
                routes: routes.to_vec(),
                catalog: catalog.clone(),
                is_continued,
                run_state: run_state.clone(),
            }),
            _ => None,
        }
    }

    pub(super) async fn run(&self) -> Result<Feed> {
        let mut down = Lasting::begun();
        // The start has said it.
        down.due();
        loop {
            tokio::time::sleep(SEARCH_INTERVAL).await;
            let source = match Source::reach(&self.source).await? {
                Ok(source) => source,
                Err(error) => {
                    if let Some(lasted) = down.due() {
                        tracing::warn!(
                            error_code = error.code.text(),
                            hint = error.hint,
                            "the source has been down{}: {error}; what is staged is applied, and what arrives is received",
                            for_so_long(lasted)
                        );
                    }
                    continue;
                }
            };
            tracing::info!(source = source.version(), "the source is there again after {} s", down.lasted().as_secs());
            let Self { settings, routes, catalog, run_state, is_continued, .. } = self;
            let desired = changefeed::Desired::new(settings, routes, catalog, run_state, &source, *is_continued);
            return changefeed::resume(&source, &desired).await.map(|job| Feed::new(source, job, &self.settings));
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
    let (inbox, tables, keys) = (stage.inbox.clone(), Arc::clone(tables), Arc::clone(keys));
    let receiver = Receiver::bind(&config.receiver, inbox, &stage.run_state, tables, keys, Arc::clone(status)).await?;
    tracing::info!(address = %receiver.addr()?, authentication = status.authentication(), "receiver listening");
    Ok(Some(receiver))
}

/// Faults of the source that no receiver can make good.
fn warn_of_advisories(source: Option<&Source>, changefeed: Option<&config::Changefeed>) {
    let scans = changefeed.is_none_or(|settings| settings.initial_scan != InitialScan::No);
    let version = source.map_or("", Source::version);
    for warning in advisories::warnings(version, scans) {
        tracing::warn!(error_code = code::source::ADVISORY.text(), "{warning}");
    }
}

fn holder(settings: &config::Staging, run_state: &RunState) -> Holder {
    let folder = stage::folder(&settings.dir, &settings.schema);
    Holder::new(run_state.clone(), &settings.schema, &folder, settings.take_over)
}

async fn open_stage(settings: &config::Staging) -> Result<Stage> {
    let folder: PathBuf = stage::folder(&settings.dir, &settings.schema);
    let limits = stage::StagingLimits {
        disk_bytes_max: settings.disk_bytes_max,
        remember: settings.remember,
        ..stage::StagingLimits::default()
    };
    let unsafe_filesystem = settings.unsafe_filesystem;
    blocking(move || {
        stage::place::check(&folder, unsafe_filesystem)?;
        Stage::open(&folder, limits)
    })
    .await
}

async fn bind_pages(config: &Config, status: &Arc<Status>, stage: &Stage) -> Result<Option<Pages>> {
    // Those of an earlier run are gone.
    stage.run_state.save(MetadataFile::Pages, &None::<PagesOfRun>)?;
    let Some(pages) = &config.pages else { return Ok(None) };
    let (backlog, feed) = (stage.backlog.clone(), config.staging.schema.clone());
    match Pages::bind(pages, Arc::clone(status), backlog, feed, &stage.run_state).await {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if pages.required => Err(error),
        Err(error) => {
            tracing::warn!(
                error_code = error.code.text(),
                hint = error.hint,
                "no pages for health and metrics: {error}"
            );
            Ok(None)
        }
    }
}

/// Disk work blocks; it gets a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(|error| {
        Error::new(code::defect::TASK_ENDED, format!("a part of the start broke off: {error}")).hint(AGAIN)
    })?
}

fn spawn_applier(applier: Applier, lease: Option<Lease>) -> Result<oneshot::Receiver<Result<()>>> {
    let (done, ended) = oneshot::channel();
    // Nobody listens once the run has ended for another reason.
    threads::spawn("applier", |outcome| drop(done.send(outcome)), move || applier.run(lease))?;
    Ok(ended)
}
