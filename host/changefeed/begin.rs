//! Where a changefeed that is created begins, and whether everything before it is where it must be.
//!
//! Owns: the cursor of a new run and of a run that goes on. Does not own: finding a changefeed that is there (`mod`), its statement
//! (`spec`), which tables it may take up (`tables`).

use ebb_sdk::{Advance, Checks, Timestamp};

use super::Desired;
use super::spec::ChangefeedSpec;
use crate::code;
use crate::config::InitialScan;
use crate::error::{Error, Result};
use crate::source::Source;
use crate::stage::Inbox;
use crate::target::Lease;

/// What a changefeed that is created begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// What an earlier one has left.
    GoesOn,
    /// The changes after a time.
    New,
    /// The rows that are there.
    Scan,
}

/// Sets the cursor; nothing moves. `is_complete`: the folder holds every row up to its resolved timestamp.
pub(super) async fn place(
    source: &Source,
    desired: &Desired<'_>,
    spec: &mut ChangefeedSpec<'_>,
    applied: Timestamp,
    is_complete: bool,
) -> Result<Begins> {
    // What is staged need not be sent again, and may be collected as garbage at the source by now. An initial scan is among
    // it once anything is resolved.
    let staged = if is_complete { desired.run_state.resolved() } else { Timestamp::ZERO };
    let complete = applied.max(staged);
    if complete > Timestamp::ZERO {
        spec.initial_scan = Some("no");
        spec.cursor = complete;
        return Ok(Begins::GoesOn);
    }
    refuse_half_a_scan(desired)?;
    spec.cursor = match desired.settings.cursor {
        Some(cursor) => cursor,
        None => source.now().await?,
    };
    Ok(if desired.settings.initial_scan == InitialScan::No { Begins::New } else { Begins::Scan })
}

/// Moves target and folder to where the changefeed begins.
pub(super) async fn move_to(
    desired: &Desired<'_>,
    inbox: &Inbox,
    spec: &ChangefeedSpec<'_>,
    lease: &mut Lease,
    feed: &str,
    (begins, is_complete): (Begins, bool),
) -> Result<()> {
    let cursor = spec.cursor;
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
        desired.run_state.begin(cursor)?;
    }
    // No row up to here will come.
    inbox.resolve(cursor).await.map(drop)
}

fn begin_at(lease: &mut Lease, feed: &str, at: Timestamp) -> Result<()> {
    let progress = lease.progress();
    let advance = Advance { feed: feed.to_owned(), epoch: progress.epoch, from: progress.applied, to: at };
    // The plugin's own runtime blocks this thread.
    let applied = tokio::task::block_in_place(|| {
        lease.session.begin(Checks::Immediate)?;
        lease.session.commit(&advance)
    })?;
    // Staging has nothing to drop yet.
    lease.committed(applied);
    Ok(())
}

/// Rows of an initial scan that was cut off may have been deleted at the source since: a second scan does not say so.
fn refuse_half_a_scan(desired: &Desired<'_>) -> Result<()> {
    if !desired.run_state.holds_rows()? {
        return Ok(());
    }
    Err(Error::new(
        code::changefeed::HALF_A_SCAN,
        "the changefeed has ended before its initial scan was complete: only some of its rows are staged",
    )
    .hint("start again with a new --stagingSchema: the scan is then made again from its beginning"))
}
