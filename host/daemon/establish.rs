//! What a start establishes: the target, the tables, the changefeed; last of all, that this run is the one that counts.
//!
//! Owns: what is kept for the next start, and only once this one has succeeded. Does not own: the order of the start (`start`),
//! any check itself (`tables`, `changefeed`, `target`).

use std::sync::Arc;

use ebb_sdk::{Catalog, ErrorKind, Timestamp};

use crate::changefeed::{self, Feed};
use crate::code;
use crate::config::{Config, NewTables, Triggers};
use crate::consent::Consent;
use crate::error::{Error, Result, listed};
use crate::history::{Entry, Event};
use crate::plugin::Session;
use crate::source::Source;
use crate::stage::{Bounds, RunState, Stage};
use crate::tables::Tables;
use crate::tables::{self, KeyWatch, TableRoute};
use crate::target::{self, Connected, FeedState, Holder, Lease, SourceName, Target};
use crate::triggers;

/// What is known of the target before anything is received.
pub(super) struct TargetAtStart {
    pub(super) catalog: Catalog,
    /// `None` while the target is down.
    pub(super) session: Option<Session>,
    pub(super) found: FeedState,
    /// The target's tables are those of the last start.
    is_as_before: bool,
}

impl TargetAtStart {
    /// A target that is down is no reason not to receive, when it was seen before and its changefeed is there.
    pub(super) async fn acquire(
        config: &Config,
        target: &Target,
        connected: Option<Connected>,
        run_state: &RunState,
        source: Option<&Source>,
        holder: &Holder,
    ) -> Result<Self> {
        let mut connected = connected;
        loop {
            let found = match connected.take() {
                Some(connected) => connected,
                None => {
                    if let Some(catalog) = target::known_catalog(run_state)?
                        && changefeed::is_there(config, source, &catalog, run_state, holder.is_continued()?).await?
                    {
                        tracing::warn!(
                            error_code = code::target::RECEIVING_ONLY.text(),
                            "receiving goes on while the target is down; rows are applied once it is there"
                        );
                        return Ok(Self { catalog, session: None, found: FeedState::default(), is_as_before: true });
                    }
                    target.wait(config.target.wait).await?
                }
            };
            let is_as_before = target::known_catalog(run_state)?.as_ref() == Some(&found.catalog);
            target::remember_catalog(run_state, &found.catalog)?;
            if let Some((session, at)) = target::look(found.session, holder).await? {
                return Ok(Self { catalog: found.catalog, session: Some(session), found: at, is_as_before });
            }
        }
    }

    /// A session that is told what is known by now.
    pub(super) async fn reopen(&mut self, target: &Target) -> Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        drop(session);
        self.session = match target.open().await? {
            Some(connected) if connected.catalog != self.catalog => return Err(changed()),
            connected => connected.map(|connected| connected.session),
        };
        Ok(())
    }

    /// `None` while the target is down, and nothing needs it.
    pub(super) async fn take_over(
        &mut self,
        config: &Config,
        target: &Target,
        run_state: &RunState,
        source: Option<&Source>,
        holder: &Holder,
    ) -> Result<Option<Lease>> {
        let Some(mut session) = self.session.take() else { return Ok(None) };
        loop {
            if let Some(lease) = target::take_over(session, holder).await? {
                return Ok(Some(lease));
            }
            if changefeed::is_there(config, source, &self.catalog, run_state, holder.is_continued()?).await? {
                return Ok(None);
            }
            let connected = target.wait(config.target.wait).await?;
            if connected.catalog != self.catalog {
                return Err(changed());
            }
            session = connected.session;
        }
    }
}

fn changed() -> Error {
    Error::new(code::table::TABLES_CHANGED, "the target's tables were changed while ebb started")
        .hint("start again with the same command")
}

/// What is known of the tables before anything is received.
pub(super) struct TablesAtStart {
    /// Those that are replicated.
    pub(super) routes: Vec<TableRoute>,
    /// Those of the last run of which rows are staged.
    left: Vec<TableRoute>,
    /// The source's database, where it is known.
    database: Option<String>,
    /// The target takes the types of their columns, as it was asked now or at an earlier start.
    pub(super) are_types_known: bool,
    pub(super) taken_in: Vec<SourceName>,
    pub(super) tables: Arc<Tables>,
    pub(super) keys: Arc<KeyWatch>,
}

