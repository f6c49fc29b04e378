//! The flags of hooks and of when a run counts as stalled, which `fetch` and `start` share.
//!
//! Owns: their names, defaults and help. Does not own: what a hook is (`hooks`).

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::duration;

#[derive(Debug, Clone, Args)]
pub(super) struct HookFlags {
    /// Folder of programs that are run when something happens, each named after its event: started, caught-up, stalled,
    /// recovered, refused, verified, cut-back, ended. Only root and this user may be able to write them and the folders above them
    #[arg(long = "hook", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How long one of them may take before it is killed
    #[arg(long = "hook-timeout", default_value = "10s", value_parser = duration::parse, value_name = "DURATION")]
    pub timeout: Duration,
    /// How long nothing may arrive, or be applied although the target is behind, before the run counts as stalled
    #[arg(long, default_value = "60s", value_parser = duration::parse, value_name = "DURATION")]
    pub stalled_after: Duration,
}
