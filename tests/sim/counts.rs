//! What happened in a run, so that one in which nothing did cannot pass.

use std::fmt;

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub rows: u64,
    pub transactions_committed: u64,
    pub crashes: u64,
    pub full: u64,
    pub failed_syncs: u64,
    pub deadlocks_and_lost_connections: u64,
    pub unknown_outcomes: u64,
    pub take_overs: u64,
    pub late_rows: u64,
    pub flipped_bits_found: u64,
    pub folders_removed: u64,
    pub folders_removed_under_a_process: u64,
    pub repeats_of_forgotten_rows: u64,
    pub older_copies_refused: u64,
    pub targets_restored: u64,
    pub targets_restored_too_far: u64,
    pub restored_together: u64,
    pub tables_left_out: u64,
    pub tables_taken_in: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        let (mine, others) = (self.each(), other.clone().each().map(|count| *count));
        mine.into_iter().zip(others).for_each(|(mine, other)| *mine += other);
    }

    /// Faults that never came prove nothing.
    pub(crate) fn check_that_everything_happened(&mut self) {
        let text = self.to_string();
        assert!(self.each().into_iter().all(|count| *count > 0), "something never happened: {text}");
    }

    fn each(&mut self) -> [&mut u64; 19] {
        [
            &mut self.rows,
            &mut self.transactions_committed,
            &mut self.crashes,
            &mut self.full,
            &mut self.failed_syncs,
            &mut self.deadlocks_and_lost_connections,
            &mut self.unknown_outcomes,
            &mut self.take_overs,
            &mut self.late_rows,
            &mut self.flipped_bits_found,
            &mut self.folders_removed,
            &mut self.folders_removed_under_a_process,
            &mut self.repeats_of_forgotten_rows,
            &mut self.older_copies_refused,
            &mut self.targets_restored,
            &mut self.targets_restored_too_far,
            &mut self.restored_together,
            &mut self.tables_left_out,
            &mut self.tables_taken_in,
        ]
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{self:?}");
        f.write_str(text.trim_start_matches("Counts { ").trim_end_matches(" }"))
    }
}
