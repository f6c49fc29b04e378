//! What happens from outside: the folder is removed, it or the target is put back from a backup, a bit of it flips, a table is
//! left out.
//!
//! Owns: these steps. Does not own: what must hold at the end (`world`).

use std::sync::Arc;

use ebb::stage::{Bounds, MetadataFile, Steps};

use super::{World, lock};
use crate::source::{LEFT, table_id};

impl World {
    /// Somebody removes the folder: under a process, which must not acknowledge anything after it, or between two.
    pub(super) fn remove_folder(&mut self) {
        self.say("the folder is removed");
        self.counts.folders_removed += 1;
        if self.rng.bool() {
            self.disk.remove_all();
            self.counts.folders_removed_under_a_process += 1;
            let database = Arc::clone(&self.database);
            let resolved = self.feed.resolved(&lock(&database).source, &mut self.rng);
            let answer = self.staging().steps.write(&[], Some(resolved));
            assert!(answer.is_err(), "a resolved timestamp was acknowledged in a folder that is gone");
            // What it wrote before it noticed is moved aside, as the error says.
            self.disk.remove_all();
        } else {
            self.process = None;
            self.disk.remove_all();
        }
        self.crash("the folder is gone");
    }

    /// Backups of the folder, of the target or of both are put back between two runs: what was acknowledged or applied since
    /// they were taken is not in them.
    pub(super) fn copy_or_put_back(&mut self) {
        let Some((copy, backup)) = self.copy.take() else {
            self.say("folder and target are copied");
            let backup = self.database().backup();
            self.copy = Some((self.disk.copy(), backup));
            // At least one start lies between the copy and its return: without one it is the folder itself.
            return self.crash("a run ends");
        };
        let which = self.rng.u8(0..3);
        self.say(["the folder is put back", "the target is put back", "both are put back"][usize::from(which)]);
        self.process = None;
        if which != 1 {
            self.disk.put_back(&copy);
        }
        if which != 0 {
            self.database().restore(backup);
        }
        self.counts.targets_restored += u64::from(which == 1);
        self.counts.restored_together += u64::from(which == 2);
        self.is_put_back = which == 2;
        self.crash("something is of a backup");
    }

    /// A table is left out of the changefeed, or loaded and taken in again. The changefeed is replaced by one that goes on where
    /// the folder is complete.
    pub(super) fn leave_out_or_take_in(&mut self) {
        self.crash("a run ends");
        // Its list of tables would be another.
        self.copy = None;
        let complete = self.database().progress.applied.max(self.staging().run_state.resolved());
        let leaves_out = self.bounds.up_to.is_none();
        self.say(&format!("table {LEFT} is {} at {complete}", if leaves_out { "left out" } else { "taken in" }));
        let mut database = lock(&self.database);
        if leaves_out {
            self.counts.tables_left_out += 1;
            self.bounds.up_to = Some(complete);
            database.left = Some(complete);
        } else {
            self.counts.tables_taken_in += 1;
            self.bounds = Bounds { after: complete, ..Bounds::default() };
            // It may have been loaded as of any time since.
            let times: Vec<_> = database.source.rows.iter().map(|row| row.at).filter(|&at| at >= complete).collect();
            let loaded = self.rng.choice(times).unwrap_or(complete);
            let rows = database.source.table_at(LEFT, loaded);
            database.rows.retain(|&(table, _), _| table != LEFT);
            database.rows.extend(rows);
            (database.left, database.loaded) = (None, loaded);
        }
        self.feed.go_on(&database.source, complete, leaves_out);
        drop(database);
        self.feed.resolved = self.staging().run_state.resolved();
        self.staging().run_state.limit([(table_id(LEFT), self.bounds)].into_iter());
    }

    /// A bit flips while the power is off: it is found, and named, or it stands where nothing is read any more.
    pub(super) fn flip_a_bit(&mut self) {
        self.process = None;
        self.disk.lose_power();
        let Some(flipped) = self.disk.flip_a_bit() else { return };
        self.say(&flipped);
        let (_, _, run_state) = match Steps::open(Arc::new(self.disk.clone()), self.limits) {
            Ok(opened) => opened,
            Err(error) => {
                assert!(error.message.contains("damaged"), "{flipped}: {error:?}");
                self.counts.flipped_bits_found += 1;
                return;
            }
        };
        if let Err(error) = run_state.load::<serde_json::Value>(MetadataFile::Starts) {
            assert!(error.message.contains("damaged"), "{flipped}: {error:?}");
            self.counts.flipped_bits_found += 1;
            return;
        }
        drop(run_state);
        self.start();
        let process = self.process.as_mut().expect("a process runs");
        let resolved = process.staging.backlog.resolved();
        match process.applier.apply_up_to(&mut process.lease, resolved) {
            Ok(()) => assert!(resolved >= self.feed.resolved, "{flipped}: a resolved timestamp is lost"),
            Err(error) => {
                assert!(error.message.contains("damaged"), "{flipped}: {error:?}");
                self.counts.flipped_bits_found += 1;
            }
        }
    }
}
