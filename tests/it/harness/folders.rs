//! The staging folder and the progress row as people copy them and put them back.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::world::{Ebb, World};

/// A table that [`replicate`] writes to.
pub(crate) const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";

/// The staging folder of the usual flags.
pub(crate) fn folder(world: &World) -> PathBuf {
    world.dir().join("staging/_replicator_1")
}

/// A copy as `cp -a`, `rsync -a` and snapshots make it.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp starts");
    assert!(copied.success());
}

/// Inserts a row and waits until it is there.
pub(crate) fn replicate(world: &World, ebb: &Ebb, id: u32) {
    world.source(&format!("INSERT INTO t VALUES ({id}, {id})"));
    world.wait_equal(ebb, &["t"]);
}

/// A first run, which replicates a row and ends.
pub(crate) fn begin(world: &World, id: u32) {
    let ebb = world.fetch(&[]).ready();
    replicate(world, &ebb, id);
    ebb.stop();
}

/// A run that goes on from the one before, replicates a row and ends.
pub(crate) fn resume(world: &World, id: u32) {
    let ebb = world.fetch(&[]);
    replicate(world, &ebb, id);
    ebb.stop();
}

/// The time of the source.
pub(crate) fn now(world: &World) -> String {
    world.source("SELECT cluster_logical_timestamp()").trim().to_owned()
}

/// SQL that puts the progress row back as it is now, as a backup of the target does.
pub(crate) fn backup_of_progress(world: &World) -> String {
    world.target(
        "SELECT format('UPDATE ebb_progress SET wall=%s, logical=%s, epoch=%s, writer=%s, note=%L, alive_until=NULL', wall, \
         logical, epoch, writer, note) FROM ebb_progress",
    )
}
