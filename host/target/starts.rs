//! What a staging folder knows of its own starts.
//!
//! Owns: the record, which is kept in the folder. Does not own: what follows from it (`lease`, `refusals`).

use serde::{Deserialize, Serialize};

/// What a folder knows of its own starts.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Starts {
    /// The number of the last start, whether or not it came to taking over.
    pub(super) current: i64,
    /// The number that the target had before it.
    pub(super) previous: i64,
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

/// So many starts a restored target may have fallen back.
pub(super) const ESTABLISHED_MAX: usize = 10_000;

/// Another one after each start of the machine.
pub(super) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