pub(super) async fn match_tables(
    config: &Config,
    target: &Target,
    source: Option<&Source>,
    stage: &Stage,
    target_at_start: &mut TargetAtStart,
) -> Result<TablesAtStart> {
    let (mut routes, database) = match source {
        None if config.source.is_some() => {
            let (routes, database) = tables::remembered(&stage.run_state, &target_at_start.catalog)?;
            warn_of_filters(config, &routes);
            (routes, database)
        }
        source => {
            let mut matched = tables::matched(config, source, &target_at_start.catalog).await?;
            if stage.run_state.resolved() > target_at_start.found.applied() {
                matched.apply_first();
            }
            // The plugin answers without asking the server.
            let mut routes = tokio::task::block_in_place(|| {
                let session = target_at_start.session.as_mut().map(|session| (session, &target.connect));
                matched.check_types(&target_at_start.catalog, session)
            })?;
            if let Some(source) = source.filter(|_| config.changefeed.is_some()) {
                tables::refuse_other_database(&stage.run_state, source.database())?;
                tables::keep_bounds(&stage.run_state, &mut routes, &target_at_start.catalog)?;
                routes.extend(tables::left(
                    (&stage.run_state, &stage.backlog),
                    &target_at_start.catalog,
                    &routes,
                    target_at_start.found.applied(),
                )?);
            }
            (routes, source.map(|source| source.database().to_owned()))
        }
    };
    let taken_in = take_in(config, source, &mut routes, &stage.run_state, &target_at_start.found).await?;
    let tables =
        Arc::new(tables::register(&stage.run_state, &target_at_start.catalog, &routes, database.as_deref(), config)?);
    let catalog = Arc::new(target_at_start.catalog.clone());
    let keys = Arc::new(KeyWatch::new(
        config,
        catalog,
        Arc::clone(&tables),
        stage.run_state.clone(),
        target_at_start.found.applied(),
    )?);
    // A key that was changed while no ebb ran is followed before anything is read by it.
    if source.is_some() {
        keys.refresh().await?;
        keys.refuse_limited()?;
    }
    keys.end_left(&mut routes);
    let (left, routes) = routes.into_iter().partition(|route| route.is_left);
    let were_asked = source.is_some() && target_at_start.session.is_some();
    let are_types_known = were_asked || (target_at_start.is_as_before && tables::are_types_known(&stage.run_state)?);
    Ok(TablesAtStart { routes, left, database, are_types_known, taken_in, tables, keys })
}

/// The changefeed sends what it was created for.
fn warn_of_filters(config: &Config, routes: &[TableRoute]) {
    let Some(settings) = &config.changefeed else { return };
    let sources = routes.iter().filter(|route| !route.is_left).filter_map(|route| route.source.as_ref());
    let others = sources.filter(|(schema, name)| !settings.chooses(schema, name));
    let names: Vec<String> = others.map(|(schema, name)| format!("{schema}.{name}")).collect();
    if !names.is_empty() {
        tracing::warn!(
            error_code = code::table::FILTERS_WAIT.text(),
            hint = "start again once CockroachDB can be reached: the changefeed is then replaced by one without them",
            "ebb still replicates tables that the filters leave out, since the changefeed sends them: {}",
            listed(&names)
        );
    }
}

/// Of a table that was loaded since, the rows of before are not written again.
async fn take_in(
    config: &Config,
    source: Option<&Source>,
    routes: &mut [TableRoute],
    run_state: &RunState,
    found: &FeedState,
) -> Result<Vec<SourceName>> {
    let Some(settings) = &config.changefeed else { return Ok(Vec::new()) };
    let (allowed, now) = match source {
        Some(source) => (settings.new_tables, source.now().await?),
        None => (NewTables::Refuse, Timestamp::ZERO),
    };
    // Nothing is known of a target that is down; what it holds is asked later.
    let epoch = found.progress.map_or(i64::MAX, |progress| progress.epoch);
    let last = tables::last(run_state, epoch)?;
    let taken_in = match tables::taken_in(routes, (found, last.as_deref()), run_state, allowed, now) {
        // Where CockroachDB may be gone for good, the other tables are worth having.
        Err(error) if config.apply_only => {
            tracing::warn!(error_code = error.code.text(), hint = error.hint, "{error}: ebb applies no row of them");
            let unknown = tables::new_tables(routes, (found, last.as_deref()));
            bound(routes, &unknown, |bounds| Bounds { up_to: Some(Timestamp::ZERO), ..bounds });
            return Ok(Vec::new());
        }
        judged => judged?,
    };
    let after = found.applied().max(run_state.resolved());
    bound(routes, &taken_in, |_| Bounds { after, up_to: None, epoch: epoch.saturating_add(1) });
    Ok(taken_in)
}

/// Gives the named tables other bounds. One that is left keeps its own.
fn bound(routes: &mut [TableRoute], names: &[SourceName], bounds: impl Fn(Bounds) -> Bounds) {
    let is_named = |route: &&mut TableRoute| route.source.as_ref().is_some_and(|source| names.contains(source));
    for route in routes.iter_mut().filter(|route| !route.is_left).filter(is_named) {
        route.bounds = bounds(route.bounds);
    }
}

