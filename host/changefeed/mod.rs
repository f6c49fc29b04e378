//! Which changefeed feeds this run: the one that is there, resumed, or a new one, and from which time on.
//!
//! Owns: the decisions of the start that could lose rows if they were wrong. Does not own: the statements (`spec`), the jobs (`jobs`).
//!
//! Rows up to the target's progress are in the target. Rows behind it that CockroachDB was told it need not send again are
//! in the staging folder, or nowhere: a changefeed may only go on where that folder is whole.

mod begin;
mod faults;
mod feed;
mod jobs;
mod settings;
mod spec;

use ebb_sdk::{Catalog, Progress, Timestamp};

use crate::code;
use crate::config::{Changefeed, Config};
use crate::consent::Consent;
use crate::error::{Error, Result};
use crate::history::{Entry, Event};
use crate::source::{Source, release};
use crate::stage::{Inbox, RunState};
use crate::tables::{self, TableRoute};
use crate::target::{Lease, refuse_restored_target};

use begin::Begins;
pub use faults::HOW_ENDED;
pub use feed::Feed;
use jobs::{Job, JobState};
use spec::ChangefeedSpec;
pub use spec::sink_address;

/// What the decision rests on.
pub struct Desired<'a> {
    settings: &'a Changefeed,
    routes: &'a [TableRoute],
    catalog: &'a Catalog,
    run_state: &'a RunState,
    /// The folder is certainly the one that the last run has ended with.
    is_continued: bool,
    /// The changefeed of another folder that it was agreed to replace.
    pub agreed: Option<i64>,
    /// What the source says of itself.
    version: String,
}

/// Finds or creates the changefeed. The progress may move to the place where a new feed begins. A target that is down
/// (`None`) is admitted only where `is_there` has said so.
pub async fn establish(
    source: Source,
    desired: &Desired<'_>,
    inbox: &Inbox,
    lease: Option<&mut Lease>,
    feed: &str,
    consent: Consent,
) -> Result<Feed> {
    let Some(lease) = lease else {
        let job = resume(&source, desired).await?;
        return Ok(Feed::new(source, job, desired.settings));
    };
    refuse_restored_target(desired.run_state.released(), lease.progress())?;
    let applied = lease.progress().applied;
    if let Some(cursor) = desired.settings.cursor.filter(|_| applied > Timestamp::ZERO) {
        tracing::info!("--cursor {cursor} is for a new run; this one goes on at the target's progress, {applied}");
    }
    let mut spec = desired.spec(applied);
    let Changefeeds { own, stale, is_complete } = changefeeds(&source, desired, &spec).await?;
    if let Some(job) = own {
        end(&source, desired, &stale).await?;
        let job = reuse(&source, desired, &job, &spec).await?;
        return Ok(Feed::new(source, job, desired.settings));
    }
    if let Some(job) = stale.iter().find(|job| !is_of(job, desired.run_state)) {
        if desired.agreed != Some(job.id) {
            agree_to_replace(job, lease.progress(), feed, consent)?;
        }
        tracing::warn!(
            error_code = code::changefeed::STAGING_GONE.text(),
            job = job.id,
            from = %applied,
            "the staging folder is gone; replacing the changefeed by one that sends again from the target's progress"
        );
    }
    let begins = begin::place(&source, desired, &mut spec, applied, is_complete).await?;
    if begins == Begins::GoesOn || desired.settings.cursor.is_some() {
        source.refuse_cursor(&spec).await?;
    }
    if begins != Begins::GoesOn && !consent.to_plan(&describe(desired, &spec)) {
        return Err(Error::new(code::changefeed::NOT_AGREED, "the answer was not yes: nothing was changed"));
    }
    end(&source, desired, &stale).await?;
    refuse_rival(&source, desired.settings, 0).await?;
    tracing::info!("creating changefeed on the source CRDB database");
    tracing::debug!(spec = spec.shown(), "changefeed");
    let job = source.create_changefeed(&spec).await?;
    // Only now: a start that fails before has moved nothing. One that is cut off here is found by its folder, and made anew.
    begin::move_to(desired, inbox, &spec, lease, feed, (begins, is_complete)).await?;
    settings::remember(desired.run_state, job, &spec)?;
    tracing::info!(job, cursor = %spec.cursor, "changefeed created");
    let entry = Entry::new(
        Event::ChangefeedCreated,
        format!("the changefeed (job {job}) was created, and sends what comes after {}", spec.cursor),
    );
    desired.run_state.history().note(entry.fact("job", job).fact("cursor", spec.cursor.to_string()));
    Ok(Feed::new(source, job, desired.settings))
}

