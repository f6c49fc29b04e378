//! What a staging folder knows of its own starts.
//!
//! Owns: the record, which is kept in the folder. Does not own: what follows from it (`lease`, `refusals`).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::stage::{self, MetadataFile, disk};

/// Whether a number that the target has is of a folder that is only looked at, and that stands where it stood. One of a
/// version that noted none is believed.
pub fn is_of_folder(folder: &Path, writer: i64) -> Result<bool> {
    if !folder.exists() {
        return Ok(false);
    }
    Ok(stage::saved::<Starts>(folder, MetadataFile::Starts)?
        .is_none_or(|starts| starts.is_own(writer) && starts.place == disk::identity(folder)))
}

/// What a folder knows of its own starts.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Starts {
    /// The number of the last start, whether or not it came to taking over.
    pub(super) current: i64,
    /// The number that the target had before it.
    pub(super) previous: i64,
    /// The numbers of starts before it whose taking over has not been confirmed. The target may still come to have one: what
    /// was sent on a connection that was lost may arrive later.
    #[serde(default)]
    pub(super) unconfirmed: Vec<i64>,
    /// The epoch that was taken last.
    pub(super) epoch: i64,
    /// Where the folder stood at the last start that was established; a copy stands elsewhere.
    pub(super) place: String,
    /// Since when the machine had been running then.
    #[serde(default)]
    pub(super) boot: String,
    /// The numbers of all starts that were established, of the last [`ESTABLISHED_MAX`].
    #[serde(default, rename = "settled")]
    pub(super) established: Vec<i64>,
}

impl Starts {
    /// As a start that is about to take over leaves it; `previous`: the number that the target has.
    pub(super) fn begun(mut self, current: i64, previous: i64) -> Self {
        if self.current != 0 && self.current != previous {
            self.unconfirmed.push(self.current);
        }
        let spare = self.unconfirmed.len().saturating_sub(UNCONFIRMED_MAX);
        self.unconfirmed.drain(..spare);
        Self { current, previous, ..self }
    }

    /// Once the target has the number of the last start.
    pub(super) fn confirmed(self, epoch: i64) -> Self {
        Self { epoch, unconfirmed: Vec::new(), ..self }
    }

    /// Whether a number that the target has is of this folder, as far as its last starts go.
    pub(super) fn is_own(&self, writer: i64) -> bool {
        [self.current, self.previous].contains(&writer) || self.unconfirmed.contains(&writer)
    }
}

/// Starts that fail one after the other while the target cannot be reached.
const UNCONFIRMED_MAX: usize = 1000;
/// So many starts a restored target may have fallen back.
pub(super) const ESTABLISHED_MAX: usize = 10_000;

/// Another one after each start of the machine.
pub(super) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_was_not_confirmed_may_still_have_taken_over() {
        let starts = Starts::default().begun(1, 0).confirmed(1);
        // Its taking over is sent, the connection is lost, the process is killed; the next one finds the target as before.
        let starts = starts.begun(2, 1).begun(3, 1);
        for (writer, is_own) in [(1, true), (2, true), (3, true), (4, false), (0, false)] {
            assert_eq!(starts.is_own(writer), is_own, "{writer}");
        }
        // Confirmed, it is the last one alone.
        let starts = starts.confirmed(3).begun(4, 3);
        assert!(!starts.is_own(2) && starts.is_own(3) && starts.unconfirmed.is_empty());
    }
}
