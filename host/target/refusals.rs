//! Whether folder and target belong together: what each says of the other's last start, and of the rows that only one of them
//! has.
//!
//! Owns: every refusal that the progress row gives reason for. Does not own: taking over (`lease`), the fence
//! (`sdk::progress`).

use ebb_sdk::{Progress, Timestamp};

use super::feed_state::{FeedState, SourceName};
use super::lease::Holder;
use super::starts::Starts;
use crate::code;
use crate::error::{Error, Result};
use crate::stage::{MetadataFile, RunState};

impl Holder {
    /// Whether this process may take the feed over with what its folder holds.
    ///
    /// # Errors
    /// When rows may be missing in the folder or on the target.
    pub fn admit(&self, found: &FeedState) -> Result<()> {
        let starts = self.run_state.load::<Starts>(MetadataFile::Starts)?;
        let Some(progress) = found.progress else { return self.refuse_lost_progress(starts.as_ref()) };
        let is_own = self.is_own(starts.as_ref(), found.established(progress));
        if self.run_state.is_fresh() {
            return Ok(());
        }
        let epoch = starts.as_ref().map_or(0, |starts| starts.epoch);
        // A target that was restored from a backup stands at an earlier start of this folder; whether it lacks rows is told by
        // its progress. One that stands at somebody else's is another target.
        let established = starts.map(|starts| starts.established).unwrap_or_default();
        let is_earlier =
            progress.epoch < epoch && (established.is_empty() || established.contains(&found.established(progress)));
        if !is_own && !is_earlier && progress.epoch < epoch {
            return Err(self.not_the_target());
        }
        if !is_own && !is_earlier {
            return Err(self.not_the_last_folder(&format!(
                "it was opened {epoch} times, and the target has seen {} starts of this feed",
                progress.epoch
            )));
        }
        let staged = found.kept.as_ref().map_or(Timestamp::ZERO, |kept| kept.staged).max(progress.applied);
        let resolved = self.run_state.resolved();
        // Nothing is resolved before an initial scan is complete.
        if is_own && resolved > Timestamp::ZERO && staged > resolved {
            return Err(self.not_the_last_folder(&format!(
                "it is complete up to {resolved}, and the target knows of a folder that was complete up to {staged}"
            )));
        }
        Ok(())
    }

    pub(super) fn is_own(&self, starts: Option<&Starts>, writer: i64) -> bool {
        match starts {
            Some(starts) => starts.is_own(writer),
            // A folder of a version that gave every start of it the same number.
            None => self.run_state.id() == writer.to_string(),
        }
    }

    /// Of a target that was down at start it is known only later what it holds.
    pub fn refuse_unknown_tables(&self, found: &FeedState) -> Result<()> {
        let (Some(tables), Some(known)) = (&self.tables, found.tables()) else { return Ok(()) };
        let is_unknown = |table: &&SourceName| !known.contains(table) && !self.taken_in.contains(table);
        tables.iter().find(is_unknown).map_or(Ok(()), |(schema, name)| {
            Err(Error::new(code::target::NEW_TABLES, format!(
                "this run replicates {schema}.{name}, and earlier runs did not replicate it to this target: what was changed in \
                 it before would be missing"
            ))
            .hint("start again while the target can be reached: ebb then says which tables to load"))
        })
    }

    fn refuse_lost_progress(&self, starts: Option<&Starts>) -> Result<()> {
        if starts.is_none_or(|starts| starts.epoch == 0) {
            return Ok(());
        }
        Err(Error::new(code::target::PROGRESS_LOST, format!(
            "the target has no progress row of {}, though this staging folder has been applied to it: which rows it holds is \
             not known",
            self.feed()
        ))
        .hint(
            "give --target of the database that was written before, or put back its row of ebb_progress from a backup; if \
             the target was loaded anew, begin a new run: a new --stagingSchema, with --cursor at the time it was loaded",
        ))
    }

    pub(super) fn somebody_is_alive(&self) -> Error {
        another_is_alive(self.feed())
    }

    fn not_the_target(&self) -> Error {
        Error::new(code::target::OTHER_TARGET, format!(
            "the target does not know this staging folder of the feed {}: it is the target of another run, or was put back from a \
             backup of before the folder was begun",
            self.feed()
        ))
        .hint(
            "give the --target that the folder was applied to; if it was put back, move the staging folder aside and start again with \
             the same command: the changefeed is then created anew at the target's progress (under ebb start create it anew \
             yourself, WITH cursor = that progress)",
        )
    }

    fn not_the_last_folder(&self, how: &str) -> Error {
        Error::new(code::target::OLDER_FOLDER, format!(
            "this staging folder is not the one that the feed {} was staged in last ({how}): rows that were acknowledged \
             since are not in it",
            self.feed()
        ))
        .hint(
            "give --staging-dir of the folder that was used last; if that is gone, move this one away and start again with the \
             same command: the changefeed is then created anew at the target's progress (under ebb start create it anew yourself, WITH \
             cursor = that progress)",
        )
    }
}

/// Without a changefeed of its own a run cannot have acknowledged rows sent again.
pub fn refuse_lost_staging(run_state: &RunState, progress: Progress) -> Result<()> {
    refuse_restored_target(run_state.released(), progress)?;
    if run_state.is_fresh() && progress.applied > Timestamp::ZERO {
        return Err(Error::new(code::target::STAGING_LOST, format!(
            "the staging folder is new, but the target has been written up to {}: rows that were acknowledged since may \
             be lost",
            progress.applied
        ))
        .hint(format!(
            "give --staging-dir the folder of the earlier run; if it is gone, create the changefeed anew WITH cursor = '{}' \
             and start with a new --stagingSchema",
            progress.applied
        )));
    }
    Ok(())
}

/// The folder has dropped rows that a target restored from a backup does not have any more.
pub fn refuse_restored_target(released: Timestamp, progress: Progress) -> Result<()> {
    if released <= progress.applied {
        return Ok(());
    }
    Err(Error::new(code::target::RESTORED, format!(
        "the target stands at {}, but staging has already dropped rows up to {released}: was the target restored?",
        progress.applied
    ))
    .hint(
        "move the staging folder aside and start ebb fetch again: the changefeed is then created anew at the target's progress. \
         Under ebb start the changefeed is yours: create it anew WITH cursor = that progress. Without the source (--apply-only) \
         nothing can send these rows again: put the target's newest backup back",
    ))
}

pub fn another_is_alive(feed: &str) -> Error {
    Error::new(
        code::target::ANOTHER_IS_ALIVE,
        format!("another ebb applies the feed {feed}: it has just given a sign of life"),
    )
    .hint("end it first, then start again; or give --take-over, which ends it")
}