/// What [`establish`] would refuse, before another process is ended for it. Returns the changefeed of another folder that it was
/// agreed to replace.
pub async fn refuse_early(
    source: &Source,
    desired: &Desired<'_>,
    progress: Option<Progress>,
    feed: &str,
    consent: Consent,
) -> Result<Option<i64>> {
    let progress = progress.unwrap_or(Progress { applied: Timestamp::ZERO, epoch: 0, writer: 0 });
    refuse_restored_target(desired.run_state.released(), progress)?;
    let applied = progress.applied;
    let mut spec = desired.spec(applied);
    let Changefeeds { own: None, is_complete, stale } = changefeeds(source, desired, &spec).await? else {
        return Ok(None);
    };
    let foreign = stale.iter().find(|job| !is_of(job, desired.run_state));
    foreign.map_or(Ok(()), |job| agree_to_replace(job, progress, feed, consent))?;
    match begin::place(source, desired, &mut spec, applied, is_complete).await? {
        Begins::New | Begins::Scan if desired.settings.cursor.is_none() => {}
        _ => source.refuse_cursor(&spec).await?,
    }
    Ok(foreign.map(|job| job.id))
}

/// The changefeeds that are there.
struct Changefeeds {
    /// It goes on.
    own: Option<Job>,
    /// They send the same rows, or into the same folder, and must end before another begins.
    stale: Vec<Job>,
    /// Whether the folder holds every row up to its resolved timestamp.
    is_complete: bool,
}

async fn changefeeds(source: &Source, desired: &Desired<'_>, spec: &ChangefeedSpec<'_>) -> Result<Changefeeds> {
    let wanted = source.find_changefeed(spec).await?;
    // Also those that are paused: one that somebody resumes would send what another has promised to be over.
    let mut stale = source.changefeeds_into(desired.run_state.id()).await?;
    let Some(job) = wanted else {
        return Ok(Changefeeds { own: None, stale, is_complete: !desired.run_state.is_fresh() });
    };
    let is_remembered = settings::job(desired.run_state)?.is_none_or(|known| known == job.id);
    let goes_on = delivers_here(&job, desired.run_state) && (is_remembered || !is_of(&job, desired.run_state));
    stale.retain(|stale| stale.id != job.id);
    if goes_on && is_whole(&job, desired) {
        return Ok(Changefeeds { own: Some(job), stale, is_complete: true });
    }
    let is_complete = goes_on || (is_of(&job, desired.run_state) && !desired.run_state.is_fresh());
    stale.push(job);
    Ok(Changefeeds { own: None, stale, is_complete })
}

/// CockroachDB may have been told that rows are here which a folder from a backup does not hold, though the target, from the
/// same backup, does not miss them. What is complete here is then sent on from.
fn is_whole(job: &Job, desired: &Desired<'_>) -> bool {
    let resolved = desired.run_state.resolved();
    desired.is_continued || job.high_water.is_none_or(|acknowledged| acknowledged <= resolved)
}

