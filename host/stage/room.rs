//! How much room there is for rows, and what gives way to them: fingerprints of applied rows, the oldest first.
//!
//! Owns: the figures of a store, and forgetting before its time (`--retireOffset`). Does not own: what is done where that is
//! not enough (`writer`), the forecast (`space`).
//!
//! A row whose fingerprint is gone is not known as a repeat any more when it comes again after its time: `late` ends the run
//! then, since it cannot tell it from a row that never came. No row is lost by it.

use std::io;
use std::sync::atomic::Ordering;

use ebb_sdk::Timestamp;

use super::segments::{Form, NotSaved, SegmentContent, file_name};
use super::store::Store;
use crate::code;

/// The disk counts as full when less is free: sorting and remembering need some room of their own.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// What a store holds and may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub row_bytes: u64,
    pub fingerprint_bytes: u64,
    /// Bytes of rows that may still come.
    pub room_bytes: u64,
    /// Rows up to here are not remembered any more.
    pub forgotten: Timestamp,
}

impl Usage {
    pub fn disk_bytes(&self) -> u64 {
        self.row_bytes + self.fingerprint_bytes
    }
}

impl Store {
    pub(super) fn usage(&self) -> Usage {
        let forgotten = self.state.lock().forgotten;
        let (row_bytes, fingerprint_bytes) = self.bytes();
        Usage { row_bytes, fingerprint_bytes, room_bytes: self.room_bytes(), forgotten }
    }

    /// Bytes on disk, of rows and of fingerprints.
    fn bytes(&self) -> (u64, u64) {
        let log = self.log_bytes.load(Ordering::Relaxed);
        self.segments().iter().fold((log, 0), |(rows, fingerprints), segment| match segment.content {
            SegmentContent::Fingerprints => (rows, fingerprints + segment.meta.bytes),
            SegmentContent::Memory { .. } | SegmentContent::SortedRun => (rows + segment.meta.bytes, fingerprints),
        })
    }

    /// Bytes of rows that may still come, once every fingerprint has given way.
    pub(super) fn room_bytes(&self) -> u64 {
        let (rows, fingerprints) = self.bytes();
        let free = self.free_bytes().saturating_add(fingerprints);
        free.min(self.limits.disk_bytes_max.saturating_sub(rows))
    }

    /// Bytes that may come before something has to give way.
    fn spare_bytes(&self) -> u64 {
        let (rows, fingerprints) = self.bytes();
        self.free_bytes().min(self.limits.disk_bytes_max.saturating_sub(rows + fingerprints))
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.disk.free_bytes().unwrap_or(u64::MAX).saturating_sub(FREE_BYTES_MIN)
    }

    /// Forgets until so many bytes are spare, or nothing is left to forget.
    pub(super) fn give_way(&self, bytes: u64) -> io::Result<()> {
        let spare = self.spare_bytes();
        if bytes <= spare {
            return Ok(());
        }
        // The state is saved once for many: some more go along, so that the next group finds room.
        self.forget(bytes - spare + self.segment_bytes_max()).map(drop)
    }

    /// Drops the oldest fingerprints, so many bytes of them. False when there are none.
    pub(super) fn forget(&self, bytes: u64) -> io::Result<bool> {
        let mut state = self.state.lock();
        let mut fingerprints: Vec<_> = state
            .segments
            .iter()
            .filter(|(_, meta)| meta.form == Form::Fingerprints)
            .map(|(&n, &meta)| (meta.newest, n, meta.bytes))
            .collect();
        fingerprints.sort_unstable();
        let (mut freed, mut dropped, mut changed) = (0, Vec::new(), state.clone());
        for (newest, number, of_this) in fingerprints {
            if freed >= bytes {
                break;
            }
            freed += of_this;
            dropped.push(number);
            changed.segments.remove(&number);
            changed.forgotten = changed.forgotten.max(newest);
        }
        if dropped.is_empty() {
            return Ok(false);
        }
        changed.save(self.disk.as_ref()).map_err(NotSaved::lasting)?;
        *state = changed;
        let forgotten = state.forgotten;
        self.publish(|list| list.retain(|segment| !dropped.contains(&segment.number)));
        drop(state);
        self.tell_forgotten(forgotten);
        dropped.iter().try_for_each(|&number| self.disk.remove(&file_name(number, Form::Fingerprints)))?;
        Ok(true)
    }