/// The last steps, by which the run becomes the one that counts. Returns the changefeed of a run that has one of its own, and
/// whether the target is held.
pub(super) async fn establish(
    config: &Config,
    source: Option<Source>,
    matched: &TablesAtStart,
    stage: &Stage,
    catalog: &mut Catalog,
    (holder, is_continued, agreed): (&Holder, bool, Option<i64>),
    mut lease: Option<&mut Lease>,
) -> Result<(Option<Feed>, bool)> {
    let is_compared = source.is_some() || config.changefeed.is_none() || is_continued;
    let TablesAtStart { routes, left, database, are_types_known, taken_in, .. } = matched;
    let feed =
        establish_changefeed(config, source, routes, (stage, is_continued, agreed), catalog, lease.as_deref_mut())
            .await?;
    // Whatever has failed before has left the target as it was.
    if config.apply.triggers == Triggers::Drop {
        tokio::task::block_in_place(|| {
            let feed = &config.staging.schema;
            triggers::drop_all(&stage.run_state, feed, routes, catalog, lease.as_deref_mut())
        })?;
    }
    if let (Some(_), Some(database)) = (&feed, database) {
        note_tables(&stage.run_state, routes, taken_in)?;
        tables::remember(&stage.run_state, catalog, routes.iter().chain(left), (database, *are_types_known))?;
        tables::forget_refusals(&stage.run_state, taken_in)?;
    }
    if config.changefeed.is_none() {
        tables::outdate(&stage.run_state)?;
        if !is_continued {
            tracing::warn!(
                error_code = code::changefeed::STAGING_PUT_BACK.text(),
                hint = format!(
                    "create the changefeed anew WITH cursor = '{}', so that it sends them again: repeats do no harm",
                    stage.run_state.resolved()
                ),
                "the staging folder was moved or put back, or the machine was started anew: ebb does not know whether the folder \
                 holds every row that was acknowledged"
            );
        }
    }
    let mut is_held = lease.is_some();
    if let Some(lease) = lease {
        let progress = lease.progress();
        match tokio::task::block_in_place(|| holder.mark_established(&mut lease.session, progress))? {
            Ok(()) => holder.note_established(is_compared)?,
            // It knows this folder from before; the rest is made up for when it is there again.
            Err(error) if error.kind == ErrorKind::Retry && !stage.run_state.is_fresh() => {
                tracing::warn!(
                    error_code = code::target::RECEIVING_ONLY.text(),
                    hint = error.hint,
                    "the target is down: {error}"
                );
                is_held = false;
            }
            Err(error) => return Err(error.into()),
        }
    }
    // Nothing was acknowledged before this line, so that a start that is cut off here is simply made again.
    stage.run_state.mark_established()?;
    Ok((feed, is_held))
}

/// Which tables this start takes in, and which it leaves, beside those of the last one.
fn note_tables(run_state: &RunState, routes: &[TableRoute], taken_in: &[SourceName]) -> Result<()> {
    let last = tables::last(run_state, i64::MAX)?.unwrap_or_default();
    let is_left = |table: &&SourceName| !routes.iter().any(|route| route.source.as_ref() == Some(*table));
    let left: Vec<_> = last.iter().filter(is_left).collect();
    let noted = |event, what: &str, tables: Vec<&SourceName>| {
        let names = listed(tables.iter().map(|(schema, name)| format!("{schema}.{name}")));
        if !names.is_empty() {
            run_state.history().note(Entry::new(event, format!("{what}: {names}")).fact("tables", names));
        }
    };
    noted(Event::TablesTakenIn, "replicated from now on", taken_in.iter().collect());
    noted(Event::TablesLeft, "not replicated any more", left);
    Ok(())
}

/// The changefeed of a run that has one of its own.
async fn establish_changefeed(
    config: &Config,
    source: Option<Source>,
    routes: &[TableRoute],
    (stage, is_continued, agreed): (&Stage, bool, Option<i64>),
    catalog: &Catalog,
    lease: Option<&mut Lease>,
) -> Result<Option<Feed>> {
    let (Some(source), Some(settings)) = (source, &config.changefeed) else {
        lease.map_or(Ok(()), |lease| target::refuse_lost_staging(&stage.run_state, lease.progress()))?;
        return Ok(None);
    };
    let mut desired = changefeed::Desired::new(settings, routes, catalog, &stage.run_state, &source, is_continued);
    desired.agreed = agreed;
    let consent = Consent::of(config.staging.non_interactive);
    let feed = changefeed::establish(source, &desired, &stage.inbox, lease, &config.staging.schema, consent).await?;
    Ok(Some(feed))
}