async fn end(source: &Source, desired: &Desired<'_>, stale: &[Job]) -> Result<()> {
    for job in stale {
        let acknowledged = job.high_water.map(|at| at.to_string());
        match is_of(job, desired.run_state) && !is_whole(job, desired) {
            true => tracing::warn!(
                error_code = code::changefeed::STAGING_PUT_BACK.text(),
                job = job.id,
                acknowledged,
                "the staging folder was moved or put back, or the machine was started anew, and it may lack rows that were \
                 acknowledged: the changefeed is replaced by one that sends again from where the folder is complete"
            ),
            false => tracing::warn!(
                error_code = code::changefeed::REPLACED.text(),
                job = job.id,
                acknowledged,
                "the changefeed of an earlier start is replaced"
            ),
        }
        source.cancel(job.id).await?;
        let text = format!("the changefeed (job {}) was cancelled: another takes its place", job.id);
        desired.run_state.history().note(Entry::new(Event::ChangefeedReplaced, text).fact("job", job.id));
    }
    Ok(())
}

/// The job of the changefeed that is there and delivers to this folder; nothing is created.
pub async fn resume(source: &Source, desired: &Desired<'_>) -> Result<i64> {
    let spec = desired.spec(Timestamp::ZERO);
    let Changefeeds { own, stale, .. } = changefeeds(source, desired, &spec).await?;
    let job = own.ok_or_else(|| {
        Error::new(
            code::changefeed::NOT_RESUMABLE,
            "the changefeed of this staging folder has ended, or sends other tables than the filters choose, and a start \
             while source or target is down creates no other",
        )
        .hint(
            "start again once source and target can both be reached: ebb then creates a changefeed that sends on from \
                   where staging is complete",
        )
    })?;
    end(source, desired, &stale).await?;
    reuse(source, desired, &job, &spec).await
}

/// Whether receiving may begin before the target can be asked: the changefeed is there, and so is the folder that it
/// delivered to.
pub async fn is_there(
    config: &Config,
    source: Option<&Source>,
    catalog: &Catalog,
    run_state: &RunState,
    is_continued: bool,
) -> Result<bool> {
    if run_state.is_fresh() {
        return Ok(false);
    }
    let (Some(source), Some(settings)) = (source, &config.changefeed) else { return Ok(true) };
    let routes = tables::matched(config, Some(source), catalog).await?.check_types(catalog, None)?;
    let desired = Desired::new(settings, &routes, catalog, run_state, source, is_continued);
    Ok(changefeeds(source, &desired, &desired.spec(Timestamp::ZERO)).await?.own.is_some())
}

impl<'a> Desired<'a> {
    pub fn new(
        settings: &'a Changefeed,
        routes: &'a [TableRoute],
        catalog: &'a Catalog,
        run_state: &'a RunState,
        source: &Source,
        is_continued: bool,
    ) -> Self {
        let version = source.version().to_owned();
        Self { settings, routes, catalog, run_state, is_continued, agreed: None, version }
    }

    fn spec(&self, cursor: Timestamp) -> ChangefeedSpec<'a> {
        ChangefeedSpec {
            settings: self.settings,
            tables: self.routes.iter().filter_map(|route| route.source.clone()).collect(),
            path: &self.catalog.namespace,
            staging: self.run_state.id(),
            cursor,
            initial_scan: None,
            release: release(&self.version),
        }
    }
}

/// What a changefeed has delivered to another folder is not in this one, though both have the same name.
fn delivers_here(job: &Job, run_state: &RunState) -> bool {
    !run_state.is_fresh() && job.staging.as_ref().is_none_or(|staging| staging == run_state.id())
}

/// Created for this folder, and no other of the same name.
fn is_of(job: &Job, run_state: &RunState) -> bool {
    job.staging.as_deref() == Some(run_state.id())
}