    /// A store of little room has small segments, since only whole ones give theirs back.
    pub(super) fn segment_bytes_max(&self) -> u64 {
        self.limits.segment_bytes_max.min(self.limits.disk_bytes_max / 8)
    }

    fn tell_forgotten(&self, forgotten: Timestamp) {
        if self.is_told_forgotten.swap(true, Ordering::Relaxed) {
            tracing::debug!(%forgotten, "applied rows are forgotten to make room");
            return;
        }
        tracing::warn!(
            error_code = code::staging::FORGETS_EARLY.text(),
            hint = format!(
                "make room on its disk, or raise --staging-max-bytes (now {}), for 20 bytes a row over --retireOffset (now {:?})",
                self.limits.shown_bytes_max(),
                self.limits.remember
            ),
            "staging is short of room: applied rows are forgotten before --retireOffset, now up to {forgotten}; one that the \
             changefeed repeats from before then ends the run"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::error::Error;
    use crate::private::tempdir;
    use crate::stage::disk::{Disk, Folder};
    use crate::stage::faulty_disk::{Faults, FaultyDisk};
    use crate::stage::{Change, NotWritten, RowBatch, StagingLimits, TableId};

    const LIMIT: u64 = 200_000;
    /// Enough that their fingerprints alone would fill it twice.
    const ROWS: i64 = 20_000;
    const GROUP_ROWS: i64 = 100;

    fn at(wall: i64) -> Timestamp {
        Timestamp { wall, logical: 0 }
    }

    fn rows(walls: impl IntoIterator<Item = i64>) -> RowBatch {
        let mut batch = RowBatch::default();
        walls.into_iter().for_each(|wall| batch.push(at(wall), TableId(1), &format!("[{wall}]"), Change::Upsert("{}")));
        batch
    }

    fn open(dir: &Path) -> Store {
        let limits =
            StagingLimits { disk_bytes_max: LIMIT, remember: Duration::from_secs(3600), ..StagingLimits::default() };
        Store::open(Arc::new(Folder::open(dir).unwrap()), limits).unwrap()
    }

    /// Receives and applies; a compaction that is late is what the writer must do without.
    fn fill(store: &Store, compacts: impl Fn(i64) -> bool) {
        for start in (0..ROWS).step_by(usize::try_from(GROUP_ROWS).unwrap()) {
            let newest = start + GROUP_ROWS;
            for attempt in 0.. {
                assert!(attempt < 10, "compaction cannot keep up: {:?}", store.usage());
                match store.write(&[&rows(start + 1..=newest)], Some(at(newest))) {
                    Ok(()) => break,
                    Err(NotWritten::Behind) => store.compact().unwrap(),
                    Err(other) => panic!("applied rows have kept others out: {other:?}, {:?}", store.usage()),
                }
            }
            store.release(at(newest));
            if compacts(start / GROUP_ROWS) {
                store.compact().unwrap();
            }
        }
    }

    fn refused(store: &Store, wall: i64) -> (Timestamp, Error) {
        let Err(NotWritten::Late(late)) = store.write(&[&rows([wall])], None) else { panic!("{wall} was taken") };
        (late.forgotten, (*late).into())
    }

    #[test]
    fn fingerprints_give_way_to_rows_the_oldest_first() {
        for compacts_every in [1, 7, 1000] {
            let dir = tempdir();
            let store = open(dir.path());
            fill(&store, |group| group % compacts_every == 0);
            store.compact().unwrap();
            let usage = store.usage();
            assert!(usage.disk_bytes() <= LIMIT && usage.fingerprint_bytes > LIMIT / 4, "{usage:?}");
            assert_eq!(usage.room_bytes, LIMIT - usage.row_bytes);
            assert!(usage.forgotten > Timestamp::ZERO && usage.forgotten < at(ROWS), "{usage:?}");
            drop(store);
            // What is forgotten stays forgotten.
            let store = open(dir.path());
            store.release(at(ROWS));
            let forgotten = store.usage().forgotten;
            assert_eq!(forgotten, usage.forgotten);
            // A repeat that is remembered is skipped; one that is not is told from no other row, and ends the run.
            store.write(&[&rows((forgotten.wall + 1..=ROWS).step_by(97))], None).unwrap();
            for wall in (1..=forgotten.wall).step_by(997) {
                let (known, error) = refused(&store, wall);
                assert_eq!(known, forgotten);
                let hint = error.hint.unwrap();
                assert!(error.message.contains("cannot be told whether it was applied"), "{}", error.message);
                assert!(hint.contains("--staging-max-bytes (now 200000)"), "{hint}");
                assert!(hint.contains("--retireOffset (now 3600s)"), "{hint}");
            }
        }
    }

    #[test]
    fn rows_that_wait_for_the_target_give_no_way() {
        let dir = tempdir();
        let store = open(dir.path());
        fill(&store, |_| true);
        let waiting = |store: &Store| store.scan(at(ROWS), at(i64::MAX - 1)).count();
        let mut wall = ROWS;
        let full = loop {
            match store.write(&[&rows([wall + 1])], None) {
                Ok(()) => wall += 1,
                Err(NotWritten::Behind) => store.compact().unwrap(),
                Err(other) => break other,
            }
        };
        // Only rows have filled it.
        assert!(matches!(full, NotWritten::Full(_)), "{full:?}");
        assert_eq!(store.usage().fingerprint_bytes, 0);
        assert_eq!(i64::try_from(waiting(&store)).unwrap(), wall - ROWS);
        drop(store);
        assert_eq!(i64::try_from(waiting(&open(dir.path()))).unwrap(), wall - ROWS);
    }

    /// A disk of so many bytes. One that is not honest says that there is more room, as where others fill it meanwhile.
    struct Small {
        folder: Arc<Folder>,
        bytes: u64,
        is_honest: bool,
    }

    impl Small {
        fn free(&self) -> u64 {
            let used: u64 = self.folder.names().unwrap().iter().map(|name| self.folder.len(name).unwrap_or(0)).sum();
            self.bytes.saturating_sub(used)
        }
    }

    impl Faults for Small {
        /// A few blocks for small files are always found.
        fn concern(&self, name: &str) -> bool {
            name.ends_with(".log") || name.ends_with(".seen")
        }

        fn append(&self, bytes: &[u8]) -> io::Result<()> {
            if bytes.len() as u64 > self.free() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }

        fn free_bytes(&self, _: &Folder) -> io::Result<u64> {
            Ok(if self.is_honest { FREE_BYTES_MIN + self.free() } else { u64::MAX })
        }
    }

    fn open_small(dir: &TempDir, is_honest: bool) -> Store {
        let folder = Arc::new(Folder::open(dir.path()).unwrap());
        let faults = Arc::new(Small { folder: folder.clone(), bytes: LIMIT, is_honest });
        let disk = FaultyDisk { folder, faults };
        Store::open(Arc::new(disk), StagingLimits { segment_bytes_max: LIMIT / 8, ..StagingLimits::default() }).unwrap()
    }

    #[test]
    fn fingerprints_give_way_where_the_disk_itself_is_full() {
        for (is_honest, compacts_every) in [(true, 1), (false, 1), (false, 40)] {
            let dir = tempdir();
            let store = open_small(&dir, is_honest);
            fill(&store, |group| group % compacts_every == 0);
            let usage = store.usage();
            assert!(usage.forgotten > Timestamp::ZERO && usage.disk_bytes() <= LIMIT, "{usage:?}");
        }
    }

    #[test]
    fn applied_rows_go_where_there_is_no_room_to_remember_them() {
        let dir = tempdir();
        let store = open_small(&dir, false);
        let mut wall = 0;
        for _ in 0..ROWS {
            match store.write(&[&rows(wall + 1..=wall + GROUP_ROWS)], Some(at(wall + GROUP_ROWS))) {
                Ok(()) => wall += GROUP_ROWS,
                Err(NotWritten::Behind) => store.compact().unwrap(),
                Err(NotWritten::Full(_)) => break,
                Err(other) => panic!("{other:?}"),
            }
        }
        store.release(at(wall));
        store.compact().unwrap();
        let usage = store.usage();
        assert!(usage.forgotten > Timestamp::ZERO && usage.row_bytes < LIMIT / 2, "{usage:?}");
        assert_eq!(store.released(), store.state.lock().released.max(usage.forgotten));
        assert!(refused(&store, 1).1.message.contains("cannot be told whether it was applied"));
        store.write(&[&rows([wall + 1])], None).unwrap();
    }
}
