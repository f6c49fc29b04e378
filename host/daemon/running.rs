//! What of an earlier or another run keeps a start from succeeding now: its port, its folder, its signs of life.
//!
//! Owns: asking for them, for `ebb check`. Does not own: what is done about them at a start (`receive`, `stage`, `target`). Ports
//! and the folder are let go of at once.

use std::fs::{File, TryLockError};

use crate::config::Config;
use crate::error::Result;
use crate::listen::listen;
use crate::plugin::Session;
use crate::receive;
use crate::stage;
use crate::target;

/// Whether an ebb has the staging folder of this run.
pub(super) fn has_folder(config: &Config) -> bool {
    let folder = stage::folder(&config.staging.dir, &config.staging.schema);
    let lock = File::open(folder.join(stage::disk::LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Each address that a start must be able to listen on.
pub(super) async fn ports(config: &Config) -> [Result<()>; 2] {
    let receiver = listen(config.receiver.bind_addr, receive::BIND_FLAG).await;
    let pages = match config.pages.as_ref().filter(|pages| pages.required) {
        // Two of a port that is free for one would not be.
        Some(pages) => listen(pages.addr, pages.flag).await.map(drop),
        None => Ok(()),
    };
    [receiver.map(drop), pages]
}

/// Whether the target has a sign of life of a process that has another folder, or has this one elsewhere.
pub(super) fn nobody_else_is_alive(session: &mut Session, config: &Config, writer: i64) -> Result<()> {
    let staging = &config.staging;
    let alive = session.lease_state(&staging.schema)?.map_or(0, |state| state.alive_ms);
    let folder = stage::folder(&staging.dir, &staging.schema);
    if alive == 0 || staging.take_over || target::is_of_folder(&folder, writer)? {
        return Ok(());
    }
    Err(target::another_is_alive(&staging.schema))
}
