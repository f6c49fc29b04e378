//! The staging folder as a whole, on a real disk.

use ebb_sdk::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::private::tempdir;

fn at(wall: i64) -> Timestamp {
    Timestamp { wall, logical: 0 }
}

fn rows(walls: impl IntoIterator<Item = i64>, table: u32) -> RowBatch {
    let mut batch = RowBatch::default();
    for wall in walls {
        batch.push(at(wall), TableId(table), &format!("[{wall}]"), Change::Upsert("{}"));
    }
    batch
}

/// Small segments, so that few rows go through every form.
fn small() -> StagingLimits {
    StagingLimits { segment_bytes_max: 4 << 10, ..StagingLimits::default() }
}

fn open(dir: &TempDir) -> Store {
    Store::open(Arc::new(disk::Folder::open(dir.path()).unwrap()), small()).unwrap()
}

fn refused(dir: &TempDir) -> String {
    let opened = disk::Folder::open(dir.path()).and_then(|folder| Store::open(Arc::new(folder), small()));
    opened.err().expect("it must be refused").message
}

/// Writes each row in a group of its own, as a quiet feed would.
fn write_each(store: &Store, walls: impl IntoIterator<Item = i64>) {
    for wall in walls {
        loop {
            match store.write(&[&rows([wall], 1)], None) {
                Ok(()) => break,
                Err(NotWritten::Behind) => store.compact().unwrap(),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

fn scanned(store: &Store, after: i64, to: i64) -> Vec<i64> {
    store.scan(at(after), at(to)).map(|entry| entry.unwrap().timestamp.wall).collect()
}

fn files(dir: &TempDir, extension: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = all.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    found.sort();
    found
}

#[tokio::test]
async fn what_was_staged_is_there_after_a_new_start_in_commit_order() {
    let dir = tempdir();
    let stage = Stage::open(dir.path(), small()).unwrap();
    assert!(stage.run_state.is_fresh());
    let (first, second, resolved) = tokio::join!(
        stage.inbox.append(rows([5, 3, 9], 1), Sender::OfRun, Box::new(())),
        stage.inbox.append(rows([4], 2), Sender::OfRun, Box::new(())),
        stage.inbox.resolve(at(2))
    );
    let _: (Staged, Staged, Staged) = (first.unwrap(), second.unwrap(), resolved.unwrap());
    assert_eq!(stage.backlog.scan_table(at(4), TableId(2)).count(), 1);
    stage.run_state.mark_established().unwrap();
    drop(stage);
    let store = reopened(&dir).await;
    assert!(!store.is_fresh());
    assert_eq!(store.resolved(), at(2));
    assert_eq!(scanned(&store, 0, 100), [3, 4, 5, 9]);
    assert_eq!(scanned(&store, 3, 5), [4, 5]);
    assert_eq!(store.scan_table(at(4), TableId(2)).count(), 1);
    assert_eq!(store.scan_table(at(4), TableId(1)).count(), 0);
}

#[tokio::test]
async fn a_lease_is_given_back_once_the_rows_are_durable() {
    let dir = tempdir();
    let stage = Stage::open(dir.path(), small()).unwrap();
    let lease = Arc::new(());
    let _: Staged = stage.inbox.append(rows([1], 1), Sender::OfRun, Box::new(Arc::clone(&lease))).await.unwrap();
    while Arc::strong_count(&lease) > 1 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_start_that_was_cut_off_leaves_the_folder_fresh() {
    let dir = tempdir();
    assert!(open(&dir).is_fresh());
    let store = open(&dir);
    assert!(store.is_fresh(), "nothing was established");
    store.mark_established().unwrap();
    drop(store);
    assert!(!open(&dir).is_fresh());
}

#[test]
fn resolved_never_goes_back_and_repeats_count_once() {
    let dir = tempdir();
    let store = open(&dir);
    for (wall, resolved) in [(8, 7), (8, 7), (9, 3)] {
        store.write(&[&rows([wall], 1)], Some(at(resolved))).unwrap();
    }
    assert_eq!(store.resolved(), at(7));
    assert_eq!(scanned(&store, 0, 100), [8, 9]);
}

#[test]
fn segments_are_sorted_reduced_and_forgotten() {
    let dir = tempdir();
    let store = open(&dir);
    write_each(&store, (1..=200).rev());
    assert_eq!(scanned(&store, 0, 1000), (1..=200).collect::<Vec<_>>());
    assert!(files(&dir, "run").len() > 5, "{:?}", files(&dir, "run"));
    write_each(&store, 201..=260);
    store.release(at(200));
    store.compact().unwrap();
    assert_eq!(store.released(), at(200));
    assert_eq!(scanned(&store, 200, 1000), (201..=260).collect::<Vec<_>>());
    assert!(files(&dir, "seen").len() > 5);
    // A repeat is known in every form that its row may have; a row that never came is not.
    store.write(&[&rows((1..=260).step_by(7), 1)], Some(at(250))).unwrap();
    for wall in [7, 190, 240] {
        let NotWritten::Late(late) = store.write(&[&rows([wall], 2)], None).unwrap_err() else { panic!("{wall}") };
        assert_eq!((late.at, late.key.as_str(), late.floor), (at(wall), format!("[{wall}]").as_str(), at(250)));
    }
    let day = 24 * 3600 * 1_000_000_000;
    store.release(at(day + 150));
    store.compact().unwrap();
    drop(store);
    let store = open(&dir);
    store.release(at(day + 150));
    store.write(&[&rows([180], 1)], None).unwrap();
    let NotWritten::Late(late) = store.write(&[&rows([90], 1)], None).unwrap_err() else { panic!() };
    assert!(late.to_string().contains("not remembered any more"), "{late}");
}

#[test]
fn a_second_open_finds_every_form() {
    let dir = tempdir();
    for round in 0..4 {
        let store = open(&dir);
        assert_eq!(scanned(&store, round * 25, 1000), (round * 25 + 1..=round * 50).collect::<Vec<_>>());
        write_each(&store, round * 50 + 1..=(round + 1) * 50);
        store.release(at((round + 1) * 25));
        store.compact().unwrap();
    }
}

#[test]
fn every_flipped_bit_is_found_and_nothing_is_applied_from_its_file() {
    let dir = tempdir();
    let store = open(&dir);
    write_each(&store, 1..=80);
    drop(store);
    for extension in ["log", "run", "state"] {
        let path = if extension == "state" { dir.path().join("state") } else { files(&dir, extension)[0].clone() };
        let sound = std::fs::read(&path).unwrap();
        // The last log of all is empty after a clean start; the first one here is not the last.
        for byte in (0..sound.len()).step_by(61) {
            let mut flipped = sound.clone();
            flipped[byte] ^= 1 << (byte % 8);
            std::fs::write(&path, &flipped).unwrap();
            let found = disk::Folder::open(dir.path())
                .and_then(|folder| Store::open(Arc::new(folder), small()))
                .and_then(|store| store.scan(at(0), at(1000)).collect::<Result<Vec<_>>>());
            match found {
                Err(error) => assert!(error.message.contains("damaged"), "{error}"),
                Ok(_) => panic!("a flipped bit in byte {byte} of {} was not found", path.display()),
            }
        }
        std::fs::write(&path, &sound).unwrap();
        assert_eq!(scanned(&open(&dir), 0, 1000), (1..=80).collect::<Vec<_>>(), "{extension}");
    }
}

/// A log of three frames, the last of them over several sectors, as the process left it.
fn three_frames(dir: &TempDir) -> (PathBuf, Vec<u8>, usize) {
    let store = open(dir);
    write_each(&store, [1, 2]);
    let log = files(dir, "log").pop().unwrap();
    let acknowledged = std::fs::read(&log).unwrap().len();
    store.write(&[&rows(3..=50, 1)], None).unwrap();
    drop(store);
    let bytes = std::fs::read(&log).unwrap();
    assert!(bytes.len() > acknowledged + 1024);
    (log, bytes, acknowledged)
}

#[test]
fn a_write_that_was_cut_off_is_left_out_whole() {
    for kept in [0, 1, 511, 512, 700, 1024, 1500] {
        // A disk writes whole sectors; those that never came read as zeros where the file had grown already.
        for zeros in if kept % 512 == 0 { [0, 512, 5120] } else { [0; 3] } {
            let dir = tempdir();
            let (log, mut bytes, acknowledged) = three_frames(&dir);
            bytes.truncate(acknowledged + kept);
            bytes.resize(bytes.len() + zeros, 0);
            std::fs::write(&log, &bytes).unwrap();
            assert_eq!(scanned(&open(&dir), 0, 100), [1, 2], "kept {kept}, zeros {zeros}");
        }
    }
}

#[test]
fn a_flipped_bit_in_the_last_log_is_no_cut_off_write() {
    let dir = tempdir();
    let (log, sound, _) = three_frames(&dir);
    for byte in (0..sound.len()).step_by(13) {
        let mut flipped = sound.clone();
        flipped[byte] ^= 1;
        std::fs::write(&log, &flipped).unwrap();
        assert!(refused(&dir).contains("is damaged: its checksum does not fit at byte"), "byte {byte}");
    }
    // A whole sector of an earlier frame that reads as zeros was acknowledged too.
    let mut lost = sound.clone();
    lost[..512].fill(0);
    std::fs::write(&log, &lost).unwrap();
    assert!(refused(&dir).contains("is damaged"));
    std::fs::write(&log, &sound).unwrap();
    assert_eq!(scanned(&open(&dir), 0, 100).len(), 50);
}

#[test]
fn a_lost_file_and_a_shortened_one_are_found() {
    let dir = tempdir();
    write_each(&open(&dir), 1..=80);
    drop(open(&dir));
    let run = files(&dir, "run")[1].clone();
    let sound = std::fs::read(&run).unwrap();
    std::fs::remove_file(&run).unwrap();
    assert!(refused(&dir).contains("is damaged"), "{}", refused(&dir));
    std::fs::write(&run, &sound[..sound.len() - 1]).unwrap();
    assert!(refused(&dir).contains("it is not as long as it was"));
    std::fs::write(&run, &sound).unwrap();
    assert_eq!(scanned(&open(&dir), 0, 1000).len(), 80);
}

#[test]
fn one_folder_serves_one_process_and_one_format() {
    let dir = tempdir();
    let store = open(&dir);
    let numbers = store.register_tables(&["a".into(), "b".into()]).unwrap();
    assert_eq!(store.register_tables(&["b".into(), "c".into()]).unwrap(), [numbers[1], numbers[1].next()]);
    let holder = format!("ebb already runs with this staging schema (pid {})", std::process::id());
    assert!(refused(&dir).starts_with(&holder));
    drop(store);
    let state = std::fs::read_to_string(dir.path().join("state")).unwrap();
    let write_format = |format: &str| {
        let state = state.lines().next().unwrap().replace("\"format\":3", format);
        let state = format!("{state}\n{:08x}\n", crc32fast::hash(state.as_bytes()));
        std::fs::write(dir.path().join("state"), state).unwrap();
    };
    write_format("\"format\":2");
    drop(open(&dir));
    assert!(std::fs::read_to_string(dir.path().join("state")).unwrap().contains("\"format\":3"));
    write_format("\"format\":4,\"more\":[]");
    assert!(refused(&dir).ends_with("has format 4, and this ebb knows format 3"));
    let other = tempdir();
    std::fs::write(other.path().join("photos.tar"), "x").unwrap();
    assert!(refused(&other).contains("holds photos.tar"));
}

#[test]
fn a_full_store_takes_nothing_until_there_is_room() {
    let dir = tempdir();
    let limits = StagingLimits { disk_bytes_max: 40 << 10, ..small() };
    let store = Store::open(Arc::new(disk::Folder::open(dir.path()).unwrap()), limits).unwrap();
    let mut wall = 0;
    let full = loop {
        wall += 1;
        match store.write(&[&rows([wall], 1)], Some(at(wall - 1))) {
            Ok(()) => {}
            Err(NotWritten::Behind) => {
                store.compact().unwrap();
                wall -= 1;
            }
            Err(other) => break other,
        }
    };
    assert!(matches!(full, NotWritten::Full(_)), "{full:?}");
    assert!(store.usage().disk_bytes() <= 40 << 10);
    assert_eq!(scanned(&store, 0, 1000), (1..wall).collect::<Vec<_>>());
    // What is staged can be applied only once it is resolved.
    store.write(&[], Some(at(wall - 1))).unwrap();
    assert_eq!(store.resolved(), at(wall - 1));
    store.release(at(wall - 1));
    store.compact().unwrap();
    store.write(&[&rows([wall], 1)], None).unwrap();
}

/// The threads of a dropped stage let go of the folder a moment later.
async fn reopened(dir: &TempDir) -> Store {
    loop {
        match disk::Folder::open(dir.path()) {
            Err(error) if error.code == code::staging::FOLDER_IN_USE => tokio::task::yield_now().await,
            opened => return Store::open(Arc::new(opened.unwrap()), small()).unwrap(),
        }
    }
}
