//! Rows of a block beside those of the target: what is the same, what differs, what is not there, and what cannot be.

use crate::reader::{Reader, shown};
use crate::world::World;

#[tokio::test]
async fn rows_are_the_same_or_different_or_missing() {
    let world = World::new("compare_rows", "CREATE TABLE t (id int PRIMARY KEY, v text, n numeric(6,2))");
    let mut writer = world.writer().await;
    let columns = ["id", "v", "n"];
    let rows: [&[&str]; 3] = [&["1", "\"a\"", "1E+2"], &["2", "null", "1.5"], &["3", "\"\"", "null"]];
    writer.upsert("t", &columns, &rows).await.unwrap();
    let mut reader = Reader::new(&world).await;
    let same = reader.compare("t", &columns, &rows).await;
    assert_eq!(shown(&same, &reader.catalog, "t"), "");
    let rows: [&[&str]; 5] = [
        &["1", "\"a\"", "100"],
        &["7", "\"a\"", "1"],
        &["2", "\"\"", "1.51"],
        &["3", "null", "null"],
        &["null", "null", "null"],
    ];
    let other = reader.compare("t", &columns, &rows).await;
    let expected = "1 missing; 4 missing; 2 v: NULL, ; 2 n: 1.50, 1.51; 3 v: , NULL";
    assert_eq!(shown(&other, &reader.catalog, "t"), expected);
}

#[tokio::test]
async fn digits_that_may_be_lost_are_no_difference() {
    let world = World::new("compare_rounding", "CREATE TABLE t (id int PRIMARY KEY, n numeric(6,2), d timestamp(0))");
    let mut writer = world.rounding_writer(&["*"]).await;
    let columns = ["id", "n", "d"];
    let row: &[&str] = &["1", "1.005", "\"2016-01-25T15:10:10.6\""];
    writer.upsert("t", &columns, &[row]).await.unwrap();
    let mut lax = Reader::rounding(&world, &["n", "d"]).await;
    assert_eq!(shown(&lax.compare("t", &columns, &[row]).await, &lax.catalog, "t"), "");
    // Where they may not, the row could not be written.
    let mut strict = Reader::new(&world).await;
    let expected = "0 n: 1.01, 1.005; 0 d: 2016-01-25 15:10:11, 2016-01-25T15:10:10.6";
    assert_eq!(shown(&strict.compare("t", &columns, &[row]).await, &strict.catalog, "t"), expected);
}
