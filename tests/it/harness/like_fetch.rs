//! Commands that take the flags of `ebb fetch` and end by themselves.
//!
//! Owns: these flags. Does not own: what a command prints.

use std::process::Command;

use super::world::World;

const EBB: &str = env!("CARGO_BIN_EXE_ebb");

/// The command with the flags of a world's `fetch`. A flag that is given takes the place of the usual.
pub(crate) fn like_fetch(world: &World, name: &str, more: &[&str]) -> Command {
    let server = world.certs().server();
    let (source, target) = (world.source_url(), world.target_url());
    let mut command = world.bare(EBB);
    command.args([name, "--mode", "failback"]);
    for (flag, value) in [
        ("--source", &*source),
        ("--target", &*target),
        ("--changefeeds-path", "changefeed-secure.json"),
        ("--replicator-flags", "--stagingSchema _replicator_1"),
    ] {
        if !more.contains(&flag) {
            command.args([flag, value]);
        }
    }
    command.args(more).env("EBB_TLS_CERTIFICATE", server.cert).env("EBB_TLS_PRIVATE_KEY", server.key);
    command
}
