//! What happens to a staging folder from outside: it is removed, an older copy takes its place, a bit of it flips.
//!
//! Owns: these steps. Does not own: what must hold at the end (`world`).

use std::sync::Arc;

use ebb::stage::{Note, Store};

use super::{World, lock};

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
            let answer = self.store().write(&[], Some(resolved));
            assert!(answer.is_err(), "a resolved timestamp was acknowledged in a folder that is gone");
            // What it wrote before it noticed is moved aside, as the error says.
            self.disk.remove_all();
        } else {
            self.process = None;
            self.disk.remove_all();
        }
        self.crash("the folder is gone");
    }

    /// A backup of the folder is put back between two runs: what was acknowledged since it was taken is not in it.
    pub(super) fn copy_folder_or_put_it_back(&mut self) {
        match self.copy.take() {
            None => {
                self.say("the folder is copied");
                self.copy = Some(self.disk.copy());
                // At least one start lies between the copy and its return: without one it is the folder itself.
                self.crash("a run ends");
            }
            Some(copy) => {
                self.say("the copy is put back");
                self.process = None;
                self.disk.put_back(&copy);
                self.crash("the folder is an older one");
            }
        }
    }

    /// A bit flips while the power is off: it is found, and named, or it stands where nothing is read any more.
    pub(super) fn flip_a_bit(&mut self) {
        self.process = None;
        self.disk.lose_power();
        let Some(flipped) = self.disk.flip_a_bit() else { return };
        self.say(&flipped);
        let store = match Store::open(Arc::new(self.disk.clone()), self.limits) {
            Ok(store) => store,
            Err(error) => {
                assert!(error.message.contains("damaged"), "{flipped}: {error:?}");
                self.counts.flipped_bits_found += 1;
                return;
            }
        };
        if let Err(error) = store.load::<serde_json::Value>(Note::Starts) {
            assert!(error.message.contains("damaged"), "{flipped}: {error:?}");
            self.counts.flipped_bits_found += 1;
            return;
        }
        drop(store);
        self.start();
        let process = self.process.as_mut().expect("a process runs");
        let resolved = process.store.resolved();
        match process.applier.apply_up_to(&mut process.taken, resolved) {
            Ok(()) => assert!(resolved >= self.feed.resolved, "{flipped}: a resolved timestamp is lost"),
            Err(error) => {
                assert!(error.message.contains("damaged"), "{flipped}: {error:?}");
                self.counts.flipped_bits_found += 1;
            }
        }
    }
}