async fn reuse(source: &Source, desired: &Desired<'_>, job: &Job, spec: &ChangefeedSpec<'_>) -> Result<i64> {
    refuse_rival(source, desired.settings, job.id).await?;
    let is_altered = settings::renew(source, desired.run_state, job, spec).await?;
    if is_altered || job.state == JobState::Paused {
        if job.is_paused_by_error() {
            tracing::warn!(
                error_code = code::changefeed::PAUSED_BY_ERROR.text(),
                hint = "if the same error comes again, correct what it names",
                job = job.id,
                "the changefeed was paused by an error, and is resumed: {}",
                faults::said(&job.running_status)
            );
        }
        source.resume(job.id).await?;
        tracing::info!(job = job.id, "resumed the paused changefeed");
        let text = format!("ebb has resumed the changefeed (job {})", job.id);
        desired.run_state.history().note(Entry::new(Event::ChangefeedResumed, text).fact("job", job.id));
    } else if !desired.is_continued && job.state == JobState::Running {
        // What it was acknowledged behind its checkpoint may not be here: it comes again.
        source.wake(job.id).await?;
        tracing::info!(job = job.id, "using the running changefeed, started again from its checkpoint");
    } else if job.is_backing_off() {
        source.wake(job.id).await?;
        tracing::info!(
            job = job.id,
            status = job.running_status,
            "using the running changefeed, woken from its back-off"
        );
    } else {
        tracing::info!(job = job.id, status = job.running_status, "using the running changefeed");
    }
    Ok(job.id)
}

/// Before there is a staging folder no changefeed that sends here can be this run's own.
pub async fn refuse_any(source: &Source, settings: &Changefeed) -> Result<()> {
    // No job has this number.
    refuse_rival(source, settings, 0).await
}

/// Rows of a second changefeed would come after the first one's resolved timestamps have promised that none would.
async fn refuse_rival(source: &Source, settings: &Changefeed, own: i64) -> Result<()> {
    source.rival(settings, own).await?.map_or(Ok(()), |rival| Err(rivalry(settings, &rival)))
}

fn rivalry(settings: &Changefeed, rival: &Job) -> Error {
    Error::new(
        code::changefeed::RIVAL,
        format!(
            "another changefeed (job {}) sends to this receiver, {}:{}, which takes rows of one changefeed only",
            rival.id, settings.host, settings.port
        ),
    )
    .hint(format!("end it with CANCEL JOB {}, or start a second ebb for it with another \"port\"", rival.id))
}

/// A changefeed that has delivered rows to a folder that is gone must not go on.
fn agree_to_replace(job: &Job, progress: Progress, feed: &str, consent: Consent) -> Result<()> {
    if progress.applied == Timestamp::ZERO {
        return Err(Error::new(code::changefeed::STAGING_UNKNOWN, format!(
            "a changefeed (job {}) already sends these tables here, but nothing is known of the staging schema {feed}: \
             rows that it has delivered would be missing",
            job.id
        ))
        .hint(format!(
            "give --stagingSchema of the run that created it (SELECT feed FROM ebb_progress on the target), or end it: \
             CANCEL JOB {} (rows since its last delivery are then lost for the target: load it anew)",
            job.id
        )));
    }
    let what = format!(
        "This staging folder has no rows of {feed}, but a changefeed (job {}) has delivered some to another. It must be replaced \
         by one that sends again from {} on, the target's progress. Replace it?",
        job.id, progress.applied
    );
    if !consent.to_grave(&what) {
        return Err(Error::new(
            code::changefeed::STAGING_GONE,
            format!(
                "this staging folder has no rows of {feed}, but a changefeed (job {}, to {}) has delivered some to another: it is \
                 gone, on another machine, or another --staging-dir",
                job.id, job.sink
            ),
        )
        .hint(format!(
            "give --staging-dir the folder of the earlier run; or, if that is gone, --non-interactive: the changefeed is then \
             replaced by one that sends again from {} on, the target's progress",
            progress.applied
        )));
    }
    Ok(())
}

fn describe(desired: &Desired<'_>, spec: &ChangefeedSpec<'_>) -> String {
    let tables = desired.routes.iter().map(|route| desired.catalog.tables[route.position].to_string());
    format!(
        "Tables that will be written on the target ({}):\n  {}\nChangefeed that will be created on the source:\n  {}",
        desired.catalog.server_version,
        tables.collect::<Vec<_>>().join("\n  "),
        spec.shown()
    )
}
