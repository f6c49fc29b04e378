//! Where a changefeed that is created begins, and whether everything before it is where it must be.
//!
//! Owns: the cursor of a new run and of a run that goes on. Does not own: finding a changefeed that is there, its statement
//! (`source`), which tables it may take up (`tables`).

use ebb_sdk::{Advance, Checks, Timestamp};

use super::Plan;
use crate::config::InitialScan;
use crate::error::{Error, Result};
use crate::source::{Source, Statement};
use crate::stage::Inbox;
use crate::target::Lease;

/// What a changefeed that is created begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// What an earlier one has left.
    GoesOn,
    /// The changes after a time.
    New,
    /// The rows that are there.
    Scan,
}

/// Sets the statement's cursor; nothing moves. `is_complete`: the folder holds every row up to its resolved timestamp.
pub(super) async fn place(
    source: &Source,
    plan: &Plan<'_>,
    statement: &mut Statement<'_>,
    applied: Timestamp,
    is_complete: bool,
) -> Result<Begins> {
    // What is staged need not be sent again, and may be collected as garbage at the source by now. An initial scan is among
    // it once anything is resolved.
    let staged = if is_complete { plan.run_state.resolved() } else { Timestamp::ZERO };
    let complete = applied.max(staged);
    if complete > Timestamp::ZERO {
        statement.initial_scan = Some("no");
        statement.cursor = complete;
        return Ok(Begins::GoesOn);
    }
    refuse_half_a_scan(plan)?;
    statement.cursor = match plan.settings.cursor {
        Some(cursor) => cursor,
        None => source.now().await?,
    };
    Ok(if plan.settings.initial_scan == InitialScan::No { Begins::New } else { Begins::Scan })
}

/// Moves target and folder to where the changefeed begins.
pub(super) async fn move_to(
    plan: &Plan<'_>,
    inbox: &Inbox,
    statement: &Statement<'_>,
    lease: &mut Lease,
    feed: &str,
    (begins, is_complete): (Begins, bool),
) -> Result<()> {
    let cursor = statement.cursor;
    match begins {
        // The rows of before are still to come.
        Begins::Scan => return Ok(()),
        Begins::New => {
            begin_at(lease, feed, cursor)?;
            tracing::info!(
                "new run: changes after {cursor} are replicated; the target must already hold everything before"
            );
        }
        Begins::GoesOn => {}
    }
    if !is_complete {
        // Rows up to here were never in this folder: a target that falls back behind it must not go on with it.
        plan.run_state.begin(cursor)?;
    }
    // No row up to here will come.
    inbox.resolve(cursor).await.map(drop)
}

fn begin_at(lease: &mut Lease, feed: &str, at: Timestamp) -> Result<()> {
    let progress = lease.progress();
    let advance = Advance { feed: feed.to_owned(), epoch: progress.epoch, from: progress.applied, to: at };
    // The plugin's own runtime blocks this thread.
    tokio::task::block_in_place(|| {
        lease.session.begin(Checks::Immediate)?;
        lease.session.commit(&advance)
    })?;
    // Staging has nothing to drop yet.
    let _ = lease.committed(at);
    Ok(())
}

/// Rows of an initial scan that was cut off may have been deleted at the source since: a second scan does not say so.
fn refuse_half_a_scan(plan: &Plan<'_>) -> Result<()> {
    if !plan.run_state.holds_rows()? {
        return Ok(());
    }
    Err(Error::new(
        "the changefeed is gone, and its initial scan had not been applied: the rows that are staged are a part of it",
    )
    .hint("start again with a new --stagingSchema: the scan is then made whole"))
}
