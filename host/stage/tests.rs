//! The staging folder as a whole, on a real disk.

use tempfile::TempDir;

use super::*;

fn at(wall: i64) -> Timestamp {
    Timestamp { wall, logical: 0 }
}

fn rows(walls: impl IntoIterator<Item = i64>, table: u32) -> RowBatch {
    let mut batch = RowBatch::default();
    for wall in walls {
        batch.push(at(wall), table, &format!("[{wall}]"), Change::Upsert("{}"));
    }
    batch
}

fn scanned(stage: &Stage, after: i64, to: i64) -> Vec<i64> {
    stage.scan(at(after), at(to)).map(|entry| entry.unwrap().timestamp.wall).collect()
}

#[tokio::test]
async fn what_was_staged_is_there_after_a_new_start_in_commit_order() {
    let dir = TempDir::new().unwrap();
    let stage = Stage::open(dir.path()).unwrap();
    assert!(stage.is_fresh());
    let (first, second, resolved) =
        tokio::join!(stage.append(rows([5, 3, 9], 1)), stage.append(rows([4], 2)), stage.resolve(at(7)));
    let _: (Staged, Staged, Staged) = (first.unwrap(), second.unwrap(), resolved.unwrap());
    drop(stage);
    let stage = reopened(dir.path()).await;
    assert!(!stage.is_fresh());
    assert_eq!(*stage.resolved().borrow(), at(7));
    assert_eq!(scanned(&stage, 0, 100), [3, 4, 5, 9]);
    assert_eq!(scanned(&stage, 3, 5), [4, 5]);
    assert_eq!(stage.scan_table(at(4), 2).count(), 1);
    assert_eq!(stage.scan_table(at(4), 1).count(), 0);
}

#[tokio::test]
async fn resolved_never_goes_back_and_repeats_count_once() {
    let dir = TempDir::new().unwrap();
    let stage = Stage::open(dir.path()).unwrap();
    for wall in [7, 3, 7] {
        let _: Staged = stage.resolve(at(wall)).await.unwrap();
        let _: Staged = stage.append(rows([8], 1)).await.unwrap();
    }
    assert_eq!(*stage.resolved().borrow(), at(7));
    stage.release(at(8));
    let _: Staged = stage.append(rows([8, 9], 1)).await.unwrap();
    assert_eq!(scanned(&stage, 0, 100), [8, 9]);
}

#[tokio::test]
async fn full_segments_are_dropped_once_applied() {
    let dir = TempDir::new().unwrap();
    let stage = Stage::open(dir.path()).unwrap();
    let large = format!("{{\"text\": \"{}\"}}", "x".repeat(1 << 20));
    for wall in 1..=150 {
        let mut batch = RowBatch::default();
        batch.push(at(wall), 1, "[1]", Change::Upsert(&large));
        let _: Staged = stage.append(batch).await.unwrap();
    }
    assert_eq!(scanned(&stage, 0, 200).len(), 150);
    stage.release(at(100));
    while stage.released().unwrap() == Timestamp::ZERO {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let (released, left) = (stage.released().unwrap().wall, scanned(&stage, 0, 200));
    assert!(released <= 100 && left[0] == released + 1, "released {released}, first left {}", left[0]);
    assert_eq!(scanned(&stage, 100, 200), (101..=150).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_folder_serves_one_process_and_one_format() {
    let dir = TempDir::new().unwrap();
    let stage = Stage::open(dir.path()).unwrap();
    let numbers = stage.register_tables(&["a".into(), "b".into()]).unwrap();
    assert_eq!(stage.register_tables(&["b".into(), "c".into()]).unwrap(), [numbers[1], numbers[1] + 1]);
    let error = Stage::open(dir.path()).err().unwrap();
    assert!(error.message.ends_with("is in use by another ebb"), "{error}");
    stage.store.notes.insert(FORMAT_KEY, 2_u32.to_be_bytes()).unwrap();
    drop(stage);
    let error = loop {
        let error = Stage::open(dir.path()).err().unwrap();
        if !error.message.contains("in use") {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert!(error.message.ends_with("has format 2, and this ebb knows format 1"), "{error}");
}

/// The threads of a dropped stage let go of the folder a moment later.
async fn reopened(folder: &Path) -> Stage {
    loop {
        match Stage::open(folder) {
            Err(error) if error.message.contains("in use") => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}
