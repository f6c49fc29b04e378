//! Where a changefeed that is created begins, and whether everything before it is where it must be.
//!
//! Owns: the cursor of a new run, of a run that goes on, and which tables it may take up. Does not own: finding a changefeed
//! that is there, and its statement (`source`).

use ebb_sdk::{Advance, Checks, Timestamp};

use super::{Plan, describe};
use crate::config::InitialScan;
use crate::consent::Consent;
use crate::error::{Error, Result, listed};
use crate::source::{Source, Statement};
use crate::target::{Found, Taken};

/// Sets the statement's cursor, and moves folder and target to it: a crash before the changefeed exists finds it again.
/// `is_complete`: the folder holds every row up to its resolved timestamp.
pub(super) async fn place(
    source: &Source,
    plan: &Plan<'_>,
    statement: &mut Statement<'_>,
    taken: &mut Taken,
    (feed, consent): (&str, Consent),
    is_complete: bool,
) -> Result<()> {
    // What is staged need not be sent again, and may be collected as garbage at the source by now. An initial scan is among
    // it once anything is resolved.
    let staged = if is_complete { plan.stage.store().resolved() } else { Timestamp::ZERO };
    let complete = taken.progress.applied.max(staged);
    if complete > Timestamp::ZERO {
        statement.initial_scan = Some("no");
        statement.cursor = complete;
        return resolve(plan, complete).await;
    }
    refuse_half_a_scan(plan)?;
    statement.cursor = match plan.settings.cursor {
        Some(cursor) => {
            source.refuse_collected(cursor, statement).await?;
            cursor
        }
        None => source.now().await?,
    };
    if !consent.to_plan(&describe(plan, statement)) {
        return Err(Error::new("the plan was not agreed to; nothing was changed"));
    }
    // With a scan the rows of before are still to come, so the progress stays where it is.
    if plan.settings.initial_scan == InitialScan::No {
        tracing::info!(
            "new run: changes after {} are replicated; the target must already hold everything before",
            statement.cursor
        );
        resolve(plan, statement.cursor).await?;
        begin_at(taken, feed, statement.cursor)?;
    }
    Ok(())
}

/// No row up to here will come.
async fn resolve(plan: &Plan<'_>, at: Timestamp) -> Result<()> {
    plan.stage.resolve(at).await.map(drop)
}

fn begin_at(taken: &mut Taken, feed: &str, at: Timestamp) -> Result<()> {
    let Taken { session, progress } = taken;
    let advance = Advance { feed: feed.to_owned(), epoch: progress.epoch, from: progress.applied, to: at };
    // The plugin's own runtime blocks this thread.
    tokio::task::block_in_place(|| {
        session.begin(Checks::Immediate)?;
        session.commit(&advance)
    })?;
    progress.applied = at;
    Ok(())
}

/// Rows of an initial scan that was cut off may have been deleted at the source since: a second scan does not say so.
fn refuse_half_a_scan(plan: &Plan<'_>) -> Result<()> {
    let mut staged = plan.stage.store().scan(Timestamp::ZERO, Timestamp { wall: i64::MAX, logical: 0 });
    if staged.next().transpose()?.is_none() {
        return Ok(());
    }
    Err(Error::new(
        "the changefeed is gone, and its initial scan had not been applied: the rows that are staged are a part of it",
    )
    .hint("start again with a new --stagingSchema: the scan is then made whole"))
}

/// A table that the last run did not replicate has missed what was changed meanwhile.
///
/// # Errors
/// Unless `--new-tables accept` says that such tables were loaded since.
pub fn refuse_new_tables(plan: &Plan<'_>, found: &Found) -> Result<()> {
    let applied = found.applied();
    if applied == Timestamp::ZERO {
        return Ok(());
    }
    let Some(known) = found.tables() else {
        tracing::warn!(
            "which tables the last run replicated is not known: one that is new must hold everything up to {applied}"
        );
        return Ok(());
    };
    let new: Vec<String> = plan
        .watched
        .iter()
        .filter_map(|watched| watched.source.as_ref())
        .filter(|source| !known.contains(source))
        .map(|(schema, name)| format!("{schema}.{name}"))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let cursor = applied.max(plan.stage.store().resolved());
    let names = listed(&new);
    if plan.settings.accept_new_tables {
        tracing::warn!(
            "taken up as new: {names}; changes after {cursor} are replicated, and the target must hold everything before"
        );
        return Ok(());
    }
    Err(Error::new(format!(
        "the last run did not replicate {names}: what was changed there until {cursor} would be missing on the target"
    ))
    .hint(format!(
        "load them into the target as they are at {cursor} or later (AS OF SYSTEM TIME), then start with --new-tables accept; or leave them \
         out with --table-exclusion-filter"
    )))
}
